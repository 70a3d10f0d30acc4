"""The vectors that a policy's calls send, and the places in them where gradients are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from collectives.operations import Array
from commsim.collective import collective_named
from commsim.errors import InputError, RefusedError
from experiments.exchange.step import Gradients
from experiments.policies import Call, Policy
from experiments.policies.step import numpy_name
from experiments.workloads import Tensor, Workload

REDUCING = ("allreduce", "reduce_scatter", "reduce")


@dataclass(frozen=True, eq=False)
class Bucket:
    """A call with its vector: what it carries lies in it tensor after tensor."""

    call: Call
    buffer: Array


def buckets(policy: Policy, calls: Sequence[Call], n_ranks: int) -> tuple[Bucket, ...]:
    """A vector for each call.

    Raises
    ------
    RefusedError
        For calls of parts of the ranks.
    """
    for call in calls:
        if call.group != "data" or call.divided:
            raise RefusedError(
                f"policy {policy.name!r} has calls within and across nodes; run one over all ranks with an algorithm "
                "that knows nodes: -a node_split"
            )
        if collective_named(call.collective).has_output:
            raise RefusedError(f"policy {policy.name!r} sends by {call.collective}, which a step has no place for")
    return tuple(Bucket(call, np.zeros(_n_elements(call, n_ranks), call.dtype)) for call in calls)


def _n_elements(call: Call, n_ranks: int) -> int:
    return call.n_bytes * (n_ranks if call.each else 1) // np.dtype(call.dtype).itemsize


def places(workload: Workload, held: Sequence[Bucket]) -> Gradients:
    """Where gradients are written: in the first vector that sums them up, whole and in their order."""
    found: dict[str, Array] = {}
    tensors = {tensor.name: tensor for tensor in workload.gradients}
    for bucket in held:
        carried = [tensors[name] for name in bucket.call.tensors]
        whole = sum(tensor.n_elements for tensor in carried) == len(bucket.buffer)
        if bucket.call.collective not in REDUCING or not whole:
            continue
        end = 0
        for tensor in carried:
            begin, end = end, end + tensor.n_elements
            found.setdefault(tensor.name, bucket.buffer[begin:end].reshape(tensor.shape))
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
    summed = [bucket for bucket in held if bucket.call.collective == "allreduce" and not bucket.call.each]
    missing = [tensor.name for tensor in workload.gradients if tensor.name not in places(workload, summed)]
    if missing:
        raise RefusedError(
            f"policy {policy.name!r} leaves {missing[0]} without an allreduce of its whole gradient; a network that "
            "learns here takes ddp, horovod, per_tensor, one_bucket, merged …"
        )


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
