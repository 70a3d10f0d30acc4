"""Plans: what machines are made of and cost, which of them nothing beats, and what a change is worth."""

import pytest

import topologies
from commsim.errors import InputError, UnknownNameError
from experiments import policies, workloads
from experiments.planning import Question, changes, on_front, options, read_prices
from experiments.planning.options import chosen
from experiments.planning.prices import parts_of
from experiments.table import Column, block
from experiments.training import ComputeSource, Training, sets
from experiments.training.play import Conditions, expected_largest
from experiments.training.published import rows_of
from experiments.training.sets import Scored, Set, fitted_bandwidth

TREE = "xgft:down=4x4,up=1x2,bandwidth=10GB/s,latency=1us"


def question(policy="one_bucket:over=cuda_mpi"):
    source = ComputeSource(throughput_per_s=400.0)
    training = Training(
        workloads.find("resnet50"), policies.find(policy), compute=source, algorithms={"allreduce": ("ring",)}
    )
    return Question(training, 1e6, 32)


def test_parts_and_bill_of_a_tree():
    """16 hosts, 4 leaves, 2 spines; a cable from each host, two from each leaf."""
    machine = topologies.find(TREE)
    parts = parts_of(machine)
    assert (parts.nodes, parts.switches, parts.cables) == (16, 6, 24)
    prices = read_prices()
    bill = prices.bill(machine)
    assert bill.price_usd == 16 * 10e3 + 6 * 30e3 + 24 * 500
    assert bill.watts == 16 * 700 + 6 * 1000
    assert bill.per_hour_usd == pytest.approx(bill.price_usd / 35040 + 1.3 * bill.watts / 1000 * 0.12)
    assert prices.bill(topologies.find("aws_p5:nodes=2")).per_hour_usd == 196
    assert "ASSUMED" in prices.source
    two = parts_of(topologies.find("dgx_h100:nodes=2"))  # a unit's leaves and spines, without its empty places
    assert (two.nodes, two.switches, two.nics) == (2, 12, 16)


def test_who_trains_faster_costs_more_and_the_choice_follows_the_limits():
    asked = question()
    found = list(options(asked, ["dgx_a100", TREE], [8, 16], read_prices()))
    assert len(found) == 4
    for one in found:  # a million samples, paid by the hour
        assert one.cost_usd == pytest.approx(1e6 / one.step.samples_per_s / 3600 * one.bill.per_hour_usd)
    front = on_front(found)
    times, costs = [one.time_s for one in front], [one.cost_usd for one in front]
    assert times == sorted(times)
    assert costs == sorted(costs, reverse=True)
    assert chosen(found, None, None).cost_usd == min(one.cost_usd for one in found)
    fastest = min(found, key=lambda one: one.time_s)
    assert chosen(found, 1e9, None) is fastest
    assert chosen(found, None, fastest.time_s) is fastest
    assert chosen(found, 0.01, None) is None
    assert fastest.time_s == pytest.approx(1e6 / fastest.step.samples_per_s)


def test_a_change_is_worth_what_its_machine_is():
    asked = question()
    [option] = options(asked, [TREE], [16], read_prices())
    found = {one.what: one for one in changes(asked, option)}
    step = option.step
    assert found["network 2x faster"].speedup > 1.02
    assert found["network tapered 2:1"].speedup <= 1
    assert found["gradients in 16 bits"].speedup > 1.02
    faster = step.step_s / (step.step_s - step.compute_s / 2)
    assert found["devices 2x faster"].speedup == pytest.approx(faster, rel=1e-6)
    assert found["slowest rank 10% slower"].speedup < 1
    assert found["one rail less"].reason == "it has none"
    assert found["one link lost"].time_s is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hours = 3", "[fabric] is missing"),
        ("hour = 3", "did you mean 'hours'"),
        ("hours = 0\n[fabric]\n[node.default]\nprice='1USD'\nwatts=1", "above zero"),
        ("[fabric]\n[node.x]\nprice='1USD'", "node.default"),
        ("[", "cannot be read as TOML"),
    ],
)  # fmt: skip
def test_wrong_prices_are_refused_with_their_file(text, said, tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises((InputError, UnknownNameError)) as caught:
        read_prices(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_plan_tells_the_choice_and_what_buys_most(commsim, tmp_path):
    words = ("cifar10_quick", "-s", TREE, "--rate", "1TFLOP/s", "--ranks", "4,16,32", "--samples", "1e6")
    code, out, err = commsim("plan", *words, "-o", str(tmp_path / "plan.json"), "--figure", str(tmp_path / "plan.svg"))
    assert code == 0, err
    assert "buys most" in out
    assert "left out" in out
    assert (tmp_path / "plan.svg").stat().st_size > 1000
    code, out, err = commsim("plan", *words[:-1], "0")
    assert (code, out) == (2, "")
    assert "--samples 0 must be above zero" in err


def test_the_slowest_of_many_and_medians_of_a_set():
    varied = Conditions(straggler=2.0, variation=0.1)
    assert varied.slowest(1) == varied
    assert varied.slowest(8).straggler == pytest.approx(2 * (1 + 0.1 * expected_largest(8)))
    assert expected_largest(1) == 0
    assert expected_largest(4) == pytest.approx(1.029, rel=0.025)  # tables of normal order statistics
    assert expected_largest(64) == pytest.approx(2.344, rel=0.025)
    assert Conditions(variation=0.02).slowest(4).straggler == pytest.approx(1.021, abs=1e-3)
    rows = (Scored("a", 2, 0.9, 0.92, 0.8), Scored("a", 4, 0.8, 0.81, 0.6), Scored("a", 8, 0.7, 0.6, 0.7))
    assert Set("set", "", "", rows).errors == pytest.approx((2.0, 20.0, 10.0))


def test_what_is_fixed_of_a_training_is_seen_on_single_nodes_alone(monkeypatch):
    fixed_s = sets.abci_fixed_s()
    assert 900 < fixed_s < 1050
    rows = {name: rows_of(name) for name in ("abci2_resnet50_horovod_scaling", "abci2_resnet50_single_node_ips")}
    for row in rows["abci2_resnet50_horovod_scaling"]:
        if row["nodes"] != "1":
            row["train_s"] = "1"
    monkeypatch.setattr(sets, "rows_of", rows.__getitem__)
    assert sets.abci_fixed_s() == fixed_s


def test_a_gpu_that_was_not_measured_goes_by_flops():
    assert sets.p100_per_s("VGG16") == 132
    assert sets.p100_per_s("ResNet-101") == pytest.approx(95.6 * 23.03 / 15.60, rel=1e-3)


def test_the_bandwidth_is_fitted_on_four_gpus_alone():
    rows = [row for row in rows_of("hkbu_ddl_scaling") if row["method"] == "BSP-A2A" and row["model"] == "ResNet-50"]
    changed = [{**row, "gpu8": "1", "gpu16": "1", "gpu32": "1"} for row in rows]
    candidates = (3e9, 6e9, 12e9)
    assert fitted_bandwidth(rows, candidates) == fitted_bandwidth(changed, candidates) == 6e9


@pytest.mark.parametrize("width", [1, 30, 47, 60])
def test_a_table_that_does_not_fit_is_cut_as_far_as_its_titles(width):
    columns = [
        Column("", "", ["*"], 2),
        Column("system", "", ["dgx_h100:nodes=128"], 0, left=True),
        Column("bottleneck of it", "", ["node0.gpu0->node0.nvswitch"], 0, left=True),
    ]
    lines = block(columns, width)
    assert max(map(len, lines)) <= max(width, len("    system…   bottleneck of it") + 6)
    assert "bottleneck of it" in lines[0]
