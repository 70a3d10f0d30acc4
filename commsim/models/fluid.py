"""Fluid: every message is a flow with its max-min fair share of every link on its way; ranks have their own clocks.

The fluid model of flow-level simulators (Velho, Legrand: Accuracy study and improvement of network simulation in the
SimGrid framework, SIMUTools 2009). Rendezvous: where no link is shared it equals hockney. Weakness: shares adapt at
once, and nothing is lost or queued.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import InputError, ScheduleError
from commsim.layout import Layout
from commsim.messages import Matcher
from commsim.models.contention_free import TIMELINE_ROWS, Run, joined
from commsim.models.contention_free import run as clocks
from commsim.models.joint import Joint, together
from commsim.models.patterns import Pairs, copies_of
from commsim.models.records import records
from commsim.models.shortcuts import SharedLinksError, Shortcuts
from commsim.program import Exchange, Lanes, Step, unrolled
from commsim.result import Timeline
from commsim.schedule import Schedule
from commsim.selection import Ints
from commsim.system import System
from commsim.topology import Floats, Hops, Links, Path

MAX_MESSAGES = 20_000_000  # all of them are kept while the events run: about 150 B each


@dataclass(frozen=True)
class Fluid:
    """Max-min fair sharing of every link: by exact shortcuts where there are any, else event by event.

    Attributes
    ----------
    shortcuts : bool
        False leaves all to the events.
    """

    shortcuts: bool = True
    name = "fluid"
    description = "max-min fair sharing of every link (Velho, Legrand 2009)"
    has_no: ClassVar[tuple[str, ...]] = ()  # as Model has it

    def run(
        self,
        schedule: Schedule,
        system: System,
        layout: Layout,
        timeline_ranks: Ints | None = None,
        disturbance: Disturbance = NO_DISTURBANCE,
    ) -> Run:
        """Play all messages of a schedule.

        Parameters
        ----------
        schedule : Schedule
            Of all ranks.
        system : System
        layout : Layout
        timeline_ranks : array, optional
            Record the messages that these ranks send or receive.
        disturbance : Disturbance, optional

        Raises
        ------
        InputError
            If there are too many messages, or the timeline would be too long.
        RefusedError
            If the schedule asks of the fabric what the system cannot do.
        """
        if self.shortcuts and not system.endpoint.needs_events:
            try:
                return clocks(schedule, system, layout, Shortcuts(system), timeline_ranks, disturbance)
            except SharedLinksError:
                pass
        return play(disturbed(message_table(schedule, layout, system), disturbance), system, timeline_ranks)


@dataclass
class MessageTable:
    """Messages and the gates that post them, for :func:`play`. Arrays (n_messages,) unless said.

    A gate opens when all that it waits for has happened. ``post_src`` and ``post_dst`` are the gates that post the
    two ends of a message, ``then_src`` and ``then_dst`` those that wait for them. ``reduction_s`` is negative where
    the receiver only copies; reductions posted by one gate run in the order of messages. ``chain_from``,
    ``chain_to``: gates that open others. ``opens_s`` (n_gates,): no gate opens before. ``receive_overhead_s``: where
    the receiver's overhead is not the sender's; ``stretch``: of its latency; ``number``: in the schedule, where that is
    not the row. ``unit``: what reduces, where that is not the receiver. ``joint``: rows that are sets of messages,
    whose gates signal those of their members.
    """

    n_ranks: int
    n_gates: int
    src: Ints
    dst: Ints
    post_src: Ints
    post_dst: Ints
    then_src: Ints
    then_dst: Ints
    n_bytes: Ints
    overhead_s: Floats
    share: Floats  # of the bandwidth of its way
    eager: Any
    reduction_s: Floats
    step: Ints
    last_gate: Ints  # (n_ranks,): when it opens, the rank has ended; others may follow, whose opening is to be known
    n_together: int  # messages that can be on their way at once, at most
    chain_from: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    chain_to: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    n_steps: int = 0
    opens_s: Floats | None = None
    receive_overhead_s: Floats | None = None
    stretch: Floats | None = None
    number: Ints | None = None
    joint: Joint | None = None
    unit: Ints | None = None

    @property
    def n_messages(self) -> int:
        """Of joint messages every one counts."""
        n = len(self.src)
        return n if self.joint is None else n - len(np.unique(self.joint.row)) + len(self.joint.row)


def message_table(schedule: Schedule, layout: Layout, system: System) -> MessageTable:
    """All messages of a schedule of all ranks, with what they cost.

    Raises
    ------
    InputError
        If there are too many.
    RefusedError
        If the schedule asks of the fabric what the system cannot do.
    """
    return _Unrolled(schedule, layout, system).table()


class _Unrolled:
    """A schedule as a message table: every rank goes from gate to gate, one for each step that it takes part in."""

    def __init__(self, schedule: Schedule, layout: Layout, system: System) -> None:
        self._schedule, self._layout, self._system = schedule, layout, system
        self._matcher = Matcher(schedule)
        self._columns: list[tuple[Any, ...]] = []
        self._chains: list[tuple[Ints, Ints]] = []
        self._n_gates = schedule.n_ranks
        self._n_steps = self._n_messages = self._n_rows = 0
        self._joints: list[tuple[Ints, ...]] = []
        self._most: list[Ints] = []  # for each lane, the most messages that each rank sends in a step

    def table(self) -> MessageTable:
        """All of it."""
        last = self._lane(self._schedule, np.arange(self._schedule.n_ranks))
        kinds = (*(np.int64,) * 7, np.float64, np.float64, np.float64, np.int64, np.int64)
        empty = tuple(np.empty(0, dtype=kind) for kind in kinds)
        columns: list[Any] = [np.concatenate(column) for column in zip(empty, *self._columns, strict=True)]
        src, dst, post_src, post_dst, then_src, then_dst, n_bytes, overhead, share, reduction, step, number = columns
        chains: list[Any] = [np.concatenate(ends) for ends in zip(*self._chains, strict=True)]
        return MessageTable(
            n_ranks=self._schedule.n_ranks,
            n_gates=self._n_gates,
            src=src,
            dst=dst,
            post_src=post_src,
            post_dst=post_dst,
            then_src=then_src,
            then_dst=then_dst,
            n_bytes=n_bytes,
            overhead_s=overhead,
            share=share,
            eager=self._eager(n_bytes),
            reduction_s=reduction,
            step=step,
            last_gate=last,
            n_together=int(sum(most.sum() for most in self._most)),
            **dict(zip(("chain_from", "chain_to"), chains, strict=False)),
            n_steps=self._n_steps,
            number=number if self._joints else None,
            joint=Joint(*map(np.concatenate, zip(*self._joints, strict=True))) if self._joints else None,
        )

    def _eager(self, n_bytes: Ints) -> Any:
        """Which rows are eager; never what switches copy or reduce."""
        limit = self._system.endpoint.eager_limit_bytes
        eager = (n_bytes <= limit) & (limit > 0)
        for joint in self._joints:
            eager[joint[0]] = False
        return eager

    def _lane(self, steps: Iterable[Step], at: Ints, passed: list[Ints] | None = None) -> Ints:
        """The steps of one lane from the gates `at` (n_ranks,) on; where it ends. `passed` collects where it was."""
        most = np.zeros(len(at), dtype=np.int64)
        for step in unrolled(steps):
            if passed is not None:
                passed.append(at)
            at = self._fork(step, at) if isinstance(step, Lanes) else self._step(step, at, most)
        self._most.append(most)
        return at

    def _fork(self, fork: Lanes, at: Ints) -> Ints:
        """Every lane begins at gates of its own; all end in one gate for each rank."""
        ends, begins = [], at
        for program in fork.programs:
            passed: list[Ints] = []
            end = self._lane(program, self._after([begins]), passed)
            ends.append(end)
            begins = [*passed, end][min(fork.stagger, len(passed))] if fork.stagger else at
        return self._after(ends)

    def _after(self, gates: list[Ints]) -> Ints:
        """New gates, for each rank one, that open when those of all lists have."""
        new = np.arange(self._n_gates, self._n_gates + len(gates[0]))
        self._n_gates += len(new)
        self._chains += [(old, new) for old in gates]
        return new

    def _step(self, step: list[Exchange], at: Ints, most: Ints) -> Ints:
        index = self._n_steps
        self._n_steps += 1
        parts = [self._matcher.messages(exchange, index) for exchange in step]
        parts = [part for part in parts if len(part.src)]
        if not parts:
            return at
        for part in parts:
            if part.fabric:
                self._system.require_fabric(part.fabric, part.src, part.dst, self._schedule.algorithm.spec)
        src, dst, size, reduces, _ = joined(parts, self._layout)
        n_bytes = np.broadcast_to(size, len(src))
        self._n_messages += len(src)
        if self._n_messages > MAX_MESSAGES:
            raise InputError(
                f"{self._schedule.algorithm.spec} on {self._schedule.n_ranks} ranks has more than {MAX_MESSAGES} "
                "messages, too many to keep; use fewer ranks or segments, or the model hockney"
            )
        taking_part = np.zeros(len(at), dtype=bool)
        taking_part[src] = taking_part[dst] = True
        after = at.copy()
        n_new = int(taking_part.sum())
        after[taking_part] = np.arange(self._n_gates, self._n_gates + n_new)
        self._n_gates += n_new
        np.maximum(most, np.bincount(src, minlength=len(at)), out=most)
        sets = copies_of(parts)[0]
        costs = message_costs(self._system, src, dst, n_bytes, reduces, sets)
        ends = (at[src], at[dst], after[src], after[dst])
        number = np.arange(self._n_messages - len(src), self._n_messages)
        columns = (src, dst, *ends, n_bytes, *costs, np.full(len(src), index), number)
        self._columns.append(columns if sets is None else self._joined(columns, sets))
        self._n_rows += len(self._columns[-1][0])
        return after

    def _joined(self, columns: tuple[Any, ...], sets: Ints) -> tuple[Any, ...]:
        """The rows of a step, in which each set of joint messages is one: posted and waited for by all its members."""
        src, dst, post_src, post_dst, then_src, then_dst, n_bytes, overhead, share, reduction, step, number = columns
        alone, members = np.flatnonzero(sets < 0), np.flatnonzero(sets >= 0)
        which, n_sets = sets[members], int(sets.max()) + 1
        posts, thens = (self._n_gates + k * n_sets + which for k in range(2))
        self._n_gates += 2 * n_sets
        self._chains += [(gates[members], posts) for gates in (post_src, post_dst)]
        self._chains += [(thens, gates[members]) for gates in (then_src, then_dst)]
        first = np.unique(which, return_index=True)[1]
        rows = np.concatenate([alone, members[first]])
        joint = (self._n_rows + len(alone) + which, src[members], dst[members], number[members])
        order = np.argsort(which, kind="stable")
        self._joints.append(tuple(column[order] for column in joint))
        gates = [(post_src, posts), (post_dst, posts), (then_src, thens), (then_dst, thens)]
        made = [np.concatenate([column[alone], of_set[first]]) for column, of_set in gates]
        others = (n_bytes, together(sets, overhead), -together(sets, -share), reduction, step, number)
        return (src[rows], dst[rows], *made, *(column[rows] for column in others))


def message_costs(
    system: System, src: Ints, dst: Ints, n_bytes: Any, reduces: Any, copies: Ints | None = None
) -> tuple[Floats, Floats, Floats]:
    """What the messages of one step cost their ends: overhead, share of the bandwidth, time of reduction (or -1)."""
    endpoint, tiers = system.endpoint, system.topology.tiers
    reduction_s = np.where(reduces, endpoint.reduction.time_s(n_bytes), -1.0)
    columns = (*Pairs(src, dst, copies).costs(n_bytes, endpoint, tiers), reduction_s)
    overhead_s, share, reduction_s = (np.broadcast_to(column, len(src)).astype(np.float64) for column in columns)
    return overhead_s, share, reduction_s


def disturbed(table: MessageTable, disturbance: Disturbance) -> MessageTable:
    """The same messages: nothing is posted at a rank before it starts, slow ranks take longer, messages jitter."""
    if disturbance.is_none:
        return table
    start_s, slow = disturbance.starts(table.n_ranks), disturbance.slowdown(table.n_ranks)
    stretch = disturbance.stretches(np.arange(len(table.src)) if table.number is None else table.number)
    opens_s = np.zeros(table.n_gates) if table.opens_s is None else table.opens_s.copy()
    send, receive = (table.overhead_s * slow[end] * stretch for end in (table.src, table.dst))
    ends = [
        (table.post_src, table.src),
        (table.post_dst, table.dst),
        (table.last_gate[: table.n_ranks], np.arange(table.n_ranks)),
    ]
    joint = table.joint
    if joint is not None:
        of_member = disturbance.stretches(joint.number)
        joint = replace(joint, stretch=of_member)
        for overhead_s, end in ((send, joint.src), (receive, joint.dst)):
            overhead_s[joint.row] = 0.0
            np.maximum.at(overhead_s, joint.row, table.overhead_s[joint.row] * slow[end] * of_member)
            ends.append((table.post_src[joint.row], end))
        stretch[joint.row] = 1.0
    for gate, rank in ends:
        np.maximum.at(opens_s, gate, start_s[rank])
    return replace(
        table,
        overhead_s=send,
        receive_overhead_s=receive,
        reduction_s=np.where(table.reduction_s < 0, -1.0, table.reduction_s * slow[table.dst]),
        stretch=stretch,
        opens_s=opens_s,
        joint=joint,
    )


def play(table: MessageTable, system: System, timeline_ranks: Ints | None = None, first_rows: int | None = None) -> Run:
    """Play a table of messages on a system, event by event; the timeline is of these ranks, or of the first rows.

    Raises
    ------
    ScheduleError
        If messages wait for each other for ever.
    """
    from commsim.models.event_loop import run_events
    from commsim.models.max_min import network

    links = system.topology.links
    key, pair = np.unique(table.src * table.n_ranks + table.dst, return_inverse=True)
    path = system.topology.path(*np.divmod(key, table.n_ranks))
    if table.joint is not None:
        path, pair = table.joint.ways(path, pair, system.topology)
    hops = (path.hops if path.hops.shape[1] else np.full((len(key), 1), -1)).astype(np.int32, copy=False)
    paths = _packed(links.on_medium(hops))
    message, gates = _messages(table, path, pair), _gates(table)
    n_slots = max(min(table.n_together, len(message)), 1)
    net = network(links.bandwidth_Bps, n_slots, paths.shape[1])
    n_units, endpoint = max(table.n_ranks, int(message["unit"].max(initial=0)) + 1), system.endpoint
    limits = endpoint.gap_s, endpoint.spacing_s, float(endpoint.burst_bytes)
    reduced_s = run_events(message, paths, gates, net, *limits, n_units)
    if (gates.gate["waits"] > 0).any():
        stuck = np.flatnonzero(message["end_s"] < 0)
        src, dst, step = (int(column[stuck[0]]) for column in (table.src, table.dst, table.step))
        raise ScheduleError(f"{len(stuck)} messages wait for ever, the first from rank {src} to {dst} in step {step}")
    latest = np.zeros(table.n_steps + 1)
    np.maximum.at(latest, table.step, message["latency_s"] + message["overhead_s"] + message["receive_overhead_s"])
    return Run(
        gates.gate["opens_s"][table.last_gate],
        reduced_s[: table.n_ranks],
        float(latest.sum()),
        _carried(hops, pair, table.n_bytes, links),
        links.busy_s(_carried(hops, pair, message["wire_bytes"], links)),
        table.n_messages,
        table.n_steps,
        in_network=table.joint is not None,
        timeline=_timeline(table, message, timeline_ranks)
        if first_rows is None
        else _first(table, message, first_rows),
        engine="events",
    )


def _carried(hops: Hops, pair: Ints, n_bytes: Any, links: Links) -> Floats:
    """What every link has carried when all messages are there, each with its pair's route."""
    from commsim.hops import add_up

    total = np.zeros(len(links.src))
    add_up(hops, np.bincount(pair, n_bytes, len(hops)), total)
    return total


def _packed(paths: Hops) -> Hops:
    """Links first, padding behind: the loop looks at the first to see whether there is a way at all."""
    packed: Hops = np.take_along_axis(paths, np.argsort(paths < 0, axis=1, kind="stable"), axis=1)
    return packed


def _messages(table: MessageTable, path: Path, pair: Ints) -> Any:
    """The table as records for the compiled loop."""
    from commsim.models.event_loop import MESSAGE, MESSAGE_BYTES

    message = records(len(table.src), MESSAGE, MESSAGE_BYTES)
    # eager, as LogGP counts: m - 1 bytes after the first
    message["wire_bytes"] = np.maximum(table.n_bytes - table.eager, 0)
    message["ceiling_Bps"] = np.where(table.share < 1, table.share * path.bandwidth_Bps[pair], np.inf)
    message["latency_s"] = path.latency_s[pair] * (1.0 if table.stretch is None else table.stretch)
    for name in ("src", "dst", "post_dst", "then_src", "then_dst", "overhead_s", "eager", "reduction_s"):
        message[name] = getattr(table, name)
    receive = table.receive_overhead_s
    message["receive_overhead_s"] = table.overhead_s if receive is None else receive
    message["unit"] = table.dst if table.unit is None else table.unit
    message["reduces"] = table.reduction_s >= 0
    message["pair"] = pair
    message["start_s"] = message["end_s"] = -1.0
    return message


def _gates(table: MessageTable) -> Any:
    from commsim.models.event_loop import GATE_BYTES, GATE_FIELDS, Gates

    n, n_gates = len(table.src), table.n_gates
    gate = records(n_gates + 1, GATE_FIELDS, GATE_BYTES)
    for opened in (table.then_src, table.then_dst, table.chain_to):
        gate["waits"][:n_gates] += np.bincount(opened, minlength=n_gates)
    gate["opens_s"][:n_gates] = 0.0 if table.opens_s is None else table.opens_s
    posts = np.stack([table.post_src, table.post_dst], axis=1).ravel()  # 2*m, 2*m + 1
    reduced = np.flatnonzero(table.reduction_s >= 0)
    columns = {
        "first_end": (posts, np.arange(2 * n)),
        "first_ordered": (table.post_dst[reduced], reduced),
        "first_chained": (table.chain_from, table.chain_to),
    }
    listed = []
    for word, (of_gate, what) in columns.items():
        gate[word][1:] = np.cumsum(np.bincount(of_gate, minlength=n_gates))
        listed.append(what[np.argsort(of_gate, kind="stable")].astype(np.int32))
    return Gates(gate, *listed)


def _timeline(table: MessageTable, message: Any, ranks: Ints | None) -> Timeline | None:
    if ranks is None:
        return None
    row, src, dst = np.arange(len(table.src)), table.src, table.dst
    if table.joint is not None:
        alone = np.setdiff1d(row, table.joint.row)
        row = np.concatenate([alone, table.joint.row])
        src, dst = (np.concatenate([getattr(table, end)[alone], getattr(table.joint, end)]) for end in ("src", "dst"))
    mine = np.flatnonzero(np.isin(src, ranks) | np.isin(dst, ranks))
    if len(mine) > TIMELINE_ROWS:
        raise InputError(f"the timeline has more than {TIMELINE_ROWS} messages; ask for fewer ranks")
    row = row[mine]
    return Timeline(
        table.step[row], src[mine], dst[mine], table.n_bytes[row], message["start_s"][row], message["end_s"][row]
    )


def _first(table: MessageTable, message: Any, n: int) -> Timeline:
    columns: tuple[Any, ...] = (table.step, table.src, table.dst, table.n_bytes, message["start_s"], message["end_s"])
    return Timeline(*(column[:n] for column in columns))
