"""Pipeline parallelism: stages with one forward and one backward pass in turn (1F1B), and messages between them.

Narayanan et al., PipeDream-Flush, in: Memory-efficient pipeline-parallel DNN training, ICML 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from commsim.errors import RefusedError
from experiments.policies import Call, Compute, Policy
from experiments.policies.step import BEFORE_ALL
from experiments.training.parallel import COLUMN_PARALLEL, ROW_PARALLEL, Parallel, cut
from experiments.training.play import Lane, PlacedCall
from experiments.workloads import Workload

if TYPE_CHECKING:
    from experiments.training.costs import Costs


@dataclass(frozen=True)
class _Stage:
    """A stage: its layers' compute, and where each pass stands among its operations."""

    compute: Compute
    order: list[tuple[str, int]]
    forward_s: float
    backward_s: float

    @property
    def n_operations(self) -> int:
        return len(self.order) - 1 + self.compute.n_layers + 1

    @cached_property
    def _places(self) -> dict[tuple[str, int], int]:
        return {one: place for place, one in enumerate(self.order)}

    def begin(self, what: str, number: int) -> int:
        """The first operation of a pass."""
        return self._places[what, number]

    def end(self, what: str, number: int) -> int:
        """The last operation of a pass: the last backward pass is layer by layer."""
        place = self.begin(what, number)
        return place + (self.compute.n_layers - 1 if place == len(self.order) - 1 else 0)

    def lane(self, name: str) -> Lane:
        """Its compute stream."""
        plain = self.order[:-1]
        layers = [f"backward {layer.name}" for layer in reversed(self.compute.workload.layers)]
        names = (*(f"{what} {number}" for what, number in plain), *layers, "optimizer")
        each = {"forward": self.forward_s, "backward": self.backward_s}
        last = tuple(reversed(self.compute.backward_s))
        return Lane(name, names, (*(each[what] for what, _ in plain), *last, self.compute.optimizer_s))

    def placed(self, call: Call) -> Call:
        """A call of one pass forwards and backwards, among the operations of all passes."""
        shift = len(self.order) - 1 - self.compute.n_layers
        after = call.after if call.after == BEFORE_ALL else call.after + shift
        before = self.n_operations if call.before >= self.compute.n_operations else call.before + shift
        return replace(call, after=after, before=before)


def one_forward_one_backward(stage: int, n_stages: int, n_passes: int) -> list[tuple[str, int]]:
    """The passes of a stage in order: the first ones only forwards, as many as there are stages behind it."""
    ahead = min(n_stages - stage - 1, n_passes)
    order = [("forward", number) for number in range(ahead)]
    for number in range(n_passes):
        if number + ahead < n_passes:
            order.append(("forward", number + ahead))
        order.append(("backward", number))
    return order


def pipelined(
    policy: Policy, parallel: Parallel, compute: Compute, activations: int, costs: Costs
) -> tuple[list[Lane], list[PlacedCall]]:
    """A lane for each stage; messages between stages, and each stage's gradient exchange in its last backward pass.

    Sums of activations between tensor parallel ranks are part of the passes: nothing else can run beside them.

    Raises
    ------
    RefusedError
        If the policy gathers parameters, which stages keep.
    """
    if "parameters" in policy.sharded:
        raise RefusedError(
            f"policy {policy.name} gathers parameters: use it without --pipeline, or zero:stage=1 with it"
        )
    sum_s = 0.0
    if parallel.tensor > 1:
        sum_s = costs.time_s(Call("allreduce", activations, 0.0, 0, 1, group="tensor", dtype="float16"))
    stages = _stages(parallel, compute, sum_s)
    lanes = [stage.lane(f"stage {number}") for number, stage in enumerate(stages)]
    calls: list[PlacedCall] = []
    once = replace(policy, n_passes=1)
    for number, stage in enumerate(stages):
        first = len(calls)
        exchanged = once.calls(stage.compute) if parallel.data > 1 else ()
        for call in exchanged:
            follows = None if call.follows is None else call.follows + first
            calls.append(PlacedCall(replace(stage.placed(call), follows=follows, stage=number), number, number))
    return lanes, [*calls, *_messages(stages, compute.n_passes, activations)]


def _stages(parallel: Parallel, compute: Compute, sum_s: float) -> list[_Stage]:
    """Layers cut for equal work, with the sums of activations in their times."""
    workload = _untied(compute.workload)
    names = [layer.name for layer in workload.layers]
    forward = [
        time_s + sum_s * name.endswith(ROW_PARALLEL) for name, time_s in zip(names, compute.forward_s, strict=True)
    ]
    backward = [
        time_s + sum_s * name.endswith(COLUMN_PARALLEL) for name, time_s in zip(names, compute.backward_s, strict=True)
    ]
    found = []
    for number, (first, last) in enumerate(cut(compute.forward_s, parallel.pipeline)):
        layers = slice(first, last + 1)
        part = replace(workload, layers=workload.layers[layers])
        own = Compute(part, tuple(forward[layers]), tuple(backward[layers]), compute.optimizer_s)
        order = one_forward_one_backward(number, parallel.pipeline, compute.n_passes)
        found.append(_Stage(own, order, sum(own.forward_s), sum(own.backward_s)))
    return found


def _untied(workload: Workload) -> Workload:
    """The last stage keeps a copy of the embedding that its product is tied to (Narayanan et al. 2021, section 3.1)."""
    last = workload.layers[-1]
    if last.tensors:
        return workload
    copy = replace(workload.tensors[0], name=f"{last.name}.weight")
    return replace(workload, layers=(*workload.layers[:-1], replace(last, tensors=(copy,))))


def _messages(stages: Sequence[_Stage], n_passes: int, activations: int) -> list[PlacedCall]:
    """Activations to the next stage, their gradients back."""
    found = []
    for number in range(len(stages) - 1):
        here, there = stages[number], stages[number + 1]
        for one in range(n_passes):
            for what, from_, to, group in (
                ("forward", (number, here), (number + 1, there), "forwards"),
                ("backward", (number + 1, there), (number, here), "backwards"),
            ):
                after, before = from_[1].end(what, one), to[1].begin(what, one)
                how: dict[str, Any] = {"dtype": "float16", "stream": group, "group": group, "stage": from_[0]}
                found.append(PlacedCall(Call("send", activations, 0.0, after, before, **how), from_[0], to[0]))
    return found
