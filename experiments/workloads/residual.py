"""Residual networks: ResNet-18, 50, 101, 152."""

from __future__ import annotations

from experiments.workloads.layers import Block, Image, Layers, linear, normalised
from experiments.workloads.workload import Workload


def resnet18() -> Workload:
    """ResNet-18."""
    return _resnet(18, (2, 2, 2, 2))


def resnet50() -> Workload:
    """ResNet-50 v1.5: the stride is in the 3x3 convolution."""
    return _resnet(50, (3, 4, 6, 3))


def resnet101() -> Workload:
    """ResNet-101 v1.5."""
    return _resnet(101, (3, 4, 23, 3))


def resnet152() -> Workload:
    """ResNet-152 v1.5."""
    return _resnet(152, (3, 8, 36, 3))


def _resnet(depth: int, blocks: tuple[int, ...]) -> Workload:
    name = f"resnet{depth}"
    source = f"He, Zhang, Ren, Sun 2016, table 1; names of torchvision.models.{name}"
    return Workload(name, tuple(_layers(blocks, with_bottlenecks=depth >= 50)), source=source)


def _layers(blocks: tuple[int, ...], with_bottlenecks: bool) -> Layers:
    image = yield from normalised(("conv1", "bn1"), Image(3, 224, 224), 64, 7, stride=2, padding=3)
    image = image.windowed(3, 2, padding=1)
    kernels, growth = ((1, 3, 1), 4) if with_bottlenecks else ((3, 3), 1)
    for stage, n_blocks in enumerate(blocks):
        for index in range(n_blocks):
            name, stride = f"layer{stage + 1}.{index}", 2 if stage > 0 and index == 0 else 1
            image = yield from _block(name, image, 64 * 2**stage, kernels, growth, stride)
    yield from linear("fc", image.channels, 1000)


def _block(name: str, image: Image, width: int, kernels: tuple[int, ...], growth: int, stride: int) -> Block:
    """Convolutions, the last one `growth` times as wide; the shortcut is projected where the extent changes."""
    out, strided = image, kernels.index(3)
    for index, kernel in enumerate(kernels):
        n_out = width * growth if index == len(kernels) - 1 else width
        names = (f"{name}.conv{index + 1}", f"{name}.bn{index + 1}")
        step = stride if index == strided else 1
        out = yield from normalised(names, out, n_out, kernel, stride=step, padding=kernel // 2)
    if out != image:
        yield from normalised((f"{name}.downsample.0", f"{name}.downsample.1"), image, width * growth, 1, stride=stride)
    return out
