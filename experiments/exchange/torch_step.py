"""A PyTorch module that learns on the CPU: its autograd says when each gradient is there (extra ``torch``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from commsim.errors import ExecutionError, InputError
from commsim.spec import split_spec
from experiments.exchange.step import Gradients
from experiments.policies import Compute
from experiments.workloads import Workload
from experiments.workloads.importers.module import made_module


class TorchStep:
    """Forwards with the first operation, backwards with the first of the backward pass.

    The loss is the mean square of what comes out, over all samples of all ranks: any module has one.

    Parameters
    ----------
    spec : str
        ``FILE.py:module=NAME``.
    workload : Workload
        The module's.
    shape : tuple of int
        Of the samples of one rank.
    rank, n_ranks : int
    seed : int
        Of weights (alike on all ranks) and samples.
    """

    def __init__(
        self,
        spec: str,
        workload: Workload,
        shape: tuple[int, ...],
        *,
        rank: int,
        n_ranks: int,
        learning_rate: float = 0.01,
        seed: int = 0,
    ) -> None:
        self._torch = _torch()
        self._torch.set_num_threads(1)
        self._torch.manual_seed(seed)
        path, values = split_spec(spec)
        self._module = made_module(Path(path), values.get("module", "model"))
        nothing = (0.0,) * len(workload.layers)
        self._compute = Compute(workload, nothing, nothing)
        self._samples = self._torch.Generator().manual_seed(1000 * seed + rank)
        self._shape, self._n_ranks, self._rate = shape, n_ranks, learning_rate
        self._owned = Counter(self._compute.layer_of[tensor.name] for tensor in workload.gradients)
        self.losses: list[float] = []
        for name, parameter in self._module.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(partial(self._made, name))

    def begin(self, gradients: Gradients, finished: Callable[[int], None]) -> None:
        """Draw samples."""
        self._gradients, self._finished, self._left = gradients, finished, Counter(self._owned)
        self._x = self._torch.randn(self._shape, generator=self._samples)

    def compute(self, operation: int) -> None:
        """The whole pass with its first operation, or the descent."""
        if operation == 0:
            self._loss = self._module(self._x).float().square().mean() / self._n_ranks
            self.losses.append(float(self._loss.detach()))
        elif operation == self._compute.n_layers:
            self._loss.backward()
        elif operation == self._compute.optimizer:
            with self._torch.no_grad():
                for name, parameter in self._module.named_parameters():
                    if name in self._gradients:
                        parameter -= self._rate * self._torch.from_numpy(self._gradients[name]).to(parameter.dtype)

    def _made(self, name: str, parameter: Any) -> None:
        """A gradient is there: into its place; when its layer has all, the layer is finished."""
        np.copyto(self._gradients[name], parameter.grad.float().numpy(), casting="same_kind")
        parameter.grad = None
        layer = self._compute.layer_of[name]
        self._left[layer] -= 1
        if not self._left[layer]:
            self._finished(self._compute.backward(layer))


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ExecutionError("training a module needs PyTorch: pip install 'commsim[torch]'") from None
    return torch


def sample_shape(text: str | None, batch: int) -> tuple[int, ...]:
    """The shape of a rank's samples from ``3x32x32``.

    Raises
    ------
    InputError
    """
    if text is None:
        raise InputError("a module needs the shape of a sample: --input 3x32x32")
    try:
        extents = tuple(int(part) for part in text.split("x"))
    except ValueError:
        raise InputError(f"--input {text}: the shape of a sample, as 3x32x32") from None
    if min(extents) < 1:
        raise InputError(f"--input {text}: no extent may be less than 1")
    return (batch, *extents)
