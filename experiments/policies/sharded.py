"""Ranks keep shares: ZeRO, FSDP, parameter servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from commsim.errors import InputError
from experiments.policies.policy import Policy
from experiments.policies.replicated import positive
from experiments.policies.step import BEFORE_ALL, Call, Compute, Gradient, units

ZERO = "Rajbhandari et al., ZeRO, SC 2020, section 5; DeepSpeed's reduce_bucket_size and allgather_bucket_size"
FSDP = "Zhao et al., PyTorch FSDP, VLDB 2023, section 4; torch.distributed.fsdp"


def zero(stage: int = 1, bucket_elements: int = 500_000_000) -> Policy:
    """ZeRO: stage 1 keeps shares of the optimizer's state, 2 of the gradients too, 3 of the parameters too.

    Stages 1 and 2 reduce gradients to the ranks that keep them (stage 2 in every pass that is accumulated), and gather
    the parameters after the optimizer. Stage 3 is `fsdp` by tensors.
    """
    positive("zero", bucket_elements=bucket_elements)
    if stage not in (1, 2, 3):
        raise InputError(f"policy 'zero': stage={stage}; there are 1, 2 and 3")
    sharded = frozenset(("optimizer", "gradients", "parameters")[:stage])
    if stage == 3:
        return Policy(
            "zero", lambda compute: _gathered(compute, units(compute), reduce_each=True), ZERO, sharded=sharded
        )

    def emit(compute: Compute) -> list[Call]:
        passes = range(compute.n_passes) if stage == 2 else [compute.n_passes - 1]
        groups = _cut(compute.gradients, bucket_elements)
        found = [
            compute.call("reduce_scatter", group, after=max(compute.backward(one.layer, number) for one in group))
            for number in passes
            for group in groups
        ]
        gathered = {"after": compute.optimizer, "before": compute.next_forward(0)}
        return [*found, *(compute.call("allgather", group, **gathered) for group in reversed(groups))]

    return Policy("zero", emit, ZERO, sharded=sharded)


def _cut(gradients: Sequence[Gradient], most: int) -> list[list[Gradient]]:
    """Consecutive gradients of one type, up to so many elements; a larger one goes alone."""
    groups: list[list[Gradient]] = [[]]
    for one in gradients:
        held = groups[-1]
        n = sum(other.tensor.n_elements for other in held) + one.tensor.n_elements
        if held and (n > most or held[0].tensor.dtype != one.tensor.dtype):
            groups.append([])
        groups[-1].append(one)
    return groups


def fsdp(reshard: int = 1, prefetch: int = 1, no_sync: int = 0) -> Policy:
    """PyTorch's FullyShardedDataParallel, wrapped block by block.

    Parameters of a block are gathered before it computes, `prefetch` blocks ahead, forwards and (with `reshard`)
    backwards; its gradients are reduced to their owners after it, in every pass unless `no_sync`.
    """
    positive("fsdp", prefetch=prefetch)

    def emit(compute: Compute) -> list[Call]:
        return _gathered(compute, units(compute), ahead=prefetch, again=bool(reshard), reduce_each=not no_sync)

    sharded = frozenset({"optimizer", "gradients", "parameters"})
    return Policy("fsdp", emit, FSDP, sharded=sharded)


def _gathered(
    compute: Compute, blocks: Sequence[tuple[int, int]], *, ahead: int = 1, again: bool = True, reduce_each: bool
) -> list[Call]:
    """Allgathers before blocks compute and reduce_scatters after, in the order in which they become ready."""
    held = {block: [one for one in compute.gradients if block[0] <= one.layer <= block[1]] for block in blocks}
    full = [block for block in blocks if held[block]]
    found = []
    for number in range(compute.n_passes):
        begin = compute.forward(0, number) - 1
        for place, block in enumerate(full):
            after = compute.forward(full[place - ahead - 1][1], number) if place > ahead else begin
            found.append(_gather(compute, held[block], after, compute.forward(block[0], number)))
        backwards, turned = full[::-1], compute.backward(compute.n_layers - 1, number) - 1
        for place, block in enumerate(backwards):
            if again and place:  # the last block of the forward pass is still there
                after = compute.backward(backwards[place - ahead - 1][0], number) if place > ahead else turned
                found.append(_gather(compute, held[block], after, compute.backward(block[1], number)))
            if reduce_each or number == compute.n_passes - 1:
                after = compute.backward(block[0], number)
                found.append(compute.call("reduce_scatter", held[block], after=after))
    return found


def _gather(compute: Compute, gradients: Sequence[Gradient], after: int, before: int) -> Call:
    return compute.call("allgather", gradients, after=max(after, BEFORE_ALL), before=before, stream="parameters")


def parameter_server(servers: int = 0, split_elements: int = 0, overlap: int = 1) -> Policy:
    """Every tensor is pushed to servers and pulled from them again; ranks are the servers.

    With `servers=0` every rank serves a share of every tensor; else tensors are dealt to so many of them, but those of
    more than `split_elements` (where it is given) are shared by all. `overlap=0` pushes after the backward pass alone.
    """
    if servers < 0 or split_elements < 0:
        raise InputError(f"policy 'parameter_server': servers={servers} and split_elements must be 0 or more")

    def emit(compute: Compute) -> list[Call]:
        pushes = [
            _push(compute, one, _server(one, number, servers, split_elements), overlap=bool(overlap))
            for number, one in enumerate(compute.gradients)
        ]
        return [call for place, push in enumerate(pushes) for call in (push, _pull(compute, push, 2 * place))]

    source = "Li et al., Scaling Distributed Machine Learning with the Parameter Server, OSDI 2014"
    return Policy("parameter_server", emit, source)


def _server(one: Gradient, number: int, servers: int, split_elements: int) -> int | None:
    """The rank that serves a tensor; None: all of them."""
    shared = not servers or (split_elements and one.tensor.n_elements > split_elements)
    return None if shared else number % servers


def _push(compute: Compute, one: Gradient, server: int | None, *, overlap: bool) -> Call:
    after = one.operation if overlap else compute.backward(0)
    how = {"algorithm": "linear", "stream": "push", "priority": one.layer, "after": after}
    if server is None:
        return compute.call("reduce_scatter", [one], **how)
    return compute.call("reduce", [one], root=server, **how)


def _pull(compute: Compute, push: Call, place: int) -> Call:
    """What was pushed comes back; the layer's next forward pass waits for it."""
    back = {"reduce_scatter": "allgather", "reduce": "broadcast"}[push.collective]
    before = compute.next_forward(push.priority)
    return replace(push, collective=back, stream="pull", follows=place, before=before)
