"""Hockney and LogGP, vectorised over ranks: every rank has its own clock, and the fabric is never shared.

Hockney: The communication challenge for MPP, Parallel Computing 20(3), 1994: alpha + n*beta, both ends held until
delivery. LogGP: Alexandrov et al., SPAA 1995: o + (n-1)G + L + o, the sender free at its last byte, g between messages.
Weakness of both: no contention. Only the bytes that one step puts on one port (the first or the last link of a route)
add up. What every link must have carried is recorded, so that an answer below it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import InputError, RefusedError, ScheduleError
from commsim.layout import Layout
from commsim.messages import Matcher, Messages
from commsim.program import Lanes
from commsim.result import Timeline
from commsim.schedule import Schedule
from commsim.selection import Ints
from commsim.system import Endpoint, System
from commsim.topology import NO_LINK, Floats, Path, Topology

TIMELINE_ROWS = 5_000_000
PATTERNS_KEPT = 64


@dataclass(frozen=True)
class Batch:
    """The messages of one step, arrays (n,), in exchange order, with what the network does to them."""

    src: Ints
    dst: Ints
    n_bytes: Any
    overhead_s: Any  # of its sender
    receive_overhead_s: Any
    wire_s: Floats  # on its slowest link, alone
    out_wait_s: Floats  # all that shares its first link in this step, its own wire time included
    in_wait_s: Floats  # the same for its last link
    latency_s: Floats


class Model:
    """When the messages of a step are delivered and when their senders go on."""

    name: str
    description: str
    engine = "contention-free"

    def run(
        self,
        schedule: Schedule,
        system: System,
        layout: Layout,
        timeline_ranks: Ints | None = None,
        disturbance: Disturbance = NO_DISTURBANCE,
    ) -> Run:
        """Advance every rank's clock through the schedule; see :func:`run`."""
        return run(schedule, system, layout, self, timeline_ranks, disturbance)

    def charged_bytes(self, n_bytes: Any) -> Any:
        """Bytes that the model puts on a link for a message."""
        raise NotImplementedError

    def gap_s(self, endpoint: Endpoint, overhead_s: Any) -> Any:
        """Added between two messages of one step on one port."""
        raise NotImplementedError

    def delivery(self, clock: Floats, gate: Floats, batch: Batch, gap_s: float) -> tuple[Floats, Floats, Floats]:
        """Start, release of the sender and delivery of each message.

        `clock` (n_ranks,) is when each rank entered the step; `gate` (n_ranks,), which the model updates, when its port
        may send again.
        """
        raise NotImplementedError


class Hockney(Model):
    """alpha + n*beta."""

    name = "hockney"
    description = "alpha + n*beta, both ends held until delivery (Hockney 1994); contention is not modelled"

    def charged_bytes(self, n_bytes: Any) -> Any:
        return n_bytes

    def gap_s(self, endpoint: Endpoint, overhead_s: Any) -> Any:
        return 0.0

    def delivery(self, clock: Floats, gate: Floats, batch: Batch, gap_s: float) -> tuple[Floats, Floats, Floats]:
        start = np.maximum(clock[batch.src], clock[batch.dst])
        wire = np.maximum(batch.out_wait_s, batch.in_wait_s)
        delivered = start + batch.latency_s + (batch.overhead_s + batch.receive_overhead_s) + wire
        return start, delivered, delivered


class LogGP(Model):
    """o + (n-1)G + L + o."""

    name = "loggp"
    description = (
        "o + (n-1)G + L + o, sender free at its last byte (Alexandrov et al. 1995); contention is not modelled"
    )

    def charged_bytes(self, n_bytes: Any) -> Any:
        return np.maximum(n_bytes - 1, 0)

    def gap_s(self, endpoint: Endpoint, overhead_s: Any) -> Any:
        return np.maximum(endpoint.gap_s, overhead_s)

    def delivery(self, clock: Floats, gate: Floats, batch: Batch, gap_s: float) -> tuple[Floats, Floats, Floats]:
        start = np.maximum(clock[batch.src], gate[batch.src])
        sent = start + batch.overhead_s + batch.out_wait_s
        last_byte = start + batch.overhead_s + np.maximum(batch.out_wait_s, batch.in_wait_s)
        if gap_s:  # a local move does not use the port
            free = sent + np.maximum(gap_s - batch.overhead_s, 0.0)
            np.maximum.at(gate, batch.src, np.where(batch.src == batch.dst, 0.0, free))
        delivered = np.maximum(last_byte + batch.latency_s, clock[batch.dst]) + batch.receive_overhead_s
        return start, sent, delivered


@dataclass
class Run:
    """What a run of the clocks leaves. ``finish_s`` and ``reduction_s`` (n_ranks,), the others (n_links,)."""

    finish_s: Floats
    reduction_s: Floats
    latency_s: float  # of the longest message of every step, with its overheads, added up
    link_bytes: Floats
    link_busy_s: Floats
    n_messages: int
    n_steps: int
    in_network: bool  # whether switches reduced or copied
    timeline: Timeline | None


def run(
    schedule: Schedule,
    system: System,
    layout: Layout,
    model: Model,
    timeline_ranks: Ints | None = None,
    disturbance: Disturbance = NO_DISTURBANCE,
) -> Run:
    """Advance every rank's clock through the schedule, step by step.

    Parameters
    ----------
    schedule : Schedule
        Of all ranks.
    system : System
    layout : Layout
    model : Model
    timeline_ranks : array, optional
        Record the messages that these ranks send or receive.
    disturbance : Disturbance, optional

    Raises
    ------
    InputError
        If the timeline would have more than 5 million rows.
    RefusedError
        If the schedule forks lanes, or asks of the fabric what the system's cannot do.
    """
    gate, reduction = (np.zeros(schedule.n_ranks) for _ in range(2))
    clock, slow = disturbance.starts(schedule.n_ranks), disturbance.slowdown(schedule.n_ranks)
    traffic, matcher = _Traffic(system.topology), Matcher(schedule)
    rows: list[tuple[Any, ...]] = []
    n_messages = n_steps = n_rows = 0
    latency_s = 0.0
    in_network = False
    for index, step in enumerate(schedule):
        if isinstance(step, Lanes):
            raise RefusedError(
                f"{schedule.algorithm.spec} forks lanes, whose sharing of a port {model.name} does not model; "
                "use a form without lanes, until the model fluid is there"
            )
        n_steps += 1
        parts = [matcher.messages(exchange, index) for exchange in step]
        if not parts:
            continue
        for part in parts:
            if part.fabric and len(part.src):
                system.require_fabric(part.fabric, part.src, part.dst, schedule.algorithm.spec)
                in_network = True
        src, dst, n_bytes, reduces, one_each, key = _joined(parts, layout)
        n_messages += len(src)
        pattern = traffic.pattern(key, src, dst, one_each, parts)
        charged = model.charged_bytes(n_bytes)
        batch = _batch(pattern, n_bytes, charged, system.endpoint, model)
        if not disturbance.is_none:
            batch = _disturbed(batch, slow, disturbance.stretches(np.arange(n_messages - len(src), n_messages)))
        traffic.add(pattern, n_bytes, charged)
        latency_s += float((batch.latency_s + batch.overhead_s + batch.receive_overhead_s).max(initial=0.0))
        start, released, delivered = model.delivery(clock, gate, batch, system.endpoint.gap_s)
        if timeline_ranks is not None:
            rows.append(_timeline_rows(index, src, dst, n_bytes, start, delivered, timeline_ranks))
            n_rows += len(rows[-1][1])
            if n_rows > TIMELINE_ROWS:
                raise InputError(f"the timeline has more than {TIMELINE_ROWS} messages; ask for fewer ranks")
        clock = _advance(clock, batch, released, delivered, reduces, slow, reduction, system.endpoint, pattern)
    link_bytes, link_busy = traffic.totals()
    timeline = None if timeline_ranks is None else _timeline(rows)
    return Run(clock, reduction, latency_s, link_bytes, link_busy, n_messages, n_steps, in_network, timeline)


def _joined(parts: list[Messages], layout: Layout) -> tuple[Ints, Ints, Any, Any, bool, bytes]:
    """All exchanges of a step as one: src, dst, bytes, whether each reduces, whether one each way at most, key."""
    n_bytes = [message_sizes(part, layout) for part in parts]
    if len(parts) == 1:
        part = parts[0]
        key = part.key + (part.fabric or "").encode()
        return part.src, part.dst, n_bytes[0], part.reduce and not part.fabric, part.one_each, key
    counts = [len(part.src) for part in parts]
    sizes = np.concatenate([np.broadcast_to(b, n) for b, n in zip(n_bytes, counts, strict=True)])
    reduces = np.repeat([part.reduce and not part.fabric for part in parts], counts)  # switches reduce for nothing
    src, dst = np.concatenate([p.src for p in parts]), np.concatenate([p.dst for p in parts])
    return src, dst, sizes, reduces, False, b"+".join(part.key + (part.fabric or "").encode() for part in parts)


def message_sizes(messages: Messages, layout: Layout) -> Any:
    """Bytes of each message, the same at both ends."""
    received = layout.bytes_of(messages.receive, messages.dst)
    if not layout.is_uniform:
        sent = layout.bytes_of(messages.send, messages.src)
        if np.any(sent != received):
            n = len(messages.src)
            bad = int(np.argmax(np.broadcast_to(sent != received, n)))
            sent, received = (np.broadcast_to(size, n)[bad] for size in (sent, received))
            raise ScheduleError(
                f"rank {messages.src[bad]} sends {sent} B to {messages.dst[bad]}, which receives {received} B: "
                f"{layout.n_elements} elements in {layout.n_chunks} chunks make chunks of two sizes"
            )
    return received


@dataclass(eq=False)
class _Pattern:
    """Who sends to whom: everything about a step that does not depend on sizes."""

    src: Ints
    dst: Ints
    path: Path
    one_each: bool
    remote: Any  # array of bool, or True where no message is to oneself
    both_ways: Any  # array of bool: one of its ends sends and receives
    ports: Ints  # (n, 2): what its first and its last link share with other messages
    shared: bool  # whether some port carries more than one message
    copies: Ints | None  # of messages that switches copy from one, or reduce to one: which set each belongs to, or -1
    out_weight: Any  # share of a message's bytes that its first link carries for it
    in_weight: Any  # the same of its last link
    n_bytes: Floats = field(init=False)  # carried so far
    charged: Floats = field(init=False)  # the same as the model counts them

    def __post_init__(self) -> None:
        self.n_bytes, self.charged = np.zeros(len(self.src)), np.zeros(len(self.src))


class _Traffic:
    """Patterns seen lately, and what all links carried."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._patterns: dict[bytes, _Pattern] = {}
        self._bytes, self._charged = np.zeros(topology.n_links), np.zeros(topology.n_links)

    def pattern(self, key: bytes, src: Ints, dst: Ints, one_each: bool, parts: list[Messages]) -> _Pattern:
        found = self._patterns.get(key)
        if found is None:
            if len(self._patterns) >= PATTERNS_KEPT:
                self._flush(self._patterns.pop(next(iter(self._patterns))))
            found = self._patterns[key] = self._new(src, dst, one_each, parts)
        return found

    def _new(self, src: Ints, dst: Ints, one_each: bool, parts: list[Messages]) -> _Pattern:
        path = self._topology.path(src, dst)
        here = src == dst
        n = max(int(src.max(initial=0)), int(dst.max(initial=0))) + 1
        sends, receives = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        sends[src[~here]] = receives[dst[~here]] = True
        both = sends & receives
        ports = _ports(path, self._topology)
        shared = len(np.unique(ports[ports >= 0])) < (ports >= 0).sum()
        remote = ~here if here.any() else True
        sets = _copies(parts)
        return _Pattern(src, dst, path, one_each, remote, both[src] | both[dst], ports, shared, *sets)

    def add(self, pattern: _Pattern, n_bytes: Any, charged: Any) -> None:
        pattern.n_bytes += n_bytes
        pattern.charged += charged

    def _flush(self, pattern: _Pattern) -> None:
        hops = pattern.path.hops
        used = hops != NO_LINK
        row, link = used.nonzero()[0], hops[used]
        weight: Any = 1.0
        if pattern.copies is not None:
            mine = pattern.copies[row]
            each = np.where(mine >= 0, mine, len(hops) + row)
            _, which, count = np.unique(each * self._topology.n_links + link, return_inverse=True, return_counts=True)
            weight = 1 / count[which]
        self._bytes += np.bincount(link, pattern.n_bytes[row] * weight, self._topology.n_links)
        self._charged += np.bincount(link, pattern.charged[row] * weight, self._topology.n_links)

    def totals(self) -> tuple[Floats, Floats]:
        """Bytes of each link, and the time that they take at its full bandwidth."""
        while self._patterns:
            self._flush(self._patterns.popitem()[1])
        return self._bytes, self._topology.links.busy_s(self._charged)


def _batch(pattern: _Pattern, n_bytes: Any, charged: Any, endpoint: Endpoint, model: Model) -> Batch:
    overhead, share = endpoint.message.at(n_bytes)
    if endpoint.both_ways is not None:
        overhead_both, share_both = endpoint.both_ways.at(n_bytes)
        overhead = np.where(pattern.both_ways, overhead_both, overhead)
        share = np.where(pattern.both_ways, share_both, share)
    overhead = overhead * pattern.remote
    path = pattern.path
    wire = charged / (path.bandwidth_Bps * share)
    out_wait = in_wait = wire
    if pattern.shared:
        gap = np.broadcast_to(model.gap_s(endpoint, overhead), len(wire))
        out_wait, in_wait = _port_waits(pattern, wire, gap)
    return Batch(pattern.src, pattern.dst, n_bytes, overhead, overhead, wire, out_wait, in_wait, path.latency_s)


def _disturbed(batch: Batch, slow: Floats, stretch: Floats) -> Batch:
    return replace(
        batch,
        overhead_s=batch.overhead_s * slow[batch.src] * stretch,
        receive_overhead_s=batch.receive_overhead_s * slow[batch.dst] * stretch,
        latency_s=batch.latency_s * stretch,
    )


def _copies(parts: list[Messages]) -> tuple[Ints | None, Any, Any]:
    """Which messages the switches make of one, or make one of; and what their first and last links carry of each."""
    if not any(part.fabric for part in parts):
        return None, 1.0, 1.0
    sets, out_weights, in_weights, n_sets = [], [], [], 0
    for part in parts:
        n = len(part.src)
        weight = np.ones(n)
        if part.fabric is None or n == 0:
            sets.append(np.full(n, -1))
        else:
            end = part.src if part.fabric == "multicast" else part.dst
            _, which, count = np.unique(end, return_inverse=True, return_counts=True)
            sets.append(n_sets + which)
            n_sets += len(count)
            weight = 1 / count[which]
        out_weights.append(weight if part.fabric == "multicast" else np.ones(n))
        in_weights.append(weight if part.fabric == "reduce" else np.ones(n))
    return np.concatenate(sets), np.concatenate(out_weights), np.concatenate(in_weights)


def _ports(path: Path, topology: Topology) -> Ints:
    """Numbers of the ports at both ends of each route (n, 2): a first link and a last one, never the same.

    A half-duplex cable is one port for both; a message that it alone carries stands there once.
    """
    first, last = (topology.links.on_medium(port) for port in (path.first, path.last))
    if topology.links.medium is None:
        return np.stack([first, np.where(last == NO_LINK, NO_LINK, last + topology.n_links)], axis=1)
    is_shared = np.bincount(topology.links.medium, minlength=topology.n_links) > 1
    last = np.where((last == NO_LINK) | is_shared[last], last, last + topology.n_links)
    return np.stack([first, np.where(last == first, NO_LINK, last)], axis=1)


def _port_waits(pattern: _Pattern, wire: Floats, gap: Floats) -> list[Floats]:
    """For both ends, until the last byte of everything that the step puts on the port: sizes add up, gaps between."""
    ports = pattern.ports
    weights = (np.broadcast_to(weight, len(wire)) for weight in (pattern.out_weight, pattern.in_weight))
    amounts = np.stack([(wire + gap) * weight for weight in weights], axis=1)
    on_port = ports != NO_LINK
    total = np.bincount(ports[on_port], amounts[on_port], int(ports.max(initial=0)) + 1)
    return [np.where(port != NO_LINK, np.maximum(total[port] - gap, wire), wire) for port in ports.T]


def _advance(
    clock: Floats,
    batch: Batch,
    released: Floats,
    delivered: Floats,
    reduces: Any,
    slow: Floats,
    reduction: Floats,
    endpoint: Endpoint,
    pattern: _Pattern,
) -> Floats:
    """The clocks after the step: a rank waits for its sends, receives and reductions, which run one at a time."""
    done = clock.copy()
    overhead, throughput_Bps = endpoint.reduction.at(batch.n_bytes)
    cost = (overhead + batch.n_bytes / throughput_Bps) * reduces * slow[batch.dst]
    if pattern.one_each:
        done[batch.src] = np.maximum(done[batch.src], released)
        done[batch.dst] = np.maximum(done[batch.dst], delivered + cost)
        reduction[batch.dst] += cost
        return done
    np.maximum.at(done, batch.src, released)
    np.maximum.at(done, batch.dst, delivered)
    # In exchange order: the last reduction of a rank ends at max over i of (arrival of i + all costs from i on).
    order = np.argsort(batch.dst, kind="stable")
    dst, ordered, is_reduction = batch.dst[order], cost[order], np.broadcast_to(reduces, len(order))[order]
    total = np.bincount(dst, ordered, len(clock))
    before = np.cumsum(ordered) - ordered
    first = np.searchsorted(dst, dst)
    from_here_on = total[dst] - (before - before[first])
    np.maximum.at(done, dst, delivered[order] + np.where(is_reduction, from_here_on, 0.0))
    reduction += total
    return done


def _timeline_rows(
    step: int, src: Ints, dst: Ints, n_bytes: Any, start: Floats, end: Floats, ranks: Ints
) -> tuple[Any, ...]:
    mine = np.isin(src, ranks) | np.isin(dst, ranks)
    n = len(src)
    columns = (np.full(n, step), src, dst, np.broadcast_to(n_bytes, n), start, end)
    return tuple(column[mine] for column in columns)


def _timeline(rows: list[tuple[Any, ...]]) -> Timeline:
    nothing = tuple(np.empty(0, dtype=kind) for kind in (int, int, int, int, float, float))
    return Timeline(*(np.concatenate(column) for column in zip(nothing, *rows, strict=True)))
