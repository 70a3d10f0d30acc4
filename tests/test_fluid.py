"""The fluid model: fair shares against a linear program, hockney where nothing is shared, and a readable reference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import topologies
from commsim import COMMUTATIVE, algorithm, chunk, exchange, lanes, simulate
from commsim.errors import ScheduleError
from commsim.models import MODELS
from commsim.models.fluid import Fluid, MessageTable, play
from commsim.models.max_min import add, max_min_rates, network, remove, solve
from tests.fluid_reference import readable
from tests.variants import find


def by_linear_programs(paths, capacity, ceiling):
    """Max-min fair rates: raise the lowest rate as far as it goes, freeze who cannot have more, and again."""
    n, uses = len(paths), np.zeros((len(capacity), len(paths)))
    for flow, path in enumerate(paths):
        uses[path[path >= 0], flow] = 1
    rates = np.full(n, -1.0)
    while (rates < 0).any():
        rising = np.flatnonzero(rates < 0)
        left = capacity - uses[:, rates >= 0] @ rates[rates >= 0]
        top = ceiling[rising].min()
        level = linprog(
            [-1], uses[:, rising].sum(axis=1)[:, None], left, bounds=[(0, None if np.isinf(top) else top)]
        ).x[0]
        bounds = [(level * (1 - 1e-9), None if np.isinf(c) else c) for c in ceiling[rising]]
        for place, flow in enumerate(rising):
            most = -linprog(-np.eye(len(rising))[place], uses[:, rising], left, bounds=bounds).fun
            if most <= level * (1 + 1e-6):
                rates[flow] = level
    return rates


def random_path(rng, n_links, n_hops):
    path = np.full(n_hops, -1)
    length = int(rng.integers(1, min(n_hops, n_links) + 1))
    path[:length] = rng.choice(n_links, length, replace=False)
    return path


def test_fair_shares_are_those_of_linear_programs():
    rng = np.random.default_rng(0)
    for _ in range(25):
        n_links, n_flows = int(rng.integers(1, 8)), int(rng.integers(1, 10))
        paths = np.array([random_path(rng, n_links, 3) for _ in range(n_flows)])
        capacity = rng.uniform(1, 10, n_links)
        ceiling = np.where(rng.random(n_flows) < 0.3, rng.uniform(0.1, 3, n_flows), np.inf)
        found = max_min_rates(paths, capacity, ceiling)
        np.testing.assert_allclose(found, by_linear_programs(paths, capacity, ceiling), rtol=1e-5)


def test_flows_that_come_and_go_leave_the_rates_of_a_fresh_start():
    rng = np.random.default_rng(1)
    for _ in range(60):
        n_links, n_slots = int(rng.integers(2, 30)), 40
        capacity, active = rng.uniform(1, 10, n_links), {}
        net = network(capacity, n_slots, 4)
        for _ in range(80):
            if active and rng.random() < 0.45:
                slot = int(rng.choice(list(active)))
                remove(net, slot)
                del active[slot]
            elif len(active) < n_slots:
                slot = next(i for i in range(n_slots) if i not in active)
                active[slot] = (
                    random_path(rng, n_links, 4),
                    float(rng.uniform(0.1, 3)) if rng.random() < 0.2 else np.inf,
                )
                add(net, slot, *active[slot])
            if active and rng.random() < 0.7:
                solve(net)
                slots = list(active)
                fresh = max_min_rates(
                    np.array([active[s][0] for s in slots]), capacity, np.array([active[s][1] for s in slots])
                )
                np.testing.assert_allclose(net.flow["rate"][slots], fresh, rtol=1e-8)


CASES = [
    *(("allreduce", name) for name in ("ring", "rabenseifner", "recursive_doubling", "circulant", "linear")),
    *(
        ("broadcast", "chain:segments=5"),
        ("alltoall", "pairwise"),
        ("reduce_scatter", "ring"),
        ("barrier", "dissemination"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_it_equals_hockney_where_nothing_is_shared(case, events):
    for n_ranks in (1, 2, 5, 8, 13):
        star = topologies.star(n_ranks, 8e9, 3e-7, overhead_s=2e-7, gamma_s_per_byte=5e-11)
        n_bytes = 0 if case[0] == "barrier" else 4 * n_ranks * 24 * 8
        hockney, fluid = (simulate(find(case), star, n_bytes, model=model) for model in ("hockney", "events"))
        assert fluid.time_s == pytest.approx(hockney.time_s, rel=1e-9)
        np.testing.assert_allclose(fluid.finish_s, hockney.finish_s, rtol=1e-9)
        np.testing.assert_allclose(fluid.link_bytes, hockney.link_bytes)
        assert (fluid.engine, fluid.n_messages) == ("events", hockney.n_messages)


@algorithm("allreduce", chunks=lambda n_ranks: 2 * n_ranks, constraints=(COMMUTATIVE,))
def two_rings(rank, n_ranks):
    """On two lanes, in opposite directions."""

    def ring(direction, first):
        to, source = (rank + direction) % n_ranks, (rank - direction) % n_ranks
        for step in range(2 * (n_ranks - 1)):
            send, receive = (rank - direction * step) % n_ranks, (rank - direction * (step + 1)) % n_ranks
            reduce = step < n_ranks - 1
            yield [exchange(to, source, send=chunk(first + send), receive=chunk(first + receive), reduce=reduce)]

    yield lanes(ring(1, 0), ring(-1, n_ranks))


SYSTEMS = [
    "xgft:down=4x4,up=1x1,bandwidth=1GB/s,latency=1us,gamma=20ps/B",
    "xgft:down=2x3x2,up=1x2x1,bandwidth=1GB/s,latency=300ns,overhead=100ns",
    "star:hosts=12,bandwidth=1GB/s,latency=1us,gamma=300ps/B",
    "dgx_h100:nodes=2",
]
CONTENDED = [
    find(case)
    for case in (
        *(("allreduce", name) for name in ("recursive_doubling", "rabenseifner", "linear", "all_pairs", "bine")),
        *(("alltoall", "pairwise"), ("allgather", "sparbit"), ("broadcast", "kary_tree:segments=3")),
    )
] + [two_rings]


@pytest.mark.parametrize("spec", SYSTEMS)
@pytest.mark.parametrize("one", CONTENDED, ids=lambda one: one.name)
@pytest.mark.parametrize("model", ["fluid", "events"])
def test_it_equals_the_readable_reference(one, spec, model, events):
    if one is two_rings and "gamma=300" in spec:
        pytest.skip("both lanes come to the reduction unit at the same moment, and simpy lets another one go first")
    system = topologies.find(spec)
    n_ranks = system.n_devices
    n_elements = 1000 * n_ranks
    found = simulate(one, system, 4 * n_elements, model=model)
    np.testing.assert_allclose(found.finish_s, readable(one, system, n_elements, n_ranks), rtol=1e-6)
    assert found.time_s >= found.bound_s * (1 - 1e-9)
    assert (found.link_busy_s <= found.time_s * (1 + 1e-9)).all()


def test_a_shared_link_is_felt():
    tapered = topologies.find("xgft:down=8x2,up=1x1,bandwidth=1GB/s,latency=0s")
    result = simulate(find(("allreduce", "recursive_doubling")), tapered, 10**6, model="fluid")
    assert result.time_s == pytest.approx(3 * 1e-3 + 8e-3)  # three steps in the leaf, one in which 8 share a link
    assert "leaf0→spine0" in result.bottleneck


def test_sizes_have_their_efficiency():
    host = topologies.star(2, 1e9, 0.0)
    from commsim.system import BySize, Endpoint

    slow = replace(host, endpoint=Endpoint(BySize((0, 4000), (0.0, 0.0), (0.5, 1.0))))
    for n_bytes, share in ((2000, 0.5), (4000, 1.0)):
        result = simulate(find(("broadcast", "binomial")), slow, n_bytes, model="fluid")
        assert result.time_s == pytest.approx(n_bytes / 1e9 / share)


def table(post_src, then_src, *, src=(0, 1), dst=(1, 0), n_gates=4, n_bytes=(1000, 1000), eager=(False, False)):
    n = len(src)
    columns = [np.array(c) for c in (src, dst, post_src, [0] * n, then_src, [n_gates - 1] * n, n_bytes)]
    costs = np.zeros(n), np.ones(n), np.array(eager), np.full(n, -1.0), np.zeros(n, dtype=int)
    return MessageTable(2, n_gates, *columns, *costs, last_gate=np.array([n_gates - 1] * 2), n_together=n, n_steps=1)


def test_messages_that_wait_for_each_other_are_refused():
    """Gate 1 opens when the second message has been sent, gate 2 when the first has."""
    star = topologies.star(2, 1e9, 0.0)
    assert play(table([0, 1], [1, 2]), star).finish_s[0] == pytest.approx(2e-6)
    with pytest.raises(ScheduleError, match="2 messages wait for ever, the first from rank 0 to 1"):
        play(table([1, 2], [2, 1]), star)


def test_an_eager_sender_goes_on_at_its_last_byte():
    star = topologies.star(2, 1e9, 5e-6)
    for eager, second_s in ((False, 22e-6), (True, 12e-6 - 2e-9)):
        done = play(table([0, 1], [1, 2], src=(0, 0), dst=(1, 1), eager=(eager, eager)), star, np.array([0]))
        assert done.timeline.end_s.max() == pytest.approx(second_s, rel=1e-6)


def test_it_is_a_model_among_the_others():
    assert sorted(MODELS) == ["fluid", "hockney", "loggp"]


ALIKE = ["ring", "recursive_doubling", "rabenseifner", "linear", "all_pairs"]  # ranks do alike: no one makes room


@given(
    name=st.sampled_from(ALIKE),
    spec=st.sampled_from(["star:hosts=8", "xgft:down=4x2,up=1x1"]),
    n_elements=st.integers(1, 10**6),
    more=st.integers(1, 10**6),
    slower=st.floats(0.05, 1),
)
@settings(max_examples=40, deadline=None)
def test_time_never_falls_when_bytes_grow_or_links_slow(name, spec, n_elements, more, slower):
    one, shape = find(("allreduce", name)), "{},bandwidth={}MB/s,latency=1us,overhead=200ns,gamma=50ps/B"
    fast, slow = (topologies.find(shape.format(spec, rate)) for rate in (1000, 1000 * slower))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "events", Fluid(shortcuts=False))
        for model in ("fluid", "events"):
            base = simulate(one, fast, 32 * n_elements, model=model)
            grown = simulate(one, fast, 32 * (n_elements + more), model=model)
            slowed = simulate(one, slow, 32 * n_elements, model=model)
            assert base.time_s <= grown.time_s * (1 + 1e-9)
            assert base.time_s <= slowed.time_s * (1 + 1e-9)
            np.testing.assert_allclose(slowed.link_bytes, base.link_bytes)
