"""The vectors that a policy's calls send, and the places in them where gradients are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from collectives.operations import Array
from commsim.collective import collective_named
from commsim.errors import InputError, RefusedError
from commsim.layout import Layout
from experiments.exchange.step import Gradients
from experiments.policies import Call, Policy
from experiments.policies.step import numpy_name
from experiments.workloads import Tensor, Workload

REDUCING = ("allreduce", "reduce_scatter", "reduce")


Members = Mapping[str, tuple[int, int]]
"""Of each group of ranks: this rank's place in it, and how many it has."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """A call with its vector.

    Attributes
    ----------
    call : Call
    buffer : array (n_elements,)
        What the call sends, or this rank's share of it.
    vector : array
        All that its tensors need, one after the other: calls that send parts of it, and those that follow, share it.
    """

    call: Call
    buffer: Array
    vector: Array


def buckets(policy: Policy, calls: Sequence[Call], members: Members) -> tuple[Bucket, ...]:
    """A vector for each call; those that follow a call go on with its vector, those with parts of a tensor share one.

    Raises
    ------
    RefusedError
        For calls that a step has no place for.
    """
    held: list[Bucket] = []
    parts: dict[tuple[str, ...], tuple[Array, int]] = {}
    for call in calls:
        if collective_named(call.collective).has_output:
            raise RefusedError(f"policy {policy.name!r} sends by {call.collective}, which a step has no place for")
        if call.follows is not None and held[call.follows].call.tensors == call.tensors:
            before = held[call.follows]
            whole = before.buffer if before.call.follows is None else held[before.call.follows].buffer
            held.append(Bucket(call, own_block(whole, members["node"]) if call.divided else whole, before.vector))
            continue
        n = _n_elements(call, members[call.group][1])
        together = sum(_n_elements(one, 1) for one in calls if _same_tensors(one, call))
        if together <= n:
            vector = np.zeros(n, call.dtype)
            held.append(Bucket(call, vector, vector))
            continue
        vector, begin = parts.get(call.tensors, (np.zeros(together, call.dtype), 0))
        parts[call.tensors] = vector, begin + n
        held.append(Bucket(call, vector[begin : begin + n], vector))
    return tuple(held)


def _same_tensors(one: Call, other: Call) -> bool:
    """Whether both begin to send the same tensors the same way."""
    keys = ("tensors", "collective", "dtype", "each", "after", "before")
    return one.follows is None and bool(one.tensors) and all(getattr(one, k) == getattr(other, k) for k in keys)


def own_block(vector: Array, place: tuple[int, int]) -> Array:
    """The share of a vector that a reduce_scatter leaves at a rank of so many."""
    rank, size = place
    offsets = Layout(len(vector), size, vector.itemsize, size).offsets
    return vector[offsets[rank] : offsets[rank + 1]]


def _n_elements(call: Call, n_ranks: int) -> int:
    return call.n_bytes * (n_ranks if call.each else 1) // np.dtype(call.dtype).itemsize


def places(workload: Workload, held: Sequence[Bucket]) -> Gradients:
    """Where gradients are written: in the first vector that sums them up, whole and in their order."""
    found: dict[str, Array] = {}
    tensors = {tensor.name: tensor for tensor in workload.gradients}
    for bucket in held:
        carried = [tensors[name] for name in bucket.call.tensors]
        whole = sum(tensor.n_elements for tensor in carried) == len(bucket.vector)
        if bucket.call.collective not in REDUCING or not whole:
            continue
        end = 0
        for tensor in carried:
            begin, end = end, end + tensor.n_elements
            found.setdefault(tensor.name, bucket.vector[begin:end].reshape(tensor.shape))
    return found


def numpy_type(tensor: Tensor) -> np.dtype[Any]:
    """The type of numpy's in which a gradient is kept."""
    return np.dtype(numpy_name(tensor.dtype))


def require_learning(policy: Policy, workload: Workload, held: Sequence[Bucket]) -> None:
    """Refuse a policy after which a rank does not hold every gradient summed up over all ranks.

    Raises
    ------
    RefusedError
    """
    summed = [
        bucket
        for place, bucket in enumerate(held)
        if bucket.call.follows is None and not bucket.call.each and _chain(held, place) in SUMMING
    ]
    missing = [tensor.name for tensor in workload.gradients if tensor.name not in places(workload, summed)]
    if missing:
        raise RefusedError(
            f"policy {policy.name!r} leaves {missing[0]} without an allreduce of its whole gradient; a network that "
            "learns here takes ddp, horovod, per_tensor, one_bucket, merged …"
        )


SUMMING = {
    (("allreduce", "data"),),
    (("reduce_scatter", "data"), ("allgather", "data")),
    (("reduce_scatter", "node"), ("allreduce", "across"), ("allgather", "node")),
}
"""Calls, each following the one before, after which every rank has the sum over all ranks."""


def _chain(held: Sequence[Bucket], place: int) -> tuple[tuple[str, str], ...]:
    """Collective and group of a call and of those that follow it."""
    found = []
    number: int | None = place
    while number is not None:
        found.append((held[number].call.collective, held[number].call.group))
        number = next((later for later, one in enumerate(held) if one.call.follows == number), None)
    return tuple(found)


def require_memory(n_bytes: int, name: str, memory_bytes: int) -> None:
    """Refuse vectors that do not fit into the ranks' share of the host's memory.

    Raises
    ------
    InputError
    """
    if 3 * n_bytes > memory_bytes:  # vectors, scratch of the algorithm, arrays that check it
        raise InputError(
            f"{name}: {n_bytes / 1e9:.3g} GB of gradients need 3 times as much on each rank, and it has "
            f"{memory_bytes / 1e9:.3g} GB; take a smaller network, or a smaller type"
        )
