"""Hockney and LogGP, vectorised over ranks: every rank has its own clock, and the fabric is never shared.

Hockney: The communication challenge for MPP, Parallel Computing 20(3), 1994: alpha + n*beta, both ends held until
delivery. LogGP: Alexandrov et al., SPAA 1995: o + (n-1)G + L + o, the sender free at its last byte, g between messages.
Weakness of both: no contention. Only the bytes that one step puts on one port (the first or the last link of a route)
add up. What every link must have carried is recorded, so that an answer below it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import InputError, RefusedError, ScheduleError
from commsim.layout import Layout
from commsim.messages import Matcher, Messages
from commsim.models.joint import together
from commsim.models.patterns import Pattern, Traffic
from commsim.models.rounds import Rounds, round_sizes
from commsim.program import Exchange, Lanes, Repeat
from commsim.result import Timeline
from commsim.schedule import Schedule
from commsim.selection import Ints, of_rows, one_value
from commsim.system import Endpoint, System
from commsim.topology import NO_LINK, Floats

TIMELINE_ROWS = 5_000_000


@dataclass(frozen=True)
class Batch:
    """The messages of one step, in exchange order, with what the network does to them.

    Arrays (n,), or one value where it is the same for all: a step may have millions.
    """

    pattern: Pattern
    src: Ints
    dst: Ints
    n_bytes: Any
    overhead_s: Any  # of its sender
    receive_overhead_s: Any
    wire_s: Any  # on its slowest link, alone
    out_wait_s: Any  # all that shares its first link in this step, its own wire time included
    in_wait_s: Any  # the same for its last link
    latency_s: Any


class Model:
    """When the messages of a step are delivered and when their senders go on."""

    name: str
    description: str
    engine = "contention-free"
    adds_up_ports = True  # whether what one step puts on one port adds up
    has_no: tuple[str, ...] = ()  # fields of an endpoint that the model has no place for

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

    def refuse_lanes(self, schedule: Schedule) -> None:
        """Called where a schedule forks.

        Raises
        ------
        RefusedError
        """
        raise RefusedError(
            f"{schedule.algorithm.spec} forks lanes, whose sharing of a port {self.name} does not model; use the "
            "model fluid, or a form without lanes"
        )

    def require(self, endpoint: Endpoint, n_bytes: Any) -> None:
        """Told of the messages of a step: a shortcut that is not exact for them ends here."""

    def advances_rounds(self, pattern: Pattern, endpoint: Endpoint) -> bool:
        """Whether :class:`Rounds` is this model for a pattern that is repeated."""
        return False

    def carried_rounds(self, pattern: Pattern, begin_s: Floats, end_s: Floats) -> None:
        """Told of every repetition: when each message's first byte of the first time and last byte of the last pass."""

    def charged_bytes(self, n_bytes: Any) -> Any:
        """Bytes that the model puts on a link for a message."""
        raise NotImplementedError

    def gap_s(self, endpoint: Endpoint, overhead_s: Any) -> Any:
        """Added between two messages of one step on one port."""
        raise NotImplementedError

    def delivery(self, clock: Any, gate: Floats, batch: Batch, gap_s: float) -> tuple[Any, Any, Any]:
        """Start, release of the sender and delivery of each message.

        `clock` (n_ranks,), or one value, is when each rank entered the step; `gate` (n_ranks,), which the model
        updates, when its port may send again.
        """
        raise NotImplementedError


class Hockney(Model):
    """alpha + n*beta."""

    name = "hockney"
    description = "alpha + n*beta, both ends held until delivery (Hockney 1994); contention is not modelled"
    has_no = ("gap_s", "message_rate_per_s", "eager_limit_bytes", "burst_bytes")

    def advances_rounds(self, pattern: Pattern, endpoint: Endpoint) -> bool:
        if endpoint.inside:
            return False
        both = np.all(pattern.both_ways) or not np.any(pattern.both_ways)
        if endpoint.pair_efficiency < 1 and pattern.crossed.any():
            return False
        return not pattern.shared and pattern.remote is True and (endpoint.both_ways is None or bool(both))

    def charged_bytes(self, n_bytes: Any) -> Any:
        return n_bytes

    def gap_s(self, endpoint: Endpoint, overhead_s: Any) -> Any:
        return 0.0

    def delivery(self, clock: Any, gate: Floats, batch: Batch, gap_s: float) -> tuple[Any, Any, Any]:
        start = both_entered(clock, batch.pattern)
        wire = np.maximum(batch.out_wait_s, batch.in_wait_s)
        delivered = start + batch.latency_s + (batch.overhead_s + batch.receive_overhead_s) + wire
        return start, delivered, delivered


class LogGP(Model):
    """o + (n-1)G + L + o."""

    name = "loggp"
    description = (
        "o + (n-1)G + L + o, sender free at its last byte (Alexandrov et al. 1995); contention is not modelled"
    )
    has_no = ("eager_limit_bytes", "burst_bytes")

    def charged_bytes(self, n_bytes: Any) -> Any:
        return np.maximum(n_bytes - 1, 0)

    def gap_s(self, endpoint: Endpoint, overhead_s: Any) -> Any:
        return np.maximum(endpoint.least_gap_s, overhead_s)

    def delivery(self, clock: Any, gate: Floats, batch: Batch, gap_s: float) -> tuple[Any, Any, Any]:
        start = np.maximum(of_rows(clock, batch.src), gate[batch.src])
        sent = start + batch.overhead_s + batch.out_wait_s
        last_byte = start + batch.overhead_s + np.maximum(batch.out_wait_s, batch.in_wait_s)
        if gap_s:  # a local move does not use the port
            free = sent + np.maximum(gap_s - batch.overhead_s, 0.0)
            np.maximum.at(gate, batch.src, np.where(batch.src == batch.dst, 0.0, free))
        entered = of_rows(clock, batch.dst)
        delivered = np.maximum(last_byte + batch.latency_s, entered) + batch.receive_overhead_s
        return start, sent, delivered


def both_entered(clock: Any, pattern: Pattern) -> Any:
    """When both ends of each message have entered the step; where switches make one of several, the ends of all."""
    if not isinstance(clock, np.ndarray):
        return clock
    return together(pattern.copies, np.maximum(clock[pattern.src], clock[pattern.dst]))


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
    engine: str


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
    clocks = _Clocks(schedule, system, layout, model, timeline_ranks, disturbance)
    for block in schedule.blocks():
        if isinstance(block, Lanes):
            model.refuse_lanes(schedule)
        elif isinstance(block, Repeat):
            clocks.repeat(block)
        else:
            clocks.step(block)
    return clocks.done()


class _Clocks:
    """When each rank has ended the steps so far, and what was carried."""

    def __init__(
        self,
        schedule: Schedule,
        system: System,
        layout: Layout,
        model: Model,
        timeline_ranks: Ints | None,
        disturbance: Disturbance,
    ) -> None:
        self._schedule, self._system, self._layout, self._model = schedule, system, layout, model
        self._gate, self._reduction = (np.zeros(schedule.n_ranks) for _ in range(2))
        self._disturbance, self._slow = disturbance, one_value(disturbance.slowdown(schedule.n_ranks))
        self._clock = disturbance.starts(schedule.n_ranks)
        self._traffic, self._matcher = Traffic(system.topology), Matcher(schedule)
        self._ranks = timeline_ranks
        self._rows: list[tuple[Any, ...]] = []
        self._n_messages = self._n_steps = self._n_rows = 0
        self._latency_s = 0.0
        self._in_network = self._extrapolated = False

    def repeat(self, block: Repeat) -> None:
        """A step several times over: as rounds if it is simple enough, else one by one."""
        if block.times == 0:
            return
        alike = self._ranks is None and self._disturbance.is_none
        if not alike or not self._rounds(block):
            for step in block.steps():
                self.step(step)

    def step(self, step: list[Exchange]) -> None:
        """One step of all ranks."""
        parts = self._matched(step)
        self._n_steps += 1
        if not parts:
            return
        src, dst, n_bytes, reduces, key = joined(parts, self._layout)
        self._n_messages += len(src)
        pattern = self._traffic.pattern(key, src, dst, parts)
        charged, endpoint = self._model.charged_bytes(n_bytes), self._system.endpoint
        self._model.require(endpoint, n_bytes)
        batch = _batch(pattern, n_bytes, charged, endpoint, self._model)
        if not self._disturbance.is_none:
            stretch = self._disturbance.stretches(np.arange(self._n_messages - len(src), self._n_messages))
            batch = _disturbed(batch, self._slow, stretch)
        if pattern.copies is not None:
            batch = _joint(batch, pattern.copies)
        self._traffic.add(pattern, n_bytes, charged)
        self._latency_s += float(np.max(batch.latency_s + batch.overhead_s + batch.receive_overhead_s, initial=0.0))
        clock = one_value(self._clock)
        start, released, delivered = self._model.delivery(clock, self._gate, batch, endpoint.least_gap_s)
        if self._ranks is not None:
            self._rows.append(_timeline_rows(self._n_steps - 1, src, dst, n_bytes, start, delivered, self._ranks))
            self._n_rows += len(self._rows[-1][1])
            if self._n_rows > TIMELINE_ROWS:
                raise InputError(f"the timeline has more than {TIMELINE_ROWS} messages; ask for fewer ranks")
        cost_s = endpoint.reduction.time_s(n_bytes) * reduces * of_rows(self._slow, dst)
        self._settle(pattern, released, delivered, cost_s, reduces)

    def _settle(self, pattern: Pattern, released: Any, delivered: Any, cost_s: Any, reduces: Any) -> None:
        """The clocks after a step: a rank waits for its sends, receives and reductions, which run one at a time."""
        from commsim.hops import settle

        released, delivered, cost_s, reduces = np.atleast_1d(released, delivered, cost_s, reduces)
        settle(pattern.src, pattern.dst, released, delivered, cost_s, reduces, self._clock, self._reduction)

    def done(self) -> Run:
        """What is known at the end."""
        timeline = None if self._ranks is None else _timeline(self._rows)
        return Run(
            self._clock,
            self._reduction,
            self._latency_s,
            *self._traffic.totals(),
            self._n_messages,
            self._n_steps,
            self._in_network,
            timeline,
            self._model.engine + (", repetitions extrapolated" if self._extrapolated else ""),
        )

    def _matched(self, step: list[Exchange]) -> list[Messages]:
        parts = [self._matcher.messages(exchange, self._n_steps) for exchange in step]
        for part in parts:
            if part.fabric and len(part.src):
                self._system.require_fabric(part.fabric, part.src, part.dst, self._schedule.algorithm.spec)
                self._in_network = True
        return parts

    def _rounds(self, block: Repeat) -> bool:
        """The whole repetition, if a compiled loop may do it; whether it did."""
        parts = self._matched(block.step)
        if len(parts) != 1 or not parts[0].one_each or parts[0].fabric or not len(parts[0].src):
            return False
        part, endpoint = parts[0], self._system.endpoint
        table = round_sizes(part.receive, block, self._layout)
        pattern = self._traffic.pattern(part.key, part.src, part.dst, parts)
        if table is None or not self._model.advances_rounds(pattern, endpoint):
            return False
        self._model.require(endpoint, table.n_bytes)
        message = endpoint.both_ways if endpoint.both_ways and np.all(pattern.both_ways) else endpoint.message
        rounds = Rounds.of(table, block.times, pattern, message, endpoint.reduction if part.reduce else None)
        begin_s = np.maximum(self._clock[part.src], self._clock[part.dst]) + rounds.overhead_s[table.place]
        end_s = rounds.advance(self._clock, self._reduction)
        self._model.carried_rounds(pattern, begin_s, end_s)
        self._traffic.add(pattern, rounds.carried, rounds.carried)
        self._n_messages += len(part.src) * block.times
        self._n_steps += block.times
        self._latency_s += rounds.latency_s
        self._extrapolated |= rounds.extrapolated
        return True


def joined(parts: list[Messages], layout: Layout) -> tuple[Ints, Ints, Any, Any, bytes]:
    """All exchanges of a step as one: src, dst, bytes, whether each reduces, key.

    Bytes, and whether they reduce, are one value where all messages have the same. Switches reduce for nothing.
    """
    n_bytes = [message_sizes(part, layout) for part in parts]
    if len(parts) == 1:
        part = parts[0]
        key = part.key + (part.fabric or "").encode()
        return part.src, part.dst, n_bytes[0], part.reduce and not part.fabric, key
    counts = [len(part.src) for part in parts]
    sizes = np.concatenate([np.broadcast_to(b, n) for b, n in zip(n_bytes, counts, strict=True)])
    reduces = np.repeat([part.reduce and not part.fabric for part in parts], counts)
    src, dst = np.concatenate([p.src for p in parts]), np.concatenate([p.dst for p in parts])
    return src, dst, sizes, reduces, b"+".join(part.key + (part.fabric or "").encode() for part in parts)


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
    return one_value(received)


def _batch(pattern: Pattern, n_bytes: Any, charged: Any, endpoint: Endpoint, model: Model) -> Batch:
    overhead, share = pattern.costs(n_bytes, endpoint, pattern.topology.tiers)
    path = pattern.path
    wire = together(pattern.copies, charged / (path.bandwidth_Bps * share))
    out_wait = in_wait = wire
    if model.adds_up_ports and pattern.shared:
        gap = model.gap_s(endpoint, overhead)
        out_wait, in_wait = (together(pattern.copies, wait) for wait in _port_waits(pattern, wire, gap))
    waits = (wire, out_wait, in_wait)
    return Batch(pattern, pattern.src, pattern.dst, n_bytes, overhead, overhead, *waits, path.latency_s)


def _joint(batch: Batch, sets: Ints) -> Batch:
    """What switches copy or reduce takes all members as long as the slowest."""
    send, receive = together(sets, batch.overhead_s), together(sets, batch.receive_overhead_s)
    return replace(batch, overhead_s=send, receive_overhead_s=receive, latency_s=together(sets, batch.latency_s))


def _disturbed(batch: Batch, slow: Any, stretch: Floats) -> Batch:
    return replace(
        batch,
        overhead_s=batch.overhead_s * of_rows(slow, batch.src) * stretch,
        receive_overhead_s=batch.receive_overhead_s * of_rows(slow, batch.dst) * stretch,
        latency_s=batch.latency_s * stretch,
    )


def _port_waits(pattern: Pattern, wire: Any, gap: Any) -> list[Floats]:
    """For both ends, until the last byte of everything that the step puts on the port: sizes add up, gaps between."""
    ports = pattern.ports
    weighted = ((wire + gap) * weight for weight in (pattern.out_weight, pattern.in_weight))
    amounts = np.stack([np.broadcast_to(amount, len(ports)) for amount in weighted], axis=1)
    on_port = ports != NO_LINK
    total = np.bincount(ports[on_port], amounts[on_port], int(ports.max(initial=0)) + 1)
    return [np.where(port != NO_LINK, np.maximum(total[port] - gap, wire), wire) for port in ports.T]


def _timeline_rows(step: int, src: Ints, dst: Ints, n_bytes: Any, start: Any, end: Any, ranks: Ints) -> tuple[Any, ...]:
    mine = np.isin(src, ranks) | np.isin(dst, ranks)
    n = len(src)
    return tuple(np.broadcast_to(column, n)[mine] for column in (step, src, dst, n_bytes, start, end))


def _timeline(rows: list[tuple[Any, ...]]) -> Timeline:
    nothing = tuple(np.empty(0, dtype=kind) for kind in (int, int, int, int, float, float))
    return Timeline(*(np.concatenate(column) for column in zip(nothing, *rows, strict=True)))
