"""Every rank keeps the whole model: allreduce in some cut and order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from commsim.errors import InputError
from experiments.policies.policy import Policy
from experiments.policies.step import Call, Compute, Gradient, numpy_name
from experiments.workloads import ddp as ddp_buckets

MIB = 2**20


def positive(policy: str, **values: float) -> None:
    """Refuse a parameter that is not above zero."""
    for key, value in values.items():
        if not value > 0:
            raise InputError(f"policy {policy!r}: {key}={value:g} must be above zero")


def reduced(compute: Compute, groups: Iterable[Sequence[Gradient]]) -> list[Call]:
    """An allreduce for each group of gradients."""
    return [compute.call("allreduce", group) for group in groups if group]


def by_dtype(gradients: Sequence[Gradient]) -> list[list[Gradient]]:
    """Gradients of one type each, in their order."""
    found: dict[str, list[Gradient]] = {}
    for one in gradients:
        found.setdefault(one.tensor.dtype, []).append(one)
    return list(found.values())


def ddp(bucket_bytes: int = 25 * MIB, first_bytes: int = MIB, buffers: int = 1, iteration: int = 2) -> Policy:
    """PyTorch's DistributedDataParallel: buckets backwards, and a broadcast of the buffers before each forward pass.

    `iteration` 1 is the first, which was observed to send everything at once; `buffers=0` is broadcast_buffers=False.
    """
    positive("ddp", bucket=bucket_bytes, first=first_bytes, iteration=iteration)

    def emit(compute: Compute) -> list[Call]:
        gradients = {one.tensor.name: one for one in compute.gradients}
        cut = ddp_buckets.buckets(compute.workload, bucket_bytes, first_bytes)
        groups = [[gradients[tensor.name] for tensor in bucket] for bucket in cut]
        groups = by_dtype(compute.gradients) if iteration == 1 else groups
        return [*(_buffers(compute) if buffers else []), *reduced(compute, groups)]

    return Policy("ddp", emit, "Li et al., PyTorch Distributed, VLDB 2020; torch.nn.parallel.DistributedDataParallel")


def _buffers(compute: Compute) -> list[Call]:
    """One broadcast for each type of buffer, waited for by the first layer."""
    n_bytes: dict[str, int] = {}
    for tensor in compute.workload.buffers:
        n_bytes[tensor.dtype] = n_bytes.get(tensor.dtype, 0) + tensor.n_bytes
    return [
        compute.call("broadcast", (), n_bytes=size, dtype=numpy_name(dtype), before=compute.forward(0))
        for dtype, size in n_bytes.items()
    ]


def horovod(fusion_bytes: int = 64 * MIB, cycle_s: float = 5e-3, negotiation_s: float = 0.0) -> Policy:
    """Horovod: what has become ready within a cycle is fused, up to the threshold; larger tensors go alone.

    Cycles count from the beginning of the backward pass. `negotiation` is what agreeing takes, once a cycle.
    """
    positive("horovod", fusion=fusion_bytes, cycle=cycle_s)

    def emit(compute: Compute) -> list[Call]:
        begin_s = compute.end_s(compute.backward(compute.n_layers - 1) - 1)
        ticks = itertools.groupby(compute.gradients, lambda one: math.ceil((one.ready_s - begin_s) / cycle_s))
        found = []
        for tick, ready in ticks:
            for group in _fused(by_dtype(list(ready)), fusion_bytes):
                delay_s = begin_s + tick * cycle_s + negotiation_s - max(one.ready_s for one in group)
                found.append(compute.call("allreduce", group, delay_s=max(delay_s, 0.0)))
        return found

    return Policy("horovod", emit, "Sergeev, Del Balso, arXiv:1802.05799; HOROVOD_FUSION_THRESHOLD, HOROVOD_CYCLE_TIME")


def _fused(groups: Iterable[list[Gradient]], fusion_bytes: int) -> Iterable[list[Gradient]]:
    """Each group cut where the next tensor would not fit any more."""
    for group in groups:
        held: list[Gradient] = []
        for one in group:
            if held and sum(other.tensor.n_bytes for other in held) + one.tensor.n_bytes > fusion_bytes:
                yield held
                held = []
            held.append(one)
        yield held


def per_tensor() -> Policy:
    """Wait-free backpropagation: every gradient for itself, as soon as it is there."""

    def emit(compute: Compute) -> list[Call]:
        return reduced(compute, ([one] for one in compute.gradients))

    return Policy("per_tensor", emit, "Zhang et al., Poseidon, USENIX ATC 2017, section 3.1")


def one_bucket() -> Policy:
    """All gradients at once after the backward pass."""

    def emit(compute: Compute) -> list[Call]:
        return [compute.call("allreduce", group, after=compute.backward(0)) for group in by_dtype(compute.gradients)]

    return Policy("one_bucket", emit, "bulk-synchronous data parallelism, no overlap")


def merged(latency_s: float | None = None, bandwidth_Bps: float | None = None) -> Policy:
    """MG-WFBP: a gradient waits for the next one where that costs less than a call's latency.

    Without latency and bandwidth those of the system's own allreduce are taken.
    """
    if latency_s is None or bandwidth_Bps is None:
        return Policy("merged", lambda compute: per_tensor().emit(compute), _MERGED, tuned=merged)
    positive("merged", latency=latency_s, bandwidth=bandwidth_Bps)

    def emit(compute: Compute) -> list[Call]:
        return reduced(compute, merged_groups(compute.gradients, latency_s, bandwidth_Bps))

    return Policy("merged", emit, _MERGED)


_MERGED = "Shi, Chu, Li, MG-WFBP, INFOCOM 2019, theorem 1"


def merged_groups(gradients: Sequence[Gradient], latency_s: float, bandwidth_Bps: float) -> list[list[Gradient]]:
    """Gradients that are sent together, by the time when their exchange could begin otherwise."""
    groups: list[list[Gradient]] = []
    free_s, held = 0.0, [gradients[0]]
    for following in gradients[1:]:
        begins_s = max(free_s, held[-1].ready_s)
        if following.ready_s - begins_s < latency_s:
            held.append(following)
            continue
        groups.append(held)
        free_s = begins_s + latency_s + sum(one.tensor.n_bytes for one in held) / bandwidth_Bps
        held = [following]
    return [*groups, held]


def prioritised(partition_bytes: int = 4_096_000, collective: str = "allreduce") -> Policy:
    """ByteScheduler: gradients in parts; those that the next forward pass needs first overtake the others.

    Each layer's next forward pass waits for its own gradients alone. `collective=parameter_server` pushes and pulls.
    """
    positive("prioritised", partition=partition_bytes)
    if collective not in ("allreduce", "parameter_server"):
        raise InputError(f"policy 'prioritised': collective={collective}; use allreduce or parameter_server")
    stages = ("allreduce",) if collective == "allreduce" else ("reduce_scatter", "allgather")

    def emit(compute: Compute) -> list[Call]:
        found: list[Call] = []
        for one in compute.gradients:
            for n_bytes in _parts(one.tensor.n_bytes, partition_bytes):
                for place, stage in enumerate(stages):
                    more = {"follows": len(found) - 1} if place else {}
                    before = compute.next_forward(one.layer)
                    size = {"n_bytes": n_bytes, "before": before, "priority": one.layer}
                    found.append(compute.call(stage, [one], stream=stage, **size, **more))
        return found

    return Policy("prioritised", emit, "Peng et al., ByteScheduler, SOSP 2019; BYTEPS_PARTITION_BYTES of BytePS")


def _parts(n_bytes: int, most: int) -> list[int]:
    """Equal parts, but for whole 8-byte elements, none above `most` by more than that."""
    n = max(1, math.ceil(n_bytes / most))
    each = n_bytes // n // 8 * 8
    return [*([each] * (n - 1)), n_bytes - each * (n - 1)]


def hierarchical(bucket_bytes: int = 25 * MIB) -> Policy:
    """Buckets in three stages, each on a stream of its own: in the nodes, across them, in the nodes again.

    A reduce_scatter in each node, an allreduce of each share across the nodes, an allgather in each node.
    """
    positive("hierarchical", bucket=bucket_bytes)

    def emit(compute: Compute) -> list[Call]:
        found: list[Call] = []
        for call in ddp(bucket_bytes, buffers=0).emit(compute):
            group = [one for one in compute.gradients if one.tensor.name in set(call.tensors)]
            stages = (("reduce_scatter", "node", False), ("allreduce", "across", True), ("allgather", "node", False))
            for place, (stage, who, divided) in enumerate(stages):
                follows = len(found) - 1 if place else None
                more = {"group": who, "divided": divided, "stream": who, "follows": follows}
                found.append(compute.call(stage, group, **more))
        return found

    source = (
        "Jia et al., arXiv:1807.11205, section 3.3; Cho et al., BlueConnect, SysML 2019; HOROVOD_HIERARCHICAL_ALLREDUCE"
    )
    return Policy("hierarchical", emit, source)


def top_k(density: float = 0.001, bucket_bytes: int = 25 * MIB) -> Policy:
    """The largest gradients of each bucket alone, as values and indices: an allgather."""
    positive("top_k", density=density, bucket=bucket_bytes)
    if density > 1:
        raise InputError(f"policy 'top_k': density={density:g} must be at most 1")

    def emit(compute: Compute) -> list[Call]:
        found = []
        for call in ddp(bucket_bytes, buffers=0).emit(compute):
            group = [one for one in compute.gradients if one.tensor.name in set(call.tensors)]
            n_kept = max(1, round(density * sum(one.tensor.n_elements for one in group)))
            found.append(compute.call("allgather", group, n_bytes=8 * n_kept, dtype="int32", each=True))
        return found

    return Policy("top_k", emit, "Lin et al., Deep Gradient Compression, ICLR 2018; 4-byte values and 4-byte indices")


def one_bit(bucket_bytes: int = 25 * MIB) -> Policy:
    """CNTK's 1-bit SGD: each rank sums one stripe of quantised gradients and sends it back quantised."""
    positive("one_bit", bucket=bucket_bytes)

    def emit(compute: Compute) -> list[Call]:
        found: list[Call] = []
        for call in ddp(bucket_bytes, buffers=0).emit(compute):
            group = [one for one in compute.gradients if one.tensor.name in set(call.tensors)]
            n_bytes = math.ceil(sum(one.tensor.n_elements for one in group) / 8)
            size = {"n_bytes": n_bytes, "dtype": "uint8"}
            found.append(compute.call("alltoall", group, **size))
            found.append(compute.call("allgather", group, follows=len(found) - 1, **size))
        return found

    return Policy("one_bit", emit, "Seide et al., 1-bit SGD, Interspeech 2014, section 3")
