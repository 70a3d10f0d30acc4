"""Hockney and LogGP: closed forms, the peers' numbers, and a slow reference that handles one message at a time."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topologies
from collectives import registry
from commsim import Disturbance, Schedule, algorithm, chunk, chunks, exchange, fan_in, fan_out, simulate
from commsim.errors import InputError, RefusedError
from commsim.layout import Layout
from commsim.models import MODELS
from commsim.models.contention_free import run
from commsim.system import BySize, Endpoint
from commsim.topology import NO_LINK, Links, Topology

MIB = 2**20
SPECS = [  # parameters fixed: a default may change with the size
    *(
        ("allreduce", name)
        for name in ("linear", "node_split:inter=ring", "rabenseifner", "recursive_doubling", "ring")
    ),
    *(("broadcast", name) for name in ("binomial", "chain:segments=3", "scatter_allgather")),
    *(("allgather", "linear"), ("alltoall", "pairwise"), ("reduce_scatter", "circulant")),
]
# ---------------------------------------------------------------------------------------------------------------------
# Closed forms


@pytest.mark.parametrize("ranks_per_node", [1, 2, 4, 8, 16])
def test_hockney_is_the_stated_cost_of_every_split(ranks_per_node):
    system = topologies.star(16, 8e9, 3e-7, gamma_s_per_byte=5e-11)
    chosen = registry.find("allreduce", f"node_split:ranks_per_node={ranks_per_node},inter=rabenseifner").resolved(16)
    cost_s = chosen.cost_s(16, 2**16, 6e-7, 1 / 8e9, 5e-11)
    assert simulate(chosen, system, 2**16).time_s == pytest.approx(cost_s, rel=1e-9)


def loggp_step(L, o, G, n_bytes):
    """What one message takes: L + 2o + (m-1)G."""
    return L + 2 * o + (n_bytes - 1) * G


@pytest.mark.parametrize("n_ranks", [2, 4, 8, 64, 256])
def test_loggp_is_its_closed_form(n_ranks):
    L, o, g, G = 500e-9, 200e-9, 100e-9, 40e-12
    system = topologies.star(n_ranks, 1 / G, L / 2, o, g)
    log2 = n_ranks.bit_length() - 1
    wanted = {
        ("allreduce", "ring"): 2 * (n_ranks - 1) * loggp_step(L, o, G, MIB / n_ranks),
        ("allreduce", "recursive_doubling"): log2 * loggp_step(L, o, G, MIB),
        ("allreduce", "rabenseifner"): 2 * sum(loggp_step(L, o, G, MIB / 2**k) for k in range(1, log2 + 1)),
        ("broadcast", "binomial"): log2 * loggp_step(L, o, G, MIB),
    }
    for (collective, name), time_s in wanted.items():
        result = simulate(registry.find(collective, name), system, "1MiB", model="loggp")
        assert result.time_s == pytest.approx(time_s, rel=1e-9), name


PLAIN_US = {  # shared/reference/peers.md, without overheads: LogGOPSim
    "ring": {8: 87.39976, 64: 208.57032, 256: 593.538, 1024: 2129.72232},
    "rabenseifner": {8: 79.40008, 64: 94.57488, 256: 99.55776, 1024: 103.80336},
    "binomial": {8: 128.829, 64: 257.658, 256: 343.544, 1024: 429.430},
}
OVERHEAD_US = {  # the same, with L=500000 o=200000 g=100000 G=40 ps
    "ring": {8: 85.99976, 64: 195.97032, 256: 542.538, 1024: 1925.12232},
    "rabenseifner": {
        8: 78.80008,
        64: 93.37488,
        256: 97.95776,
        1024: 101.80336,
        16384: 109.07984,
        65536: 112.68352,
    },
    "binomial": {8: 128.529, 64: 257.058, 256: 342.744, 1024: 428.43, 65536: 685.488},
}
PEERS = [(name, n, us, "hockney") for name, row in PLAIN_US.items() for n, us in row.items()]
PEERS += [(name, n, us, "loggp") for name, row in PLAIN_US.items() for n, us in row.items() if n < 1024]
PEERS_WITH_OVERHEAD = [(name, n, us) for name, row in OVERHEAD_US.items() for n, us in row.items()]


def named(name):
    return registry.find("broadcast" if name == "binomial" else "allreduce", name)


@pytest.mark.parametrize(("name", "n_ranks", "microseconds", "model"), PEERS)
def test_the_peers_numbers(name, n_ranks, microseconds, model):
    system = topologies.find(f"star:hosts={n_ranks},bandwidth=25GB/s,latency=500ns")
    result = simulate(named(name), system, "1MiB", model=model)
    assert result.time_s == pytest.approx(microseconds * 1e-6, rel=1e-3 if model == "hockney" else 1e-7)


@pytest.mark.parametrize(("name", "n_ranks", "microseconds"), PEERS_WITH_OVERHEAD)
def test_the_peers_numbers_with_overheads(name, n_ranks, microseconds):
    latency = "latency=250ns,overhead=200ns,gap=100ns"  # L is a path of two links
    system = topologies.find(f"star:hosts={n_ranks},bandwidth=25GB/s,{latency}")
    result = simulate(named(name), system, "1MiB", model="loggp")
    assert result.time_s == pytest.approx(microseconds * 1e-6, rel=1e-7)


# ---------------------------------------------------------------------------------------------------------------------
# A readable reference: one message at a time, no arrays.


@dataclass
class Message:
    src: int
    dst: int
    n_bytes: int
    reduce: bool


def at_size(by_size: BySize, n_bytes):
    begin = max(i for i, low in enumerate(by_size.min_bytes) if low <= n_bytes)
    return by_size.overhead_s[begin], by_size.rate[begin]


class Wire:
    """What the network does to one message of a step, given all messages of that step."""

    def __init__(self, message: Message, step: list[Message], topology, endpoint: Endpoint, model: str):
        self.topology = topology
        self.hops = self.route(message)
        self.latency_s = sum(float(topology.links.latency_s[hop]) for hop in self.hops)
        self.slowest_Bps = min((float(topology.links.bandwidth_Bps[hop]) for hop in self.hops), default=float("inf"))
        self.charged = message.n_bytes if model == "hockney" else max(message.n_bytes - 1, 0)
        both_ways = any(self.sends(r, step) and self.receives(r, step) for r in (message.src, message.dst))
        costs = endpoint.both_ways if both_ways and endpoint.both_ways else endpoint.message
        self.overhead_s, share = at_size(costs, message.n_bytes)
        if message.src == message.dst:
            self.overhead_s = 0.0
        self.s = self.charged / (self.slowest_Bps * share)
        self.gap_s = 0.0 if model == "hockney" else max(endpoint.gap_s, self.overhead_s)

    def route(self, message):
        [hops] = self.topology.route(np.array([message.src]), np.array([message.dst]))
        return [hop for hop in hops.tolist() if hop != NO_LINK]

    @staticmethod
    def sends(rank, step):
        return any(m.src == rank != m.dst for m in step)

    @staticmethod
    def receives(rank, step):
        return any(m.dst == rank != m.src for m in step)

    def port_wait_s(self, wires, which):
        """All that the step puts on the first (0) or last (-1) link, with gaps between messages."""
        if not self.hops:
            return self.s
        sharing = [wire for wire in wires if wire.hops and wire.hops[which] == self.hops[which]]
        return sum(wire.s + wire.gap_s for wire in sharing) - self.gap_s


def reference(steps, n_ranks, topology, endpoint: Endpoint, model: str):
    """Finish time of each rank, and (bytes, busy time) of each link."""
    clock, gate = [0.0] * n_ranks, [0.0] * n_ranks
    carried, busy_s = [0.0] * topology.n_links, [0.0] * topology.n_links
    for step in steps:
        done, next_gate, unit_free = clock.copy(), gate.copy(), clock.copy()
        wires = [Wire(message, step, topology, endpoint, model) for message in step]
        for message, wire in zip(step, wires, strict=True):
            src, dst, o = message.src, message.dst, wire.overhead_s
            out_s, in_s = wire.port_wait_s(wires, 0), wire.port_wait_s(wires, -1)
            if model == "hockney":
                start = max(clock[src], clock[dst])
                delivered = released = start + wire.latency_s + 2 * o + max(out_s, in_s)
            else:
                start = max(clock[src], gate[src])
                released = start + o + out_s
                if endpoint.gap_s > 0 and src != dst:
                    next_gate[src] = max(next_gate[src], released + max(endpoint.gap_s - o, 0))
                arrived = start + o + max(out_s, in_s) + wire.latency_s
                delivered = max(arrived, clock[dst]) + o
            done[src] = max(done[src], released)
            if message.reduce:
                overhead_s, throughput_Bps = at_size(endpoint.reduction, message.n_bytes)
                unit_free[dst] = max(unit_free[dst], delivered) + overhead_s + message.n_bytes / throughput_Bps
                delivered = unit_free[dst]
            done[dst] = max(done[dst], delivered)
            for hop in wire.hops:
                carried[hop] += message.n_bytes
                busy_s[hop] += wire.charged / float(topology.links.bandwidth_Bps[hop])
        clock, gate = done, next_gate
    return clock, carried, busy_s


N_CHUNKS = 6


def random_exchange(rng, n_ranks):
    """One exchange as the program writes it, and its messages as (src, dst, start, length, reduce)."""
    reduce = bool(rng.random() < 0.6)
    if rng.random() < 0.25:
        root, start, length = int(rng.integers(n_ranks)), int(rng.integers(N_CHUNKS)), int(rng.integers(1, N_CHUNKS))
        inward = rng.random() < 0.6
        others = [*range(root - 1, -1, -1), *range(root + 1, n_ranks)]
        pairs = [(r, root, start, length, reduce) if inward else (root, r, start, length, False) for r in others]
        make = {"send": chunks(start, length), "receive": chunks(start, length)}
        options = {"reduce": reduce} if inward else {}
        return lambda rank: (fan_in if inward else fan_out)(rank, n_ranks, root, **make, **options), pairs
    dst = rng.permutation(n_ranks)
    dst[rng.random(n_ranks) < 0.4] = -1
    src = np.full(n_ranks, -1)
    src[dst[dst >= 0]] = np.flatnonzero(dst >= 0)
    start, length = rng.integers(N_CHUNKS, size=n_ranks), rng.integers(N_CHUNKS + 1, size=n_ranks)  # of the receiver
    send, receive = chunks(start[dst], length[dst]), chunks(start, length)
    pairs = [(int(src[r]), r, int(start[r]), int(length[r]), reduce) for r in range(n_ranks) if src[r] >= 0]
    return lambda rank: exchange(dst, src, send=send, receive=receive, reduce=reduce), pairs


def random_program(rng, n_ranks, n_elements):
    """An algorithm, and its steps as lists of messages."""
    n_steps = int(rng.integers(1, 6))
    steps = [[random_exchange(rng, n_ranks) for _ in range(rng.integers(1, 4))] for _ in range(n_steps)]

    @algorithm("allreduce", chunks=N_CHUNKS)
    def mine(rank, n_ranks):
        for step in steps:
            yield [make(rank) for make, _ in step]

    sizes = [4 * (n_elements // N_CHUNKS + (c < n_elements % N_CHUNKS)) for c in range(N_CHUNKS)]

    def n_bytes(start, length):
        return sum(sizes[(start + i) % N_CHUNKS] for i in range(length))

    messages = [
        [Message(s, d, n_bytes(start, length), reduce) for _, pairs in step for s, d, start, length, reduce in pairs]
        for step in steps
    ]
    return mine, messages


def shared_port_topology(rng, n_devices):
    """Pairs of devices share one uneven cable to the switch (first and last link of all their routes)."""
    n_ports = -(-n_devices // 2)
    port = np.arange(n_ports)
    cables = Links.both_directions(n_devices + port, np.full(n_ports, n_devices + n_ports), 0.0, 1.0)
    links = replace(
        cables, latency_s=rng.uniform(0, 1e-6, 2 * n_ports), bandwidth_Bps=rng.uniform(1e8, 2e9, 2 * n_ports)
    )
    links = replace(links, latency_s=links.latency_s.round(9))

    def route(src, dst):
        return np.where((src == dst)[:, None], NO_LINK, np.stack([src // 2, n_ports + dst // 2], axis=1))

    return Topology(n_devices, links, route)


def random_endpoint(rng):
    def classes(rates):
        n = int(rng.integers(1, 4))
        return BySize((0, 24, 60)[:n], tuple(rng.uniform(0, 1e-6, n)), tuple(rng.choice(rates, n)))

    both_ways = classes([0.3, 0.7, 1.0]) if rng.random() < 0.5 else None
    reduction = classes([1e8, 1e9, float("inf")])
    if rng.random() < 0.4:
        reduction = BySize(rate=(2e8,))  # nothing but bytes: an empty reduction is free
    return Endpoint(classes([0.4, 0.8, 1.0]), both_ways, float(rng.choice([0.0, 3e-7, 2e-6])), reduction)


@pytest.mark.parametrize("model", ["hockney", "loggp"])
@pytest.mark.parametrize("block", range(6))
def test_the_vectorised_models_are_the_slow_reference(model, block):
    for seed in range(block * 15, block * 15 + 15):
        rng = np.random.default_rng(seed)
        n_ranks = int(rng.integers(1, 10))
        star = topologies.star(n_ranks, 1e9, 4e-7)
        tree = topologies.find("xgft:down=2x3x2,up=1x2x2,parallel=1x1x2,bandwidth=1GB/s,latency=300ns")
        topology = [star.topology, shared_port_topology(rng, n_ranks), tree.topology][seed % 3]
        system = replace(star, topology=topology, endpoint=random_endpoint(rng))
        n_elements = int(rng.integers(0, 40))
        mine, messages = random_program(rng, n_ranks, n_elements)
        schedule, layout = Schedule(mine, n_ranks), Layout(n_elements, N_CHUNKS, 4)
        done = run(schedule, system, layout, MODELS[model])
        clock, carried, busy_s = reference(messages, n_ranks, system.topology, system.endpoint, model)
        np.testing.assert_allclose(done.finish_s, clock, rtol=1e-9, atol=1e-15, err_msg=f"seed {seed}")
        np.testing.assert_allclose(done.link_bytes, carried, rtol=1e-12, err_msg=f"seed {seed}")
        np.testing.assert_allclose(done.link_busy_s, busy_s, rtol=1e-9, atol=1e-18, err_msg=f"seed {seed}")
        assert (done.n_messages, done.n_steps) == (sum(map(len, messages)), len(messages))


def test_a_late_reduction_holds_up_those_behind_it():
    """Exchange order, even where the late one is empty: rank 0 reduces what 1 sends (late), then what 2 sends."""

    def to_rank_0(sender, piece):
        dst, src = np.full(4, -1), np.full(4, -1)
        dst[sender], src[0] = 0, sender
        return exchange(dst, src, send=piece, receive=piece, reduce=True)

    @algorithm("allreduce", chunks=2)
    def mine(rank, n_ranks):
        yield [exchange(np.array([-1, 3, -1, -1]), np.array([-1, -1, -1, 1]), send=chunks(0, 1), receive=chunks(0, 1))]
        yield [to_rank_0(1, chunks(1, 1)), to_rank_0(2, chunks(0, 1))]

    system = topologies.star(4, 4e6, 1e-6, gamma_s_per_byte=1e-6)  # 2 us + 1 us to send an element, 4 us to reduce it
    layout = Layout(1, 2, 4)  # chunk 1 is empty
    late, size_s = 3e-6, 1e-6  # the first step; in the second all of its bytes share the port of rank 0
    done = run(Schedule(mine, 4), system, layout, MODELS["hockney"])
    assert done.finish_s[0] == pytest.approx(late + 2e-6 + size_s + 4e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Properties

CASES = st.fixed_dictionaries(
    {
        "case": st.sampled_from(SPECS),
        "n_ranks": st.integers(1, 12),
        "n_elements": st.integers(0, 5000),
        "model": st.sampled_from(sorted(MODELS)),
        "latency_ns": st.integers(0, 3000),
        "rate_MBps": st.integers(1, 30_000),
        "overhead_ns": st.integers(0, 500),
        "gap_ns": st.integers(0, 500),
        "gamma_ps": st.integers(0, 500),
    }
)


def time_of(v):
    system = topologies.star(
        v["n_ranks"],
        v["rate_MBps"] * 1e6,
        v["latency_ns"] * 1e-9,
        v["overhead_ns"] * 1e-9,
        v["gap_ns"] * 1e-9,
        v["gamma_ps"] * 1e-12,
    )
    n_elements = v["n_elements"] // v["n_ranks"] * v["n_ranks"]  # an alltoall sends equally much to each
    return simulate(registry.find(*v["case"]), system, 4 * n_elements, model=v["model"])


@settings(max_examples=60, derandomize=True, deadline=None)
@given(CASES, st.sampled_from(["n_elements", "latency_ns", "overhead_ns", "gap_ns", "gamma_ps"]), st.integers(1, 500))
def test_time_never_falls_when_anything_grows(values, key, more):
    grown = {**values, key: values[key] + more}
    assert time_of(grown).time_s >= time_of(values).time_s * (1 - 1e-12)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(CASES, st.integers(2, 50))
def test_time_never_falls_when_links_slow_down(values, times):
    slower = {**values, "rate_MBps": values["rate_MBps"] / times}
    assert time_of(slower).time_s >= time_of(values).time_s * (1 - 1e-12)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(CASES)
def test_the_same_case_gives_the_same_bits(values):
    first, second = time_of(values), time_of(values)
    assert first.time_s == second.time_s
    for name in ("finish_s", "link_bytes", "link_busy_s"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert {**first.row(), "wall_s": None} == {**second.row(), "wall_s": None}


SYSTEMS = [
    "star:hosts=16,bandwidth=1GB/s,latency=1us",
    "xgft:down=4x2x2,up=1x4x4,parallel=1x1x1,bandwidth=1GB/s,latency=1us",
    "dgx_h100:nodes=2",
]


@pytest.mark.parametrize("spec", SYSTEMS)
@pytest.mark.parametrize("case", SPECS)
def test_bytes_are_conserved_link_by_link(case, spec):
    system = topologies.find(spec)
    links, n_devices = system.topology.links, system.n_devices
    for n_bytes in (0, 4 * 16 * 5, 4 * 97 if case[0] != "alltoall" else 4 * 16):
        result = simulate(registry.find(*case), system, n_bytes, timeline=True)
        moved = result.timeline.n_bytes[result.timeline.src != result.timeline.dst].sum()
        assert result.link_bytes[links.dst < n_devices].sum() == moved
        assert result.link_bytes[links.src < n_devices].sum() == moved
        enters = np.bincount(links.dst, result.link_bytes, system.topology.n_vertices)
        leaves = np.bincount(links.src, result.link_bytes, system.topology.n_vertices)
        np.testing.assert_array_equal(enters[n_devices:], leaves[n_devices:])


@pytest.mark.parametrize("n_ranks", [8, 2048])
def test_a_program_may_write_into_its_arrays(n_ranks):
    def run(written):
        @algorithm("allreduce", chunks=1)
        def mine(rank, n_ranks):
            for _ in range(2):
                peer = rank ^ 1
                yield [exchange(peer, peer, send=chunk(0), receive=chunk(0), reduce=True)]
                peer[:] = rank ^ written

        star = topologies.star(n_ranks, 25e9, 500e-9)
        return simulate(mine, star, "64KiB", model="hockney", disturbance=Disturbance(skew_s=1e-3))

    found, expected = run(4), run(1)
    np.testing.assert_array_equal(found.finish_s, expected.finish_s)
    np.testing.assert_array_equal(found.link_bytes, expected.link_bytes)


@pytest.mark.parametrize(("limit", "value"), [("PAIRINGS_KEPT", 2), ("MESSAGES_KEPT", 30)])
def test_traffic_is_the_same_when_few_patterns_are_kept(monkeypatch, limit, value):
    system, ring = topologies.find(SYSTEMS[1]), registry.find("broadcast", "chain:segments=7")
    kept = simulate(ring, system, "1MiB")
    monkeypatch.setattr(f"commsim.messages.{limit}", value)
    flushed = simulate(ring, system, "1MiB")
    np.testing.assert_allclose(flushed.link_bytes, kept.link_bytes, rtol=1e-12)
    np.testing.assert_allclose(flushed.link_busy_s, kept.link_busy_s, rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# What a result says


def test_a_result_tells_its_case_and_its_bandwidths():
    system = topologies.star(8, 25e9, 500e-9)
    row = simulate(registry.find("allreduce", "ring"), system, "1MiB").row()
    assert (row["collective"], row["algorithm"], row["op"], row["root"]) == ("allreduce", "ring", "sum", None)
    assert (row["n_ranks"], row["n_bytes"], row["n_messages"]) == (8, MIB, 112)
    assert row["algbw_Bps"] == pytest.approx(MIB / row["time_s"])
    assert row["busbw_Bps"] == pytest.approx(row["algbw_Bps"] * 2 * 7 / 8)
    assert row["bottleneck"] == "host0→switch 84 % busy"
    row = simulate(registry.find("broadcast", "binomial"), system, 0, n_ranks=4, root=3).row()
    assert (row["root"], row["op"], row["n_ranks"], row["algbw_Bps"]) == (3, None, 4, 0)
    assert row["bottleneck"] == "latency of 2 steps 100 %"


def test_the_bottleneck_may_be_a_reduction_or_nothing():
    ring = registry.find("allreduce", "ring")
    slow = simulate(ring, topologies.star(4, 25e9, 1e-9, gamma_s_per_byte=1e-6), "1MiB")
    assert slow.bottleneck.startswith("reduction on rank 0")
    alone = simulate(ring, topologies.star(1, 25e9, 1e-9), "1MiB")
    assert (alone.time_s, alone.bottleneck, alone.busbw_Bps, alone.n_messages) == (0, "nothing to do", 0, 0)


def test_a_timeline_has_a_row_for_each_message_of_the_chosen_ranks():
    ring, system = registry.find("allreduce", "ring"), topologies.star(5, 1e9, 1e-6)
    assert simulate(ring, system, 40).timeline is None
    rows = simulate(ring, system, 40, timeline=True).timeline
    assert len(rows.src) == 8 * 5
    assert ((rows.end_s - rows.start_s) > 0).all()
    assert rows.n_bytes.tolist() == [8] * 40
    mine = simulate(ring, system, 40, timeline=np.array([2])).timeline
    assert set(zip(mine.src.tolist(), mine.dst.tolist(), strict=True)) == {(1, 2), (2, 3)}


def test_a_timeline_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("commsim.models.contention_free.TIMELINE_ROWS", 30)
    with pytest.raises(InputError, match="more than 30 messages"):
        simulate(registry.find("allreduce", "ring"), topologies.star(5, 1e9, 1e-6), 40, timeline=True)


def test_a_message_to_oneself_uses_no_link():
    @algorithm("broadcast", chunks=1)
    def mine(rank, n_ranks, *, root):
        yield [exchange(rank, rank, send=chunks(0, 1), receive=chunks(0, 1))]

    done = run(Schedule(mine, 3), topologies.star(3, 1e9, 1e-6, 1e-6), Layout(8, 1, 4), MODELS["loggp"])
    assert (done.finish_s.max(), done.link_bytes.sum(), done.link_busy_s.sum()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in ("overhead_s", "gap_s", "gamma_s_per_byte") for value in (-1e-9, float("nan"))]
    + [(key, value) for key in ("bandwidth_Bps", "latency_s") for value in (-1.0, float("nan"), float("inf"))]
    + [("bandwidth_Bps", 0.0), ("hosts", 0)],
)
def test_a_system_with_impossible_figures_cannot_be_made(key, value):
    figures = {"hosts": 4, "bandwidth_Bps": 1e9, "latency_s": 1e-6, key: value}
    with pytest.raises(InputError):
        topologies.star(**figures)


@pytest.mark.parametrize(
    "values",
    [
        ((0,), (0.0,), (0.0,)),
        ((0,), (-1.0,), (1.0,)),
        ((1,), (0.0,), (1.0,)),
        ((0, 9, 9), (0.0,) * 3, (1.0,) * 3),
        ((), (), ()),
        ((0, 8), (0.0,), (1.0,)),
        ((0,), (0.0,), (float("nan"),)),
    ],
)
def test_size_classes_are_checked(values):
    with pytest.raises(InputError, match="size class"):
        BySize(*values)


def test_a_size_class_begins_at_its_first_byte():
    by_size = BySize((0, 100), (1.0, 2.0), (0.5, 1.0))
    assert [tuple(map(float, by_size.at(n))) for n in (0, 99, 100)] == [(1.0, 0.5), (1.0, 0.5), (2.0, 1.0)]
    assert by_size.at(np.array([99, 100]))[0].tolist() == [1.0, 2.0]


def test_more_ranks_than_devices_are_refused():
    with pytest.raises(RefusedError, match="2 devices, too few for 3 ranks"):
        simulate(registry.find("allreduce", "ring"), topologies.star(2, 1e9, 0.0), 12, n_ranks=3)
