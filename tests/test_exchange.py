"""The training loop: right gradients, calls that overlap in order, equal losses; on real ranks too."""

import json
import re
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import topologies
from commsim.errors import InputError, RefusedError
from experiments.exchange.buffers import buckets, places, require_learning
from experiments.exchange.compute import Asked, compute_of
from experiments.exchange.networks import GeneratedData, MaximumPooling, MeanPooling, NumpyStep, initial
from experiments.exchange.predicted import predicted_step
from experiments.exchange.ranks import prepared
from experiments.exchange.results import read_steps
from experiments.exchange.runner import Channel, Runner, Work
from experiments.launch import ExecutionError, commsim_on_ranks
from experiments.output import read_results
from experiments.policies import Call, Compute
from experiments.policies import find as find_policy
from experiments.workloads import find

LIMIT_S = 120


# ---- networks


@pytest.fixture(autouse=True)
def one_thread():
    """Of BLAS: several of them wait for each other on a busy host."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize("spec", ["cifar10_quick:dtype=float64", "mlp:widths=7x5x3,dtype=float64"])
def test_gradients_are_the_slope_of_the_loss(spec):
    workload = find(spec)
    batch = GeneratedData(workload, 2, 0, 1)()
    step = NumpyStep(workload, lambda: batch, learning_rate=0.0)
    gradients = {tensor.name: np.zeros(tensor.shape) for tensor in workload.gradients}

    def loss():
        step.begin(gradients, lambda _: None)
        for operation in range(2 * len(workload.layers)):
            step.compute(operation)
        return step.losses[-1]

    loss()
    found = {name: gradient.copy() for name, gradient in gradients.items()}
    rng = np.random.default_rng(1)
    for name, parameter in step.parameters.items():
        place = tuple(rng.integers(0, extent) for extent in parameter.shape)
        kept, losses = parameter[place], []
        for change in (1e-5, -1e-5):
            parameter[place] = kept + change
            losses.append(loss())
        parameter[place] = kept
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(found[name][place], abs=1e-7, rel=1e-5), name


def test_windows_are_cut_off_at_the_edge_as_caffe_does():
    image = np.arange(16.0).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(MaximumPooling().forward(image)[0, 0], [[10, 11], [14, 15]])
    np.testing.assert_array_equal(MeanPooling().forward(image)[0, 0], [[5, 6.5], [11, 12.5]])


def test_a_network_learns_and_ranks_share_its_samples():
    workload = find("mlp:widths=20x16x4")
    step = NumpyStep(workload, GeneratedData(workload, 32, 0, 1), learning_rate=0.1)
    gradients = {tensor.name: np.zeros(tensor.shape, "float32") for tensor in workload.gradients}
    for _ in range(40):
        step.begin(gradients, lambda _: None)
        for operation in range(2 * len(workload.layers) + 1):
            step.compute(operation)
    assert step.losses[-1] < step.losses[0] / 2
    whole, shares = GeneratedData(workload, 7, 0, 1)(), [GeneratedData(workload, 7, rank, 3)() for rank in range(3)]
    np.testing.assert_array_equal(whole[0], np.concatenate([share[0] for share in shares]))
    np.testing.assert_array_equal(whole[1], np.concatenate([share[1] for share in shares]))
    assert [share[2] for share in shares] == [7, 7, 7]
    assert all((initial(workload, 3)[name] == one).all() for name, one in initial(workload, 3).items())


# ---- the loop, without MPI


class Recorder:
    """Computes nothing, and writes down what happens."""

    def __init__(self, said):
        self.said = said

    def begin(self, gradients, finished):
        self.said.append("begin")

    def compute(self, operation):
        self.said.append(operation)


def call(after, before, collective="allreduce"):
    return Call(collective, 8, 0.0, after, before)


def test_calls_run_on_another_thread_in_order_while_the_step_goes_on():
    said, threads, calls = [], set(), (call(1, 4), call(1, 4), call(2, 4))
    started, go_on = threading.Event(), threading.Event()

    def first():
        threads.add(threading.current_thread().name)
        started.set()
        assert go_on.wait(10)
        said.append("first")

    class Step(Recorder):
        def compute(self, operation):
            super().compute(operation)
            if operation == 2:
                assert started.wait(10)  # it has begun after operation 1
            if operation == 3:
                go_on.set()  # and operations 2 and 3 did not wait for it

    with Channel() as channel:
        second, third = (Work(partial(said.append, word)) for word in ("second", "third"))
        times = Runner(calls, 5, channel).run(Step(said), {}, [Work(first), second, third])
    assert [one for one in said if isinstance(one, str)] == ["begin", "first", "second", "third"]
    assert said.index("third") < said.index(4)  # the optimizer waits for all
    assert threads == {"communication"}
    assert (np.diff(times.start_s) >= 0).all()
    assert (times.start_s >= times.ready_s).all()
    assert times.step_s >= times.end_s.max()
    assert times.exposed_s <= times.step_s


def test_an_operation_that_is_said_to_be_finished_sends_at_once():
    said = []

    class Step(Recorder):
        def begin(self, gradients, finished):
            self.finished = finished

        def compute(self, operation):
            if operation == 0:
                self.finished(2)
                self.finished(1)
                time.sleep(0.02)
            self.said.append(operation)

    with Channel() as channel:
        times = Runner((call(1, 3), call(2, 3)), 4, channel).run(Step(said), {}, [Work(partial(said.append, "a"))] * 2)
    assert said[:3] == ["a", "a", 0]
    assert times.operation_s[1] < times.operation_s[0]


def test_a_call_that_fails_ends_the_step():
    def fail():
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"), Channel() as channel:
        Runner((call(0, 1),), 2, channel).run(Recorder([]), {}, [Work(fail)])


def test_calls_overtake_each_other_where_an_operation_waits_for_a_later_one():
    said = []
    with Channel() as channel:
        works = [Work(partial(said.append, word)) for word in ("late", "early")]
        times = Runner((call(3, 4), call(1, 2)), 5, channel).run(Recorder(said), {}, works)
    assert said == ["begin", 0, 1, "early", 2, 3, "late", 4]
    assert times.start_s[1] < times.start_s[0]


def test_of_the_calls_that_are_ready_the_most_urgent_is_next_and_rank_0_says_so():
    said, chosen, started, go_on = [], [], threading.Event(), threading.Event()
    calls = [replace(call(after, 4), priority=-after) for after in (0, 1, 2)]
    calls.append(replace(call(0, 4), priority=-9, follows=2))

    def agree(place):
        chosen.append(place)
        return place

    def first():
        started.set()
        assert go_on.wait(10)

    class Step(Recorder):
        def compute(self, operation):
            if operation == 1:
                assert started.wait(10)
            if operation == 3:
                go_on.set()

    with Channel(agree) as channel:
        works = [Work(first), *(Work(partial(said.append, place)) for place in (1, 2, 3))]
        Runner(calls, 5, channel).run(Step([]), {}, works)
    assert chosen == [0, 2, 3, 1]  # the first was alone; 3 comes as soon as what it follows has ended
    assert said == [2, 3, 1]


def test_gradients_of_several_passes_add_up():
    workload = find("mlp:widths=20x16x4,dtype=float64")
    found = []
    for n_passes in (1, 3):
        step = NumpyStep(workload, GeneratedData(workload, 7, 0, 1), n_passes=n_passes)
        gradients = {tensor.name: np.ones(tensor.shape) for tensor in workload.gradients}
        for _ in range(2):
            step.begin(gradients, lambda _: None)
            for operation in range(2 * len(workload.layers) * n_passes + 1):
                step.compute(operation)
        found.append((step.losses, gradients))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    for name, gradient in found[0][1].items():
        np.testing.assert_allclose(gradient, found[1][1][name], rtol=1e-9, atol=1e-12)


# ---- where gradients lie


LEARNING = ("ddp", "per_tensor", "horovod", "lbann", "prioritised:partition=1KiB", "parameter_server", "hierarchical")


@pytest.mark.parametrize("spec", LEARNING)
def test_every_gradient_has_one_place(spec):
    workload = find("cifar10_quick")
    policy = find_policy(spec)
    calls = policy.calls(compute_of(Asked("cifar10_quick"), workload))
    held = buckets(policy, calls, {"data": (1, 6), "node": (1, 3), "across": (0, 2)})
    require_learning(policy, workload, held)
    found = places(workload, held)
    assert {name: view.shape for name, view in found.items()} == {t.name: t.shape for t in workload.gradients}
    for number, view in enumerate(found.values(), 1):
        view.fill(number)
    vectors = {id(bucket.vector): bucket.vector for bucket in held}.values()
    assert sum(float(vector.sum()) for vector in vectors) == sum(
        number * view.size for number, view in enumerate(found.values(), 1)
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zero:stage=1", "leaves conv1.weight without an allreduce"),
        ("top_k", "leaves conv1.weight without an allreduce"),
    ],
)
def test_policies_that_a_network_cannot_learn_with_are_refused(spec, message):
    workload, policy = find("cifar10_quick"), find_policy(spec)
    calls = policy.calls(compute_of(Asked("cifar10_quick"), workload))
    with pytest.raises(RefusedError, match=message):
        require_learning(policy, workload, buckets(policy, calls, {"data": (0, 2)}))


# ---- how long it computes


def test_compute_is_recorded_given_or_from_flops():
    workload = find("resnet50")
    assert compute_of(Asked("resnet50", batch=512), workload).step_s == pytest.approx(512 / 3410.52)
    assert compute_of(Asked("resnet50", compute_s=0.3), workload).step_s == pytest.approx(0.3)
    of = compute_of(Asked("resnet50", flops=1e12, batch=1), workload)
    assert of.step_s == pytest.approx(3 * 8_178_368_512 / 1e12)
    assert of.backward_s[0] == pytest.approx(2 * of.forward_s[0])
    trace = "tests/data/workloads/kineto.rank0.json"
    recorded = find(trace)
    assert compute_of(Asked(trace), recorded).backward_s == tuple(layer.backward_s for layer in recorded.layers)
    assert compute_of(Asked(trace, compute_s=1.0), recorded).step_s == pytest.approx(1.0)
    assert compute_of(Asked(trace), recorded, 2).step_s == pytest.approx(2 * compute_of(Asked(trace), recorded).step_s)
    assert compute_of(Asked("resnet50", compute_s=0.3), workload, 3).step_s == pytest.approx(0.3)


def test_what_cannot_be_meant_is_refused(tmp_path):
    for words, message in (
        ({"iterations": 0}, "-n 0 must be at least 1"),
        ({"batch": 0}, "--batch 0"),
        ({"flops": -1.0}, "--flops -1"),
        ({"flops": 1.0, "compute_s": 1.0}, "give one"),
    ):
        with pytest.raises(InputError, match=message):
            Asked("resnet50", **words)


# ---- predictions


def test_a_predicted_step_is_the_arithmetic_of_its_queue():
    workload = find("mlp:widths=4x4x4")
    compute = Compute(workload, (1.0, 1.0), (2.0, 2.0), optimizer_s=0.5)
    calls = find_policy("per_tensor").calls(compute)
    durations = compute.durations_s
    hidden = predicted_step(calls, durations, [0.5] * 4)
    assert hidden.start_s == pytest.approx((4.0, 4.5, 6.0, 6.5))  # two gradients of each layer, one after the other
    assert (hidden.exposed_s, hidden.step_s) == pytest.approx((1.0, 7.5))
    shown = predicted_step(calls, durations, [3.0] * 4)
    assert shown.end_s == pytest.approx((7.0, 10.0, 13.0, 16.0))
    assert (shown.exposed_s, shown.step_s) == pytest.approx((10.0, 16.5))
    assert predicted_step((), durations, ()).step_s == pytest.approx(compute.step_s)
    urgent = [replace(one, priority=number) for number, one in zip((3, 2, 1, 0), calls, strict=True)]
    assert predicted_step(urgent, durations, [3.0] * 4).start_s == pytest.approx((4.0, 13.0, 10.0, 7.0))
    copied = predicted_step(calls, durations, [0.5] * 4, [0.25] * 4)
    assert copied.start_s == pytest.approx((4.25, 5.0, 6.25, 7.0))


# ---- real ranks


def test_losses_are_equal_where_calls_overtake_work_in_nodes_or_come_after_several_passes(tmp_path):
    steps = tmp_path / "steps.txt"
    words = "exchange --workload mlp:widths=20x16x4,dtype=float64 --check 10 --batch 6 -a ring --policy"
    policies = (
        "prioritised:partition=512B",
        "prioritised:partition=512B,collective=parameter_server",
        "ddp:bucket=1KiB,first=512B,accumulate=3",
        "hierarchical:bucket=1KiB",
        "hierarchical:bucket=1KiB --per-node 1",
    )
    steps.write_text("".join(f"{words} {policy}\n" for policy in policies))
    printed = commsim_on_ranks(2, ["batch", str(steps)], LIMIT_S)
    assert len(re.findall("^(?:ring|library): losses of 10 steps within", printed, re.MULTILINE)) == 2 * len(policies)


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_losses_are_those_of_the_library_and_of_one_rank(n_ranks):
    words = "exchange --workload mlp:widths=20x16x4,dtype=float64 --check 50 --batch 6 -a ring,rabenseifner "
    printed = commsim_on_ranks(n_ranks, [*words.split(), "--policy", "ddp:bucket=1KiB,first=512B"], LIMIT_S)
    assert [line.partition(":")[0] for line in printed.splitlines()] == ["ring", "rabenseifner", "library"]


def test_an_exchange_is_measured_written_and_predicted(tmp_path, commsim):
    steps, host, file = (tmp_path / name for name in ("steps.txt", "cold.toml", "exchange.json"))
    words = "exchange --workload mlp:widths=784x500x10,dtype=float16 --compute 20ms -a ring,library -n 2 -w 1"
    steps.write_text(
        f"calibrate --cold --largest 1KiB -n 1 --allow-oversubscribed -o {host}\n"
        f"{words} --policy per_tensor --predict {host} -o {file}\n"
        "exchange --workload cifar10_quick --batch 2 -n 2 -w 0 --format json\n"
        "exchange --workload cifar10_quick --policy osu_caffe --compute 5ms -n 1 -w 0\n"
    )
    printed = commsim_on_ranks(2, ["batch", str(steps)], LIMIT_S)
    assert "dtype=float16 by per_tensor: 4 calls, 795,020 B a step" in printed
    assert "computing alone" in printed
    assert topologies.find(str(host)).notes["caches"] == "written over before each message"
    assert "calls of gradients: |ln(predicted/measured)| median" in printed
    assert "reduce      binomial" in printed
    results = read_results(file)
    assert [one.algorithm for one in results] == 4 * ["ring"] + 4 * ["library"]
    assert all(one.n_wrong == 0 and one.time_s > 0 for one in results)
    written = json.loads(file.read_text())
    assert written["provenance"]["commsim"]
    assert {"ready_s", "stage_s", "start_s", "end_s", "policy", "workload", "call"} <= written["rows"][0].keys()
    of_file = read_steps(file)
    assert [one.tensors for one in of_file.calls] == [("fc2.bias",), ("fc2.weight",), ("fc1.bias",), ("fc1.weight",)]
    assert sum(of_file.operation_s) >= 0.020
    code, out, _ = commsim("validate", file, "-s", host)
    assert code == 0
    assert len(re.findall("^allreduce +ring", out, re.MULTILINE)) == 4
    assert "ring: a step took" in out
    file.write_text(json.dumps(written | {"step": {}}))
    code, _, err = commsim("validate", file, "-s", host)
    assert (code, err.count("\n")) == (2, 1)
    assert written["rows"][3]["ready_s"] >= 0.020  # the last gradient is there when the backward pass ends


MODULE = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4))
"""


def test_a_module_of_pytorch_sends_its_gradients_as_they_come(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "net.py"
    path.write_text(MODULE)
    words = f"exchange --workload {path}:module=Net --input 8 -n 2 -w 0 --policy per_tensor --format json"
    written = json.loads(commsim_on_ranks(2, words.split(), LIMIT_S))
    assert [row["n_bytes"] for row in written["rows"]] == [16, 96, 24, 192]
    assert all(row["n_wrong"] == 0 for row in written["rows"])
    assert written["rows"][0]["ready_s"] < written["rows"][-1]["ready_s"]


def test_words_that_cannot_be_meant_end_in_a_line():
    with pytest.raises(ExecutionError) as error:
        commsim_on_ranks(1, ["exchange", "--workload", "resnet50", "-a", "rings"], LIMIT_S)
    assert "failed with exit 2: unknown allreduce algorithm 'rings'; did you mean 'ring'?" in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"workload": "resnet5"}, "did you mean 'resnet50'?"),
        ({"workload": "resnet50", "policy": "ddq"}, "did you mean 'ddp'?"),
        ({"workload": "mlp", "policy": "ddp:accumulate=9", "batch": 8}, "cannot be split in 9 passes"),
        ({"workload": "resnet50", "policy": "hierarchical", "per_node": 3}, "are no nodes of 3; use --per-node"),
        ({"workload": "gpt3"}, "need 3 times as much on each rank"),
        ({"workload": "resnet50", "algorithms": ("ring:chunk=2",)}, "unknown parameter of 'ring'"),
    ],
)
def test_a_case_that_cannot_be_is_refused_before_it_begins(words, message):
    with pytest.raises(InputError) as error:
        prepared(Asked(**words), 2, 2)
    assert message in str(error.value)
