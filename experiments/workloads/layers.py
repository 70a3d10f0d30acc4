"""The blocks that networks are made of: generators of layers, each with its tensors and the FLOPs of one sample.

A block of a convolutional network takes an image's extent and returns that of what comes out, so that a network reads
as its forward pass: ``image = yield from convolution("conv1", image, 64, 7, stride=2, padding=3)``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, prod

from commsim.errors import InputError
from experiments.workloads.workload import Layer, Tensor

Layers = Iterator[Layer]
Size = int | tuple[int, int]


@dataclass(frozen=True)
class Image:
    """The extent of an activation: channels, height, width."""

    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width) < 1:
            raise InputError(
                f"an activation of {self.channels}x{self.height}x{self.width} is empty; take a larger image"
            )

    @property
    def n_elements(self) -> int:
        """Elements of one sample."""
        return self.channels * self.height * self.width

    def windowed(
        self, kernel: Size, stride: int = 1, padding: Size = 0, whole: Callable[[float], int] = floor
    ) -> Image:
        """What a window that slides over it leaves: the extent after a pooling; `whole` is floor or ceil."""
        (k_h, k_w), (p_h, p_w) = _pair(kernel), _pair(padding)
        height = whole((self.height + 2 * p_h - k_h) / stride) + 1
        width = whole((self.width + 2 * p_w - k_w) / stride) + 1
        return Image(self.channels, height, width)

    def pooled_up(self, kernel: int, stride: int) -> Image:
        """After a pooling that rounds up, as Caffe's do."""
        return self.windowed(kernel, stride, whole=ceil)


Block = Generator[Layer, None, Image]


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def layer(name: str, *, flops: int = 0, **shapes: tuple[int, ...] | None) -> Layer:
    """A layer whose tensors are ``name.key`` for each shape that is given."""
    tensors = (Tensor(f"{name}.{key}", shape) for key, shape in shapes.items() if shape is not None)
    return Layer(name, tuple(tensors), flops)


def convolution(
    name: str,
    image: Image,
    n_out: int,
    kernel: Size,
    *,
    stride: int = 1,
    padding: Size = 0,
    groups: int = 1,
    bias: bool = True,
) -> Block:
    """A two-dimensional convolution."""
    weight = (n_out, image.channels // groups, *_pair(kernel))
    out = replace(image.windowed(kernel, stride, padding), channels=n_out)
    flops = 2 * prod(weight) * out.height * out.width
    yield layer(name, flops=flops, weight=weight, bias=(n_out,) if bias else None)
    return out


def batch_norm(name: str, n_channels: int) -> Layers:
    """Batch normalisation: scale and shift are trained, the running statistics and the counter are buffers."""
    trained = layer(name, weight=(n_channels,), bias=(n_channels,))
    statistics = (Tensor(f"{name}.{key}", (n_channels,), trainable=False) for key in ("running_mean", "running_var"))
    counter = Tensor(f"{name}.num_batches_tracked", (), "int64", trainable=False)
    yield replace(trained, tensors=(*trained.tensors, *statistics, counter))


def normalised(
    names: tuple[str, str], image: Image, n_out: int, kernel: Size, *, stride: int = 1, padding: Size = 0
) -> Block:
    """A convolution without bias, and its batch normalisation."""
    out = yield from convolution(names[0], image, n_out, kernel, stride=stride, padding=padding, bias=False)
    yield from batch_norm(names[1], n_out)
    return out


def joined(images: Sequence[Image]) -> Image:
    """Activations of one extent, channels after channels."""
    return replace(images[0], channels=sum(image.channels for image in images))


def linear(name: str, n_in: int, n_out: int, *, n_rows: int = 1, bias: bool = True, turned: bool = False) -> Layers:
    """A matrix product with `n_rows` rows (tokens) of a sample; `turned` where the weight is stored (in, out)."""
    weight = (n_in, n_out) if turned else (n_out, n_in)
    yield layer(name, flops=2 * n_rows * n_in * n_out, weight=weight, bias=(n_out,) if bias else None)


def layer_norm(name: str, n_features: int, *, bias: bool = True) -> Layers:
    """Layer normalisation; without `bias`, root-mean-square normalisation."""
    yield layer(name, weight=(n_features,), bias=(n_features,) if bias else None)


def embedding(name: str, n_rows: int, n_features: int) -> Layers:
    """A table that is looked up: no FLOPs."""
    yield layer(name, weight=(n_rows, n_features))


def scores(name: str, n_tokens: int, n_features: int) -> Layers:
    """Queries times keys, and their weights times values, over all heads together.

    All pairs of tokens are counted, masked ones too, as Megatron-LM's and PaLM's formulas do.
    """
    yield Layer(name, (), 4 * n_tokens * n_tokens * n_features)
