"""A recorded step of training as a workload: its collectives, and a layer for each gradient that was exchanged."""

from __future__ import annotations

from collections.abc import Sequence

from commsim.errors import InputError
from experiments.workloads.workload import BITS_OF_DTYPE, Layer, Recorded, Tensor, Workload

OF_GRADIENTS = ("allreduce", "reduce_scatter")
"""Collectives whose vectors are gradients; others move buffers (broadcast) or parameters (allgather)."""

COLLECTIVES = {
    "allreduce": "allreduce",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "allgather": "allgather",
    "reducescatter": "reduce_scatter",
    "alltoall": "alltoall",
    "alltoallv": "alltoall",
    "gather": "gather",
    "scatter": "scatter",
    "barrier": "barrier",
}
"""The frameworks' words without underscores, and ours."""


def collective_of(word: str) -> str | None:
    """Our word for a framework's: ``_reduce_scatter_base_`` is reduce_scatter; None for what is no collective."""
    plain = word.lower().replace("_", "").replace("-", "")
    for ending in ("coalesced", "base", "block", "intotensor", "tensor", "single"):
        plain = plain.removesuffix(ending)
    return COLLECTIVES.get(plain)


def recorded_workload(
    name: str,
    recorded: Sequence[Recorded],
    source: str,
    *,
    forward_s: float | None = None,
    backward_begin_s: float = 0.0,
    backward_end_s: float | None = None,
) -> Workload:
    """The workload of a recorded step.

    Parameters
    ----------
    name : str
        The file.
    recorded : sequence of Recorded
        In the order in which they were asked for.
    source : str
    forward_s : float, optional
        Of the whole forward pass.
    backward_begin_s, backward_end_s : float, optional
        From the step's begin. The time from one gradient's readiness to the next is its layer's backward pass; the
        last layer's lasts until the end.

    Raises
    ------
    InputError
        If nothing that was recorded is a gradient.
    """
    sent = sorted((one for one in recorded if one.collective in OF_GRADIENTS), key=lambda one: one.ready_s)
    if not sent:
        raise InputError(f"{name}: no {' or '.join(OF_GRADIENTS)} was recorded, so no gradient is known")
    layers, before_s = [], backward_begin_s
    for number, one in enumerate(sent):
        until_s = backward_end_s if number == len(sent) - 1 and backward_end_s is not None else one.ready_s
        layers.append(_layer(one, number, max(until_s, one.ready_s) - min(before_s, one.ready_s)))
        before_s = one.ready_s
    if forward_s is not None:
        layers.append(Layer("forward", forward_s=forward_s, backward_s=0.0))
    return Workload(name, tuple(reversed(layers)), "batch", source, counts_flops=False, recorded=tuple(recorded))


def _layer(one: Recorded, number: int, backward_s: float) -> Layer:
    """One gradient, as long as what was sent; its forward pass is not told apart from the others'."""
    name = one.name or f"bucket{number}"
    n_elements = one.n_bytes * 8 // BITS_OF_DTYPE[one.dtype]
    return Layer(name, (Tensor(name, (n_elements,), one.dtype),), forward_s=0.0, backward_s=backward_s)
