"""Collectives in the fabric: every link carries once what switches combine or copy, and no rank reduces it."""

import numpy as np
import pytest

import topologies
from collectives import registry
from commsim import (
    Disturbance,
    algorithm,
    chunk,
    exchange,
    fabric_multicast,
    fabric_reduce,
    lanes,
    simulate,
    verify,
    where,
    within,
)
from commsim.errors import RefusedError, ScheduleError
from tests.fluid_reference import readable

BANDWIDTH_BPS, ALPHA, GAMMA = 1e9, 2e-6, 1e-9
N_BYTES = 840_000  # divides by the chunks of every case here
BETA_N = N_BYTES / BANDWIDTH_BPS


def star(hosts, in_network="both"):
    return topologies.star(hosts, BANDWIDTH_BPS, ALPHA / 2, gamma_s_per_byte=GAMMA, in_network=in_network)


def run(collective, spec, system, **options):
    """The result, which must not be below its bounds."""
    result = simulate(registry.find(collective, spec), system, N_BYTES, **options)
    assert result.time_s >= result.bound_s * (1 - 1e-9)
    assert result.link_busy_s.max() <= result.time_s * (1 + 1e-9)
    return result


def assert_ports(result, up, down):
    """Bytes from each host to the switch, and from the switch to each host."""
    assert result.link_bytes.tolist() == pytest.approx([*up, *down])


@pytest.mark.parametrize("hosts", [2, 3, 5, 8])
@pytest.mark.parametrize("root", [0, 1])
def test_a_multicast_leaves_once_and_arrives_once(hosts, root):
    result = run("broadcast", "multicast", star(hosts), root=root)
    assert result.time_s == pytest.approx(ALPHA + BETA_N)
    assert result.bound_s == pytest.approx(BETA_N)
    is_root = np.arange(hosts) == root
    assert_ports(result, up=N_BYTES * is_root, down=N_BYTES * ~is_root)


@pytest.mark.parametrize("hosts", [2, 3, 5, 8])
@pytest.mark.parametrize("root", [0, 1])
def test_a_reduction_arrives_once_and_costs_the_root_nothing(hosts, root):
    result = run("reduce", "sharp", star(hosts), root=root)
    assert result.time_s == pytest.approx(ALPHA + BETA_N)
    is_root = np.arange(hosts) == root
    assert_ports(result, up=N_BYTES * ~is_root, down=N_BYTES * is_root)


@pytest.mark.parametrize("hosts", [2, 3, 4, 8])
@pytest.mark.parametrize("segments", [1, 2, 5])
def test_sharp_carries_the_vector_once_each_way(hosts, segments):
    result = run("allreduce", f"sharp:segments={segments}", star(hosts))
    assert result.time_s == pytest.approx((segments + 1) * (ALPHA + BETA_N / segments))
    assert result.link_bytes.tolist() == pytest.approx([N_BYTES] * 2 * hosts)


@pytest.mark.parametrize("hosts", [2, 3, 4, 8])
@pytest.mark.parametrize("segments", [1, 2, 5])
def test_nvls_carries_the_vector_once_each_way(hosts, segments):
    result = run("allreduce", f"nvls:segments={segments}", star(hosts))
    bandwidth = (segments - 1 + 2 * (hosts - 1) / hosts) * BETA_N / segments
    assert result.time_s == pytest.approx((segments + 1) * ALPHA + bandwidth)
    assert result.link_bytes.tolist() == pytest.approx([N_BYTES] * 2 * hosts)


def test_many_segments_reach_the_bound_that_no_ring_can():
    system = topologies.star(8, BANDWIDTH_BPS, 0.0, in_network="both")
    for name in ("sharp", "nvls"):
        result = run("allreduce", f"{name}:segments=1000", system)
        assert result.time_s == pytest.approx(result.bound_s, rel=2e-3)
        assert result.bound_s == pytest.approx(BETA_N)
    assert run("allreduce", "ring", system).time_s == pytest.approx(2 * 7 / 8 * BETA_N)


@pytest.mark.parametrize("collective", ["reduce_scatter", "allgather"])
def test_halves_of_nvls(collective):
    result = run(collective, "nvls", star(4))
    assert result.time_s == pytest.approx(ALPHA + 3 / 4 * BETA_N)
    own, others = [N_BYTES / 4] * 4, [3 / 4 * N_BYTES] * 4
    assert_ports(result, *((others, own) if collective == "reduce_scatter" else (own, others)))


def test_loggp_sends_a_multicast_once():
    assert run("broadcast", "multicast", star(8), model="loggp").time_s == pytest.approx(ALPHA + BETA_N, rel=1e-4)


@pytest.mark.parametrize(
    ("collective", "spec", "has", "said"),
    [
        ("allreduce", "sharp", "none", "sharp:segments=1 needs switches that reduce between rank 1 and rank 0: star"),
        ("allreduce", "sharp", "multicast", "needs switches that reduce"),
        ("allreduce", "sharp", "reduce", "needs switches that multicast"),
        ("allreduce", "nvls", "none", "nvls:segments=1 needs switches that reduce"),
        ("broadcast", "multicast", "reduce", "multicast needs switches that multicast between rank 0 and rank 1"),
        ("reduce", "sharp", "multicast", "needs switches that reduce"),
    ],
)
def test_a_system_without_the_ability_refuses(collective, spec, has, said):
    with pytest.raises(RefusedError, match=said):
        simulate(registry.find(collective, spec), star(4, has), N_BYTES)


def test_each_ability_is_enough_for_what_needs_no_other():
    assert run("broadcast", "multicast", star(4, "multicast")).time_s > 0
    assert run("reduce", "sharp", star(4, "reduce")).time_s > 0


# ---------------------------------------------------------------------------------------------------------------------
# Nodes and trees


def test_nvls_stays_in_its_node():
    dgx = topologies.dgx_h100(2)
    assert run("allreduce", "nvls", dgx, n_ranks=8).time_s < run("allreduce", "ring", dgx, n_ranks=8).time_s
    with pytest.raises(RefusedError, match=r"rank 8 and rank 0: dgx_h100:nodes=2 has them only inside a node"):
        simulate(registry.find("allreduce", "nvls"), dgx, N_BYTES)
    assert run("allreduce", "nvls_tree", dgx).params["ranks_per_node"] == (8,)


def test_collnet_needs_sharp_between_nodes():
    with pytest.raises(RefusedError, match=r"collnet_direct.* only inside a node"):
        simulate(registry.find("allreduce", "collnet_direct"), topologies.dgx_h100(2), N_BYTES)
    dgx = topologies.dgx_h100(2, in_network="both")
    times = {name: run("allreduce", name, dgx).time_s for name in ("collnet_direct", "collnet_chain", "nvls_tree")}
    assert times["collnet_direct"] < times["collnet_chain"]  # 4 steps instead of 16
    nic = [link for link in range(dgx.topology.n_links) if "nic" in dgx.topology.link_name(link)]
    carried = run("allreduce", "collnet_direct", dgx).link_bytes[nic]
    assert set(carried[carried > 0].round().tolist()) == {N_BYTES / 8}  # each rail its piece, once


@pytest.mark.parametrize(("node", "nodes"), [(1, 4), (4, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("segments", [1, 3])
def test_collnet_is_as_long_as_its_steps_and_pieces(node, nodes, segments):
    piece_s = BETA_N / (node * segments)
    for name, hops in (("collnet_direct", min(node - 1, 1)), ("collnet_chain", node - 1)):
        result = run("allreduce", f"{name}:ranks_per_node={node},segments={segments}", star(node * nodes))
        steps = 2 * hops + 2 * (nodes > 1) + segments - 1
        in_fabric = (segments + 1) * (nodes > 1)  # a segment is reduced while the one before it is copied
        reduction = (node - 1) / node * N_BYTES * GAMMA
        expected_s = steps * ALPHA + (2 * (node - 1) * segments + in_fabric) * piece_s + reduction
        assert result.time_s == pytest.approx(expected_s)


def test_on_a_tree_no_link_carries_more_than_the_vector():
    tree = topologies.find("xgft:down=4x3,up=1x2,bandwidth=1GB/s,latency=1us,in_network=both")
    reduced = run("reduce", "sharp", tree, root=5).link_bytes
    assert sorted(set(reduced.tolist())) == pytest.approx([0, N_BYTES])
    assert (
        reduced > 0
    ).sum() == 11 + 2 + 1 + 1  # up from hosts, up from the other leaves, down to the leaf, to the root
    for collective, spec in (("allreduce", "sharp:segments=4"), ("allreduce", "nvls"), ("broadcast", "multicast")):
        assert run(collective, spec, tree).link_bytes.max() <= N_BYTES * (1 + 1e-9)


def test_groups_of_different_sizes_share_no_set():
    """Two multicasts side by side: each root's port carries its own vector once."""

    @algorithm("broadcast")
    def in_groups(rank, n_ranks, *, root):
        def inner(me, size):
            yield [fabric_multicast(me, size, 0, send=chunk(0), receive=chunk(0))]

        yield from within([[0, 1, 2]], rank, inner)
        yield from within([[1, 3, 4], [2, 5, 6, 7]], rank, inner)

    assert verify(in_groups, 8).n_messages == 2 + 2 + 3
    result = simulate(in_groups, star(8), N_BYTES)
    assert result.time_s == pytest.approx(2 * (ALPHA + BETA_N))
    assert_ports(result, up=[N_BYTES] * 3 + [0] * 5, down=[0] + [N_BYTES] * 7)


# ---------------------------------------------------------------------------------------------------------------------
# Fluid


FABRIC = [
    ("allreduce", "sharp:segments=3"),
    ("allreduce", "nvls:segments=2"),
    ("allreduce", "nvls_tree:ranks_per_node=4"),
    ("allreduce", "collnet_direct:ranks_per_node=4,segments=2"),
    ("allgather", "nvls"),
    ("broadcast", "multicast"),
    ("reduce", "sharp"),
]
SOME = Disturbance(skew_s=1e-4, stragglers=((2, 3.0),), jitter=0.5, seed=3)


@pytest.mark.parametrize("case", FABRIC, ids="-".join)
@pytest.mark.parametrize("model", ["fluid", "events"])
def test_fluid_equals_hockney_where_nothing_is_shared(case, model, events):
    """With late starts too, where a step has one set: it starts when its last member is there."""
    one, system = registry.find(*case), topologies.star(8, 1e9, 1e-6, 2e-7, gamma_s_per_byte=GAMMA, in_network="both")
    for disturbance in (Disturbance(), SOME) if "sharp" in case[1] or "multicast" in case[1] else (Disturbance(),):
        hockney, fluid = (
            simulate(one, system, N_BYTES, model=which, disturbance=disturbance) for which in ("hockney", model)
        )
        np.testing.assert_allclose(fluid.finish_s, hockney.finish_s, rtol=1e-9)
        np.testing.assert_allclose(fluid.link_bytes, hockney.link_bytes)
        assert fluid.n_messages == hockney.n_messages
        assert fluid.bound_s == hockney.bound_s


def test_members_start_together_and_end_together(events):
    """Rank 3 comes 5 us late: nobody has the multicast before it is there."""
    late = Disturbance(start_s=(0.0, 0.0, 0.0, 5e-6))
    for model in ("hockney", "fluid", "events"):
        found = simulate(registry.find("broadcast", "multicast"), star(4), 1000, model=model, disturbance=late)
        assert found.finish_s == pytest.approx([5e-6 + ALPHA + 1e-6] * 4)


@pytest.mark.parametrize("case", FABRIC, ids="-".join)
@pytest.mark.parametrize(
    "system",
    [
        topologies.find("xgft:down=4x2,up=1x1,bandwidth=1GB/s,latency=1us,in_network=both,overhead=100ns"),
        topologies.dgx_h100(1),
        topologies.find("xgft:down=2x2x2,up=1x2x1,bandwidth=1GB/s,latency=300ns,in_network=both"),
    ],
    ids=["tapered", "dgx", "tree"],
)
def test_fluid_equals_the_readable_reference(case, system, events):
    one = registry.find(*case)
    for disturbance in (Disturbance(), SOME):
        expected = readable(one, system, 8 * 105, 8, disturbance)
        for model in ("fluid", "events"):
            found = simulate(one, system, 4 * 8 * 105, model=model, disturbance=disturbance)
            np.testing.assert_allclose(found.finish_s, expected, rtol=1e-6)
        hockney = simulate(one, topologies.find("star:hosts=8,bandwidth=1GB/s,latency=0s,in_network=both"), 4 * 8 * 105)
        assert found.n_messages == hockney.n_messages


def test_a_shared_link_slows_a_whole_set():
    """A multicast of 1 MB and, on another lane, 1 MB to one of its receivers: both take twice as long."""

    @algorithm("broadcast", chunks=2)
    def two(rank, n_ranks, *, root):
        def multicast():
            yield [fabric_multicast(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]

        def beside():
            yield [exchange(where(rank == 2, 1, -1), where(rank == 1, 2, -1), send=chunk(1), receive=chunk(1))]

        yield lanes(multicast(), beside())

    found = simulate(two, star(4), 2 * 10**6, model="fluid", timeline=True)
    assert found.finish_s == pytest.approx([ALPHA + 2e-3] * 4)
    ordered = np.lexsort((found.timeline.dst, found.timeline.src))
    assert found.timeline.src[ordered].tolist() == [0, 0, 0, 2]
    assert found.timeline.dst[ordered].tolist() == [1, 2, 3, 1]
    assert found.link_bytes.max() == 2e6


@pytest.mark.parametrize("operation", [fabric_reduce, fabric_multicast])
def test_selections_that_do_not_fit_the_root_are_refused(operation):
    each = {"send": lambda me, peer: chunk(0), "receive": lambda me, peer: chunk(0)}
    with pytest.raises(ScheduleError, match="with a root takes selections, one without"):
        operation(np.arange(4), 4, 0, **each)
    with pytest.raises(ScheduleError, match="with a root takes selections, one without"):
        operation(np.arange(4), 4, None, send=chunk(0), receive=chunk(0))
