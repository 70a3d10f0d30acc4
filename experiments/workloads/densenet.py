"""DenseNet-121."""

from __future__ import annotations

from experiments.workloads.layers import Block, Image, Layers, batch_norm, convolution, joined, linear, normalised
from experiments.workloads.workload import Workload

GROWTH = 32
BOTTLENECK = 4 * GROWTH
BLOCKS = (6, 12, 24, 16)


def densenet121() -> Workload:
    """DenseNet-121: each layer takes all that came before it in its block."""
    source = "Huang, Liu, van der Maaten, Weinberger 2017, table 1; names of torchvision.models.densenet121"
    return Workload("densenet121", tuple(_layers()), source=source)


def _layers() -> Layers:
    stem = ("features.conv0", "features.norm0")
    image = yield from normalised(stem, Image(3, 224, 224), 2 * GROWTH, 7, stride=2, padding=3)
    image = image.windowed(3, 2, padding=1)
    for number, n_layers in enumerate(BLOCKS, 1):
        for index in range(1, n_layers + 1):
            grown = yield from _dense(f"features.denseblock{number}.denselayer{index}", image)
            image = joined((image, grown))
        if number < len(BLOCKS):
            image = yield from _transition(f"features.transition{number}", image)
    yield from batch_norm("features.norm5", image.channels)
    yield from linear("classifier", image.channels, 1000)


def _dense(name: str, image: Image) -> Block:
    """Normalisation comes first here."""
    yield from batch_norm(f"{name}.norm1", image.channels)
    out = yield from normalised((f"{name}.conv1", f"{name}.norm2"), image, BOTTLENECK, 1)
    return (yield from convolution(f"{name}.conv2", out, GROWTH, 3, padding=1, bias=False))


def _transition(name: str, image: Image) -> Block:
    """Half the channels, and half the extent."""
    yield from batch_norm(f"{name}.norm", image.channels)
    out = yield from convolution(f"{name}.conv", image, image.channels // 2, 1, bias=False)
    return out.windowed(2, 2)
