"""Routes over links of any shape, links that are degraded or failed, and half-duplex cables."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

import collectives
import topologies
from commsim import LinkChange, changed, from_networkx, simulate
from commsim.bounds import bound_s
from commsim.collective import ALLREDUCE
from commsim.errors import ImpossibleResultError, InputError, RefusedError
from commsim.link_changes import degradation, matching, reverse_of
from commsim.models import MODELS
from commsim.models.fluid import Fluid
from commsim.routing import Router
from commsim.system import System
from commsim.topology import NO_LINK, Links, Topology

CABLE = {"latency_s": 1e-6, "bandwidth_Bps": 1e9}
SPECS = [
    "xgft:down=4x4,up=1x4,bandwidth=25GB/s,latency=500ns",
    "xgft:down=2x3x2,up=1x2x3,bandwidth=25GB/s,latency=500ns",
    "torus:shape=4x3x2,bandwidth=25GB/s,latency=500ns",
    "dragonfly:hosts_per_router=2,bandwidth=25GB/s,latency=500ns",
    "dgx_h100:nodes=3",
]


def all_pairs(n):
    return (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))


def check_walks(topology, src, dst, hops):
    at = src.copy()
    for column in hops.T:
        used = column != NO_LINK
        np.testing.assert_array_equal(topology.links.src[column[used]], at[used])
        at[used] = topology.links.dst[column[used]]
    np.testing.assert_array_equal(at, dst)
    return (hops != NO_LINK).sum(axis=1)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("routing", ["shortest", "ecmp", "adaptive"])
def test_routes_are_shortest_paths(spec, routing):
    topology = topologies.find(spec).topology
    again = from_networkx(topology.to_networkx(), tiers=list(topology.tiers), routing=routing)
    src, dst = all_pairs(topology.n_devices)
    lengths = check_walks(again, src, dst, again.route(src, dst))
    to = dict(nx.all_pairs_shortest_path_length(nx.DiGraph(topology.to_networkx())))
    assert lengths.tolist() == [to[s][d] for s, d in zip(src.tolist(), dst.tolist(), strict=True)]
    for tier, groups in topology.tiers.items():
        np.testing.assert_array_equal(again.tiers[tier], groups)


def test_shortest_routes_on_a_tree_are_those_of_d_mod_k():
    topology = topologies.find(SPECS[0]).topology
    again = from_networkx(topology.to_networkx())
    src = np.arange(16)
    for shift in range(1, 16):
        assert np.bincount(again.route(src, (src + shift) % 16).ravel() + 1)[1:].max() == 1


def two_ways():
    """A and b: over one slow switch or one fast one; c hangs on b."""
    graph = nx.Graph()
    graph.add_nodes_from(["a", "b", "c"], device=True)
    graph.add_nodes_from(["slow", "fast"], device=False)
    graph.add_edge("a", "slow", latency_s="1us", bandwidth_Bps="1GB/s")
    graph.add_edge("slow", "b", **CABLE)
    graph.add_edge("a", "fast", latency_s=1e-6, bandwidth_Bps=9e9)
    graph.add_edge("fast", "b", latency_s=1e-6, bandwidth_Bps=9e9)
    graph.add_edge("b", "c", **CABLE)
    return graph


def test_of_equally_long_ways_the_faster_is_taken_and_devices_pass_on_only_if_they_must():
    topology = from_networkx(two_ways())
    assert names(topology, 0, 1) == ["a→fast", "fast→b"]
    assert names(topology, 0, 2) == ["a→fast", "fast→b", "b→c"]
    graph = two_ways()
    graph.add_edge("fast", "more", **CABLE)
    graph.nodes["more"]["device"] = False
    graph.add_edge("more", "c", **CABLE)
    assert names(from_networkx(graph), 0, 2) == ["a→fast", "fast→more", "more→c"]


def names(topology, src, dst):
    return [topology.link_name(int(hop)) for hop in topology.route(np.array([src]), np.array([dst]))[0] if hop >= 0]


def parallel(n, routing, seed=None):
    """Two switches with n cables between them, and n hosts on each."""
    ends = [(i, 2 * n + i // n) for i in range(2 * n)] + [(2 * n, 2 * n + 1)] * n
    a, b = np.array(ends).T
    links = Links.both_directions(a, b, 1e-6, 1e9)
    return Router(2 * n, links, routing, seed), np.arange(n), np.arange(n, 2 * n)


def test_the_routings_spread_over_equal_ways():
    router, src, dst = parallel(8, "shortest")
    assert len(set(router(src, dst)[:, 1].tolist())) == 8
    hashed = [parallel(8, "ecmp", seed)[0](src, dst)[:, 1].tolist() for seed in (0, 0, 1)]
    assert hashed[0] == hashed[1] != hashed[2]
    assert 1 < len(set(hashed[0])) < 8
    assert len(set(router(src, dst[:1].repeat(8))[:, 1].tolist())) == 1
    adaptive = parallel(8, "adaptive")[0]
    assert len(set(adaptive(src, dst[:1].repeat(8))[:, 1].tolist())) == 8


def test_an_unknown_routing_or_a_seed_without_effect_is_refused():
    with pytest.raises(InputError, match="unknown routing 'ecpm'; did you mean 'ecmp'"):
        parallel(2, "ecpm")
    with pytest.raises(InputError, match="seed=1 does nothing with routing=shortest"):
        parallel(2, "shortest", 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g.edges["a", "slow"].pop("latency_s"), "edge a–slow has no latency_s"),
        (lambda g: g.edges["a", "slow"].update(bandwidth_Bps="3"), "edge a–slow, bandwidth_Bps: bandwidth '3': a unit"),
        (lambda g: g.edges["a", "slow"].update(bandwidth_Bps=0), "link a→slow: bandwidth must be above 0"),
        (lambda g: g.edges["a", "slow"].update(latency_s=-1.0), "latency_s: time -1.0 must be a finite number"),
        (lambda g: g.edges["a", "slow"].update(duplex="both"), "duplex='both' of an edge must be"),
        (lambda g: g.remove_edge("b", "c"), "there is no way from a to c"),
        (lambda g: g.clear(), "at least one device"),
    ],
)
def test_an_impossible_graph_is_refused(change, said):
    graph = two_ways()
    change(graph)
    with pytest.raises(InputError, match=said):
        from_networkx(graph)


def test_a_way_in_one_direction_is_not_enough():
    graph = nx.DiGraph()
    graph.add_edge("a", "b", **CABLE)
    with pytest.raises(RefusedError, match="there is no way from b to a"):
        from_networkx(graph)


TREE = topologies.xgft((4, 4), (1, 2), 25e9, 5e-7)


def test_failed_links_are_routed_around_and_others_keep_their_routes():
    system = changed(TREE, [LinkChange("leaf0<->spine0", failed=True)])
    old, new = TREE.topology, system.topology
    assert new.n_links == old.n_links - 2
    assert "leaf0→spine0" not in {new.link_name(i) for i in range(new.n_links)}
    src, dst = all_pairs(16)
    lengths = check_walks(new, src, dst, new.route(src, dst))
    np.testing.assert_array_equal(lengths, (old.route(src, dst) != NO_LINK).sum(axis=1))
    for s, d in ((4, 8), (0, 1), (0, 5), (9, 3)):
        assert names(new, s, d) == (names(old, s, d) if "spine0" not in str(names(old, s, d)) else names(new, s, d))
    assert system.name.endswith("(leaf0<->spine0 failed)")
    one_way = changed(TREE, [LinkChange("leaf0→spine0", failed=True)]).topology
    assert names(one_way, 4, 0) == names(old, 4, 0) == ["host4→leaf1", "leaf1→spine0", "spine0→leaf0", "leaf0→host0"]


def test_what_failed_slows_the_rest_down():
    allgather = collectives.alltoall.pairwise
    healthy = simulate(allgather, TREE, "16MiB", model="fluid").time_s
    failed = simulate(allgather, changed(TREE, [LinkChange("spine0", failed=True)]), "16MiB", model="fluid").time_s
    assert 1.5 * healthy < failed < 3 * healthy
    slower = simulate(allgather, changed(TREE, [degradation("leaf0->spine*=0.5")]), "16MiB", model="fluid").time_s
    assert healthy < slower < failed * 1.01


@pytest.mark.parametrize(
    ("links", "place", "left"),
    [
        ("node0.gpu3<->node0.nvswitch", "node", set()),
        ("node0.gpu3<->node0.pcie*", "node", {"reduce", "multicast"}),  # no way inside the node
        ("node0.gpu3<->node0.nvswitch", "all", set()),
        ("leaf0<->spine0", "all", {"reduce", "multicast"}),  # other switches do it
    ],
)
def test_switches_that_devices_no_longer_reach_reduce_nothing(links, place, left):
    system = replace(topologies.dgx_a100(2), in_network={place: frozenset({"reduce", "multicast"})})
    broken = changed(system, [LinkChange(links, failed=True)])
    assert broken.in_network.get(place, set()) == left
    assert changed(system, [LinkChange(links, factor=0.5)]).in_network == system.in_network


def test_devices_left_apart_are_named():
    with pytest.raises(RefusedError, match="there is no way from host0 to host1"):
        changed(TREE, [LinkChange("host0→leaf0", failed=True)])
    with pytest.raises(RefusedError, match="there is no way from host4 to host0"):
        changed(TREE, [LinkChange("spine*->leaf0", failed=True)])
    changed(TREE, [LinkChange("spine1", failed=True)])


def test_a_torus_goes_round_a_failed_cable():
    ring = topologies.torus((6,), 1e9, 1e-6)
    broken = changed(ring, [LinkChange("host0<->host1", failed=True)]).topology
    assert names(broken, 0, 1) == [f"host{a}→host{b}" for a, b in ((0, 5), (5, 4), (4, 3), (3, 2), (2, 1))]


def test_patterns():
    topology = TREE.topology
    count = {
        text: int(matching(topology, text).sum()) for text in ("leaf0->spine*", "leaf0", "host?↔leaf*", "tier leaf")
    }
    assert count == {"leaf0->spine*": 2, "leaf0": 12, "host?↔leaf*": 20, "tier leaf": 32}
    for text, said in (
        ("leaf9->spine0", "unknown device or switch 'leaf9'; did you mean 'leaf"),
        ("host0->spine0", "no link is 'host0->spine0': there is host0→leaf0, leaf0→host0"),
        ("a->b->c", "is no pattern of links"),
        ("->leaf0", "is no pattern of links"),
        ("tier lef", "unknown tier 'lef'; did you mean 'leaf'"),
        ("class nvlink", "links have no classes; write a pattern such as leaf"),
    ):
        with pytest.raises(InputError, match=said):
            matching(topology, text)


@pytest.mark.parametrize(
    "text", ["leaf0", "leaf0=", "=0.5", "leaf0=0", "leaf0=-1", "leaf0=inf", "leaf0=nan", "leaf0=3GB"]
)
def test_a_degradation_that_is_none_is_refused(text):
    with pytest.raises(InputError, match=r"leaf0|0\.5"):
        degradation(text)
    assert degradation("a->b=10GB/s").bandwidth_Bps == 10e9


def test_a_change_says_what():
    with pytest.raises(InputError, match="say what is other"):
        LinkChange("leaf0")
    with pytest.raises(InputError, match="did you mean 'half'"):
        LinkChange("leaf0", duplex="hlaf")


def half(system, links):
    return changed(system, [LinkChange(links, duplex="half")])


def test_reverse_links_are_paired_cable_by_cable():
    links = Links(np.array([0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0]), np.zeros(5), np.ones(5))
    assert reverse_of(links).tolist() == [2, 3, 0, 1, NO_LINK]


@pytest.fixture(autouse=True)
def events(monkeypatch):
    """The model fluid without its shortcuts, as a model of its own."""
    monkeypatch.setitem(MODELS, "events", Fluid(shortcuts=False))


@pytest.mark.parametrize("model", ["hockney", "fluid", "events"])
def test_two_ranks_that_exchange_over_a_half_duplex_cable_take_twice_the_time(model):
    pair = topologies.torus((2,), 1e9, 0.0)
    exchange = collectives.allreduce.recursive_doubling
    full, shared = (simulate(exchange, system, 2**20, model=model) for system in (pair, half(pair, "host0->host1")))
    assert shared.time_s == pytest.approx(2 * full.time_s)
    np.testing.assert_array_equal(shared.link_bytes, full.link_bytes)
    np.testing.assert_allclose(shared.link_busy_s, 2 * full.link_busy_s)
    assert shared.bound_s == pytest.approx(2 * full.bound_s) == pytest.approx(2 * 2**20 / 1e9)


@pytest.mark.parametrize("model", ["hockney", "fluid", "events", "loggp"])
def test_a_half_duplex_port_carries_what_comes_and_what_goes(model):
    star = topologies.star(4, 1e9, 0.0)
    ring = collectives.allreduce.ring
    full = simulate(ring, star, 2**20, model=model).time_s
    assert simulate(ring, half(star, "switch"), 2**20, model=model).time_s == pytest.approx(2 * full, rel=1e-3)
    assert simulate(ring, half(star, "host3"), 2**20, model=model).time_s == pytest.approx(2 * full, rel=1e-3)
    binomial = collectives.broadcast.chain  # one segment: nobody sends and receives at a time
    once = [
        simulate(binomial.with_params(segments=1), s, 2**20, model=model).time_s for s in (star, half(star, "switch"))
    ]
    assert once[0] == pytest.approx(once[1])


def test_both_directions_of_a_shared_port_bound_the_time():
    star = half(topologies.star(4, 1e9, 0.0), "switch")
    assert bound_s(ALLREDUCE, star, 4, 2**20) == pytest.approx(2 * 2 * 3 / 4 * 2**20 / 1e9)


def test_contradictions_of_duplex_are_refused():
    star = half(topologies.star(4, 1e9, 0.0), "switch")
    with pytest.raises(InputError, match="half duplex, so both directions have one bandwidth: change both"):
        changed(star, [degradation("host0->switch=0.5")])
    changed(star, [degradation("host0<->switch=0.5")])
    ring = half(topologies.torus((4,), 1e9, 0.0), "host0->host1")
    with pytest.raises(InputError, match="half of a half-duplex cable whose other direction failed"):
        changed(ring, [LinkChange("host0->host1", failed=True)])
    left = changed(ring, [LinkChange("host1<->host2", failed=True)]).topology.links
    assert (left.media != np.arange(len(left.src))).sum() == 1
    assert changed(ring, [LinkChange("host0", duplex="full")]).topology.links.medium is None
    one_way = Topology(2, Links(np.array([0]), np.array([1]), np.zeros(1), np.ones(1)), lambda s, d: s[:, None] * 0)
    with pytest.raises(InputError, match="has no link back"):
        half(System("x", one_way), "vertex 0")


def random_machine(rng):
    """Devices and switches with cables of random rates, some half duplex, connected by a ring of them all."""
    n_devices, n_vertices = 6, 9
    graph = nx.Graph()
    graph.add_nodes_from((v, {"device": v < n_devices}) for v in range(n_vertices))
    order = rng.permutation(n_vertices)
    pairs = [*zip(order, np.roll(order, 1), strict=True), *rng.integers(n_vertices, size=(8, 2))]
    for a, b in pairs:
        if a != b:
            rate, half = float(rng.choice([1e9, 2e9, 4e9])), rng.random() < 0.4
            graph.add_edge(int(a), int(b), bandwidth_Bps=rate, latency_s=1e-6, duplex="half" if half else "full")
    return graph


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["ring", "rabenseifner", "all_pairs"])
def test_no_answer_beats_its_bound_and_worse_links_are_never_faster(seed, name):
    rng = np.random.default_rng(seed)
    graph = random_machine(rng)
    algorithm = getattr(collectives.allreduce, name)
    system = System("random", from_networkx(graph))
    now = simulate(algorithm, system, 6 * 2**16, model="fluid")  # refuses what is below a bound
    assert simulate(algorithm, system, 6 * 2**16, model="events").time_s == pytest.approx(now.time_s)
    for a, b in graph.edges:
        graph.edges[a, b]["duplex"] = "full"
    full = simulate(algorithm, System("full", from_networkx(graph)), 6 * 2**16, model="fluid")
    assert now.bound_s <= now.time_s * (1 + 1e-9)
    assert full.bound_s <= now.bound_s * (1 + 1e-9)
    link = system.topology.link_name(int(rng.integers(system.topology.n_links))).replace("→", "<->")
    slower = changed(system, [LinkChange(link, factor=0.25)])
    assert simulate(algorithm, slower, 6 * 2**16, model="fluid").bound_s >= now.bound_s * (1 - 1e-9)
    np.testing.assert_array_equal(simulate(algorithm, slower, 6 * 2**16, model="fluid").link_bytes, now.link_bytes)


def test_media_travel_through_networkx_and_joints():
    star = half(topologies.star(3, 1e9, 0.0), "host1")
    again = from_networkx(star.topology.to_networkx())
    ends = {again.link_name(i): again.link_name(int(m)) for i, m in enumerate(again.links.media) if i != m}
    assert ends in ({"switch→host1": "host1→switch"}, {"host1→switch": "switch→host1"})
    joined = Links.joined([star.topology.links, star.topology.links])
    assert (joined.media - np.tile(star.topology.links.media, 2)).tolist() == [0] * 6 + [6] * 6
    graph = nx.Graph()
    graph.add_edge("a", "b", duplex="half", **CABLE)
    assert from_networkx(graph).links.media.tolist() == [0, 0]


def test_a_route_there_and_back_over_one_half_duplex_cable_is_refused():
    star = topologies.star(2, 1e9, 0.0).topology
    detour = lambda src, dst: np.where(src != dst, np.stack([src, 2 + src, src, 2 + dst]), NO_LINK).T  # noqa: E731
    system = half(System("x", Topology(2, star.links, detour)), "vertex 0")
    with pytest.raises(RefusedError, match="takes the half-duplex cable"):
        simulate(collectives.allreduce.ring, system, 64)


def test_hockney_still_refuses_what_a_shared_cable_cannot_carry():
    hosts = half(TREE, "leaf0<->spine*")
    with pytest.raises(ImpossibleResultError, match=r"leaf0|spine"):
        simulate(collectives.alltoall.pairwise, hosts, "64MiB", model="hockney")
