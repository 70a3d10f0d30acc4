"""How PyTorch's DistributedDataParallel cuts gradients into buckets, each of which is one allreduce."""

from __future__ import annotations

from collections.abc import Sequence

from commsim.errors import InputError
from experiments.workloads.workload import Tensor, Workload

FIRST_CAP_BYTES = 2**20
CAP_BYTES = 25 * 2**20
"""The defaults of ``bucket_cap_mb`` and of the first bucket (torch.distributed, ``_DEFAULT_FIRST_BUCKET_BYTES``)."""


def buckets(
    workload: Workload, cap_bytes: int = CAP_BYTES, first_cap_bytes: int = FIRST_CAP_BYTES
) -> tuple[tuple[Tensor, ...], ...]:
    """The gradients of each bucket, in the order in which they are sent.

    The rule of ``_compute_bucket_assignment_by_size``: walk the gradients backwards, put each into the open bucket of
    its type, and close a bucket that has reached its cap. So the tensor that closes a bucket may make it much larger.
    A run buckets so from its second iteration on; its first was observed to send everything at once.

    Raises
    ------
    InputError
        For a cap that is not positive.
    """
    caps = (first_cap_bytes, cap_bytes)
    if min(caps) < 1:
        raise InputError(f"a bucket's cap is {min(caps)} bytes; give at least 1")
    done: list[list[tuple[int, Tensor]]] = []
    opened: dict[str, list[tuple[int, Tensor]]] = {}
    n_closed: dict[str, int] = {}
    for index, tensor in enumerate(reversed(workload.gradients)):
        bucket = opened.setdefault(tensor.dtype, [])
        bucket.append((index, tensor))
        if sum(one.n_bytes for _, one in bucket) >= caps[min(n_closed.get(tensor.dtype, 0), 1)]:
            done.append(opened.pop(tensor.dtype))
            n_closed[tensor.dtype] = n_closed.get(tensor.dtype, 0) + 1
    done.extend(opened.values())
    return tuple(tuple(tensor for _, tensor in bucket) for bucket in sorted(done, key=lambda bucket: bucket[0][0]))


def bucket_bytes(
    workload: Workload, cap_bytes: int = CAP_BYTES, first_cap_bytes: int = FIRST_CAP_BYTES
) -> tuple[int, ...]:
    """Bytes of each bucket of :func:`buckets`."""
    return tuple(_n_bytes(bucket) for bucket in buckets(workload, cap_bytes, first_cap_bytes))


def _n_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.n_bytes for tensor in tensors)
