"""What a training step computes and sends: named tensors in forward order, with shapes, types and FLOPs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, prod
from types import MappingProxyType

from commsim.collective import collective_named
from commsim.errors import InputError, unknown_name

BITS_OF_DTYPE: Mapping[str, int] = MappingProxyType(
    {
        "float64": 64,
        "float32": 32,
        "float16": 16,
        "bfloat16": 16,
        "float8_e4m3": 8,
        "float8_e5m2": 8,
        "int64": 64,
        "int32": 32,
        "int16": 16,
        "int8": 8,
        "uint64": 64,
        "uint32": 32,
        "uint16": 16,
        "uint8": 8,
        "bool": 8,
    }
)
"""Bits of an element of each type."""


@dataclass(frozen=True)
class Tensor:
    """One named tensor of a network.

    Attributes
    ----------
    name : str
        As the framework that the workload names calls it.
    shape : tuple of int
        Empty for a scalar.
    dtype : str
        A key of :data:`BITS_OF_DTYPE`.
    trainable : bool
        Whether it has a gradient; a buffer, such as a running mean, has none.

    Raises
    ------
    InputError
        Without a name, or for a negative extent.
    UnknownNameError
        For an unknown type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    trainable: bool = True

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a tensor needs a name")
        if self.dtype not in BITS_OF_DTYPE:
            raise unknown_name(f"type of tensor {self.name!r}:", self.dtype, BITS_OF_DTYPE)
        if any(extent < 0 for extent in self.shape):
            raise InputError(f"tensor {self.name!r} has shape {self.shape}; no extent may be negative")

    @property
    def n_elements(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes."""
        return self.n_elements * BITS_OF_DTYPE[self.dtype] // 8


@dataclass(frozen=True)
class Layer:
    """What computes as one.

    Attributes
    ----------
    name : str
        The module's.
    tensors : tuple of Tensor
        Its own, in order; a tensor that is tied to another layer's is that layer's alone.
    forward_flops : int
        Of one sample: two for each multiply-add of a matrix product or convolution, nothing else.
    forward_s, backward_s : float or None
        What they took where a trace recorded them, for the batch that was trained.
    """

    name: str
    tensors: tuple[Tensor, ...] = ()
    forward_flops: int = 0
    forward_s: float | None = None
    backward_s: float | None = None

    def __post_init__(self) -> None:
        if self.forward_flops < 0:
            raise InputError(f"layer {self.name!r} has {self.forward_flops} FLOPs; give none or more")
        for pass_, seconds in (("forward", self.forward_s), ("backward", self.backward_s)):
            if seconds is not None and not 0 <= seconds < inf:
                raise InputError(f"layer {self.name!r} takes {seconds} s {pass_}; give none or more")


@dataclass(frozen=True)
class Recorded:
    """One collective of a training step, as a trace of real ranks has it. Times count from the step's begin.

    Attributes
    ----------
    collective : str
        Ours: ``allreduce``, ``reduce_scatter`` …
    n_bytes : int
        As the collective counts them: of an allgather or reduce_scatter the whole vector.
    ready_s : float
        When it was asked for: its data were there.
    dtype : str
    start_s, end_s : float or None
        When it ran, if that was recorded.
    name : str
        The tensor's, or "".
    """

    collective: str
    n_bytes: int
    ready_s: float
    dtype: str = "float32"
    start_s: float | None = None
    end_s: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        collective_named(self.collective)
        if self.n_bytes < 0 or not 0 <= self.ready_s < inf:
            raise InputError(f"{self.collective} of {self.n_bytes} B, ready at {self.ready_s} s: neither is negative")
        if self.dtype not in BITS_OF_DTYPE:
            raise unknown_name(f"type of a recorded {self.collective}:", self.dtype, BITS_OF_DTYPE)


@dataclass(frozen=True)
class Workload:
    """A network as gradient exchange sees it; how many ranks train it is a parameter of who asks.

    Attributes
    ----------
    name : str
        The spec that makes it again, or the file that it was read from.
    layers : tuple of Layer
        In the order of the forward pass.
    sample : str
        What one sample is: "image", or "sequence" of `tokens_per_sample` tokens.
    source : str
        Where the shapes are from.
    tokens_per_sample : int
        1 where a sample is not made of tokens.
    counts_flops : bool
        False where the layers' FLOPs are not known.
    recorded : tuple of Recorded
        The collectives of a step as they were recorded, in the order in which they were asked for; empty of a network
        that is only described.

    Raises
    ------
    InputError
        If it has no tensors, or two of one name.
    """

    name: str
    layers: tuple[Layer, ...]
    sample: str = "image"
    source: str = ""
    tokens_per_sample: int = 1
    counts_flops: bool = True
    recorded: tuple[Recorded, ...] = ()

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(one.name for one in self.tensors).items() if count > 1]
        if twice:
            raise InputError(f"workload {self.name!r} has two tensors {twice[0]!r}")
        if not self.gradients:
            raise InputError(f"workload {self.name!r} has no trainable tensor")
        if self.tokens_per_sample < 1:
            raise InputError(f"workload {self.name!r} has {self.tokens_per_sample} tokens in a sample; give at least 1")

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in forward order."""
        return tuple(tensor for layer in self.layers for tensor in layer.tensors)

    @cached_property
    def gradients(self) -> tuple[Tensor, ...]:
        """Those that have a gradient."""
        return tuple(tensor for tensor in self.tensors if tensor.trainable)

    @cached_property
    def buffers(self) -> tuple[Tensor, ...]:
        """Those that have none."""
        return tuple(tensor for tensor in self.tensors if not tensor.trainable)

    @property
    def n_parameters(self) -> int:
        """Elements that are trained."""
        return sum(tensor.n_elements for tensor in self.gradients)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of all gradients of a step."""
        return sum(self.gradient_bytes_by_dtype.values())

    @property
    def gradient_bytes_by_dtype(self) -> dict[str, int]:
        """Bytes of the gradients of each type."""
        found: dict[str, int] = {}
        for tensor in self.gradients:
            found[tensor.dtype] = found.get(tensor.dtype, 0) + tensor.n_bytes
        return found

    @property
    def largest(self) -> Tensor:
        """The largest gradient, the first of several."""
        return max(self.gradients, key=lambda tensor: tensor.n_elements)

    @property
    def forward_flops(self) -> int | None:
        """Of one sample; None where it is not known."""
        return sum(layer.forward_flops for layer in self.layers) if self.counts_flops else None

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name.

        Raises
        ------
        UnknownNameError
            If there is none; names the nearest.
        """
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise unknown_name(f"tensor of workload {self.name!r}:", name, (tensor.name for tensor in self.tensors))

    def in_dtype(self, dtype: str) -> Workload:
        """The same with all gradients in another type; buffers keep theirs."""
        if set(self.gradient_bytes_by_dtype) == {dtype}:
            return self
        layers = (
            replace(layer, tensors=tuple(replace(t, dtype=dtype) if t.trainable else t for t in layer.tensors))
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))
