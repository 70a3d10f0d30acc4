"""Late starts, stragglers and jitter: what they must do, in every model alike, and nothing ever faster."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topologies
from commsim import Disturbance, simulate
from commsim.errors import InputError
from tests.fluid_reference import readable
from tests.variants import find

STAR = "star:hosts=8,bandwidth=25GB/s,latency=500ns"
HOST = topologies.find("star:hosts=6,bandwidth=8GB/s,latency=300ns,overhead=200ns,gamma=50ps/B")
RING, TREE = find(("allreduce", "ring")), find(("broadcast", "binomial"))
SOME = Disturbance(skew_s=5e-6, stragglers=((3, 1.5), (0, 2.0)), jitter=0.3, seed=7)
N_BYTES = 6 * 4 * 1000


def times(one, disturbance, model="fluid", system=HOST):
    return simulate(one, system, N_BYTES, model=model, disturbance=disturbance).finish_s


def test_a_message_pays_what_its_ends_pay(events):
    """One message from rank 0 to 1: L + o*slow(0) + o*slow(1), from the later start on."""
    pair = topologies.find("star:hosts=2,bandwidth=1GB/s,latency=1us,overhead=100ns")
    slow = Disturbance(start_s=(2e-6, 5e-6), stragglers=((0, 3.0), (1, 2.0)))
    for model in ("hockney", "fluid", "events"):
        found = simulate(TREE, pair, 1000, model=model, disturbance=slow)
        assert found.finish_s == pytest.approx([5e-6 + 2e-6 + 5e-7 + 1e-6] * 2)
    eager = simulate(TREE, pair, 1000, model="loggp", disturbance=slow)
    assert eager.finish_s == pytest.approx([2e-6 + 3e-7 + 0.999e-6, 5.499e-6])
    late = simulate(TREE, pair, 1000, model="loggp", disturbance=Disturbance(start_s=(0.0, 9e-6)))
    assert late.finish_s[1] == pytest.approx(9e-6 + 1e-7)  # what has arrived waits for its receiver


def test_reductions_of_a_straggler_take_longer(events):
    slow = Disturbance(stragglers=((1, 4.0),))
    pair = topologies.find("star:hosts=2,bandwidth=1GB/s,latency=0s,gamma=1ns/B")
    one = find(("allreduce", "recursive_doubling"))
    for model in ("hockney", "loggp", "fluid", "events"):
        assert simulate(one, pair, 1000, model=model, disturbance=slow).time_s == pytest.approx(5e-6, rel=1e-3)


@pytest.mark.parametrize("disturbance", [SOME, Disturbance(jitter=0.5), Disturbance(skew_s=1e-4, seed=3)], ids=str)
@pytest.mark.parametrize("one", [RING, TREE, find(("allreduce", "circulant"))], ids=lambda one: one.name)
def test_models_agree_where_nothing_is_shared(one, disturbance, events):
    hockney = times(one, disturbance, "hockney")
    for model in ("fluid", "events"):
        np.testing.assert_allclose(times(one, disturbance, model), hockney, rtol=1e-9)


@pytest.mark.parametrize("one", [("allreduce", "rabenseifner"), ("alltoall", "pairwise"), ("allreduce", "linear")])
@pytest.mark.parametrize("system", [HOST, topologies.find("xgft:down=4x2,up=1x1,bandwidth=1GB/s,latency=1us")])
def test_it_equals_the_readable_reference(one, system, events):
    n_ranks = system.n_devices
    expected = readable(find(one), system, 1000 * n_ranks, n_ranks, SOME)
    for model in ("fluid", "events"):
        found = simulate(find(one), system, 4000 * n_ranks, model=model, disturbance=SOME)
        np.testing.assert_allclose(found.finish_s, expected, rtol=1e-6)


def test_the_seed_decides_and_is_told():
    drawn = [simulate(RING, HOST, N_BYTES, disturbance=Disturbance(skew_s=1e-5, seed=seed)) for seed in (1, 1, 2)]
    assert (drawn[0].finish_s == drawn[1].finish_s).all()
    assert drawn[0].time_s != drawn[2].time_s
    assert [one.seed for one in drawn] == [1, 1, 2]
    assert drawn[0].disturbance == "skew 10 µs, seed 1"
    plain = simulate(RING, HOST, N_BYTES, disturbance=Disturbance(seed=5))
    assert (plain.seed, plain.disturbance, plain.time_s) == (None, None, simulate(RING, HOST, N_BYTES).time_s)


def test_draws_have_the_stated_means():
    stretches = Disturbance(jitter=0.2, seed=4).stretches(np.arange(100_000))
    assert stretches.min() >= 1
    assert stretches.mean() == pytest.approx(1.2, rel=5e-3)
    assert stretches.std() == pytest.approx(0.2, rel=2e-2)
    starts = Disturbance(skew_s=1e-5).starts(100_000)
    assert (starts.min(), starts.max(), starts.mean()) == pytest.approx((0, 1e-5, 5e-6), abs=1e-7)


@given(
    skew=st.floats(0, 1e-4),
    jitter=st.floats(0, 2),
    factor=st.floats(1, 10),
    seed=st.integers(0, 99),
    model=st.sampled_from(["hockney", "loggp", "fluid"]),
)
@settings(max_examples=40, deadline=None)
def test_nothing_gets_faster_and_more_is_never_less(skew, jitter, factor, seed, model):
    """On a star, where nothing is shared: there is no anomaly that could help."""
    less = Disturbance(skew, (), ((2, (1 + factor) / 2),), jitter / 2, seed)
    more = Disturbance(skew, (), ((2, factor),), jitter, seed)
    calm, some, all_of_it = (times(RING, one, model) for one in (Disturbance(), less, more))
    assert (some >= calm * (1 - 1e-12)).all()
    assert (all_of_it >= some * (1 - 1e-12)).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"skew_s": -1.0}, "starts at a finite time"),
        ({"skew_s": 1.0, "start_s": (1.0,)}, "not by both"),
        ({"jitter": float("nan")}, "jitter=nan must be a finite share"),
        ({"stragglers": ((1, 0.5),)}, "straggler 1=0.5: a rank, and a factor of at least 1"),
        ({"seed": -1}, "seed=-1 must be zero or more"),
    ],
)
def test_what_cannot_be_meant(values, said):
    with pytest.raises(InputError, match=said):
        Disturbance(**values)


def test_ranks_must_exist():
    with pytest.raises(InputError, match="straggler 6=2: there are only 6 ranks"):
        times(RING, Disturbance(stragglers=((6, 2.0),)))
    with pytest.raises(InputError, match="2 starts are given, but there are 6 ranks"):
        times(RING, Disturbance(start_s=(1.0, 2.0)), "hockney")


def test_on_the_command_line(commsim, tmp_path):
    starts = tmp_path / "starts.txt"
    starts.write_text("# of each rank\n" + "1us\n" * 8)
    base = ("simulate", "allreduce", "-a", "ring", "-s", STAR, "--sizes", "1MiB", "--format", "json")
    plain, late, all_of_it = (
        json.loads(commsim(*base, *more)[1])["rows"][0]
        for more in ((), ("--skew", starts), ("--skew", "9us", "--straggler", "3=1.5", "--jitter", "5%", "--seed", "4"))
    )
    assert late["time_s"] == pytest.approx(plain["time_s"] + 1e-6)
    assert (late["disturbance"], late["seed"]) == ("starts given", None)
    assert (all_of_it["disturbance"], all_of_it["seed"]) == (
        "skew 9 µs, straggler 3=1.5, jitter 5 %, seed 4",
        4,
    )
    starts.write_text("1us\n2\n")
    for more, said in (
        (("--skew", starts), "starts.txt, line 2: time '2': a unit is missing"),
        (("--skew", "5"), "time '5': a unit is missing"),
        (("--straggler", "3"), "--straggler 3: write it like 3=1.5"),
        (("--straggler", "9=2"), "straggler 9=2: there are only 8 ranks"),
        (("--jitter", "lots"), "share 'lots' is not a number with a unit; write it like 5%"),
        (("--seed", "3"), "seed=3 does nothing"),
    ):
        code, out, err = commsim(*base, *more)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err
