"""Every shortcut of the model fluid against the events, and which of them is taken."""

import numpy as np
import pytest

import topologies
from collectives import registry
from commsim import Schedule, algorithm, chunks, exchange, simulate
from commsim.errors import RefusedError
from commsim.layout import Layout
from commsim.models.fluid import Fluid
from commsim.models.follow import follow
from commsim.models.max_min import max_min_rates
from tests.variants import PLAIN, find

SYSTEMS = [
    "star:hosts=16,bandwidth=1GB/s,latency=1us",
    "xgft:down=4x4,up=1x2,bandwidth=1GB/s,latency=300ns,overhead=100ns,gamma=20ps/B",
    "xgft:down=4x4x2,up=1x2x2,bandwidth=1GB/s,latency=1us",
    "torus:shape=4x4,bandwidth=1GB/s,latency=1us",
    "dgx_h100:nodes=2",
]


@pytest.mark.parametrize("case", PLAIN, ids="-".join)
def test_shortcuts_are_exact(case, events):
    one = find(case)
    for spec in SYSTEMS:
        system = topologies.find(spec)
        for n_ranks, each in ((system.n_devices, 1000), (13, 777)):
            n_bytes = 0 if one.collective.joins else 4 * n_ranks * each + 4 * (not one.collective.has_output)
            counts = np.full((n_ranks, n_ranks), each) if one.collective.sizes_each else None
            try:
                quick, plain = (
                    simulate(one, system, n_bytes, n_ranks=n_ranks, model=model, counts=counts)
                    for model in ("fluid", "events")
                )
            except RefusedError:
                continue
            np.testing.assert_allclose(quick.finish_s, plain.finish_s, rtol=1e-9)
            np.testing.assert_allclose(quick.link_bytes, plain.link_bytes, rtol=1e-9)
            assert quick.n_messages == plain.n_messages


def test_steps_that_begin_together_are_followed_as_such():
    """Halving over a tapered tree: all ranks meet the same links at the same time."""
    tree = topologies.find("xgft:down=16x8x8,up=1x8x4,bandwidth=25GB/s,latency=500ns")
    assert simulate(find(("allreduce", "rabenseifner")), tree, "64MiB", model="fluid").engine == "steps"


def test_following_flows_is_solving_again_at_every_end():
    rng = np.random.default_rng(0)
    for case in range(60):
        n_links, n_flows = int(rng.integers(1, 8)), int(rng.integers(1, 12))
        paths, alike = np.full((n_flows, 3), -1, dtype=np.int32), case >= 40
        for path in paths:
            length = int(rng.integers(alike, min(3, n_links) + 1))
            path[:length] = rng.choice(n_links, length, replace=False)
        capacity, n_bytes = rng.uniform(1, 10, n_links), rng.integers(0, 4, n_flows).astype(float)
        ceiling = np.where(rng.random(n_flows) < 0.3, rng.uniform(0.1, 3, n_flows), np.inf)
        if alike:  # one value each, in half of the cases one link for all
            n_bytes, ceiling = np.full(n_flows, 3.0), np.full(n_flows, rng.uniform(0.1, 9))
            paths = np.tile(np.int32([0, -1, -1]), (n_flows, 1)) if case % 2 else paths
            taken_s = follow(paths, capacity, 3.0, ceiling[0])
        else:
            taken_s = follow(paths, capacity, n_bytes, ceiling)
        np.testing.assert_allclose(taken_s, slowly(paths, capacity, n_bytes, ceiling), rtol=1e-9)


def slowly(paths, capacity, n_bytes, ceiling):
    left = np.where((paths >= 0).any(axis=1), n_bytes, 0.0)
    taken_s, now = np.zeros(len(left)), 0.0
    while (left > 0).any():
        live = np.flatnonzero(left > 0)
        rate = max_min_rates(paths[live], capacity, ceiling[live])
        step_s = (left[live] / rate).min()
        now += step_s
        left[live] = np.where(left[live] <= rate * step_s * (1 + 1e-12), 0.0, left[live] - rate * step_s)
        taken_s[live[left[live] == 0]] = now
    return taken_s


def test_a_ring_of_many_ranks_needs_no_events():
    tree = topologies.find("xgft:down=16x8x8,up=1x8x4,bandwidth=25GB/s,latency=500ns")
    ring = registry.find("allreduce", "ring")
    fluid, hockney = (simulate(ring, tree, "64MiB", model=model) for model in ("fluid", "hockney"))
    assert fluid.engine == "clocks, repetitions extrapolated"
    np.testing.assert_allclose(fluid.finish_s, hockney.finish_s, rtol=1e-12)


def test_a_link_that_messages_of_two_steps_meet_on_is_left_to_the_events():
    """Ranks of one leaf go on to the next step while others are still in the one before."""
    tree = topologies.find("xgft:down=4x4,up=1x1,bandwidth=1GB/s,latency=1us")
    result = simulate(registry.find("allreduce", "circulant"), tree, "1MiB", n_ranks=13, model="fluid")
    assert result.engine == "events"


def crossing(*steps):
    """A program whose steps are pairs (src, dst, chunks); it is no collective, and never verified."""

    @algorithm("allreduce", chunks=8)
    def pairs(rank, n_ranks):
        for step in steps:
            exchanges = []
            for src, dst, length in step:
                to, source = np.where(rank == src, dst, -1), np.where(rank == dst, src, -1)
                exchanges.append(exchange(to, source, send=chunks(0, length), receive=chunks(0, length)))
            yield exchanges

    return pairs


def both(one, system):
    """With shortcuts and without; no bound is asked for."""
    schedule = Schedule(one, system.n_devices)
    layout = Layout.of(schedule.space, one.collective, system.n_devices, 1 << 18, 4)
    return [Fluid(shortcuts).run(schedule, system, layout) for shortcuts in (True, False)]


@pytest.mark.parametrize(
    "steps",
    [
        ([(0, 4, 8)], [(1, 5, 2)]),  # rank 1 does not wait for the first step
        ([(0, 4, 8)], [(1, 5, 2), (2, 6, 2)]),  # its step begins together, but not after the one before
        ([(0, 4, 1)], [(0, 1, 8), (2, 6, 8)]),  # a later step begins before an earlier one has ended
    ],
)
def test_messages_of_two_steps_that_meet_on_a_link_are_left_to_the_events(steps, events):
    tree = topologies.find("xgft:down=4x2,up=1x1,bandwidth=1GB/s,latency=1us")
    quick, plain = both(crossing(*steps), tree)
    assert quick.engine == "events"
    np.testing.assert_allclose(quick.finish_s, plain.finish_s, rtol=1e-12)


def test_random_steps():
    """Whatever ranks do, and whenever: the answer is that of the events."""
    rng = np.random.default_rng(0)
    tree = topologies.find("xgft:down=3x2x2,up=1x2x1,bandwidth=1GB/s,latency=200ns,gamma=100ps/B")
    taken = set()
    for _ in range(150):
        steps = []
        for _ in range(int(rng.integers(1, 7))):
            ranks = rng.permutation(12)[: 2 * int(rng.integers(1, 7))].reshape(-1, 2)
            lengths = rng.integers(0, 9, len(ranks)) if rng.random() < 0.5 else np.full(len(ranks), 4)
            steps.append([(int(src), int(dst), int(n)) for (src, dst), n in zip(ranks, lengths, strict=True)])
        quick, plain = both(crossing(*steps), tree)
        taken.add(quick.engine)
        np.testing.assert_allclose(quick.finish_s, plain.finish_s, rtol=1e-9)
        np.testing.assert_allclose(quick.link_bytes, plain.link_bytes, rtol=1e-12)
    assert taken == {"clocks", "steps", "events"}
