"""Networks of parallel branches: GoogLeNet and Inception-v3.

A module is a tuple of branches that take the same activation, a branch is a tuple of convolutions one after the other;
a tuple among those is convolutions side by side. What the branches give is joined, channels after channels.
"""

from __future__ import annotations

from typing import NamedTuple

from commsim.errors import InputError
from commsim.units import format_count
from experiments.workloads.layers import Block, Image, Layers, Size, joined, linear, normalised
from experiments.workloads.workload import Workload


class Conv(NamedTuple):
    """A convolution of a branch; it keeps the extent unless it is strided."""

    name: str
    n_out: int
    kernel: Size = 1
    stride: int = 1


Branch = tuple[Conv | tuple[Conv, ...], ...]


def _conv(name: str, image: Image, n_out: int, kernel: Size = 1, stride: int = 1, padding: Size = 0) -> Block:
    names = (f"{name}.conv", f"{name}.bn")
    return (yield from normalised(names, image, n_out, kernel, stride=stride, padding=padding))


def _kept(kernel: Size) -> Size:
    """The padding that keeps the extent."""
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


def _branch(module: str, image: Image, branch: Branch) -> Block:
    for stage in branch:
        ends = []
        for one in (stage,) if isinstance(stage, Conv) else stage:
            padding = _kept(one.kernel) if one.stride == 1 else 0
            end = yield from _conv(f"{module}.{one.name}", image, one.n_out, one.kernel, one.stride, padding)
            ends.append(end)
        image = joined(ends)
    return image


def _module(name: str, image: Image, branches: tuple[Branch, ...], *, pooled: bool = False) -> Block:
    """`pooled`: one more branch is the input, pooled with stride 2."""
    ends = []
    for branch in branches:
        end = yield from _branch(name, image, branch)
        ends.append(end)
    return joined([*ends, image.windowed(3, 2)] if pooled else ends)


def _require_heads(network: str, n_heads: int, most: int) -> None:
    if n_heads not in (0, most):
        raise InputError(f"{network} has {format_count(most, 'auxiliary head')}, or 0 without; {n_heads} was asked for")


def googlenet(auxiliary_heads: int = 2) -> Workload:
    """GoogLeNet (Inception v1), with batch normalisation; its two auxiliary heads are there in training."""
    _require_heads("googlenet", auxiliary_heads, 2)
    source = "Szegedy et al. 2015, table 1; names of torchvision.models.googlenet, 3x3 for 5x5 as there"
    return Workload("googlenet", tuple(_googlenet(auxiliary_heads > 0)), source=source)


GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each module: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; after the pooling."""


def _googlenet(with_heads: bool) -> Layers:
    image = yield from _conv("conv1", Image(3, 224, 224), 64, 7, 2, 3)
    image = yield from _conv("conv2", image.pooled_up(3, 2), 64)
    image = yield from _conv("conv3", image, 192, 3, 1, 1)
    image = image.pooled_up(3, 2)
    for name, (one, three_in, three, five_in, five, pool) in GOOGLENET.items():
        branches: tuple[Branch, ...] = (
            (Conv("branch1", one),),
            (Conv("branch2.0", three_in), Conv("branch2.1", three, 3)),
            (Conv("branch3.0", five_in), Conv("branch3.1", five, 3)),
            (Conv("branch4.1", pool),),
        )
        image = yield from _module(f"inception{name}", image, branches)
        if with_heads and name in ("4a", "4d"):
            yield from _googlenet_head("aux1" if name == "4a" else "aux2", image.channels)
        if name in ("3b", "4e"):
            image = image.pooled_up(3 if name == "3b" else 2, 2)
    yield from linear("fc", image.channels, 1000)


def _googlenet_head(name: str, n_channels: int) -> Layers:
    image = yield from _conv(f"{name}.conv", Image(n_channels, 4, 4), 128)
    yield from linear(f"{name}.fc1", image.n_elements, 1024)
    yield from linear(f"{name}.fc2", 1024, 1000)


def inception_v3(auxiliary_heads: int = 1) -> Workload:
    """Inception-v3 on 299x299 images; its auxiliary head is there in training."""
    _require_heads("inception_v3", auxiliary_heads, 1)
    source = "Szegedy et al. 2016, table 1; names of torchvision.models.inception_v3"
    return Workload("inception_v3", tuple(_inception_v3(auxiliary_heads > 0)), source=source)


def _inception_v3(with_head: bool) -> Layers:
    image = yield from _conv("Conv2d_1a_3x3", Image(3, 299, 299), 32, 3, 2)
    image = yield from _conv("Conv2d_2a_3x3", image, 32, 3)
    image = yield from _conv("Conv2d_2b_3x3", image, 64, 3, 1, 1)
    image = yield from _conv("Conv2d_3b_1x1", image.windowed(3, 2), 80)
    image = yield from _conv("Conv2d_4a_3x3", image, 192, 3)
    image = image.windowed(3, 2)
    for letter, n_pooled in {"b": 32, "c": 64, "d": 64}.items():
        image = yield from _module(f"Mixed_5{letter}", image, _fives(n_pooled))
    image = yield from _module("Mixed_6a", image, TO_17, pooled=True)
    for letter, n_inner in {"b": 128, "c": 160, "d": 160, "e": 192}.items():
        image = yield from _module(f"Mixed_6{letter}", image, _sevens(n_inner))
    if with_head:
        yield from _inception_head(image)
    image = yield from _module("Mixed_7a", image, TO_8, pooled=True)
    for letter in "bc":
        image = yield from _module(f"Mixed_7{letter}", image, LAST)
    yield from linear("fc", image.channels, 1000)


def _inception_head(image: Image) -> Layers:
    image = yield from _conv("AuxLogits.conv0", image.windowed(5, 3), 128)
    image = yield from _conv("AuxLogits.conv1", image, 768, 5)
    yield from linear("AuxLogits.fc", image.channels, 1000)


def _fives(n_pooled: int) -> tuple[Branch, ...]:
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, 5)),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3)),
        (Conv("branch_pool", n_pooled),),
    )


def _sevens(n_inner: int) -> tuple[Branch, ...]:
    across, down = (1, 7), (7, 1)
    turns = (("2", n_inner, down), ("3", n_inner, across), ("4", n_inner, down), ("5", 192, across))
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", n_inner), Conv("branch7x7_2", n_inner, across), Conv("branch7x7_3", 192, down)),
        (Conv("branch7x7dbl_1", n_inner), *(Conv(f"branch7x7dbl_{word}", n, kernel) for word, n, kernel in turns)),
        (Conv("branch_pool", 192),),
    )


TO_17: tuple[Branch, ...] = (
    (Conv("branch3x3", 384, 3, 2),),
    (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, 3), Conv("branch3x3dbl_3", 96, 3, 2)),
)
TO_8: tuple[Branch, ...] = (
    (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, 3, 2)),
    (
        Conv("branch7x7x3_1", 192),
        Conv("branch7x7x3_2", 192, (1, 7)),
        Conv("branch7x7x3_3", 192, (7, 1)),
        Conv("branch7x7x3_4", 192, 3, 2),
    ),
)


def _split(name: str) -> tuple[Conv, ...]:
    """A 3x3 as 1x3 and 3x1 side by side."""
    return (Conv(f"{name}a", 384, (1, 3)), Conv(f"{name}b", 384, (3, 1)))


LAST: tuple[Branch, ...] = (
    (Conv("branch1x1", 320),),
    (Conv("branch3x3_1", 384), _split("branch3x3_2")),
    (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, 3), _split("branch3x3dbl_3")),
    (Conv("branch_pool", 192),),
)
