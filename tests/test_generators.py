"""Generators of topologies: every route is a walk, most are shortest; counts, radix and bisection are the papers'."""

import re
from collections import Counter
from itertools import combinations
from math import prod

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topologies
from commsim.errors import InputError, UnknownNameError
from commsim.spec import keys_of
from commsim.topology import NO_LINK
from topologies import registry
from topologies.routes import packed, pick

CABLE = {"bandwidth_Bps": 1e9, "latency_s": 1e-6}
NODE = {"node_bandwidth_Bps": 5e9, "node_latency_s": 2e-6}
NETWORK = {"network_bandwidth_Bps": 2e9, "network_latency_s": 3e-6}

SHORTEST = [  # minimal in hops
    *("leaf_spine:hosts_per_leaf=3,leaves=4,spines=2", "leaf_spine:hosts_per_leaf=1,leaves=1,spines=1"),
    "leaf_spine:hosts_per_leaf=3,leaves=4,spines=3,routing=ecmp",
    "xgft:down=2x3x2,up=1x2x3,parallel=1x2x1,routing=ecmp,seed=7",
    "xgft:down=3x3,up=2x2,routing=ecmp",
    *("torus:shape=1", "torus:shape=2", "torus:shape=3", "torus:shape=7", "torus:shape=4x4x4", "torus:shape=5x3"),
    *("torus:shape=2x2x2x2", "torus:shape=4x1x3,hosts_per_router=2", "torus:shape=4x3x5,wrap=1x0x1"),
    *("mesh:shape=1", "mesh:shape=6", "mesh:shape=4x3x2", "mesh:shape=3x3,hosts_per_router=3"),
    *(
        "hyperx:shape=4,hosts_per_router=3",
        "hyperx:shape=1x3x4,hosts_per_router=2",
        "hyperx:shape=2x2x2,hosts_per_router=1",
    ),
    *("dragonfly_plus:hosts_per_leaf=2", "dragonfly_plus:hosts_per_leaf=2,groups=1"),
    "dragonfly_plus:hosts_per_leaf=1,leaves=3,spines=2,global_links=3,groups=3,arrangement=absolute",
    *("slim_fly:q=3", "slim_fly:q=5,hosts_per_router=1", "slim_fly:q=4,hosts_per_router=1"),
    *("fully_connected:hosts=1", "fully_connected:hosts=9"),
    *("hybrid_cube_mesh", "hybrid_cube_mesh:generation=p100"),
    *("nvswitch_domain:gpus=8,planes=4", "nvswitch_domain:gpus=1", "pcie_tree", "pcie_tree:sockets=1"),
    "pcie_tree:sockets=4,switches_per_socket=1,gpus_per_switch=3",
    "pcie_tree:nodes=3,gpus_per_switch=4,nics_per_switch=2,network_bandwidth=1GB/s,network_latency=1us",
    *("rail_only:nodes=1,gpus_per_node=4", "rail_only:nodes=5,gpus_per_node=4", "rail_only:nodes=3,gpus_per_node=1"),
    *("rail_optimised:nodes=4,gpus_per_node=2", "rail_optimised:nodes=5,gpus_per_node=3,nodes_per_leaf=2,spines=3"),
    *("rail_optimised:nodes=4,gpus_per_node=3,cross_rail=pxn", "rail_optimised:nodes=1,gpus_per_node=8"),
]
DRAGONFLIES = [  # minimal in global links first
    *(
        "dragonfly:hosts_per_router=1",
        "dragonfly:hosts_per_router=2",
        "dragonfly:hosts_per_router=2,arrangement=absolute",
    ),
    *(
        "dragonfly:hosts_per_router=1,groups=1",
        "dragonfly:hosts_per_router=2,groups=2",
        "dragonfly:hosts_per_router=2,groups=4",
    ),
    "dragonfly:hosts_per_router=1,routers_per_group=1,global_links=5,groups=4",
    "dragonfly:hosts_per_router=1,routers_per_group=5,global_links=3,groups=4,arrangement=absolute",
]
DETOURS = [
    "dragonfly:hosts_per_router=2,routing=valiant",
    "dragonfly:hosts_per_router=1,routers_per_group=4,global_links=2,groups=3,routing=valiant,seed=5",
    "dragonfly_plus:hosts_per_leaf=2,routing=valiant,seed=1",
    "rail_optimised:nodes=6,gpus_per_node=2,nodes_per_leaf=2,cross_rail=pxn,routing=ecmp,seed=3",
]
ALL = [*SHORTEST, *DRAGONFLIES, *DETOURS]


def found(spec):
    words = [*([] if ":" not in spec else [spec.partition(":")[2]]), "bandwidth=1GB/s,latency=1us"]
    if spec.startswith("rail"):
        words.append("node_bandwidth=5GB/s,node_latency=2us")
    return topologies.find(f"{spec.partition(':')[0]}:{','.join(words)}")


def all_pairs(n):
    return (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))


def check_walks(topology, src, dst, hops):
    """Each route is a connected walk from src to dst, padding last, and empty where src is dst; the lengths (n,)."""
    used, n = hops != NO_LINK, len(src)
    lengths = used.sum(axis=1)
    assert hops.dtype in (np.int32, np.int64)
    assert hops.shape[0] == n
    assert (used == (np.arange(hops.shape[1]) < lengths[:, None])).all()
    assert hops.max(initial=-1) < topology.n_links
    assert hops.min(initial=0) >= NO_LINK
    assert ((lengths == 0) == (src == dst)).all()
    if hops.shape[1]:
        starts, ends = topology.links.src[hops], topology.links.dst[hops]
        moves = lengths > 0
        assert (starts[moves, 0] == src[moves]).all()
        assert (ends[:, :-1] == starts[:, 1:])[used[:, 1:]].all()
        assert (ends[np.arange(n), lengths - 1] == dst)[moves].all()
    return lengths


def check_all(system):
    topology = system.topology
    src, dst = all_pairs(topology.n_devices)
    return check_walks(topology, src, dst, topology.route(src, dst)).reshape(topology.n_devices, -1)


def kinds(topology):
    """How many vertices of each kind there are: the last word of their names."""
    names = [topology.vertex_name(v) for v in range(topology.n_vertices)]
    assert len(set(names)) == len(names)
    return Counter(re.fullmatch(r"(?:group\d+\.)?([a-z]+).*", name)[1] for name in names)


# ---------------------------------------------------------------------------------------------------------------------
# Routes


@pytest.mark.parametrize("spec", ALL)
def test_every_route_is_a_walk_over_links_that_exist(spec):
    check_all(found(spec))


@pytest.mark.parametrize("spec", SHORTEST)
def test_routes_are_shortest(spec):
    system = found(spec)
    graph = nx.DiGraph(system.topology.to_networkx())
    lengths = check_all(system)
    for src, to in nx.all_pairs_shortest_path_length(graph):
        if src < system.n_devices:
            assert lengths[src].tolist() == [to[dst] for dst in range(system.n_devices)]


@pytest.mark.parametrize("spec", DRAGONFLIES)
def test_a_dragonflys_routes_are_shortest_with_one_global_link(spec):
    system = found(spec)
    topology = system.topology
    group = topology.tiers["group"]
    graph = nx.DiGraph()
    for src, dst in zip(topology.links.src.tolist(), topology.links.dst.tolist(), strict=True):
        graph.add_edge(src, dst, weight=1 if group[src] == group[dst] else 3)  # 1 + 3 + 1 is less than 3 + 3
    lengths = check_all(system)
    across = group[: system.n_devices, None] != group[: system.n_devices]
    for src, to in nx.all_pairs_dijkstra_path_length(graph):
        if src < system.n_devices:
            assert (lengths + 2 * across)[src].tolist() == [to[dst] for dst in range(system.n_devices)]


@pytest.mark.parametrize("spec", ALL)
def test_a_route_does_not_depend_on_the_others_asked_for(spec):
    topology = found(spec).topology
    src, dst = all_pairs(topology.n_devices)
    together = topology.route(src, dst)
    for i in range(0, len(src), max(1, len(src) // 50)):
        (alone,) = topology.route(src[i : i + 1], dst[i : i + 1])
        assert alone[alone != NO_LINK].tolist() == together[i][together[i] != NO_LINK].tolist()
    assert topology.route(src[:0], dst[:0]).shape[0] == 0


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
SMALL = st.integers(1, 4)
FEW = settings(max_examples=40, deadline=None, derandomize=True)


@FEW
@given(SIZES, st.data())
def test_any_torus(shape, data):
    wrap = tuple(data.draw(st.integers(0, 1)) for _ in shape)
    hosts = data.draw(st.none() | st.integers(1, 2))
    lengths = check_all(topologies.torus(shape, hosts_per_router=hosts, wrap=wrap, **CABLE))
    at = np.unravel_index(np.arange(prod(shape)), shape, order="F")
    far = 0
    for x, size, ring in zip(at, shape, wrap, strict=True):
        away = abs(x[:, None] - x)
        far = far + (np.minimum(away, size - away) if ring else away)
    if hosts:
        router = np.arange(len(lengths)) // hosts
        far = far[router][:, router] + 2 * (1 - np.eye(len(lengths), dtype=int))
    assert (lengths == far).all()


@FEW
@given(SIZES, SMALL)
def test_any_hyperx(shape, hosts):
    lengths = check_all(topologies.hyperx(shape, hosts, **CABLE))
    at = np.array(np.unravel_index(np.arange(prod(shape)), shape, order="F")).repeat(hosts, axis=1)
    differ = (at[:, :, None] != at[:, None, :]).sum(axis=0)
    assert (lengths == differ + 2 * (1 - np.eye(len(lengths), dtype=int))).all()


@FEW
@given(SMALL, SMALL, SMALL, st.data())
def test_any_dragonfly(hosts, routers, global_links, data):
    groups = data.draw(st.integers(1, min(6, routers * global_links + 1)))
    keys = {"arrangement": data.draw(st.sampled_from(["palmtree", "absolute"])), **CABLE}
    minimal = check_all(
        topologies.dragonfly(hosts, **CABLE, routers_per_group=routers, global_links=global_links, groups=groups)
    )
    plus = check_all(
        topologies.dragonfly_plus(
            hosts, leaves=routers, spines=routers, global_links=global_links, groups=groups, **keys
        )
    )
    assert minimal.max() <= 5
    assert plus.max() <= 5
    if groups > 2:
        detour = topologies.dragonfly(
            hosts, routers_per_group=routers, global_links=global_links, groups=groups, routing="valiant", **keys
        )
        assert check_all(detour).max() <= 8


@FEW
@given(SMALL, SMALL, SMALL, SMALL, st.sampled_from(["spine", "pxn"]))
def test_any_rails(nodes, gpus, per_leaf, spines, cross_rail):
    keys = {"nodes_per_leaf": per_leaf, "spines": spines, "cross_rail": cross_rail}
    assert check_all(topologies.rail_optimised(nodes, gpus, **CABLE, **NODE, **keys)).max() <= 8
    lengths = check_all(topologies.rail_only(nodes, gpus, **CABLE, **NODE))
    gpu = np.arange(nodes * gpus)
    near, same_rail = gpu[:, None] // gpus == gpu // gpus, gpu[:, None] % gpus == gpu % gpus
    assert (lengths == np.where(near, 2 * ~same_rail, np.where(same_rail, 4, 6))).all()


@FEW
@given(st.integers(1, 3), SMALL, st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_any_pcie_tree(nodes, sockets, switches, gpus, nics):
    system = topologies.pcie_tree(1e9, 1e-6, nodes, sockets, switches, gpus, nics, **NETWORK)
    lengths = check_all(system)
    n = system.n_devices
    same = {tier: groups[:n, None] == groups[:n] for tier, groups in system.topology.tiers.items()}
    expected = np.where(same["socket"], np.where(same["switch"], 2, 4), np.where(same["node"], 5, 6))
    np.fill_diagonal(expected, 0)
    assert (lengths == expected).all()


@pytest.mark.parametrize("q", [3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 23, 25, 27])
def test_a_slim_flys_routers_are_two_hops_apart(q):
    topology = topologies.slim_fly(q, hosts_per_router=1, **CABLE).topology
    n, degree = topology.n_devices, (3 * q - (0, 1, None, -1)[q % 4]) // 2
    src = np.repeat(np.arange(0, n, 1 if q < 15 else 37), n)
    dst = np.tile(np.arange(n), len(src) // n)
    lengths = check_walks(topology, src, dst, topology.route(src, dst))
    first = src == src[0]
    assert np.bincount(lengths[first]).tolist() == [1, 0, 0, degree, n - 1 - degree]
    assert lengths.max() == 4


# ---------------------------------------------------------------------------------------------------------------------
# Counts, radix, bisection


@pytest.mark.parametrize("spec", ALL)
def test_every_cable_has_two_directions(spec):
    links = found(spec).topology.links
    forth = Counter(
        zip(links.src.tolist(), links.dst.tolist(), links.bandwidth_Bps.tolist(), links.latency_s.tolist(), strict=True)
    )
    assert all(forth[b, a, bandwidth, latency] == n for (a, b, bandwidth, latency), n in forth.items())
    assert (links.src != links.dst).all()


def degrees(topology, first, last):
    return set(np.bincount(topology.links.src, minlength=topology.n_vertices)[first:last].tolist())


@pytest.mark.parametrize("shape", [(5,), (3, 4), (4, 4, 4), (3, 1, 5), (6, 3, 3, 3)])
def test_counts_of_a_torus(shape):
    topology = topologies.torus(shape, **CABLE).topology
    dimensions = sum(size > 1 for size in shape)
    assert (topology.n_devices, topology.n_links) == (prod(shape), 2 * dimensions * prod(shape))
    assert degrees(topology, 0, prod(shape)) == {2 * dimensions}


@pytest.mark.parametrize("dimensions", [1, 3, 5])
def test_a_torus_of_size_two_is_a_hypercube(dimensions):
    for make in (topologies.torus, topologies.mesh):
        topology = make((2,) * dimensions, **CABLE).topology
        assert degrees(topology, 0, 2**dimensions) == {dimensions}
        assert nx.is_isomorphic(nx.Graph(topology.to_networkx()), nx.hypercube_graph(dimensions))


@pytest.mark.parametrize("shape", [(6,), (3, 4), (2, 3, 4)])
def test_counts_of_a_mesh(shape):
    topology = topologies.mesh(shape, hosts_per_router=2, **CABLE).topology
    n = prod(shape)
    inside = sum(n // size * (size - 1) for size in shape)
    assert (topology.n_devices, topology.n_vertices, topology.n_links) == (2 * n, 3 * n, 2 * (2 * n + inside))
    assert nx.is_isomorphic(
        nx.Graph(topologies.mesh(shape, **CABLE).topology.to_networkx()), nx.grid_graph(list(shape))
    )


@pytest.mark.parametrize("p", [1, 2, 3, 4])
@pytest.mark.parametrize("arrangement", ["palmtree", "absolute"])
def test_counts_of_a_balanced_dragonfly(p, arrangement):
    """Kim et al. 2008: N = ap(ah + 1), radix p + (a - 1) + h; one cable between every two groups."""
    topology = topologies.dragonfly(p, arrangement=arrangement, **CABLE).topology
    a, h = 2 * p, p
    g = a * h + 1
    n, routers = a * p * g, a * g
    assert (topology.n_devices, topology.n_vertices) == (n, n + routers)
    assert topology.n_links == 2 * n + routers * (a - 1 + h)
    assert degrees(topology, n, n + routers) == {p + a - 1 + h}
    group = topology.tiers["group"]
    pairs = Counter(zip(group[topology.links.src].tolist(), group[topology.links.dst].tolist(), strict=True))
    assert {pairs[i, j] for i in range(g) for j in range(g) if i != j} == {1}
    assert kinds(topology) == {"host": n, "router": routers}


@pytest.mark.parametrize(("groups", "copies"), [(9, 1), (8, 1), (5, 2), (4, 2), (3, 4), (2, 8), (1, 0)])
def test_fewer_groups_share_the_global_links(groups, copies):
    for topology in (
        topologies.dragonfly(2, groups=groups, **CABLE).topology,
        topologies.dragonfly_plus(2, spines=4, groups=groups, **CABLE).topology,
    ):
        group = topology.tiers["group"]
        pairs = Counter(zip(group[topology.links.src].tolist(), group[topology.links.dst].tolist(), strict=True))
        assert {n for (i, j), n in pairs.items() if i != j} == ({copies} if copies else set())


@pytest.mark.parametrize("half", [1, 2, 3, 4])
def test_counts_of_a_dragonfly_plus(half):
    """Shpiner et al. 2017: switches of radix k = 2 half; groups of half leaves and half spines, at most half² + 1."""
    topology = topologies.dragonfly_plus(half, **CABLE).topology
    g = half**2 + 1
    n, leaves = half**2 * g, half * g
    assert (topology.n_devices, topology.n_vertices) == (n, n + 2 * leaves)
    assert degrees(topology, n, n + 2 * leaves) == {2 * half}
    assert kinds(topology) == {"host": n, "leaf": leaves, "spine": leaves}


@pytest.mark.parametrize(("shape", "hosts"), [((4,), 4), ((3, 4), 2), ((2, 3, 4), 3)])
def test_counts_of_a_hyperx(shape, hosts):
    """Ahn et al. 2009: radix T + sum(S - 1)."""
    topology = topologies.hyperx(shape, hosts, **CABLE).topology
    n, radix = prod(shape), sum(size - 1 for size in shape)
    assert (topology.n_devices, topology.n_vertices, topology.n_links) == (
        hosts * n,
        (hosts + 1) * n,
        n * (radix + 2 * hosts),
    )
    assert degrees(topology, hosts * n, (hosts + 1) * n) == {hosts + radix}


@pytest.mark.parametrize(
    ("q", "routers", "degree", "hosts"),
    [(5, 50, 7, 4), (7, 98, 11, 6), (8, 128, 12, 6), (9, 162, 13, 7), (13, 338, 19, 10), (19, 722, 29, 15)],
)
def test_counts_of_a_slim_fly(q, routers, degree, hosts):
    """Besta, Hoefler 2014: 2q² routers of degree (3q - δ)/2; 10830 hosts with q = 19."""
    topology = topologies.slim_fly(q, **CABLE).topology
    n = routers * hosts
    assert (topology.n_devices, topology.n_vertices, topology.n_links) == (
        n,
        n + routers,
        routers * (degree + 2 * hosts),
    )
    assert degrees(topology, n, n + routers) == {degree + hosts}
    assert len({*zip(topology.links.src.tolist(), topology.links.dst.tolist(), strict=True)}) == topology.n_links


@pytest.mark.parametrize(("generation", "degree", "n_cables"), [("v100", 6, 16), ("p100", 4, 16)])
def test_a_gpu_of_a_cube_mesh_has_all_its_nvlinks(generation, degree, n_cables):
    """TPDS 2020: six NVLinks a V100, four a P100."""
    topology = topologies.hybrid_cube_mesh(generation=generation, **CABLE).topology
    out_Bps, in_Bps = topology.crossing_Bps(np.arange(8))
    assert out_Bps.tolist() == in_Bps.tolist() == [degree * 1e9] * 8
    assert topology.n_links == 2 * n_cables


def test_a_relay_is_on_the_widest_way():
    topology = topologies.hybrid_cube_mesh(**CABLE).topology
    src, dst = all_pairs(8)
    path = topology.path(src, dst)
    width = np.zeros((8, 8))
    width[topology.links.src, topology.links.dst] = topology.links.bandwidth_Bps
    for s, d, hops, bandwidth_Bps in zip(src, dst, path.hops, path.bandwidth_Bps, strict=True):
        if (hops != NO_LINK).sum() == 2:
            assert width[s, d] == 0
            assert bandwidth_Bps == max(min(width[s, via], width[via, d]) for via in range(8))


def test_counts_of_the_others():
    leaf_spine = topologies.leaf_spine(4, 6, 3, **CABLE).topology
    assert kinds(leaf_spine) == {"host": 24, "leaf": 6, "spine": 3}
    assert leaf_spine.n_links == 2 * (24 + 18)
    assert topologies.fully_connected(7, **CABLE).topology.n_links == 42
    domain = topologies.nvswitch_domain(72, planes=18, **CABLE).topology
    assert (domain.n_vertices, domain.n_links, set(domain.links.bandwidth_Bps.tolist())) == (73, 144, {18e9})
    tree = topologies.pcie_tree(**CABLE, nodes=2, gpus_per_switch=4, nics_per_switch=2, **NETWORK).topology
    assert tree.n_vertices == 32 + 8 + 4 + 16 + 1
    assert tree.n_links == 2 * (32 + 8 + 2 + 16 + 16)
    alone = topologies.pcie_tree(**CABLE, gpus_per_switch=4).topology
    assert (alone.n_vertices, alone.n_links) == (16 + 4 + 2, 2 * (16 + 4 + 1))
    rails = topologies.rail_only(8, 4, **CABLE, **NODE).topology
    assert (rails.n_vertices, rails.n_links) == (32 + 8 + 32 + 4, 2 * 3 * 32)
    assert degrees(rails, 72, 76) == {8}
    optimised = topologies.rail_optimised(8, 4, **CABLE, **NODE, nodes_per_leaf=4).topology
    assert (optimised.n_vertices, optimised.n_links) == (32 + 8 + 32 + 8 + 4, 2 * (3 * 32 + 8 * 4))
    assert degrees(optimised, 72, 84) == {8}


def bisection(topology):
    """The least number of cables between two halves, over all halves that hold the first device."""
    n = topology.n_devices
    chosen = np.array([(0, *rest) for rest in combinations(range(1, n), n // 2 - 1)])
    halves = np.zeros((len(chosen), n), dtype=np.int64)
    np.put_along_axis(halves, chosen, 1, axis=1)
    adjacent = np.zeros((n, n), dtype=np.int64)
    np.add.at(adjacent, (topology.links.src, topology.links.dst), 1)
    return int(((halves @ adjacent) * (1 - halves)).sum(axis=1).min())


@pytest.mark.parametrize(
    ("system", "n_cables"),
    [
        (topologies.torus((4, 4), **CABLE), 2 * 16 // 4),  # 2N/k (Dally 1990)
        (topologies.torus((8, 2), **CABLE), 2 * 16 // 8),
        (topologies.torus((4, 2, 2), **CABLE), 2 * 16 // 4),
        (topologies.torus((2, 2, 2, 2), **CABLE), 16 // 2),
        (topologies.mesh((4, 4), **CABLE), 16 // 4),
        (topologies.fully_connected(8, **CABLE), 8 * 8 // 4),
        (topologies.hybrid_cube_mesh(**CABLE, generation="p100"), 4),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else str(value),
)
def test_bisection(system, n_cables):
    assert bisection(system.topology) == n_cables


@pytest.mark.parametrize(("spines", "uplink_Bps"), [(2, 1e9), (1, 1e9), (2, 0.25e9), (3, 1e9)])
def test_bisection_of_a_leaf_spine_is_its_taper(spines, uplink_Bps):
    topology = topologies.leaf_spine(2, 4, spines, **CABLE, uplink_bandwidth_Bps=uplink_Bps).topology
    graph = nx.DiGraph()
    for a, b, capacity in zip(topology.links.src, topology.links.dst, topology.links.bandwidth_Bps, strict=True):
        graph.add_edge(int(a), int(b), capacity=float(capacity))
    least = np.inf
    for half in combinations(range(8), 4):
        graph.add_edges_from(("from", host) for host in half)
        graph.add_edges_from((host, "to") for host in set(range(8)) - set(half))
        least = min(least, nx.maximum_flow_value(graph, "from", "to"))
        graph.remove_nodes_from(["from", "to"])
    assert least == pytest.approx(min(4e9, 2 * spines * uplink_Bps))


# ---------------------------------------------------------------------------------------------------------------------
# What a routing chooses


def vertices(topology, src, dst):
    (hops,) = topology.route(np.array([src]), np.array([dst]))
    return [topology.vertex_name(src), *(topology.vertex_name(int(topology.links.dst[hop])) for hop in hops)]


def test_a_torus_takes_one_dimension_after_the_other_the_shorter_way_and_up_where_equal():
    topology = topologies.torus((4, 5), **CABLE).topology
    assert vertices(topology, 0, 2 + 4 * 3) == ["host0.0", "host1.0", "host2.0", "host2.4", "host2.3"]
    assert vertices(topology, 2, 0) == ["host2.0", "host3.0", "host0.0"]
    assert vertices(topology, 1, 0) == ["host1.0", "host0.0"]
    assert vertices(topologies.mesh((4, 5), **CABLE).topology, 3, 0) == [f"host{x}.0" for x in (3, 2, 1, 0)]


def test_rails_are_changed_where_it_is_said():
    def words(system):
        return [v.rstrip("0123456789") for v in vertices(system.topology, 0, 4 * 2 + 1)]

    keys = {"nodes": 4, "gpus_per_node": 4, **CABLE, **NODE}
    spine = topologies.rail_optimised(**keys)
    assert words(spine) == ["node0.gpu", "node0.nic", "leaf", "spine", "leaf", "node2.nic", "node2.gpu"]
    forwarded = ["node0.gpu", "node0.nvswitch", "node0.gpu", "node0.nic", "leaf", "node2.nic", "node2.gpu"]
    assert words(topologies.rail_optimised(**keys, cross_rail="pxn")) == forwarded
    only = topologies.rail_only(**keys)
    assert words(only) == [word.replace("leaf", "rail") for word in forwarded]
    assert vertices(only.topology, 0, 9)[2:5] == ["node0.gpu1", "node0.nic1", "rail1"]


def test_a_gpu_takes_the_nic_of_its_pcie_switch():
    topology = topologies.pcie_tree(**CABLE, nodes=2, nics_per_switch=2, **NETWORK).topology
    path = ["node0.gpu3", "node0.pcie1", "node0.nic3", "network", "node1.nic6", "node1.pcie3", "node1.gpu6"]
    assert vertices(topology, 3, 8 + 6) == path


@pytest.mark.parametrize("make", ["dragonfly", "dragonfly_plus"])
def test_valiant_goes_through_a_third_group_and_spreads(make):
    topology = getattr(topologies, make)(2, routing="valiant", **CABLE).topology
    group = topology.tiers["group"]
    src, dst = all_pairs(topology.n_devices)
    hops = topology.route(src, dst)
    seen = group[topology.links.dst[hops]]
    between = Counter()
    for s, d, row, used in zip(group[src], group[dst], seen, hops != NO_LINK, strict=True):
        visited = list(dict.fromkeys([s, *row[used]]))
        assert visited == [s] if s == d else (len(visited), visited[-1]) == (3, d)
        if s != d:
            between[visited[1]] += 1
    n_groups = group.max() + 1
    assert len(between) == n_groups
    assert max(between.values()) < 1.2 * sum(between.values()) / n_groups


def test_all_hosts_of_a_leaf_use_all_spines():
    topology = topologies.dragonfly_plus(4, groups=2, **CABLE).topology
    src, dst = np.repeat(np.arange(4), 4), np.tile(np.arange(4, 8), 4)
    assert len(np.unique(topology.route(src, dst)[:, 1])) == 4  # inside a group
    assert len(np.unique(topology.route(src, dst + 16)[:, 2])) == 4  # between groups


@pytest.mark.parametrize("make", ["leaf_spine", "xgft"])
def test_ecmp_is_seeded_and_spreads(make):
    keys = {"leaf_spine": {"hosts_per_leaf": 16, "leaves": 16, "spines": 8}, "xgft": {"down": (16, 16), "up": (1, 8)}}[
        make
    ]
    src, dst = all_pairs(256)

    def hops(**routing):
        return getattr(topologies, make)(**keys, **CABLE, **routing).topology.route(src, dst)

    first, again, other = (hops(routing="ecmp", seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (hops(routing="ecmp") == hops(routing="ecmp", seed=0)).all()
    assert not (first == hops()).all()
    far = src // 16 != dst // 16
    uplink = np.bincount(first[far, 1])
    load = uplink[uplink > 0]
    assert len(load) == 16 * 8
    assert load.min() > 0.8 * load.mean()
    assert load.max() < 1.2 * load.mean()


def test_leaf_spine_is_an_xgft():
    thin, tree = topologies.leaf_spine(4, 6, 3, **CABLE), topologies.xgft((4, 6), (1, 3), **CABLE)
    src, dst = all_pairs(24)
    assert (thin.topology.route(src, dst) == tree.topology.route(src, dst)).all()


def test_the_hash_is_the_same_everywhere():
    def mixed(state):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    assert mixed(0) == 0xE220A8397B1DCDAF  # the published first output of SplitMix64 with seed 0
    assert pick(1000, np.arange(6), 7).tolist() == [mixed(mixed(word) ^ 7) % 1000 for word in range(6)]
    assert pick(1000, np.arange(6), 7).tolist() == [319, 666, 198, 367, 322, 612]
    assert pick(10, np.arange(3), np.arange(3), 2**70 + 1, -1).shape == (3,)
    counts = np.bincount(pick(7, np.arange(70_000), 3), minlength=7)
    assert abs(counts - 10_000).max() < 500


def test_parts_of_routes_are_packed():
    parts = np.array([[-1, 4], [2, 3]]), np.array([-1, 9]), np.array([[5, -1], [-1, -1]])
    assert packed(*parts).tolist() == [[4, 5, -1], [2, 3, 9]]
    assert packed(np.full((2, 3), -1)).shape == (2, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Figures, tiers, words


def path(system, src, dst):
    found_path = system.topology.path(np.array([src]), np.array([dst]))
    return found_path.latency_s[0], found_path.bandwidth_Bps[0]


HOST = {"host_bandwidth_Bps": 7e9, "host_latency_s": 7e-6}


@pytest.mark.parametrize(
    ("system", "latency_s", "bandwidth_Bps"),
    [
        (topologies.leaf_spine(2, 2, 2, **CABLE, uplink_bandwidth_Bps=3e8, uplink_latency_s=5e-6), 12e-6, 3e8),
        (topologies.torus((2, 2), **CABLE, hosts_per_router=1, **HOST), 16e-6, 1e9),
        (topologies.mesh((2, 2), **CABLE, hosts_per_router=1, **HOST), 16e-6, 1e9),
        (topologies.hyperx((2, 3), 1, **CABLE, **HOST), 16e-6, 1e9),
        (topologies.slim_fly(5, **CABLE, **HOST), 16e-6, 1e9),
        (topologies.dragonfly(1, **CABLE, **HOST, global_bandwidth_Bps=5e8, global_latency_s=4e-6), 18e-6, 5e8),
        (topologies.dragonfly_plus(1, **CABLE, **HOST, global_bandwidth_Bps=5e8, global_latency_s=4e-6), 20e-6, 5e8),
        (topologies.nvswitch_domain(4, 1e9, 1e-6, planes=6), 2e-6, 6e9),
        (topologies.pcie_tree(**CABLE, socket_bandwidth_Bps=4e8, socket_latency_s=2e-6), 6e-6, 4e8),
        (topologies.pcie_tree(**CABLE, nodes=2, **NETWORK), 10e-6, 1e9),
        (topologies.rail_only(2, 2, **CABLE, **NODE, nic_latency_s=5e-7), 4e-6 + 1e-6 + 2e-6, 1e9),
        (
            topologies.rail_optimised(2, 2, **CABLE, **NODE, uplink_bandwidth_Bps=2e8, uplink_latency_s=3e-6),
            8e-6,
            2e8,
        ),
        (topologies.fully_connected(3, **CABLE), 1e-6, 1e9),
        (topologies.hybrid_cube_mesh(**CABLE), 2e-6, 1e9),
    ],
    ids=lambda value: value.name.partition(":")[0] if hasattr(value, "name") else "",
)
def test_figures_of_cables(system, latency_s, bandwidth_Bps):
    """Between the first device and the last."""
    assert path(system, 0, system.n_devices - 1) == pytest.approx((latency_s, bandwidth_Bps))


@pytest.mark.parametrize("spec", ALL)
def test_tiers_cover_all_devices(spec):
    topology = found(spec).topology
    for groups in topology.tiers.values():
        assert groups.shape == (topology.n_vertices,)
        assert groups[: topology.n_devices].min() == 0
        assert set(groups.tolist()) - {-1} == set(groups[: topology.n_devices].tolist())


@pytest.mark.parametrize(
    ("system", "tier", "n_groups", "out_Bps"),
    [
        (topologies.leaf_spine(4, 6, 3, **CABLE), "leaf", 6, 3e9),
        (topologies.torus((4, 4), **CABLE, hosts_per_router=3), "router", 16, 4e9),
        (topologies.dragonfly(2, **CABLE), "group", 9, 8e9),
        (topologies.dragonfly(2, **CABLE), "router", 36, 5e9),
        (topologies.dragonfly_plus(2, **CABLE), "group", 5, 4e9),
        (topologies.slim_fly(5, **CABLE), "router", 50, 7e9),
        (topologies.rail_only(4, 8, **CABLE, **NODE), "node", 4, 8e9),
        (topologies.rail_optimised(8, 2, **CABLE, **NODE, nodes_per_leaf=4, spines=3), "unit", 2, 6e9),
        (topologies.rail_optimised(8, 2, **CABLE, **NODE, nodes_per_leaf=4, spines=3), "node", 8, 2e9),
        (topologies.pcie_tree(**CABLE, nodes=3, nics_per_switch=2, **NETWORK), "node", 3, 16e9),
        (topologies.pcie_tree(**CABLE, socket_bandwidth_Bps=3e9), "socket", 2, 3e9),
        (topologies.pcie_tree(**CABLE), "switch", 4, 1e9),
    ],
    ids=lambda value: value.name.partition(":")[0] if hasattr(value, "name") else "",
)
def test_what_leaves_a_group(system, tier, n_groups, out_Bps):
    out, into = system.topology.crossing_Bps(system.topology.tiers[tier])
    assert out.tolist() == into.tolist() == [out_Bps] * n_groups


def test_nodes_are_known_to_algorithms():
    assert topologies.rail_only(3, 4, **CABLE, **NODE).devices_per_node == 4
    assert topologies.rail_optimised(3, 4, **CABLE, **NODE).devices_per_node == 4
    assert topologies.nvswitch_domain(72, **CABLE).devices_per_node == 72
    assert topologies.hybrid_cube_mesh(**CABLE).devices_per_node == 8
    assert topologies.pcie_tree(**CABLE).devices_per_node == 8
    assert topologies.torus((4, 4), **CABLE).devices_per_node is None


GENERATORS = sorted(registry.GENERATORS)
WITHOUT_SWITCHES = {"fully_connected", "hybrid_cube_mesh", "mesh", "torus"}
ONE_OF_EACH = {spec.partition(":")[0]: spec for spec in [*reversed(ALL), "star:hosts=4"]}


def test_each_generator_is_tested():
    assert sorted(ONE_OF_EACH) == GENERATORS


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_share_keys(name):
    assert {"bandwidth", "latency", "overhead", "gap", "gamma", "in_network"} <= set(keys_of(topologies.SYSTEMS[name]))
    assert all(word in topologies.SYSTEMS[name].__doc__ for word in ("Parameters", "latency_s", "gamma_s_per_byte"))
    plain = found(ONE_OF_EACH[name])
    joint = "," if ":" in plain.name else ":"
    system = topologies.find(f"{plain.name}{joint}overhead=2us,gap=3us,gamma=100ps/B")
    assert (system.endpoint.message.overhead_s, system.endpoint.gap_s) == ((2e-6,), 3e-6)
    assert system.endpoint.reduction.rate == (pytest.approx(1e10),)
    if name in WITHOUT_SWITCHES:
        with pytest.raises(InputError, match=rf"in_network=reduce: {name} has no switches .* leave it out"):
            topologies.find(f"{plain.name},in_network=reduce")
    else:
        assert topologies.find(f"{plain.name},in_network=both").in_network == {"all": {"reduce", "multicast"}}
    with pytest.raises(UnknownNameError, match="unknown in_network 'bith'; did you mean 'both'"):
        topologies.find(f"{plain.name},in_network=bith")


def test_a_system_is_named_by_the_spec_that_makes_it():
    system = topologies.torus(
        (4, 3), 25e9, 500e-9, hosts_per_router=2, overhead_s=1e-6, gamma_s_per_byte=4e-11, in_network="both"
    )
    expected = (
        "torus:shape=4x3,bandwidth=25GB/s,latency=500ns,hosts_per_router=2,overhead=1µs,gamma=4e-11s/B,in_network=both"
    )
    assert system.name == expected
    again = topologies.find(system.name)
    assert again.endpoint == system.endpoint
    assert again.in_network == system.in_network
    assert (again.topology.links.dst == system.topology.links.dst).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("leaf_spine:hosts_per_leaf=0,leaves=2,spines=2", "hosts_per_leaf=0 must be at least 1"),
        ("leaf_spine:hosts_per_leaf=2,leaves=2,spines=0", "spines=0 must be at least 1"),
        ("leaf_spine:hosts_per_leaf=2,leaves=2,spines=2,routing=ecpm", "unknown routing 'ecpm'; did you mean 'ecmp'"),
        (
            "leaf_spine:hosts_per_leaf=2,leaves=2,spines=2,seed=3",
            "seed=3 does nothing with routing=dmodk; .*routing=ecmp",
        ),
        (
            "leaf_spine:hosts_per_leaf=2,leaves=2,spines=2,uplink_bandwidth=0GB/s",
            "leaf0→spine0: bandwidth must be above 0",
        ),
        ("leaf_spine:hosts_per_leaf=4096,leaves=8192,spines=2", "33554432 devices are too many"),
        ("torus:shape=4x0", "shape=4x0: each size must be at least 1"),
        ("torus:shape=4x-1", "shape=4x-1: each size"),
        ("torus:shape=4x4,wrap=1", "wrap=1: write a 1 .* for each dimension of shape=4x4"),
        ("torus:shape=4x4,wrap=1x2", "wrap=1x2: write a 1"),
        ("torus:shape=4x4,hosts_per_router=0", "hosts_per_router=0 must be"),
        ("torus:shape=1000x1000x1000", "1000000000 devices are too many"),
        ("torus:shape=256x256x256", "100663296 links are too many"),
        ("torus", "needs shape="),
        ("mesh:shape=0", "shape=0: each size"),
        ("hyperx:shape=4x4", "needs hosts_per_router="),
        ("hyperx:shape=4x4,hosts_per_router=0", "hosts_per_router=0"),
        ("hyperx:shape=100000,hosts_per_router=1", "links are too many"),
        ("fully_connected:hosts=0", "hosts=0"),
        ("fully_connected:hosts=100000", "9999900000 links are too many"),
        ("dragonfly:hosts_per_router=0", "hosts_per_router=0"),
        ("dragonfly:hosts_per_router=2,groups=10", "groups=10 are too many: the 8 global links .* groups=9"),
        ("dragonfly:hosts_per_router=2,groups=0", "groups=0 must be at least 1"),
        ("dragonfly:hosts_per_router=2,global_links=0", "global_links=0"),
        ("dragonfly:hosts_per_router=2,routing=minimum", "unknown routing 'minimum'; did you mean 'minimal'"),
        ("dragonfly:hosts_per_router=2,arrangement=palm", "unknown arrangement 'palm'; did you mean 'palmtree'"),
        ("dragonfly:hosts_per_router=2,seed=1", "seed=1 does nothing with routing=minimal"),
        (
            "dragonfly:hosts_per_router=2,groups=2,routing=valiant",
            "a third group, and there are 2; take routing=minimal",
        ),
        ("dragonfly:hosts_per_router=1000", "devices are too many"),
        ("dragonfly_plus:hosts_per_leaf=2,groups=6", "groups=6 are too many: the 4 global links .* groups=5"),
        ("dragonfly_plus:hosts_per_leaf=2,leaves=0", "leaves=0"),
        ("dragonfly_plus:hosts_per_leaf=2,groups=2,routing=valiant", "third group"),
        ("slim_fly:q=0", "q=0 must be at least 1"),
        ("slim_fly:q=15", "q=15 must be a power of a prime, above 2; the nearest is q=16"),
        ("slim_fly:q=2", "q=2 must be a power of a prime, above 2; the nearest is q=3"),
        ("slim_fly:q=1", "q=1 must be a power of a prime, above 2; the nearest is q=3"),
        ("slim_fly:q=100000000000000000003", "too many"),
        ("slim_fly:q=5,hosts_per_router=0", "hosts_per_router=0"),
        ("hybrid_cube_mesh:generation=a100", "unknown generation 'a100'; did you mean"),
        ("nvswitch_domain:gpus=0", "gpus=0"),
        ("nvswitch_domain:gpus=8,planes=0", "planes=0"),
        ("pcie_tree:sockets=0", "sockets=0"),
        ("pcie_tree:nics_per_switch=0", "nics_per_switch=0"),
        ("pcie_tree:nodes=2", "nodes=2 need network_bandwidth=… and network_latency=…"),
        ("rail_only:nodes=0,gpus_per_node=8", "nodes=0"),
        ("rail_only:nodes=2,gpus_per_node=0", "gpus_per_node=0"),
        ("rail_optimised:nodes=4,gpus_per_node=8,nodes_per_leaf=0", "nodes_per_leaf=0"),
        ("rail_optimised:nodes=4,gpus_per_node=8,cross_rail=nvlink", "unknown cross_rail 'nvlink'; known: pxn, spine"),
        ("xgft:down=4x4,up=1x2,routing=random", "unknown routing 'random'; known: dmodk, ecmp"),
        ("star:hosts=4,host=3", "unknown key of system 'star': 'host'; did you mean 'hosts'"),
    ],
)
def test_what_cannot_be_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        found(spec)


LARGE = [
    "torus:shape=32x32x32",
    "dragonfly:hosts_per_router=12,groups=226",
    "dragonfly:hosts_per_router=12,groups=226,routing=valiant",
    "dragonfly_plus:hosts_per_leaf=16,groups=256",
    "xgft:down=32x32x64,up=1x32x32,routing=ecmp",
    "hyperx:shape=16x16x16,hosts_per_router=16",
    "slim_fly:q=37",
    "rail_optimised:nodes=8192,gpus_per_node=8,nodes_per_leaf=32",
]


@pytest.mark.parametrize("spec", LARGE)
def test_large_systems_are_routed_without_tables(spec):
    topology = found(spec).topology
    src, dst = np.random.default_rng(1).integers(topology.n_devices, size=(2, 65_536))
    check_walks(topology, src, dst, topology.route(src, dst))
