"""A training step as an exchange policy sees it: operations that compute, and collective calls between them.

The operations of a step are numbered in the order in which they run: the layers forwards, the layers backwards, once
more for each pass whose gradients are accumulated, and the optimizer. Those of the next step go on counting.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from commsim.errors import InputError
from experiments.workloads import Tensor, Workload

BEFORE_ALL = -1
"""The operation "before" the first one: the optimizer of the step before."""


@dataclass(frozen=True)
class Gradient:
    """A gradient and when it is ready.

    Attributes
    ----------
    tensor : Tensor
    layer : int
        In forward order.
    operation : int
        That makes it: its layer's last backward pass.
    ready_s : float
        When that ends, from the beginning of the step, if nothing delays it.
    """

    tensor: Tensor
    layer: int
    operation: int
    ready_s: float


@dataclass(frozen=True)
class Call:
    """One collective that every rank of a group calls; how many ranks it has is a parameter of who asks.

    Attributes
    ----------
    collective : str
    n_bytes : int
        Of the vector; with `each`, what every rank contributes to it.
    ready_s : float
        When it may begin if nothing delays the step: the end of operation `after`, and `delay_s`.
    after : int
        The operation whose end makes it ready; ``BEFORE_ALL``: the step's beginning.
    before : int
        The operation that waits for it; from ``n_operations`` on, one of the next step.
    tensors : tuple of str
        What it carries.
    dtype : str
        Of what it carries, as numpy names it.
    delay_s : float
        Between the end of `after` and the moment when it may begin: cycles, negotiation.
    priority : int
        Among those that are ready the lowest begins first; then the first of the list.
    stream : str
        Calls of different streams do not wait for each other; each stream runs so many at once as the policy says.
    follows : int or None
        The call, by its place in the list, that must have ended.
    group : {"data", "node", "across"}
        Who takes part: all that hold a copy of the model; those of them in one node; one of each node.
    divided : bool
        The vector is the share that a reduce_scatter over the node has left: `n_bytes` over the ranks of a node.
    each : bool
    algorithm : str or None
        That the framework has of its own; None: the communication library chooses.
    root : int
        Of a rooted collective.
    stage : int or None
        Of a pipeline: whose ranks take part, or send; None: those of all stages.
    """

    collective: str
    n_bytes: int
    ready_s: float
    after: int
    before: int
    tensors: tuple[str, ...] = ()
    dtype: str = "float32"
    delay_s: float = 0.0
    priority: int = 0
    stream: str = "gradients"
    follows: int | None = None
    group: str = "data"
    divided: bool = False
    each: bool = False
    algorithm: str | None = None
    root: int = 0
    stage: int | None = None


@dataclass(frozen=True, eq=False)
class Compute:
    """What one rank computes in a step.

    Attributes
    ----------
    workload : Workload
    forward_s, backward_s : tuple of float
        Of each layer, in forward order, of one pass.
    optimizer_s : float
    n_passes : int
        Passes forwards and backwards before the optimizer: gradients are accumulated.
    source : str
        Where the times are from.

    Raises
    ------
    InputError
        If there is not one time for each layer, or one is negative.
    """

    workload: Workload
    forward_s: tuple[float, ...]
    backward_s: tuple[float, ...]
    optimizer_s: float = 0.0
    n_passes: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        n = len(self.workload.layers)
        for word, times in (("forward_s", self.forward_s), ("backward_s", self.backward_s)):
            if len(times) != n:
                raise InputError(f"{self.workload.name} has {n} layers, and {word} {len(times)} times; give one each")
            if not all(0 <= time_s < float("inf") for time_s in times):
                raise InputError(f"{word} of {self.workload.name} must be finite times, zero or more")
        if not 0 <= self.optimizer_s < float("inf"):
            raise InputError(f"optimizer_s={self.optimizer_s} must be a finite time, zero or more")
        if self.n_passes < 1:
            raise InputError(f"{self.n_passes} passes before the optimizer; give at least 1")

    @property
    def n_layers(self) -> int:
        """Layers of the workload."""
        return len(self.forward_s)

    @property
    def optimizer(self) -> int:
        """The number of the optimizer's operation, the last of a step."""
        return 2 * self.n_layers * self.n_passes

    @property
    def n_operations(self) -> int:
        """Operations of a step."""
        return self.optimizer + 1

    def forward(self, layer: int, number: int = 0) -> int:
        """The operation of a layer in the forward pass of that number."""
        return 2 * self.n_layers * number + layer

    def backward(self, layer: int, number: int | None = None) -> int:
        """The operation of a layer in a backward pass, the last by default."""
        number = self.n_passes - 1 if number is None else number
        return 2 * self.n_layers * (number + 1) - 1 - layer

    def next_forward(self, layer: int) -> int:
        """The operation of a layer in the first forward pass of the next step."""
        return self.n_operations + layer

    @cached_property
    def durations_s(self) -> tuple[float, ...]:
        """Of every operation of a step."""
        once = (*self.forward_s, *reversed(self.backward_s))
        return (*(once * self.n_passes), self.optimizer_s)

    @cached_property
    def _ends_s(self) -> tuple[float, ...]:
        return tuple(np.cumsum((0.0, *self.durations_s)).tolist())

    @property
    def step_s(self) -> float:
        """Of all operations together."""
        return self._ends_s[-1]

    def end_s(self, operation: int) -> float:
        """When an operation ends if nothing delays the step."""
        return self._ends_s[operation + 1]

    @cached_property
    def layer_of(self) -> dict[str, int]:
        """The layer of each tensor."""
        return {tensor.name: number for number, layer in enumerate(self.workload.layers) for tensor in layer.tensors}

    @cached_property
    def gradients(self) -> tuple[Gradient, ...]:
        """All of them in the order in which the last backward pass makes them."""
        found = []
        for tensor in reversed(self.workload.gradients):
            layer = self.layer_of[tensor.name]
            operation = self.backward(layer)
            found.append(Gradient(tensor, layer, operation, self.end_s(operation)))
        return tuple(found)

    def call(self, collective: str, gradients: Sequence[Gradient], **given: Any) -> Call:
        """A call that carries these: ready with the last of them, and the optimizer waits, unless said otherwise."""
        after = given.pop("after", max((one.operation for one in gradients), default=BEFORE_ALL))
        given.setdefault("before", self.optimizer)
        given.setdefault("n_bytes", sum(one.tensor.n_bytes for one in gradients))
        given.setdefault("dtype", numpy_name(gradients[0].tensor.dtype) if gradients else "float32")
        ready_s = self.end_s(after) + given.get("delay_s", 0.0)
        names = tuple(one.tensor.name for one in gradients)
        return Call(collective, ready_s=ready_s, after=after, tensors=names, **given)

    def accumulating(self, n_passes: int) -> Compute:
        """The same with so many passes before the optimizer."""
        return replace(self, n_passes=n_passes)


def numpy_name(dtype: str) -> str:
    """A type of numpy's that is as large: all that matters to a prediction."""
    return {"bfloat16": "float16", "float8_e4m3": "uint8", "float8_e5m2": "uint8"}.get(dtype, dtype)


def units(compute: Compute) -> list[tuple[int, int]]:
    """First and last layer of each block of the network, as FSDP wraps it.

    A block is what shares a name up to its first number (``model.layers.3``, ``layer1.0``); what has none is a block
    with its neighbours that have none.
    """
    keys = [_block(layer.name) for layer in compute.workload.layers]
    runs = itertools.groupby(range(len(keys)), key=lambda number: keys[number])
    layers = [list(numbers) for _, numbers in runs]
    return [(numbers[0], numbers[-1]) for numbers in layers]


def _block(name: str) -> str:
    parts = name.split(".")
    first = next((place for place, part in enumerate(parts[:-1]) if part.isdecimal()), None)
    return "" if first is None else ".".join(parts[: first + 1])
