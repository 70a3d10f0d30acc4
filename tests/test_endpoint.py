"""Eager messages and messages that cross between two ranks: what they cost in every model, and who leaves them out."""

from dataclasses import replace

import numpy as np
import pytest

import topologies
from commsim import Disturbance, simulate
from commsim.errors import InputError
from commsim.goal import read_goal
from commsim.models import MODELS, described
from commsim.traffic import share_fabric
from commsim.units import parse_bytes
from tests.fluid_reference import readable
from tests.test_fluid import two_rings
from tests.test_traffic import of_messages
from tests.variants import find

PLAIN = "star:hosts={n},bandwidth=1GB/s,latency=1us,overhead=200ns,gap=700ns,gamma=100ps/B"
ONE_EACH = ["ring", "recursive_doubling", "rabenseifner", "circulant", "bine"]  # a message each way at most in a step
SOME = Disturbance(skew_s=5e-6, stragglers=((1, 1.5),), jitter=0.3, seed=7)


# ---------------------------------------------------------------------------------------------------------------------
# Eager


@pytest.mark.parametrize(
    ("name", "n", "disturbance"),
    [(name, n, Disturbance()) for name in ONE_EACH for n in (2, 8)] + [("ring", n, SOME) for n in (2, 5, 8)],
)
def test_fluid_equals_loggp_where_all_is_eager_and_nothing_is_shared(name, n, disturbance):
    """Out of step, an early sender shares the port of its receiver with another; in a ring each has one sender."""
    system = topologies.find(PLAIN.format(n=n) + ",eager_limit=1GiB")
    one, n_bytes = find(("allreduce", name)), 4 * n * 1000
    fluid, loggp = (simulate(one, system, n_bytes, model=m, disturbance=disturbance) for m in ("fluid", "loggp"))
    np.testing.assert_allclose(fluid.finish_s, loggp.finish_s, rtol=1e-9)


@pytest.mark.parametrize("limit", ["1B", "2000B", "1MiB"])
@pytest.mark.parametrize("one", [*(find(("allreduce", name)) for name in ("rabenseifner", "linear")), two_rings])
def test_it_equals_the_readable_reference(one, limit):
    system = topologies.find(f"xgft:down=4x2,up=1x1,bandwidth=1GB/s,latency=1us,overhead=200ns,eager_limit={limit}")
    found = simulate(one, system, 4 * 8 * 500, model="fluid", disturbance=SOME)
    np.testing.assert_allclose(found.finish_s, readable(one, system, 8 * 500, 8, SOME), rtol=1e-6)


def test_the_limit_is_the_largest_eager_message():
    """A chain of two: the middle rank is free when its last byte has left, without waiting for its delivery."""
    one = find(("broadcast", "chain:segments=1"))
    for limit, ends in ((999, [3e-6, 6e-6, 6e-6]), (1000, [0.999e-6, 2.999e-6 + 0.999e-6, 2 * 2.999e-6])):
        system = topologies.find(f"star:hosts=3,bandwidth=1GB/s,latency=1us,eager_limit={limit}")
        assert simulate(one, system, 1000, model="fluid").finish_s == pytest.approx(ends)


def test_a_limit_below_all_messages_changes_nothing():
    one, spec = find(("allreduce", "ring")), PLAIN.format(n=8).replace(",gap=700ns", "")
    for model in ("hockney", "fluid"):
        with_limit, without = (
            simulate(one, topologies.find(spec + more), 8 * 4096, model=model) for more in (",eager_limit=4095B", "")
        )
        assert (with_limit.finish_s == without.finish_s).all()
        assert with_limit.engine == without.engine


@pytest.mark.parametrize(
    ("model", "left_out"), [("hockney", "gap, eager_limit, burst"), ("loggp", "eager_limit, burst")]
)
def test_closed_forms_leave_out_what_they_have_no_place_for_and_say_so(model, left_out):
    """A calibrated system has all of it; the time is that of a system without."""
    one, plain = find(("allreduce", "ring")), topologies.find(PLAIN.format(n=8))
    system = with_burst(plain.name + ",eager_limit=4KiB", 1000)
    for n_bytes in (8 * 64, 8 * 4100):
        times = [simulate(one, machine, n_bytes, model=model).time_s for machine in (system, plain)]
        assert times[0] == times[1]
    assert described(model, system.endpoint).endswith(f"no place for the system's {left_out}, and leaves that out")
    assert described("fluid", system.endpoint) == f"fluid: {MODELS['fluid'].description}"


def test_an_eager_send_of_a_goal_schedule_is_done_at_its_last_byte(tmp_path):
    path = tmp_path / "one.goal"
    path.write_text("num_ranks 2\nrank 0 {\n send 1000b to 1\n}\nrank 1 {\n recv 1000b from 0\n}\n")
    system = topologies.find("star:hosts=2,bandwidth=1GB/s,latency=1us,eager_limit=1KiB")
    done = share_fabric([read_goal(path).job(system)], system)
    assert done.finish_s == pytest.approx([0.999e-6, 2.999e-6])
    assert done.least_s == pytest.approx([2.999e-6])


def test_what_switches_do_is_never_eager():
    star = topologies.find("star:hosts=4,bandwidth=1GB/s,latency=1us,in_network=both,eager_limit=1MiB")
    assert simulate(find(("broadcast", "multicast")), star, 1000, model="fluid").finish_s == pytest.approx([3e-6] * 4)


# ---------------------------------------------------------------------------------------------------------------------
# Pairs

HALF = ",pair_efficiency=0.5"
EVERY = ["hockney", "loggp", "fluid", "events"]


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.parametrize("overheads", ["", ",overhead=1us,gamma=10ps/B"])
def test_an_exchange_between_two_ranks_has_half_of_what_a_ring_has(model, overheads, events):
    spec = f"star:hosts=8,bandwidth=1GB/s,latency=1us{overheads}"
    plain, half = topologies.find(spec), topologies.find(spec + HALF)
    for name, slower in (("ring", 0), ("recursive_doubling", 3), ("rabenseifner", 2 * 7 / 8)):
        one = find(("allreduce", name))
        before, after = (simulate(one, system, 2**20, model=model).time_s for system in (plain, half))
        assert after == pytest.approx(before + slower * 2**20 / 1e9, rel=1e-4 if model == "loggp" else 1e-9)
    ring = find(("allreduce", "ring"))
    two = [simulate(ring, system, 2**20, n_ranks=2, model=model).time_s for system in (plain, half)]
    assert two[1] == pytest.approx(two[0] + 2**20 / 1e9, rel=1e-4)  # a ring of two is an exchange


@pytest.mark.parametrize("one", [find(("allreduce", "rabenseifner")), find(("alltoall", "linear")), two_rings])
def test_pairs_equal_the_readable_reference(one, events):
    system = topologies.find("xgft:down=3x2,up=1x1,bandwidth=1GB/s,latency=1us,pair_efficiency=30%")
    expected = readable(one, system, 6 * 500, 6)
    for model in ("fluid", "events"):
        found = simulate(one, system, 4 * 6 * 500, model=model)
        np.testing.assert_allclose(found.finish_s, expected, rtol=1e-6)


@pytest.mark.parametrize("model", ["hockney", "fluid", "events"])
def test_switches_that_reduce_know_no_pairs(model, events):
    spec = "star:hosts=4,bandwidth=1GB/s,latency=1us,in_network=both"
    times = [
        simulate(find(("allreduce", "nvls")), topologies.find(s), 2**20, model=model).time_s
        for s in (spec, spec + HALF)
    ]
    assert times[0] == times[1]


def test_it_comes_on_top_of_what_both_ways_cost(tmp_path):
    path = tmp_path / "host.toml"
    text = '[topology]\ngenerator = "star"\nhosts = 2\nbandwidth = "1GB/s"\nlatency = "0s"\n[endpoint]\n'
    path.write_text(text + 'both_ways = [{efficiency = 0.8}]\npair_efficiency = 0.5\neager_limit = "1KiB"\n')
    host = topologies.find(str(path))
    assert (host.endpoint.pair_efficiency, host.endpoint.eager_limit_bytes) == (0.5, 1024)
    for model in ("hockney", "fluid"):
        found = simulate(find(("allreduce", "recursive_doubling")), host, 10**6, model=model)
        assert found.time_s == pytest.approx(1e-3 / 0.8 / 0.5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (",pair_efficiency=0", "pair_efficiency=0.0 must be above 0 and at most 1"),
        (",pair_efficiency=120%", "pair_efficiency=1.2 must be"),
        (",pair_efficiency=half", "pair_efficiency=half: share 'half' is not a number"),
        (",eager_limit=-1", "size '-1' is not a number"),
        (",message_rate=5", "message_rate=5: rate '5': a unit is missing; write it like 200M/s"),
        (",eager_limt=8", "did you mean 'eager_limit'"),
    ],
)
def test_wrong_keys(more, said):
    with pytest.raises(InputError, match=said):
        topologies.find("star:hosts=2,bandwidth=1GB/s,latency=1us" + more)


def test_the_spec_makes_the_system_again():
    one = topologies.star(2, 1e9, 1e-6, eager_limit_bytes=parse_bytes("8KiB"), pair_efficiency=0.5)
    assert one.name == "star:hosts=2,bandwidth=1GB/s,latency=1µs,eager_limit=8192B,pair_efficiency=0.5"
    assert topologies.find(one.name).endpoint == one.endpoint
    assert topologies.find("dgx_h100:nodes=1,eager_limit=8KiB").endpoint.eager_limit_bytes == 8192


# ---------------------------------------------------------------------------------------------------------------------
# Message rate


def test_a_port_takes_so_many_messages_a_second():
    """Five empty messages to one device: the last is posted with the others, and begins four spaces later."""
    star = topologies.find("star:hosts=6,bandwidth=1GB/s,latency=1us,message_rate=1M/s")
    fan_in = of_messages([(sender, 0, 0) for sender in range(1, 6)])
    found = share_fabric([fan_in.job(star)], star)
    assert found.end_s == pytest.approx([2e-6, 3e-6, 4e-6, 5e-6, 6e-6])
    apart = of_messages([(0, 3, 0), (1, 4, 0), (2, 5, 0)])
    assert share_fabric([apart.job(star)], star).end_s == pytest.approx([2e-6] * 3)
    here = of_messages([(0, 0, 0), (0, 0, 0)])
    assert share_fabric([here.job(star)], star).time_s == 0


@pytest.mark.parametrize("one", [find(("alltoall", "linear")), find(("allreduce", "recursive_doubling")), two_rings])
def test_message_rates_equal_the_readable_reference(one):
    system = topologies.find("xgft:down=3x2,up=1x1,bandwidth=1GB/s,latency=1us,message_rate=300k/s")
    found = simulate(one, system, 4 * 6 * 50, model="fluid", disturbance=SOME)
    np.testing.assert_allclose(found.finish_s, readable(one, system, 6 * 50, 6, SOME), rtol=1e-6)
    plain = simulate(one, topologies.find(system.name.replace(",message_rate=300k/s", "")), 4 * 6 * 50, model="fluid")
    assert found.time_s > plain.time_s


def test_a_message_rate_is_the_gap_of_loggp_and_none_of_hockney():
    one, spec = find(("alltoall", "linear")), "star:hosts=4,bandwidth=1GB/s,latency=1us"
    plain, gap, rate = (topologies.find(spec + more) for more in ("", ",gap=2us", ",message_rate=500k/s"))
    by_gap, by_rate = (simulate(one, system, 4 * 64, model="loggp").time_s for system in (gap, rate))
    assert by_gap == by_rate > simulate(one, plain, 4 * 64, model="loggp").time_s
    assert simulate(one, rate, 4 * 64, model="hockney").time_s == simulate(one, plain, 4 * 64, model="hockney").time_s
    assert "message_rate, and leaves that out" in described("hockney", rate.endpoint)


# ---------------------------------------------------------------------------------------------------------------------
# Bursts


def with_burst(spec, burst_bytes):
    system = topologies.find(spec)
    return replace(system, endpoint=replace(system.endpoint, burst_bytes=burst_bytes))


def test_a_link_that_has_rested_is_ahead_of_its_bandwidth():
    """1 GB/s and 1000 B at once: 800 ns of rest earn 800 B."""
    star = with_burst("star:hosts=3,bandwidth=1GB/s,latency=50ns", 1000)
    ends = {0.0: 2.1e-6 + 3e-6, 2.8e-6: 5.1e-6, 5e-6: 7.1e-6}  # of the second of two, by when it starts
    for start_s, end_s in ends.items():
        two = of_messages([(0, 1, 3000), (0, 1, 3000)], start_s=(0.0, start_s))
        assert share_fabric([two.job(star)], star).end_s[1] == pytest.approx(end_s)
    small = of_messages([(0, 1, 700), (2, 1, 700)])  # of which the second finds 300 B left where both must go
    assert share_fabric([small.job(star)], star).end_s == pytest.approx([0.1e-6, 0.5e-6])


@pytest.mark.parametrize("one", [find(("alltoall", "linear")), find(("allreduce", "recursive_doubling")), two_rings])
def test_bursts_equal_the_readable_reference(one):
    system = with_burst("xgft:down=3x2,up=1x1,bandwidth=1GB/s,latency=1us", 500)
    found = simulate(one, system, 4 * 6 * 50, model="fluid", disturbance=SOME)
    np.testing.assert_allclose(found.finish_s, readable(one, system, 6 * 50, 6, SOME), rtol=1e-6)
    assert found.time_s < simulate(one, with_burst(system.name, 0), 4 * 6 * 50, model="fluid", disturbance=SOME).time_s


def test_what_a_burst_carries_at_once_is_below_no_bound():
    star = with_burst("star:hosts=4,bandwidth=1GB/s,latency=0s", 10**6)
    result = simulate(find(("broadcast", "chain:segments=1")), star, 10**6)
    assert (result.time_s, result.bound_s) == (0.0, 0.0)
