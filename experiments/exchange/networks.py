"""Networks of numpy that learn: forward and backward passes, operation by operation, of built-in workloads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from collectives.operations import Array
from experiments.exchange.step import Gradients
from experiments.workloads import Workload


class Part(Protocol):
    """A piece of a network that remembers what its backward pass needs."""

    def forward(self, x: Array) -> Array:
        """What comes out."""

    def backward(self, slope: Array, gradients: Gradients) -> Array:
        """From the slope of the loss by what came out to that by what went in; writes its parameters' gradients."""


class Convolution:
    """Two-dimensional, stride 1: a product with every window of the image."""

    def __init__(self, name: str, weight: Array, bias: Array, padding: int) -> None:
        self._name, self._weight, self._bias, self._padding = name, weight, bias, padding

    def forward(self, x: Array) -> Array:
        """(n, channels, height, width) to (n, filters, height, width)."""
        n_out, _, k, _ = self._weight.shape
        around = ((0, 0), (0, 0), (self._padding, self._padding), (self._padding, self._padding))
        windows = sliding_window_view(np.pad(x, around), (k, k), axis=(2, 3))
        n, _, height, width = windows.shape[:4]
        self._shape = x.shape
        self._rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)
        out = self._rows @ self._weight.reshape(n_out, -1).T + self._bias
        return out.reshape(n, height, width, n_out).transpose(0, 3, 1, 2)

    def backward(self, slope: Array, gradients: Gradients) -> Array:
        """Every window gives back to the pixels that it was made of."""
        n_out, n_in, k, _ = self._weight.shape
        n, _, height, width = slope.shape
        rows = slope.transpose(0, 2, 3, 1).reshape(-1, n_out)
        gradients[f"{self._name}.weight"][...] = (rows.T @ self._rows).reshape(self._weight.shape)
        gradients[f"{self._name}.bias"][...] = rows.sum(axis=0)
        windows = (rows @ self._weight.reshape(n_out, -1)).reshape(n, height, width, n_in, k, k)
        p = self._padding
        padded = np.zeros((n, n_in, self._shape[2] + 2 * p, self._shape[3] + 2 * p), slope.dtype)
        for row, column in itertools.product(range(k), repeat=2):
            padded[:, :, row : row + height, column : column + width] += windows[..., row, column].transpose(0, 3, 1, 2)
        return padded[:, :, p : p + self._shape[2], p : p + self._shape[3]]


class Product:
    """A matrix product of each sample, flattened."""

    def __init__(self, name: str, weight: Array, bias: Array) -> None:
        self._name, self._weight, self._bias = name, weight, bias

    def forward(self, x: Array) -> Array:
        """(n, …) to (n, features)."""
        self._shape, self._x = x.shape, x.reshape(len(x), -1)
        return self._x @ self._weight.T + self._bias

    def backward(self, slope: Array, gradients: Gradients) -> Array:
        """Two products more."""
        gradients[f"{self._name}.weight"][...] = slope.T @ self._x
        gradients[f"{self._name}.bias"][...] = slope.sum(axis=0)
        return (slope @ self._weight).reshape(self._shape)


class Rectifier:
    """max(x, 0)."""

    def forward(self, x: Array) -> Array:
        """Of the same shape."""
        self._positive = x > 0
        return np.where(self._positive, x, 0)

    def backward(self, slope: Array, gradients: Gradients) -> Array:
        """Where it was positive."""
        return np.where(self._positive, slope, 0)


class _Pooling:
    """3x3 windows, stride 2, cut off at the edge, as Caffe's: their pixels one place in all windows after the other."""

    SIZE, STRIDE = 3, 2

    def _places(self, x: Array, beyond: float) -> Iterator[Array]:
        """Pixel (row, column) of every window, for each row and column; views of one padded array."""
        self._shape = x.shape
        height, width = ((extent - self.SIZE + self.STRIDE - 1) // self.STRIDE + 1 for extent in x.shape[2:])
        self._out = (height, width)
        ends = [
            (0, self.STRIDE * (n - 1) + self.SIZE - extent) for n, extent in zip(self._out, x.shape[2:], strict=True)
        ]
        padded = np.pad(x, ((0, 0), (0, 0), *ends), constant_values=beyond)
        yield from self._views(padded)

    def _views(self, padded: Array) -> Iterator[Array]:
        height, width = self._out
        for row, column in itertools.product(range(self.SIZE), repeat=2):
            last_row, last_column = row + self.STRIDE * height, column + self.STRIDE * width
            yield padded[:, :, row : last_row : self.STRIDE, column : last_column : self.STRIDE]

    def _given_back(self, parts: Iterator[Array], slope: Array) -> Array:
        n, channels = self._shape[:2]
        extents = [self.STRIDE * (extent - 1) + self.SIZE for extent in self._out]
        padded = np.zeros((n, channels, *extents), slope.dtype)
        for view, part in zip(self._views(padded), parts, strict=True):
            view += part
        return padded[:, :, : self._shape[2], : self._shape[3]]


class MaximumPooling(_Pooling):
    """The largest pixel of each window, the first of several."""

    def forward(self, x: Array) -> Array:
        """Half the extent."""
        places = np.stack(list(self._places(x, -np.inf)))
        self._largest = places.argmax(axis=0)
        taken: Array = np.take_along_axis(places, self._largest[None], axis=0)[0]
        return taken

    def backward(self, slope: Array, gradients: Gradients) -> Array:
        """To the pixel that was taken."""
        return self._given_back((np.where(self._largest == place, slope, 0) for place in range(self.SIZE**2)), slope)


class MeanPooling(_Pooling):
    """The mean of the pixels of each window that there are."""

    def forward(self, x: Array) -> Array:
        """Half the extent."""
        self._counts = sum(self._places(np.ones((1, 1, *x.shape[2:]), x.dtype), 0.0))
        return np.asarray(sum(self._places(x, 0.0)) / self._counts)

    def backward(self, slope: Array, gradients: Gradients) -> Array:
        """The same share to each."""
        share = slope / self._counts
        return self._given_back(itertools.repeat(share, self.SIZE**2), slope)


class _Sum:
    """Adds what is written to it."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __setitem__(self, key: Any, value: Array) -> None:
        self._array[key] += value


class Added(Mapping[str, Any]):
    """Places of gradients that add up what is written, instead of taking it."""

    def __init__(self, gradients: Gradients) -> None:
        self._gradients = gradients

    def __getitem__(self, name: str) -> Any:
        return _Sum(self._gradients[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._gradients)

    def __len__(self) -> int:
        return len(self._gradients)


class NumpyStep:
    """A network that learns: its layers forwards, backwards, and a step of gradient descent.

    Parameters
    ----------
    workload : Workload
        ``cifar10_quick`` or ``mlp``.
    batch : callable
        Gives the next images and labels of this rank, and by what the sum over its samples is divided.
    learning_rate : float
    seed : int
        Of the weights: alike on all ranks.
    n_passes : int
        That share the samples of a step: their gradients are added up.
    """

    def __init__(
        self,
        workload: Workload,
        batch: Callable[[], tuple[Array, Array, int]],
        *,
        learning_rate: float = 0.01,
        seed: int = 0,
        n_passes: int = 1,
    ) -> None:
        self._batch, self._rate, self._n_passes = batch, learning_rate, n_passes
        self.parameters = initial(workload, seed)
        self._blocks = _blocks(workload, self.parameters)
        self._n = len(self._blocks)
        self.losses: list[float] = []

    def begin(self, gradients: Gradients, finished: Callable[[int], None]) -> None:
        """Take the next batch."""
        self._gradients = gradients
        samples, labels, self._n_global = self._batch()
        self._passes = [np.array_split(whole, self._n_passes) for whole in (samples, labels)]
        self.losses.append(0.0)

    def compute(self, operation: int) -> None:
        """A layer forwards, a layer backwards, or the descent."""
        number, place = divmod(operation, 2 * self._n)
        if number == self._n_passes:
            for name, parameter in self.parameters.items():
                parameter -= self._rate * self._gradients[name]
            return
        if place == 0:
            self._x, self._labels = (parts[number] for parts in self._passes)
        if place < self._n:
            for part in self._blocks[place]:
                self._x = part.forward(self._x)
            return
        if place == self._n:
            self._slope = self._loss()
        for part in reversed(self._blocks[2 * self._n - 1 - place]):
            self._slope = part.backward(self._slope, Added(self._gradients) if number else self._gradients)

    def _loss(self) -> Array:
        """Cross entropy of this rank's samples, as its share of the global mean; its slope."""
        scores = self._x - self._x.max(axis=1, keepdims=True)
        logarithms = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        rows = np.arange(len(scores))
        self.losses[-1] += float(-logarithms[rows, self._labels].sum() / self._n_global)
        slope = np.exp(logarithms)
        slope[rows, self._labels] -= 1
        return np.asarray(slope / self._n_global)


def initial(workload: Workload, seed: int) -> dict[str, Array]:
    """Weights drawn normally with the variance 2/inputs (He et al. 2015), biases zero."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in workload.gradients:
        drawn = rng.standard_normal(tensor.shape) * np.sqrt(2 / np.prod(tensor.shape[1:]))
        found[tensor.name] = (drawn if len(tensor.shape) > 1 else np.zeros(tensor.shape)).astype(tensor.dtype)
    return found


def can_learn(workload: Workload) -> bool:
    """Whether it is one of the networks of this file."""
    return _kind(workload) in _BLOCKS


def _kind(workload: Workload) -> str:
    return workload.name.partition(":")[0]


def _blocks(workload: Workload, parameters: dict[str, Array]) -> list[Sequence[Part]]:
    return _BLOCKS[_kind(workload)](workload, parameters)


def _cifar10_quick(workload: Workload, parameters: dict[str, Array]) -> list[Sequence[Part]]:
    """Caffe's cifar10_quick_train_test.prototxt: the first pooling comes before its rectifier, the others after."""
    of = {layer.name: [parameters[tensor.name] for tensor in layer.tensors] for layer in workload.layers}
    convolutions = [Convolution(name, of[name][0], of[name][1], padding=2) for name in ("conv1", "conv2", "conv3")]
    return [
        (convolutions[0], MaximumPooling(), Rectifier()),
        (convolutions[1], Rectifier(), MeanPooling()),
        (convolutions[2], Rectifier(), MeanPooling()),
        (Product("ip1", *of["ip1"]),),
        (Product("ip2", *of["ip2"]),),
    ]


def _mlp(workload: Workload, parameters: dict[str, Array]) -> list[Sequence[Part]]:
    """Products with rectifiers between them."""
    products = [Product(one.name, *(parameters[t.name] for t in one.tensors)) for one in workload.layers]
    return [(Rectifier(), one) if number else (one,) for number, one in enumerate(products)]


_BLOCKS: dict[str, Callable[[Workload, dict[str, Array]], list[Sequence[Part]]]] = {
    "cifar10_quick": _cifar10_quick,
    "mlp": _mlp,
}


class GeneratedData:
    """Samples of classes, each a pattern of its own with noise: the same on every rank, which takes its share.

    Parameters
    ----------
    workload : Workload
    batch : int
        Samples of all ranks together.
    rank, n_ranks : int
    seed : int
    """

    def __init__(self, workload: Workload, batch: int, rank: int, n_ranks: int, seed: int = 0) -> None:
        self._shape = (3, 32, 32) if _kind(workload) == "cifar10_quick" else workload.gradients[0].shape[1:]
        self._dtype, self._n, self._seed = workload.gradients[0].dtype, batch, seed
        self._own = np.array_split(np.arange(batch), n_ranks)[rank]
        n_classes = workload.gradients[-1].shape[0]
        self._patterns = np.random.default_rng([seed, 0]).standard_normal((n_classes, *self._shape))
        self._number = 0

    def __call__(self) -> tuple[Array, Array, int]:
        """The next batch: this rank's samples, their labels, samples of all ranks."""
        self._number += 1
        rng = np.random.default_rng([self._seed, self._number])
        labels = rng.integers(0, len(self._patterns), self._n)
        noise = rng.standard_normal((self._n, *self._shape))
        samples = (self._patterns[labels] / 2 + noise)[self._own]
        return samples.astype(self._dtype), labels[self._own], self._n
