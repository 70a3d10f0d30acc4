"""Shapes, counts and routes of the systems: each route is a shortest path; the trees are the published ones."""

from collections import Counter, defaultdict
from math import prod

import networkx as nx
import numpy as np
import pytest

import topologies
from commsim.errors import InputError, RefusedError
from commsim.topology import NO_LINK, Links, Topology
from topologies.dgx import superpod_tree
from topologies.fat_tree import FatTree

TREES = {  # down, up, parallel
    "one level": ((5,), (1,), (1,)),
    "one host": ((1,), (1,), (1,)),
    "full bisection": ((4, 4), (1, 4), (1, 1)),
    "tapered": ((6, 3), (1, 2), (1, 1)),
    "parallel": ((4, 4), (1, 2), (1, 2)),
    "hosts with two ports": ((3, 3), (2, 2), (1, 1)),
    "hosts with two cables": ((3, 2), (1, 3), (2, 1)),
    "three levels": ((2, 3, 2), (1, 2, 3), (1, 1, 1)),
    "three parallel": ((4, 2, 3), (1, 2, 2), (1, 2, 3)),
    "four levels": ((2, 2, 2, 2), (1, 2, 2, 2), (1, 1, 1, 1)),
}
TREES["cables below the top"] = ((4, 4, 4), (1, 2, 4), (1, 2, 2))
TREES["cables in the middle"] = ((4, 2, 2), (1, 2, 4), (1, 2, 1))
FULL = [
    "full bisection",
    "parallel",
    "three levels, full",
    "four levels",
    "cables below the top",
    "cables in the middle",
]
TREES["three levels, full"] = ((2, 4, 3), (1, 2, 4), (1, 1, 1))


def tree_system(name):
    down, up, parallel = TREES[name]
    return topologies.xgft(down, up, 1e9, 1e-6, parallel)


def all_pairs(n):
    return (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))


def walk(topology, src, dst, hops):
    """The vertices of a route; it must be connected, go from src to dst and have its padding last."""
    used = [hop for hop in hops.tolist() if hop != NO_LINK]
    assert hops.tolist()[len(used) :] == [NO_LINK] * (len(hops) - len(used))
    vertices = [int(src)]
    for hop in used:
        assert 0 <= hop < topology.n_links
        assert topology.links.src[hop] == vertices[-1]
        vertices.append(int(topology.links.dst[hop]))
    assert vertices[-1] == dst
    return vertices


@pytest.mark.parametrize("name", TREES)
def test_every_route_of_a_fat_tree_is_a_shortest_path(name):
    topology = tree_system(name).topology
    graph = nx.DiGraph(topology.to_networkx())
    shortest = dict(nx.all_pairs_shortest_path_length(graph))
    src, dst = all_pairs(topology.n_devices)
    for s, d, hops in zip(src.tolist(), dst.tolist(), topology.route(src, dst), strict=True):
        assert len(walk(topology, s, d, hops)) - 1 == shortest[s][d]


@pytest.mark.parametrize("name", TREES)
def test_counts_of_a_fat_tree(name):
    down, up, parallel = TREES[name]
    topology, levels = tree_system(name).topology, len(down)
    at = [prod(down[level:]) * prod(up[:level]) for level in range(levels + 1)]
    cables = [at[level] * up[level] * parallel[level] for level in range(levels)]
    assert (topology.n_devices, topology.n_vertices, topology.n_links) == (at[0], sum(at), 2 * sum(cables))
    ends = Counter(zip(topology.links.src.tolist(), topology.links.dst.tolist(), strict=True))
    assert all(ends[b, a] == n for (a, b), n in ends.items())  # full duplex
    degree = np.bincount(topology.links.src)
    ports = [
        [u * k for u, k in zip(up, parallel, strict=True)][level] if level < levels else 0
        for level in [*range(levels + 1)]
    ]
    first = np.cumsum([0, *at])
    for level in range(levels + 1):
        below = down[level - 1] * parallel[level - 1] if level else 0
        assert set(degree[first[level] : first[level + 1]].tolist()) == {ports[level] + below}


@pytest.mark.parametrize("name", [name for name, (_, up, _) in TREES.items() if up[0] == 1])
def test_all_traffic_to_one_destination_uses_one_top_switch(name):
    topology, levels = tree_system(name).topology, len(TREES[name][0])
    src, dst = all_pairs(topology.n_devices)
    tops = defaultdict(set)
    for s, d, hops in zip(src.tolist(), dst.tolist(), topology.route(src, dst), strict=True):
        vertices = walk(topology, s, d, hops)
        if len(vertices) == 2 * levels + 1:  # over the top
            tops[d].add(vertices[levels])
    assert all(len(found) == 1 for found in tops.values())
    assert len(tops) == (topology.n_devices if TREES[name][0][-1] > 1 else 0)


@pytest.mark.parametrize("name", FULL)
def test_a_shift_uses_each_cable_at_most_once(name):
    topology = tree_system(name).topology
    src = np.arange(topology.n_devices)
    for shift in range(1, topology.n_devices):
        hops = topology.route(src, (src + shift) % topology.n_devices)
        assert np.unique(hops[hops != NO_LINK], return_counts=True)[1].max() == 1


def test_a_star_is_a_tree_of_one_level():
    star = topologies.star(5, 1e9, 1e-6).topology
    src, dst = all_pairs(5)
    for s, d, hops in zip(src.tolist(), dst.tolist(), star.route(src, dst), strict=True):
        assert walk(star, s, d, hops) == ([s] if s == d else [s, 5, d])
    assert (star.n_vertices, star.n_links, star.link_name(7)) == (6, 10, "switch→host2")
    path = star.path(np.array([0, 1]), np.array([2, 1]))
    assert path.latency_s.tolist() == [2e-6, 0]
    assert path.bandwidth_Bps.tolist() == [1e9, float("inf")]
    assert (path.first.tolist(), path.last.tolist()) == ([0, NO_LINK], [7, NO_LINK])


def test_names_and_tiers_of_a_fat_tree():
    topology = tree_system("three levels").topology
    names = [topology.vertex_name(v) for v in range(topology.n_vertices)]
    assert names[:12] == [f"host{i}" for i in range(12)]
    assert (names[12], names[18], names[-1], len(set(names))) == ("leaf0", "spine0", "core5", 12 + 6 + 4 + 6)
    tree = tree_system("four levels").topology
    assert tree.vertex_name(tree.n_vertices - 1) == "level4switch7"
    assert topology.tiers["leaf"][:12].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert topology.tiers["level 2 subtree"][:12].tolist() == [0] * 6 + [1] * 6
    out_Bps, in_Bps = topology.crossing_Bps(topology.tiers["leaf"])
    assert out_Bps.tolist() == in_Bps.tolist() == [2e9] * 6


def test_networkx_has_the_same_vertices_and_links():
    topology = tree_system("parallel").topology
    graph = topology.to_networkx()
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (topology.n_vertices, topology.n_links)
    assert graph.nodes[16]["name"] == "leaf0"
    assert graph.number_of_edges(16, 20) == 2
    assert graph.edges[0, 16, 0] == {"latency_s": 1e-6, "bandwidth_Bps": 1e9}


@pytest.mark.parametrize("shape", [((), (), ()), ((2, 2), (1,), (1, 1)), ((2, 0), (1, 1), (1, 1)), ((2,), (-1,), (1,))])
def test_a_tree_that_cannot_be_is_refused(shape):
    with pytest.raises(InputError, match=r"one number a level|at least 1"):
        FatTree(*shape)


def test_a_topology_names_the_bad_link():
    links = Links.both_directions(np.array([0, 1]), np.array([2, 2]), 1e-6, 1e9)
    links.bandwidth_Bps[2] = -3
    with pytest.raises(InputError, match=r"link vertex 2→vertex 0: bandwidth must be above 0, not -3"):
        Topology(2, links, lambda src, dst: src)
    with pytest.raises(InputError, match="at least one device"):
        Topology(0, links, lambda src, dst: src)


# ---------------------------------------------------------------------------------------------------------------------
# DGX H100

NODES = [1, 2, 3, 32, 33, 64, 100, 256, 300, 2048]


def sampled_routes(system, n=400):
    """(src, dst, vertices) of random pairs, with pairs of one node and of one rail among them."""
    rng = np.random.default_rng(system.n_devices)
    src, dst = rng.integers(system.n_devices, size=(2, n))
    dst[: n // 4] = src[: n // 4] // 8 * 8 + rng.integers(8, size=n // 4)  # one node
    dst[n // 4 : n // 2] = dst[n // 4 : n // 2] // 8 * 8 + src[n // 4 : n // 2] % 8  # one rail
    near = slice(n // 2, 3 * n // 4)  # one unit
    units = src[near] // 256 * 256
    dst[near] = units + rng.integers(256, size=n // 4) % np.minimum(256, system.n_devices - units)
    dst[near] = dst[near] // 8 * 8 + src[near] % 8
    routes = system.topology.route(src, dst)
    for s, d, hops in zip(src.tolist(), dst.tolist(), routes, strict=True):
        yield s, d, walk(system.topology, s, d, hops)


@pytest.mark.parametrize("nodes", NODES)
def test_dgx_routes(nodes):
    system = topologies.dgx_h100(nodes)
    name = system.topology.vertex_name
    lengths = Counter()
    for src, dst, vertices in sampled_routes(system):
        words = [name(v).rstrip("0123456789") for v in vertices]
        names = [name(v) for v in vertices]
        lengths[len(vertices)] += 1
        if src == dst:
            assert vertices == [src]
        elif src // 8 == dst // 8:
            assert names == [f"node{src // 8}.gpu{src % 8}", f"node{src // 8}.nvswitch", f"node{dst // 8}.gpu{dst % 8}"]
        else:
            assert names[1:3] == [f"node{src // 8}.pcie{src % 8 // 2}", f"node{src // 8}.nic{src % 8}"]
            assert names[-3:-1] == [f"node{dst // 8}.nic{dst % 8}", f"node{dst // 8}.pcie{dst % 8 // 2}"]
            same_unit = src // 256 == dst // 256
            if src % 8 == dst % 8 and same_unit:
                assert len(vertices) == 7
                assert words[3] == "leaf"
            else:
                assert words[3:-3] in (["leaf", "spine", "leaf"], ["leaf", "spine", "core", "spine", "leaf"])
                assert "core" not in words or src // 1024 != dst // 1024
    expected = {1, 3} | ({7, 9} if nodes > 1 else set()) | ({11} if nodes > 256 else set())
    assert set(lengths) == expected


@pytest.mark.parametrize("nodes", NODES)
def test_dgx_nodes_are_a_tier(nodes):
    topology = topologies.dgx_h100(nodes).topology
    node = topology.tiers["node"]
    assert node[: 8 * nodes].tolist() == [gpu // 8 for gpu in range(8 * nodes)]
    assert len(node) == topology.n_vertices
    names = [topology.vertex_name(v) for v in np.flatnonzero(node == nodes - 1)]
    assert all(name.startswith(f"node{nodes - 1}.") for name in names)
    assert len(names) == 9 + 4 + 2 + 8 * (nodes > 1)  # GPUs and plane, PCIe switches, sockets, NICs
    out_Bps, _ = topology.crossing_Bps(node)
    assert np.allclose(out_Bps, 8 * 393.7e9 / 8 * (nodes > 1))


@pytest.mark.parametrize(
    ("units", "leaf", "spine", "core"),
    [
        *((1, 8, 4, 0), (2, 16, 8, 0), (4, 32, 16, 0), (8, 64, 32, 0)),
        *((16, 128, 128, 64), (32, 256, 256, 128), (64, 512, 512, 256)),
    ],
)
def test_switches_of_the_superpod_are_the_published_ones(units, leaf, spine, core):
    """DGX SuperPOD reference architecture: counts of leaf, spine and core switches."""
    tree = superpod_tree(32 * units)
    counts = [tree.n_at(level) for level in range(1, tree.n_levels + 1)]
    assert counts == [leaf, spine, core][: len(counts)]
    assert len(counts) == (3 if core else 2)
    assert tree.n_hosts == 256 * units


@pytest.mark.parametrize("units", range(1, 65))
def test_no_superpod_switch_has_more_than_64_ports_and_none_is_tapered(units):
    tree = superpod_tree(32 * units - 5)
    assert tree.n_hosts >= 256 * units
    ups = [u * k for u, k in zip(tree.up, tree.parallel, strict=True)] + [0]
    downs = [d * k for d, k in zip(tree.down, tree.parallel, strict=True)]
    for level in range(tree.n_levels):
        assert downs[level] + ups[level + 1] <= 64
        assert ups[level + 1] >= downs[level] or level == tree.n_levels - 1


def test_price_scales_with_nodes_and_can_be_given():
    assert topologies.find("dgx_h100:nodes=1").price_usd == 300e3
    assert topologies.find("dgx_h100:nodes=100").price_usd == 30e6
    assert topologies.find("dgx_h100:nodes=4,price=250kUSD").price_usd == 1e6
    assert topologies.find("star:hosts=4,bandwidth=1GB/s,latency=1us").price_usd is None


def test_nodes_are_known_to_algorithms():
    dgx = topologies.dgx_h100(3)
    assert (dgx.n_devices, dgx.devices_per_node, dgx.ranks_per_node(24), dgx.ranks_per_node(4)) == (24, 8, 8, 4)
    assert topologies.star(4, 1e9, 0.0).ranks_per_node(4) is None


def test_figures_of_dgx_can_be_given_and_the_assumed_ones_are_listed():
    dgx = topologies.find("dgx_h100:nodes=2,nvlink_bandwidth=1GB/s,nvlink_latency=5us,nic_bandwidth=2GB/s")
    path = dgx.topology.path(np.array([0, 0]), np.array([1, 8]))
    assert path.latency_s.tolist() == pytest.approx([10e-6, 2 * 0.9e-6 + 2 * 0.7e-6])
    assert path.bandwidth_Bps.tolist() == [1e9, 2e9]
    assumed = topologies.dgx_h100.assumed
    assert set(assumed) - set(dgx.assumed) == {"nvlink_latency", "in_network"}  # given; not there
    assert set(assumed) == {
        *("nvls", "pcie", "nvlink_latency", "pcie_latency", "socket_latency", "fabric_latency", "hop_latency"),
        *("price", "in_network"),
    }
    assert all("20" in reason for reason in assumed.values())  # each with its date


# ---------------------------------------------------------------------------------------------------------------------
# Switches that reduce and copy

BOTH = {"reduce", "multicast"}
PLAIN = {
    "star": "star:hosts=4,bandwidth=1GB/s,latency=1us",
    "xgft": "xgft:down=2x2,up=1x1,bandwidth=1GB/s,latency=1us",
    "dgx_h100": "dgx_h100:nodes=2",
}


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize(
    ("word", "abilities"), [("none", set()), ("reduce", {"reduce"}), ("multicast", {"multicast"}), ("both", BOTH)]
)
def test_a_word_says_what_the_switches_do(spec, word, abilities):
    found = topologies.find(f"{spec},in_network={word}").in_network
    assert found.get("all", set()) == abilities
    assert ("all" in found) == bool(abilities)


@pytest.mark.parametrize("spec", PLAIN.values(), ids=PLAIN)
def test_another_word_is_refused(spec):
    with pytest.raises(InputError, match="unknown in_network 'bith'; did you mean 'both'"):
        topologies.find(f"{spec},in_network=bith")
    with pytest.raises(InputError, match="known: both, multicast, none, reduce"):
        topologies.find(f"{spec},in_network=7")


def test_nvswitches_always_reduce_and_copy_and_infiniband_where_it_is_said():
    dgx, sharp = topologies.dgx_h100(2), topologies.dgx_h100(2, in_network="both")
    assert dgx.in_network == {"node": BOTH}
    assert sharp.in_network == {"node": BOTH, "all": BOTH}
    assert ("in_network" in dgx.assumed, "in_network" in sharp.assumed, "nvls" in dgx.assumed) == (False, True, True)
    near, far = (np.array([0]), np.array([7])), (np.array([0, 0]), np.array([7, 8]))
    dgx.require_fabric("reduce", *near, "nvls")
    sharp.require_fabric("reduce", *far, "sharp")
    with pytest.raises(
        RefusedError, match=r"sharp needs switches that multicast between rank 0 and rank 8: .* inside a node"
    ):
        dgx.require_fabric("multicast", *far, "sharp")
    with pytest.raises(RefusedError, match=r"star.* has them nowhere; .* in_network=reduce"):
        topologies.find(PLAIN["star"]).require_fabric("reduce", np.array([1]), np.array([0]), "sharp")
