"""Policy: how a framework exchanges gradients. The type; the policies are in the other files of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from commsim.errors import InputError, unknown_name
from experiments.policies.backends import BACKENDS, Backend
from experiments.policies.step import Call, Compute, numpy_name
from experiments.workloads.workload import BITS_OF_DTYPE

Calls = Callable[[Compute], list[Call]]


@dataclass(frozen=True)
class Policy:
    """What is sent when.

    Attributes
    ----------
    name : str
        The spec that makes it again.
    emit : callable
        From a step's compute to its calls.
    source : str
        Paper, document or code that says so.
    backend : Backend
        What carries the calls.
    n_streams : int
        Calls of one stream that may be on their way at once.
    n_passes : int
        Passes whose gradients are accumulated before they are exchanged.
    wire : str or None
        Type in which gradients travel; None: their own.
    sharded : frozenset of str
        Of "optimizer", "gradients", "parameters": what each rank keeps only its share of.
    tuned : callable or None
        From a latency and a bandwidth to the policy with its open parameters chosen for them.
    """

    name: str
    emit: Calls
    source: str
    backend: Backend = BACKENDS["nccl"]
    n_streams: int = 1
    n_passes: int = 1
    wire: str | None = None
    sharded: frozenset[str] = frozenset()
    tuned: Callable[[float, float], Policy] | None = None

    def __post_init__(self) -> None:
        if self.n_streams < 1 or self.n_passes < 1:
            raise InputError(f"{self.name}: streams={self.n_streams} and accumulate={self.n_passes} must be at least 1")
        if self.wire is not None and self.wire not in BITS_OF_DTYPE:
            raise unknown_name("type to travel in:", self.wire, BITS_OF_DTYPE)

    def calls(self, compute: Compute) -> tuple[Call, ...]:
        """The calls of a step, in the order in which they become ready.

        Parameters
        ----------
        compute : Compute
            Accumulates as many passes as the policy says.
        """
        if compute.n_passes != self.n_passes:
            compute = compute.accumulating(self.n_passes)
        found = self.emit(compute)
        return tuple(found if self.wire is None else [_in_dtype(call, self.wire) for call in found])


def _in_dtype(call: Call, wire: str) -> Call:
    """A call of floats in another type."""
    bits = BITS_OF_DTYPE[call.dtype]
    if not call.dtype.startswith("float") or BITS_OF_DTYPE[wire] >= bits:
        return call
    return replace(call, n_bytes=call.n_bytes * BITS_OF_DTYPE[wire] // bits, dtype=numpy_name(wire))
