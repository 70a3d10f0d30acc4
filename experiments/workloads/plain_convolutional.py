"""Networks without branches: a multilayer perceptron, CIFAR10-quick, AlexNet, VGG."""

from __future__ import annotations

from functools import partial
from itertools import chain, pairwise

from commsim.errors import InputError, unknown_name
from experiments.workloads.layers import Image, Layers, convolution, linear
from experiments.workloads.workload import Workload


def mlp(widths: tuple[int, ...] = (784, 300, 100, 10)) -> Workload:
    """Multilayer perceptron of these widths, by default LeCun's for MNIST."""
    if len(widths) < 2 or min(widths) < 1:
        raise InputError(f"mlp:widths={'x'.join(map(str, widths))}: at least an input and an output, none empty")
    layers = (linear(f"fc{number}", *pair) for number, pair in enumerate(pairwise(widths), 1))
    source = "LeCun, Bottou, Bengio, Haffner 1998, section III.C.4 (300-100 hidden units)"
    return Workload("mlp", tuple(chain.from_iterable(layers)), source=source)


def cifar10_quick() -> Workload:
    """CIFAR10-quick of Caffe: three convolutions and two products, 32x32 images."""
    source = "Caffe, examples/cifar10/cifar10_quick_train_test.prototxt"
    return Workload("cifar10_quick", tuple(_cifar10_quick()), source=source)


def _cifar10_quick() -> Layers:
    image = Image(3, 32, 32)
    for number, n_out in enumerate((32, 32, 64), 1):
        image = yield from convolution(f"conv{number}", image, n_out, 5, padding=2)
        image = image.pooled_up(3, 2)
    yield from linear("ip1", image.n_elements, 64)
    yield from linear("ip2", 64, 10)


def alexnet(variant: str = "torchvision") -> Workload:
    """AlexNet: `variant` is torchvision's (61.10 M parameters) or caffe's, with groups (60.97 M)."""
    variants = {
        "torchvision": (_alexnet_torchvision, "Krizhevsky 2014 (one weird trick); names of torchvision.models.alexnet"),
        "caffe": (_alexnet_caffe, "Krizhevsky, Sutskever, Hinton 2012; names of Caffe's bvlc_alexnet"),
    }
    if variant not in variants:
        raise unknown_name("variant of alexnet:", variant, variants)
    layers, source = variants[variant]
    return Workload("alexnet", tuple(layers()), source=source)


def _alexnet_torchvision() -> Layers:
    image = yield from convolution("features.0", Image(3, 224, 224), 64, 11, stride=4, padding=2)
    image = yield from convolution("features.3", image.windowed(3, 2), 192, 5, padding=2)
    image = image.windowed(3, 2)
    for index, n_out in {6: 384, 8: 256, 10: 256}.items():
        image = yield from convolution(f"features.{index}", image, n_out, 3, padding=1)
    yield from _classifier(("classifier.1", "classifier.4", "classifier.6"), image.windowed(3, 2))


def _alexnet_caffe() -> Layers:
    image = yield from convolution("conv1", Image(3, 227, 227), 96, 11, stride=4)
    image = yield from convolution("conv2", image.windowed(3, 2), 256, 5, padding=2, groups=2)
    small = partial(convolution, kernel=3, padding=1)
    image = yield from small("conv3", image.windowed(3, 2), 384)
    image = yield from small("conv4", image, 384, groups=2)
    image = yield from small("conv5", image, 256, groups=2)
    yield from _classifier(("fc6", "fc7", "fc8"), image.windowed(3, 2))


def _classifier(names: tuple[str, str, str], image: Image) -> Layers:
    """The three products that AlexNet and VGG end with."""
    for name, n_in, n_out in zip(names, (image.n_elements, 4096, 4096), (4096, 4096, 1000), strict=True):
        yield from linear(name, n_in, n_out)


def vgg16() -> Workload:
    """VGG-16, configuration D."""
    return _vgg("vgg16", (2, 2, 3, 3, 3))


def vgg19() -> Workload:
    """VGG-19, configuration E."""
    return _vgg("vgg19", (2, 2, 4, 4, 4))


def _vgg(name: str, depths: tuple[int, ...]) -> Workload:
    source = f"Simonyan and Zisserman 2015, table 1; names of torchvision.models.{name}"
    return Workload(name, tuple(_vgg_layers(depths)), source=source)


def _vgg_layers(depths: tuple[int, ...]) -> Layers:
    image, index = Image(3, 224, 224), 0
    for n_out, depth in zip((64, 128, 256, 512, 512), depths, strict=True):
        for _ in range(depth):
            image = yield from convolution(f"features.{index}", image, n_out, 3, padding=1)
            index += 2  # a convolution and its activation
        image, index = image.windowed(2, 2), index + 1  # the pooling
    yield from _classifier(("classifier.0", "classifier.3", "classifier.6"), image)
