"""Policies of gradient exchange: what each sends, when, and what waits for it."""

import pytest

from commsim.errors import InputError, UnknownNameError
from experiments.policies import POLICIES, Compute, find
from experiments.policies.replicated import merged_groups
from experiments.policies.step import units
from experiments.workloads import RESNET50_DDP_BUCKETS, Layer, Tensor, Workload
from experiments.workloads import find as workload_named


def compute_of(spec="resnet50", step_s=0.150):
    """Forward a third, backward two, by FLOPs."""
    workload = workload_named(spec)
    share = [layer.forward_flops / workload.forward_flops * step_s / 3 for layer in workload.layers]
    return Compute(workload, tuple(share), tuple(2 * time_s for time_s in share), 1e-3)


def tiny(*sizes, backward_s=1.0):
    """A layer for each size in bytes, each taking as long."""
    layers = tuple(Layer(f"l{n}", (Tensor(f"l{n}.w", (size // 4,)),), 1) for n, size in enumerate(sizes))
    return Compute(Workload("tiny", layers), (0.5,) * len(sizes), (backward_s,) * len(sizes), 0.25)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("spec", ["resnet50", "gpt2"])
def test_every_gradient_is_exchanged_and_waited_for(name, spec):
    compute = compute_of(spec)
    calls = find(name).calls(compute)
    reduced = [call for call in calls if call.collective not in ("broadcast", "allgather") or call.each]
    assert {tensor for call in reduced for tensor in call.tensors} == {t.name for t in compute.workload.gradients}
    for place, call in enumerate(calls):
        assert call.after < call.before
        assert call.follows is None or call.follows < place
        assert call.ready_s == pytest.approx(compute.end_s(call.after) + call.delay_s)


def test_ddp_sends_the_observed_buckets_and_broadcasts_buffers():
    calls = find("ddp").calls(compute_of())
    assert tuple(call.n_bytes for call in calls if call.collective == "allreduce") == RESNET50_DDP_BUCKETS
    broadcasts = [(call.n_bytes, call.before) for call in calls if call.collective == "broadcast"]
    assert broadcasts == [(212_480, 0), (424, 0)]  # as in the trace of mlcommons/chakra's test data
    first = find("ddp:iteration=1,buffers=0").calls(compute_of())
    assert [call.n_bytes for call in first] == [102_228_128]


def test_operations_are_counted_through_passes_and_steps():
    compute = tiny(4, 4).accumulating(2)
    assert compute.durations_s == (0.5, 0.5, 1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.25)
    assert [one.operation for one in compute.gradients] == [6, 7]
    assert [one.ready_s for one in compute.gradients] == [5.0, 6.0]
    assert (compute.optimizer, compute.next_forward(1), compute.step_s) == (8, 10, 6.25)


def test_horovod_waits_for_cycles_and_fuses_up_to_its_threshold():
    compute = tiny(400, 400, 400, 400)  # ready 1, 2, 3, 4 s into the backward pass, which begins at 2 s
    calls = find("horovod:cycle=2.5s,fusion=64MiB").calls(compute)
    assert [(call.n_bytes, call.ready_s) for call in calls] == [(800, 4.5), (800, 7.0)]
    cut = find("horovod:cycle=10s,fusion=1000B,negotiation=1s").calls(compute)
    assert [(call.n_bytes, call.ready_s) for call in cut] == [(800, 13.0), (800, 13.0)]


def test_merged_waits_where_waiting_costs_less_than_a_latency():
    gradients = tiny(400, 400, 400, 400).gradients
    assert [len(group) for group in merged_groups(gradients, 0.5, 1e9)] == [1, 1, 1, 1]
    assert [len(group) for group in merged_groups(gradients, 1.5, 1e9)] == [4]
    # a long exchange of the first lets the others gather behind it
    assert [len(group) for group in merged_groups(gradients, 0.5, 400 / 3)] == [1, 3]


def test_prioritised_cuts_and_lets_first_layers_overtake():
    calls = find("prioritised:partition=104B").calls(tiny(400, 8))
    assert [(call.n_bytes, call.priority, call.before) for call in calls] == [
        (8, 1, 6),
        *[(96, 0, 5)] * 3,
        (112, 0, 5),
    ]


def test_sharded_policies_move_what_their_papers_say():
    """ZeRO: stages 1 and 2 as much as an allreduce, stage 3 half as much again (section 7)."""
    compute = compute_of("llama2")
    whole = compute.workload.gradient_bytes
    for name, gathered in (("zero:stage=1", 1), ("zero:stage=2", 1), ("zero:stage=3", 2), ("fsdp:reshard=0", 1)):
        n_bytes = {"allgather": 0, "reduce_scatter": 0}
        for call in find(name).calls(compute):
            n_bytes[call.collective] += call.n_bytes
        assert n_bytes["reduce_scatter"] == whole
        last = sum(t.n_bytes for t in compute.workload.gradients if t.name.startswith(("model.norm", "lm_head")))
        assert n_bytes["allgather"] == pytest.approx(gathered * whole - (gathered > 1) * last)
    assert len(units(compute)) == 34  # 32 blocks, what stands before and behind them


def test_fsdp_gathers_one_block_ahead():
    names = ("h.0.a", "h.0.b", "h.1.a", "h.2.a")
    layers = tuple(Layer(name, (Tensor(f"{name}.w", (1,)),), 1) for name in names)
    compute = Compute(Workload("blocks", layers), (1.0,) * 4, (2.0,) * 4)
    calls = find("fsdp").calls(compute)
    gathered = [(call.after, call.before) for call in calls if call.collective == "allgather"]
    assert gathered == [(-1, 0), (-1, 2), (1, 3), (3, 5), (4, 6)]
    assert [call.after for call in calls if call.collective == "reduce_scatter"] == [4, 5, 7]


def test_compression_and_accumulation_are_common_to_all():
    assert sum(call.n_bytes for call in find("ddp:wire=float16,buffers=0").calls(compute_of())) == 102_228_128 // 2
    [call] = find("one_bucket:accumulate=3").calls(tiny(400))
    assert call.ready_s == 3 * 1.5
    fsdp = find("fsdp:accumulate=2").calls(tiny(400, 400))
    assert sum(call.collective == "reduce_scatter" for call in fsdp) == 4 // 2
    zero = [find(f"zero:stage={stage},accumulate=3").calls(tiny(400)) for stage in (1, 2)]
    assert [sum(call.collective == "reduce_scatter" for call in calls) for calls in zero] == [1, 3]


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        ("dpd", UnknownNameError, "did you mean 'ddp'"),
        ("ddp:buckets=1MiB", UnknownNameError, "did you mean 'bucket'"),
        ("ddp:over=nccll", UnknownNameError, "did you mean 'nccl'"),
        ("ddp:wire=float17", UnknownNameError, "did you mean"),
        ("ddp:bucket=0", InputError, "above zero"),
        ("zero:stage=4", InputError, "1, 2 and 3"),
        ("top_k:density=2", InputError, "at most 1"),
        ("ddp:streams=0", InputError, "at least 1"),
    ],
)
def test_wrong_policies_are_refused_in_a_line(spec, error, text):
    with pytest.raises(error, match=text):
        find(spec)
