"""Which device each rank sits on: by every rule, and what the rest of the program makes of it."""

import numpy as np
import pytest

import collectives
import topologies
from commsim import placed, simulate
from commsim.algorithm import SCATTERED
from commsim.bounds import bound_s
from commsim.collective import ALLREDUCE
from commsim.errors import InputError, RefusedError

DGX = topologies.dgx_h100(nodes=4)
TREE = topologies.xgft((4, 4), (1, 2), 25e9, 5e-7)


def devices(system, n):
    return [system.topology.vertex_name(device) for device in range(n)]


def test_packed_is_the_order_of_the_system():
    assert placed(DGX, "packed").topology is DGX.topology
    assert placed(DGX, "packed").placement == "packed"


def test_round_robin_takes_the_nodes_in_turn():
    system = placed(DGX, "round_robin")
    assert devices(system, 6) == [
        f"node{node}.gpu{gpu}" for gpu, node in ((0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1))
    ]
    assert (system.placement, system.seed) == ("round_robin", None)
    leaves = placed(TREE, "round_robin:leaf")
    assert devices(leaves, 5) == ["host0", "host4", "host8", "host12", "host1"]


def test_by_rail_takes_the_devices_of_each_rail_together():
    assert devices(placed(DGX, "by_rail"), 5) == ["node0.gpu0", "node1.gpu0", "node2.gpu0", "node3.gpu0", "node0.gpu1"]
    two_a_rail = {**DGX.topology.tiers, "rail": np.arange(DGX.topology.n_vertices) % 8 // 2}
    system = topologies.dgx_h100(nodes=4)
    object.__setattr__(system.topology, "tiers", two_a_rail)
    assert devices(placed(system, "by_rail"), 3) == ["node0.gpu0", "node0.gpu1", "node1.gpu0"]
    assert devices(placed(system, "by_rail"), 9)[8] == "node0.gpu2"


def test_random_is_a_permutation_that_the_seed_alone_decides():
    orders = [devices(placed(DGX, "random", seed=seed), 32) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(devices(DGX, 32))
    assert orders[0][:4] == ["node2.gpu2", "node0.gpu1", "node3.gpu3", "node3.gpu1"]  # on any machine
    assert placed(DGX, "random").seed == 0


def test_a_file_lists_the_devices(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# my job\nhost3\n\n0   # by number\nhost15\n")
    system = placed(TREE, f"file:{path}")
    assert devices(system, 3) == ["host3", "host0", "host15"]
    assert system.n_places == 3
    result = simulate(collectives.allreduce.ring, system, "1MiB")
    assert (result.n_ranks, result.placement) == (3, f"file:{path}")
    with pytest.raises(RefusedError, match=r"rank 3 has no device: placement file:.*hosts lists 3, and there are 5"):
        simulate(collectives.allreduce.ring, system, "1MiB", n_ranks=5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host0\nhost77\n", r"hosts:2: unknown device 'host77'; did you mean 'host7'"),
        ("host0\nleaf0\n", r"hosts:2: unknown device 'leaf0'"),
        ("host0\n16\n", r"hosts:2: unknown device '16'"),
        ("host0\n-1\n", r"hosts:2: unknown device"),
        ("host0\nhost1\n\n0\n", r"hosts:4: 0 holds a rank already, by line 1"),
        ("# nothing\n", r"no rank has a device"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, text, said):
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(InputError, match=said):
        placed(TREE, f"file:{tmp_path / 'hosts'}")
    with pytest.raises(InputError, match="missing: cannot be read"):
        placed(TREE, f"file:{tmp_path / 'missing'}")


@pytest.mark.parametrize(
    ("placement", "seed", "said"),
    [
        ("pakced", None, "did you mean 'packed'"),
        ("packed:leaf", None, "unknown placement"),
        ("file:", None, "did you mean 'file:PATH'"),
        ("packed", 3, "seed=3 does nothing"),
        ("round_robin", None, "has no tier 'node'; its tiers: leaf"),
        ("by_rail", None, "has no tier 'node'"),
    ],
)
def test_what_cannot_be_meant_is_refused(placement, seed, said):
    with pytest.raises(InputError, match=said):
        placed(TREE, placement, seed=seed)


@pytest.mark.parametrize("placement", ["round_robin", "random"])
def test_a_placed_system_is_the_same_machine(placement):
    system = placed(DGX, placement)
    old, new = DGX.topology, system.topology
    number = {old.vertex_name(vertex): vertex for vertex in range(old.n_vertices)}
    at = np.array([number[new.vertex_name(vertex)] for vertex in range(new.n_vertices)])
    assert sorted(at) == list(range(old.n_vertices))
    np.testing.assert_array_equal(at[new.links.src], old.links.src)
    np.testing.assert_array_equal(at[new.links.dst], old.links.dst)
    np.testing.assert_array_equal(new.tiers["node"], old.tiers["node"][at])
    src, dst = np.arange(32), np.arange(32)[::-1]
    np.testing.assert_array_equal(new.route(src, dst), old.route(at[src], at[dst]))
    assert [new.link_name(link) for link in range(40)] == [old.link_name(link) for link in range(40)]
    n_bytes = 2**26
    assert bound_s(ALLREDUCE, system, 32, n_bytes) == pytest.approx(bound_s(ALLREDUCE, DGX, 32, n_bytes))


def test_a_ring_on_alternating_nodes_leaves_the_node_at_every_step():
    ring = collectives.allreduce.ring
    packed, apart = (simulate(ring, placed(DGX, p), "256MiB") for p in ("packed", "round_robin"))
    nic = [i for i in range(DGX.topology.n_links) if "nic" in DGX.topology.link_name(i)]
    assert apart.link_bytes[nic].sum() == pytest.approx(8 * packed.link_bytes[nic].sum())
    nodes = {name.partition("→")[0] for name in (DGX.topology.link_name(i) for i in np.flatnonzero(apart.link_bytes))}
    assert len(nodes) > 60
    assert (apart.placement, packed.placement) == ("round_robin", "packed")


def test_hierarchies_are_told_when_the_ranks_of_a_node_do_not_follow_each_other():
    node_split, hierarchical = collectives.allreduce.node_split, collectives.allreduce.hierarchical
    apart = placed(DGX, "round_robin")
    assert (apart.ranks_per_node(32), apart.ranks_per_node(4), apart.ranks_per_node(1)) == (SCATTERED, 1, 1)
    for algorithm in (node_split, hierarchical):
        with pytest.raises(
            RefusedError, match=r"ranks of a node do not follow each other.*placement packed.*ranks_per_node="
        ):
            simulate(algorithm, apart, "1MiB")
        assert simulate(algorithm.with_params(ranks_per_node=4), apart, "1MiB").time_s > 0
    assert simulate(node_split, DGX, "1MiB").params["ranks_per_node"] in (8, (8,))


def test_nodes_of_unequal_size_are_no_number(tmp_path):
    nodes = np.array([0, 0, 0, 1, 1, 1, 1, 0, 1])
    system = topologies.star(7, 1e9, 0.0)
    object.__setattr__(system.topology, "tiers", {"node": nodes})
    assert [system.ranks_per_node(n) for n in range(1, 8)] == [1, 2, 3, 3, 3, 3, SCATTERED]
