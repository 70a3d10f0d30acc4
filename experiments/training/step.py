"""One training step of a workload on a system: what it takes, and what of the exchange is exposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from commsim import Job, System
from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import InputError, RefusedError
from commsim.units import format_volume
from experiments.policies import Call, Compute, Policy
from experiments.training.accelerators import Accelerator, accelerator_of
from experiments.training.compute import OPTIMIZER_BYTES, ComputeSource
from experiments.training.costs import OTHER, Costs
from experiments.training.parallel import (
    COLUMN_PARALLEL,
    ROW_PARALLEL,
    Parallel,
    activation_elements,
    shared,
)
from experiments.training.pipeline import pipelined
from experiments.training.play import Conditions, Interval, Lane, PlacedCall, Played, Player, clipped, union_s
from experiments.workloads import Workload
from topologies import MACHINES

N_STEPS = 3
"""Steps that are played; the last is the answer. What is exposed of an exchange settles with the second."""

N_STEPS_BESIDE = 9
"""Beside another job, whose rounds are no multiple of a step: the answer is the mean from the second on."""

ACTIVATION_BYTES = 2
"""Of an element between blocks: 16 bits."""

STATE_BYTES = {"parameters": 4, "gradients": 4, "optimizer": 4}
ADAM_BYTES = {"parameters": 2, "gradients": 2, "optimizer": 12}
"""What a rank holds of each parameter: SGD with momentum in 32 bits; Adam in mixed precision (Rajbhandari et al., ZeRO,
SC 2020, section 3.1), which language models are trained with."""


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Attributes
    ----------
    workload : Workload
    policy : Policy
    tensor, pipeline : int
        Ranks that share each layer, and stages.
    compute : ComputeSource
    conditions : Conditions
    model : str
        Of the network.
    algorithms : mapping
        Collective to the algorithms to choose from, instead of the backend's.
    disturbance : Disturbance
        Of every call: ranks that begin late, messages that take longer.
    """

    workload: Workload
    policy: Policy
    tensor: int = 1
    pipeline: int = 1
    compute: ComputeSource = field(default_factory=ComputeSource)
    conditions: Conditions = field(default_factory=Conditions)
    model: str = "fluid"
    algorithms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    disturbance: Disturbance = NO_DISTURBANCE


@dataclass(frozen=True)
class Beside:
    """Another job beside a training.

    Attributes
    ----------
    name : str
        Of the job.
    alone_s : float
        What a step takes without it.
    slower : float
        How many times longer the other job takes.
    """

    name: str
    alone_s: float
    slower: float


@dataclass(frozen=True, eq=False)
class StepResult:
    """A step of all ranks, once it is steady.

    Attributes
    ----------
    training : Training
        With all that was chosen for the system.
    system : str
    parallel : Parallel
    batch : float
        Samples of a step for each copy of the model.
    step_s : float
        From step to step.
    compute_s : float
        What one rank computes in it.
    ideal_s : float
        What the step would take if calls took no time: with pipeline bubbles, stragglers and input.
    exchange_s : float
        How long at least one call is on its way.
    compute_source : str
    intervals : list of Interval
        Of the last step, from its beginning.
    algorithms : mapping
        Collective and bytes to the algorithm of each call.
    bottlenecks : mapping
        Collective and bytes to the busiest link of each call.
    lanes : tuple of str
        Names of the compute streams.
    beside : Beside or None
        What another job on the fabric makes of the step, and the step of it.
    """

    training: Training
    system: str
    parallel: Parallel
    batch: float
    step_s: float
    compute_s: float
    ideal_s: float
    exchange_s: float
    compute_source: str
    intervals: list[Interval]
    algorithms: Mapping[tuple[str, int], str]
    bottlenecks: Mapping[tuple[str, int], str]
    lanes: tuple[str, ...]
    beside: Beside | None = None

    @property
    def exposed_s(self) -> float:
        """What calls add to the step."""
        return max(0.0, self.step_s - self.ideal_s)

    @property
    def overlap(self) -> float:
        """The share of the exchange that is hidden."""
        return max(0.0, 1 - self.exposed_s / self.exchange_s) if self.exchange_s else 1.0

    @property
    def efficiency(self) -> float:
        """Of the time of a step what a rank computes."""
        return self.compute_s / self.step_s

    @property
    def global_batch(self) -> float:
        """Samples of a step."""
        return self.batch * self.parallel.data

    @property
    def samples_per_s(self) -> float:
        """Of all ranks."""
        return self.global_batch / self.step_s

    @property
    def main_algorithm(self) -> str:
        """Of the largest call that is not between tensor parallel ranks."""
        return self.algorithms[self._main] if self._main else ""

    @property
    def main_bottleneck(self) -> str:
        """The busiest link of that call."""
        return self.bottlenecks[self._main] if self._main else ""

    @cached_property
    def _main(self) -> tuple[str, int] | None:
        found = [key for key, one in self.algorithms.items() if one]
        return max(found, key=lambda key: key[1], default=None)


def simulate_step(
    training: Training, system: System, batch: float, n_ranks: int | None = None, beside: Job | None = None
) -> StepResult:
    """One step, steady.

    Parameters
    ----------
    training : Training
    system : System
    batch : float
        Samples of a step for each copy of the model.
    n_ranks : int, optional
        All devices by default.
    beside : Job, optional
        Another job on the same fabric, over and over again.

    Raises
    ------
    InputError
        If something does not fit: ranks, groups, batch, memory.
    """
    parallel = Parallel(system.n_places if n_ranks is None else n_ranks, training.tensor, training.pipeline)
    system.require(parallel.n_ranks)
    training = _with_passes(training, batch)
    accelerator = accelerator_of(system)
    require_memory(training, parallel, accelerator, system)
    costs = Costs(
        system,
        parallel,
        training.policy.backend,
        training.model,
        training.algorithms,
        beside,
        training.disturbance,
    )
    if training.policy.tuned is not None and parallel.data > 1:
        line = costs.latency_and_bandwidth(Call("allreduce", 0, 0.0, 0, 1))
        training = replace(training, policy=replace(training.policy.tuned(*line), name=training.policy.name))
    elif training.policy.tuned is not None:
        training = replace(training, policy=training.policy.tuned(1.0, 1.0))
    compute = _compute(training, parallel, accelerator, system, batch)
    training = replace(training, conditions=training.conditions.slowest(parallel.n_ranks))
    return _played(training, system, parallel, batch, compute, costs)


def _with_passes(training: Training, batch: float) -> Training:
    """As many passes as a pipeline needs, where nothing was said: one for each sample."""
    passes = training.policy.n_passes
    if training.pipeline > 1 and passes == 1:
        passes = max(1, int(batch))
    if batch < passes:
        raise InputError(
            f"a batch of {batch:g} for each copy of the model cannot be split in {passes} passes; use more"
        )
    return replace(training, policy=replace(training.policy, n_passes=passes))


def state_bytes(training: Training, parallel: Parallel) -> float:
    """What a rank holds of parameters, gradients and the optimizer's state, without activations."""
    bytes_of = STATE_BYTES if training.workload.tokens_per_sample == 1 else ADAM_BYTES
    held = training.workload.n_parameters / (parallel.tensor * parallel.pipeline)
    sharded = training.policy.sharded
    return sum(held * size / (parallel.data if what in sharded else 1) for what, size in bytes_of.items())


def require_memory(training: Training, parallel: Parallel, accelerator: Accelerator, system: System) -> None:
    """Refuse a model whose state alone does not fit.

    Raises
    ------
    RefusedError
        Saying how much there is too much.
    """
    needed = state_bytes(training, parallel)
    if needed > accelerator.memory_bytes:
        raise RefusedError(
            f"{training.workload.name} does not fit {system.name}: parameters, gradients and optimizer take "
            f"{format_volume(needed)} on each of {parallel.n_ranks} ranks, and {accelerator.name} has "
            f"{format_volume(accelerator.memory_bytes)}; use --tensor, --pipeline, or a policy that shards (fsdp, zero)"
        )


def _compute(training: Training, parallel: Parallel, accelerator: Accelerator, system: System, batch: float) -> Compute:
    """The times of one pass on one rank, all stages together."""
    passes = training.policy.n_passes
    owners = parallel.data if "optimizer" in training.policy.sharded else 1
    held = training.workload.n_parameters / (parallel.tensor * parallel.pipeline * owners)
    machine = MACHINES.get(system.name.partition(":")[0])
    optimizer_s = 0.0 if machine is None else OPTIMIZER_BYTES * held / machine.device.copy_Bps
    whole = training.compute.times(training.workload, batch / passes, accelerator, optimizer_s)
    if training.compute.is_measured and training.compute.file is not None and parallel.tensor > 1:
        raise RefusedError("--times are of one rank: they cannot be shared by --tensor ranks")
    forward, backward = (tuple(one / parallel.tensor for one in each) for each in (whole.forward_s, whole.backward_s))
    part = shared(training.workload, parallel.tensor)
    return Compute(part, forward, backward, whole.optimizer_s, passes, whole.source)


def _played(
    training: Training, system: System, parallel: Parallel, batch: float, compute: Compute, costs: Costs
) -> StepResult:
    lanes, calls = _lanes(training, parallel, batch, compute, costs)
    costs.prepare(placed.call for placed in calls)
    play = partial(
        Player,
        lanes,
        calls,
        costs.time_s,
        costs.slowdowns,
        training.policy.n_streams,
        training.conditions,
        lambda call: f"{call.collective} {format_volume(call.n_bytes)}",
    )
    done, beside = play().play(N_STEPS), None
    step_s = done.step_s
    if costs.other is not None:
        alone_s, done = step_s, play(OTHER).play(N_STEPS_BESIDE)
        step_s = max(done.mean_step_s, alone_s)
        beside = Beside(costs.other.name, alone_s, done.other_slower)
    intervals = clipped(done.intervals, done.window_s)
    kinds = {(placed.call.collective, placed.call.n_bytes): placed.call for placed in calls}
    busy = [sum(lane.durations_s) / training.conditions.speed for lane in lanes]
    return StepResult(
        training=training,
        system=system.name,
        parallel=parallel,
        batch=batch,
        step_s=step_s,
        compute_s=sum(busy) / len(busy),
        ideal_s=_ideal(lanes, calls, training.conditions).step_s,
        exchange_s=max(
            union_s([one for one in intervals if one.stream != "compute" and one.lane == lane])
            for lane in range(len(lanes))
        ),
        compute_source=compute.source,
        intervals=intervals,
        algorithms={kind: costs.algorithm(call) for kind, call in kinds.items()},
        bottlenecks={kind: costs.bottleneck(call) for kind, call in kinds.items()},
        lanes=tuple(lane.name for lane in lanes),
        beside=beside,
    )


def _ideal(lanes: Sequence[Lane], calls: Sequence[PlacedCall], conditions: Conditions) -> Played:
    """The same with calls that take no time; those that are not between lanes need not be played then."""
    between = [replace(one, call=replace(one.call, follows=None)) for one in calls if one.lane != one.waiting]
    quiet = replace(conditions, interference=0.0)
    return Player(lanes, between, lambda _: 0.0, lambda calls: [1.0] * len(calls), 1, quiet).play(N_STEPS)


def _lanes(
    training: Training, parallel: Parallel, batch: float, compute: Compute, costs: Costs
) -> tuple[list[Lane], list[PlacedCall]]:
    """Compute streams and the calls between their operations."""
    activations = 0
    if parallel.tensor > 1 or parallel.pipeline > 1:
        samples = batch / training.policy.n_passes
        activations = int(samples * activation_elements(training.workload)) * ACTIVATION_BYTES
    if parallel.pipeline > 1:
        return pipelined(training.policy, parallel, compute, activations, costs)
    names = [layer.name for layer in compute.workload.layers]
    once = [*(f"forward {name}" for name in names), *(f"backward {name}" for name in reversed(names))]
    lane = Lane("compute", (*(once * compute.n_passes), "optimizer"), compute.durations_s)
    calls = [*training.policy.calls(compute)]
    if parallel.data == 1:
        calls = []
    if parallel.tensor > 1:
        calls += tensor_calls(compute, activations)
    return [lane], [PlacedCall(call) for call in calls]


def tensor_calls(compute: Compute, activations: int) -> list[Call]:
    """The sums of activations between tensor parallel ranks, in every pass: compute waits for each."""
    found = []
    for number in range(compute.n_passes):
        for layer, one in enumerate(compute.workload.layers):
            for endings, operation in (
                (ROW_PARALLEL, compute.forward(layer, number)),
                (COLUMN_PARALLEL, compute.backward(layer, number)),
            ):
                if one.name.endswith(endings):
                    how = {"after": operation, "before": operation + 1, "group": "tensor", "stream": "tensor"}
                    found.append(compute.call("allreduce", (), n_bytes=activations, dtype="float16", **how))
    return found
