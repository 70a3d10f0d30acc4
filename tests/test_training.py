"""Training steps: what is exposed, what waits, what shares the fabric, and what cannot be."""

import json

import pytest

import topologies
from commsim.errors import InputError, RefusedError
from experiments.policies import Compute, find
from experiments.policies.step import Call
from experiments.scaling import rank_counts
from experiments.training import ComputeSource, Conditions, Parallel, Training, simulate_step
from experiments.training.accelerators import ACCELERATORS
from experiments.training.costs import Costs, by_loads
from experiments.training.parallel import cut, shared
from experiments.training.pipeline import one_forward_one_backward
from experiments.training.play import Lane, PlacedCall, Player, union_s
from experiments.training.step import state_bytes
from experiments.training.trace import chrome_trace
from experiments.workloads import find as workload_named


def call(after, before, **given):
    return Call("allreduce", 8, 0.0, after, before, **given)


UNDISTURBED = Conditions()


def played(calls, durations=(1.0, 2.0, 0.5), *, time_s=1.0, steps=3, conditions=UNDISTURBED, n_streams=1, factor=1.0):
    """One lane of these operations; every call takes as long, `factor` times longer beside another."""
    lane = Lane("compute", ("forward", "backward", "optimizer"), durations)
    slowed = lambda found: [factor if len(found) > 1 else 1.0] * len(found)  # noqa: E731
    placed = [PlacedCall(one) for one in calls]
    return Player([lane], placed, lambda _: time_s, slowed, n_streams, conditions).play(steps)


def test_an_exchange_beside_compute_costs_nothing_and_one_behind_it_all():
    assert played([]).step_s == pytest.approx(3.5)
    assert played([call(0, 2)]).step_s == pytest.approx(3.5)  # hidden behind the backward pass
    assert played([call(1, 2)]).step_s == pytest.approx(4.5)  # all exposed
    assert played([call(0, 2)], time_s=3.0).step_s == pytest.approx(4.5)  # what does not fit


def test_what_the_next_step_waits_for_runs_beside_the_optimizer_and_forward():
    assert played([call(1, 3)], time_s=0.5).step_s == pytest.approx(3.5)  # beside the optimizer
    assert played([call(1, 4)], time_s=1.5).step_s == pytest.approx(3.5)  # beside the next forward too
    assert played([call(1, 4)], time_s=2.0).step_s == pytest.approx(4.0)


def test_a_stream_takes_the_most_urgent_first():
    calls = [call(0, 2, priority=2), call(0, 2, priority=1), call(0, 2, priority=3)]
    done = played(calls, time_s=0.25)
    order = [one for one in done.intervals if one.stream == "gradients"]
    # all are ready at once: by priority
    assert [round(one.start_s, 6) for one in order[:3]] == [1.0, 1.25, 1.5]
    chain = played([call(0, 2), call(0, 2, follows=0, stream="other")], time_s=0.75)
    assert chain.step_s == pytest.approx(3.5)
    assert {round(one.start_s, 6) for one in chain.intervals if one.stream == "other"} >= {1.75}


def test_calls_at_once_slow_each_other():
    alone = played([call(1, 2), call(1, 2)], n_streams=1)
    free = played([call(1, 2), call(1, 2)], n_streams=2)
    shared_ = played([call(1, 2), call(1, 2)], n_streams=2, factor=2.0)
    assert [alone.step_s, free.step_s, shared_.step_s] == pytest.approx([5.5, 4.5, 5.5])


def test_calls_of_two_lanes_share_one_fabric_and_disturb_their_own_compute_alone():
    lanes = [Lane(name, ("forward", "backward", "optimizer"), (1.0, 2.0, 0.5)) for name in "ab"]
    calls = [PlacedCall(call(1, 2), number, number) for number in range(2)]
    both = Player(lanes, calls, lambda _: 1.0, lambda found: [float(len(found))] * len(found)).play(3)
    assert both.step_s == pytest.approx(3.5 + 2.0)
    overlapped = [PlacedCall(call(0, 2), 0, 0)]
    slow = Player(lanes, overlapped, lambda _: 1.0, lambda found: [1.0] * len(found), 1, Conditions(interference=0.5))
    assert [b - a for a, b in zip(*slow.play(3).ends_s[-2:], strict=True)] == pytest.approx([3.5 + 1 / 3, 3.5])


def test_another_job_slows_calls_down_and_is_slowed_down():
    other = call(0, 0)
    slowed = lambda found: [2.0 if len(found) > 1 else 1.0] * len(found)  # noqa: E731
    lane = Lane("compute", ("forward", "backward", "optimizer"), (1.0, 2.0, 0.5))
    done = Player([lane], [PlacedCall(call(1, 2))], lambda _: 1.0, slowed, other=other).play(5)
    assert done.mean_step_s == pytest.approx(3.5 + 2.0)
    assert done.other_slower == pytest.approx(5.5 / (3.5 + 1.0), rel=0.05)  # but for what follows the last call


def test_interference_stragglers_and_input():
    slow = played([call(0, 2)], conditions=Conditions(interference=0.5))  # 1 s of the backward pass does 2/3 s of work
    assert slow.step_s == pytest.approx(3.5 + 1 / 3)
    assert played([call(1, 2)], conditions=Conditions(straggler=2.0)).step_s == pytest.approx(8.0)
    assert played([], conditions=Conditions(input_s=5.0)).step_s == pytest.approx(5.0)
    assert played([], conditions=Conditions(input_s=1.0)).step_s == pytest.approx(3.5)


def test_stages_take_turns_and_their_bubble_is_that_of_the_literature():
    assert one_forward_one_backward(1, 3, 3) == [
        ("forward", 0),
        ("forward", 1),
        ("backward", 0),
        ("forward", 2),
        ("backward", 1),
        ("backward", 2),
    ]
    step = simulate_step(
        Training(workload_named("gpt2"), find("ddp:accumulate=8"), pipeline=4),
        topologies.find("dgx_h100"),
        8,
        n_ranks=4,
    )
    work = step.compute_s
    ideal = work * (1 + 3 / 8)  # (p - 1) / m of equal stages
    assert ideal * 0.98 < step.ideal_s < ideal * 1.25  # stages are cut between layers: not quite equal


def test_a_step_on_a_star_is_that_of_its_closed_form():
    """One bucket after the backward pass: compute and one ring, 2(p-1)(alpha + n/p/B) (and no more)."""
    star = topologies.find("star:hosts=4,bandwidth=10GB/s,latency=1us")
    source = ComputeSource(throughput_per_s=100.0)
    training = Training(
        workload_named("resnet50"),
        find("one_bucket:over=cuda_mpi"),
        compute=source,
        algorithms={"allreduce": ("ring",)},
    )
    step = simulate_step(training, star, 32)
    ring_s = 2 * 3 * (2e-6 + 102_228_128 / 4 / 10e9)
    assert step.step_s == pytest.approx(0.32 + ring_s, rel=1e-6)
    assert step.exposed_s == pytest.approx(ring_s, rel=1e-5)
    assert (step.overlap, step.main_algorithm) == (pytest.approx(0, abs=1e-6), "ring")
    assert step.samples_per_s == pytest.approx(128 / step.step_s)


def test_overlap_hides_and_never_helps_beyond_compute():
    star = topologies.find("star:hosts=8,bandwidth=10GB/s,latency=1us")
    source = ComputeSource(throughput_per_s=400.0)
    steps = {}
    for policy in ("one_bucket", "ddp:buffers=0", "per_tensor", "prioritised", "merged"):
        training = Training(workload_named("resnet50"), find(f"{policy}"), compute=source)
        steps[policy] = simulate_step(training, star, 32)
    assert all(step.step_s >= step.compute_s * (1 - 1e-9) for step in steps.values())
    assert steps["ddp:buffers=0"].step_s < steps["one_bucket"].step_s
    assert steps["merged"].exchange_s < steps["per_tensor"].exchange_s
    trace = json.loads(chrome_trace(steps["ddp:buffers=0"]))
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert sum(event["cat"] == "gradients" for event in spans) == 5
    assert max(event["ts"] + event["dur"] for event in spans) == pytest.approx(1e6 * steps["ddp:buffers=0"].step_s)
    assert union_s([one for one in steps["merged"].intervals if one.stream == "gradients"]) == pytest.approx(
        steps["merged"].exchange_s
    )


def test_groups_are_those_of_the_machine():
    machine = topologies.find("dgx_h100:nodes=2")
    parallel = Parallel(16, tensor=2, pipeline=2)
    assert parallel.data == 4
    assert parallel.groups("tensor", machine)[0].tolist() == [0, 1]
    assert parallel.groups("data", machine).tolist() == [[0, 2, 4, 6], [1, 3, 5, 7], [8, 10, 12, 14], [9, 11, 13, 15]]
    whole = Parallel(16)
    assert whole.groups("node", machine).tolist() == [list(range(8)), list(range(8, 16))]
    assert whole.groups("across", machine)[3].tolist() == [3, 11]
    with pytest.raises(RefusedError, match="do not tile 16 ranks"):
        Parallel(16, tensor=3)
    with pytest.raises(RefusedError, match="do not tile the nodes"):
        Parallel(12).groups("node", machine)


def test_groups_side_by_side_take_what_one_takes_alone_where_nothing_is_shared():
    machine = topologies.find("star:hosts=8,bandwidth=10GB/s,latency=1us")
    backend = find("ddp:over=cuda_mpi").backend
    alone = Costs(machine, Parallel(4), backend)
    beside = Costs(machine, Parallel(8, tensor=2), backend)
    for collective in ("allreduce", "reduce_scatter", "allgather", "broadcast", "alltoall"):
        one = Call(collective, 4 * 2**20, 0.0, 0, 1)
        assert beside.time_s(one) == pytest.approx(alone.time_s(one), rel=1e-9)


def test_two_calls_share_what_links_there_are():
    machine = topologies.find("star:hosts=4,bandwidth=10GB/s,latency=0s")
    costs = Costs(machine, Parallel(4), find("ddp:over=cuda_mpi").backend)
    two = [Call("allreduce", size, 0.0, 0, 1) for size in (2**22, 2**22)]
    assert costs.slowdowns(two) == pytest.approx((2.0, 2.0), rel=1e-6)
    assert costs.slowdowns(two[:1]) == (1.0,)
    loads = [costs.timed(one).load for one in two]
    assert by_loads(loads) == pytest.approx((2.0, 2.0), rel=1e-6)


def test_stages_contend_where_they_share_a_port():
    machine = topologies.find("star:hosts=8,bandwidth=10GB/s,latency=0s")
    costs = Costs(
        machine, Parallel(8, pipeline=2), find("ddp:over=cuda_mpi").backend, algorithms={"allreduce": ("ring",)}
    )
    gradients = [Call("allreduce", 2**22, 0.0, 0, 1, stage=stage) for stage in range(2)]
    send, back = (Call("send", 2**20, 0.0, 0, 1, group=g, stage=s) for g, s in (("forwards", 0), ("backwards", 1)))
    assert costs.slowdowns(gradients) == (1.0, 1.0)  # other ranks
    assert costs.slowdowns([send, back]) == (1.0, 1.0)  # other directions
    assert costs.slowdowns([gradients[0], send])[0] > 1.3
    assert costs.slowdowns([gradients[0], gradients[1], send])[:2] == pytest.approx(
        (costs.slowdowns([gradients[0], send])[0], costs.slowdowns([gradients[1], send])[0]), rel=0.05
    )


def test_the_same_exchange_of_another_job_doubles_the_time_of_ours(commsim, tmp_path):
    words = ("cifar10_quick", "-s", "star:hosts=8,bandwidth=1GB/s,latency=0s", "--throughput", "5000", "--ranks", "4")
    words = (*words, "--policy", "one_bucket:over=cuda_mpi", "--format", "json")

    def step(*more):
        code, out, err = commsim("train", *words, *more)
        assert code == 0, err
        return json.loads(out)["rows"][0]

    alone, same = step(), step("--beside", "allreduce:ring:582312@0:3")
    assert same["alone_s"] == alone["step_s"]
    assert same["step_s"] - alone["step_s"] == pytest.approx(alone["exchange_s"], rel=1e-3)
    assert same["beside_slower"] > 1.01
    assert step("--beside", "allreduce:ring:1MB@4:7")["step_s"] == pytest.approx(alone["step_s"])
    file = tmp_path / "load.csv"
    file.write_text("src,dst,bytes\n7,1,10MB\n")
    assert step("--beside", str(file))["step_s"] > alone["step_s"] * 1.001
    assert step("--skew", "1ms", "--seed", "3")["step_s"] > alone["step_s"]
    assert step("--variation", "10%")["step_s"] > alone["step_s"]


def test_sizes_between_those_timed_are_read_from_a_line():
    machine = topologies.find("star:hosts=4,bandwidth=10GB/s,latency=1us")
    costs = Costs(machine, Parallel(4), find("ddp:over=cuda_mpi").backend, algorithms={"allreduce": ("ring",)})
    calls = [Call("allreduce", 4096 * size, 0.0, 0, 1) for size in range(3, 40)]
    costs.prepare(calls)
    for one in calls:
        assert costs.time_s(one) == pytest.approx(6 * (2e-6 + one.n_bytes / 4 / 10e9), rel=1e-6)


def test_layers_are_shared_and_cut():
    llama = workload_named("llama2")
    part = shared(llama, 8)
    assert part.n_parameters == pytest.approx(llama.n_parameters / 8, rel=1e-3)
    assert [last - first + 1 for first, last in cut([1.0] * 12, 4)] == [3, 3, 3, 3]
    parallel = Parallel(1024, tensor=8, pipeline=16)
    training = Training(workload_named("gpt3"), find("zero:stage=1"), tensor=8, pipeline=16)
    assert state_bytes(training, parallel) == pytest.approx(174_604_259_328 / 128 * (4 + 12 / 8))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("train", "gpt3", "-s", "dgx_h100:nodes=2"), "does not fit"),
        (("train", "resnet50", "-s", "dgx_h100", "--ranks", "16"), "too few"),
        (("train", "resnet50", "-s", "dgx_h100", "--tensor", "2"), "no language model"),
        (("train", "gpt2", "-s", "dgx_h100", "--tensor", "3"), "do not tile 8 ranks"),
        (("train", "gpt2", "-s", "dgx_h100", "--policy", "ddp:accumulate=4", "--batch", "2"), "cannot be split"),
        (("train", "gpt2", "-s", "dgx_h100", "--policy", "fsdp", "--pipeline", "2"), "gathers parameters"),
        (("train", "resnet50", "-s", "star:hosts=4,bandwidth=1GB/s,latency=1us"), "is not known: say --rate"),
        (("train", "resnet50", "-s", "dgx_h100", "--rate", "1TFLOP/s", "--throughput", "3"), "give one"),
        (("train", "resnet50", "-s", "dgx_h100", "--trace", "x.txt"), "must be a .json"),
        (("train", "resnet50", "-s", "dgx_h100", "--beside", "allreduce:ring"), "write it like allreduce:ring:1MiB"),
        (("train", "resnet50", "-s", "dgx_h100", "--beside", "allreduce:ring:1MiB@0:8"), "ranks from 0 to 7"),
        (("train", "resnet50", "-s", "dgx_h100", "--beside", "allreduce:ring:1MiB@a"), "FIRST:LAST or a list"),
        (("train", "resnet50", "-s", "dgx_h100", "--beside", "barrier:dissemination:0B"), "sends nothing"),
        (("scale", "resnet50", "-s", "dgx_h100", "--ranks", "4:2:1:1"), "write FIRST:LAST"),
        (("scale", "resnet50", "-s", "dgx_h100", "--ranks", "4", "--global-batch", "2"), "smaller than 4 copies"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(words, text, commsim):
    code, out, err = commsim(*words)
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1


def test_measured_layer_times_are_read_or_refused(tmp_path, commsim):
    layers = [layer.name for layer in workload_named("cifar10_quick").layers]
    file = tmp_path / "times.csv"
    file.write_text("layer,forward,backward\n" + "".join(f"{name},1ms,2ms\n" for name in layers))
    compute = ComputeSource(file=file).times(workload_named("cifar10_quick"), 100, None)
    assert isinstance(compute, Compute)
    assert sum(compute.durations_s) == pytest.approx(3e-3 * len(layers))
    for text, said in (("layer,forward\n", "missing"), ("layer,forward,backward\nconv9,1ms,1ms\n", "has no layer")):
        file.write_text(text)
        with pytest.raises(InputError, match=said):
            ComputeSource(file=file).times(workload_named("cifar10_quick"), 100, None)


def test_scale_prints_a_curve_and_what_could_not_be(commsim, tmp_path):
    words = ("cifar10_quick", "-s", "abci_v", "--policy", "osu_caffe", "--throughput", "5000")
    code, out, err = commsim("scale", *words, "--ranks", "1:8", "--global-batch", "6", "-o", str(tmp_path / "a.json"))
    assert code == 0, err
    assert "left out 8 ranks: a global batch of 6 is smaller than 8 copies" in " ".join(out.split()).replace("# ", "")
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [row["n_ranks"] for row in rows] == [1, 2, 4]
    assert rows[0]["scaling_efficiency"] == 1
    assert all(row["step_s"] >= row["ideal_s"] for row in rows)
    assert rank_counts("1:10") == [1, 2, 4, 8, 10]
    assert rank_counts("2:10:3") == [2, 5, 8, 10]
    assert rank_counts("4,2") == [2, 4]


def test_a_layer_takes_its_flops_over_the_sustained_rate_and_twice_as_long_backwards():
    network, accelerator = workload_named("resnet50"), ACCELERATORS["A100"]
    compute = ComputeSource(rate_flop_per_s=1e12).times(network, 10, accelerator)
    assert sum(compute.forward_s) == pytest.approx(10 * network.forward_flops / 1e12)
    assert sum(compute.backward_s) == pytest.approx(2 * sum(compute.forward_s))
    sustained = ComputeSource().times(network, 3410, accelerator)
    assert sum(sustained.forward_s + sustained.backward_s) == pytest.approx(1.0, rel=0.02)  # as published
    assert "0.4 of" in ComputeSource().times(workload_named("bert"), 1, accelerator).source
