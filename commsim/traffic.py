"""Traffic: messages and computations with predecessors, whatever they come from, alone or together on one fabric.

A table of messages, a GOAL schedule and a collective are jobs alike: each becomes a message table, and tables are
joined to share links, ports and reduction units. The model is fluid.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import InputError, RefusedError, ScheduleError
from commsim.models.contention_free import Run
from commsim.models.fluid import MessageTable, disturbed, play
from commsim.models.patterns import Pairs
from commsim.models.tables import joined
from commsim.selection import Ints
from commsim.system import System
from commsim.topology import Floats, Topology

CYCLE_NAMES = 8  # of a cycle, so many are named


@dataclass(frozen=True, eq=False)
class Traffic:
    """Messages, and the operations that post their ends. An operation is done when its messages are.

    Attributes
    ----------
    name : str
        The file, or the collective.
    src, dst : array (n_messages,)
        Devices. A message to oneself moves nothing and takes no time.
    n_bytes : array (n_messages,)
    compute_s : array (n_messages,)
        How long the receiver computes once the message is there; one computation of a device after the other.
    sender, receiver : array (n_messages,)
        The operations that post the two ends; they may be one.
    ids, labels : tuple of str
        Of the messages.
    operations : tuple of str
        What each operation is called.
    start_s : array (n_operations,)
        No operation starts before.
    requires : array (n, 2)
        Operations: the first starts when the second is done.
    follows : array (n, 2)
        Operations: the first starts when the second has started.
    processor : array (n_messages,), optional
        Which processor of the receiver computes: each does one thing at a time. The first by default.
    """

    name: str
    src: Ints
    dst: Ints
    n_bytes: Ints
    compute_s: Floats
    sender: Ints
    receiver: Ints
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    operations: tuple[str, ...]
    start_s: Floats
    requires: Ints
    follows: Ints
    processor: Ints | None = None

    def __post_init__(self) -> None:
        for word, values in (("n_bytes", self.n_bytes), ("compute_s", self.compute_s), ("start_s", self.start_s)):
            if len(values) and not (np.min(values) >= 0 and np.max(values) < np.inf):
                raise InputError(f"{self.name}: {word} must be finite, zero or more")

    def table(self, system: System) -> MessageTable:
        """The messages with what they cost on a system; of the endpoint's costs those of plain messages.

        Raises
        ------
        RefusedError
            If the system has too few devices.
        """
        n_operations, n_ranks = len(self.operations), system.n_devices
        highest = int(max(self.src.max(initial=-1), self.dst.max(initial=-1)))
        if highest >= n_ranks:
            raise RefusedError(f"{self.name} needs device {highest}, but {system.name} has {n_ranks} devices")
        pairs, tiers = Pairs(self.src, self.dst, None), system.topology.tiers
        overhead, share = pairs.costs(self.n_bytes, system.endpoint.one_way, tiers)
        begins = np.arange(n_operations)
        done, ends = n_operations + begins, 2 * n_operations + np.arange(n_ranks)
        chains = [
            (done[self.requires[:, 1]], begins[self.requires[:, 0]]),
            (begins[self.follows[:, 1]], begins[self.follows[:, 0]]),
            (done[self.sender], ends[self.src]),
            (done[self.receiver], ends[self.dst]),
        ]
        chain_from, chain_to = (np.concatenate(gates) for gates in zip(*chains, strict=True))
        n = len(self.src)
        return MessageTable(
            n_ranks=n_ranks,
            n_gates=2 * n_operations + n_ranks,
            src=self.src,
            dst=self.dst,
            post_src=self.sender,
            post_dst=self.receiver,
            then_src=done[self.sender],
            then_dst=done[self.receiver],
            n_bytes=self.n_bytes,
            overhead_s=np.broadcast_to(overhead, n).astype(np.float64),
            share=np.broadcast_to(share, n).astype(np.float64),
            eager=(self.n_bytes <= system.endpoint.eager_limit_bytes) & (system.endpoint.eager_limit_bytes > 0),
            reduction_s=np.where(self.compute_s > 0, self.compute_s, -1.0),
            step=np.zeros(n, dtype=np.int64),
            last_gate=np.concatenate([ends, done]),
            n_together=n,
            chain_from=chain_from,
            chain_to=chain_to,
            n_steps=1,
            unit=None if self.processor is None else self.dst + n_ranks * self.processor,
            opens_s=np.concatenate([self.start_s, np.zeros(n_operations + n_ranks)]),
        )

    def job(self, system: System) -> Job:
        """It as a job on a system; errors as :meth:`table` has them."""
        return Job(self.name, self.table(system), self)

    def cycle(self) -> list[str]:
        """Operations that wait for each other in a circle, the first once more at its end; empty if none do."""
        before: dict[tuple[str, int], list[tuple[str, int]]] = {}

        def wait(what: str, one: Ints, for_what: str, other: Ints) -> None:
            for a, b in zip(one.tolist(), other.tolist(), strict=True):
                before.setdefault((what, a), []).append((for_what, b))

        wait("begin", self.requires[:, 0], "end", self.requires[:, 1])
        wait("begin", self.follows[:, 0], "begin", self.follows[:, 1])
        for end in (self.sender, self.receiver):
            for post in (self.sender, self.receiver):
                wait("end", end, "begin", post)
        try:
            TopologicalSorter(before).prepare()
        except CycleError as error:
            found = [self.operations[number] for _, number in error.args[1]]
            return [name for name, following in zip(found, [*found[1:], ""], strict=True) if name != following]
        return []


@dataclass(frozen=True)
class Job:
    """What shares the fabric: a name, its messages, and the traffic that they were, if they were."""

    name: str
    table: MessageTable
    traffic: Traffic | None = None


@dataclass(frozen=True)
class JobTime:
    """When the last of a job ends: by itself, and with the others."""

    name: str
    n_messages: int
    alone_s: float
    together_s: float


@dataclass(frozen=True, eq=False)
class TrafficResult:
    """What came of jobs on one fabric.

    Attributes
    ----------
    time_s : float
        When the last of all has ended.
    jobs : tuple of JobTime
    traffic : tuple of Traffic
        Those of the jobs whose messages follow, one after the other.
    start_s, end_s, done_s : array (n_messages,)
        When each message was posted by its later end, delivered, and computed on.
    least_s : array (n_messages,)
        What each would take by itself on the empty fabric.
    finish_s : array (n_devices,)
    link_bytes, link_busy_s : array (n_links,)
    n_messages : int
        Of all jobs together.
    wall_s : float
        That the engine took for all jobs together.
    """

    time_s: float
    jobs: tuple[JobTime, ...]
    traffic: tuple[Traffic, ...]
    start_s: Floats
    end_s: Floats
    done_s: Floats
    least_s: Floats
    finish_s: Floats
    link_bytes: Floats
    link_busy_s: Floats
    n_messages: int
    wall_s: float

    def rows(self, topology: Topology) -> Iterator[dict[str, Any]]:
        """The messages, one after the other: columns for files."""
        place = 0
        for traffic in self.traffic:
            names = {device: topology.vertex_name(device) for device in np.union1d(traffic.src, traffic.dst).tolist()}
            for number, one in enumerate(traffic.ids):
                at = place + number
                yield {
                    "job": traffic.name,
                    "id": one,
                    "label": traffic.labels[number] or None,
                    "src": names[int(traffic.src[number])],
                    "dst": names[int(traffic.dst[number])],
                    "n_bytes": int(traffic.n_bytes[number]),
                    "start_s": float(self.start_s[at]),
                    "end_s": float(self.end_s[at]),
                    "done_s": float(self.done_s[at]),
                    "time_s": float(self.end_s[at] - self.start_s[at]),
                    "least_s": float(self.least_s[at]),
                }
            place += len(traffic.ids)


def share_fabric(jobs: Sequence[Job], system: System, disturbance: Disturbance = NO_DISTURBANCE) -> TrafficResult:
    """Play all jobs together, and each alone.

    Parameters
    ----------
    jobs : sequence of Job
        At least one.
    system : System
    disturbance : Disturbance, optional
        Of every job, alone and together the same.

    Raises
    ------
    InputError
        If operations wait for each other; names them.
    """
    ordered = sorted(jobs, key=lambda job: job.traffic is None)  # stable: messages that are told stand first
    tables = [disturbed(job.table, disturbance) for job in ordered]
    traffic = tuple(job.traffic for job in ordered if job.traffic is not None)
    n_told = sum(len(one.ids) for one in traffic)
    pairs = list(zip(ordered, tables, strict=True))
    alone_s = []
    if len(pairs) > 1:
        alone_s = [_end_s(job, table, _played([job], table, system).finish_s) for job, table in pairs]
    else:
        _compile(system)
    whole = joined(tables)
    started = time.perf_counter()
    done = _played(ordered, whole, system, first_rows=n_told)
    wall_s = time.perf_counter() - started
    at = np.cumsum([whole.n_ranks, *(len(table.last_gate) for table in tables)])
    ended = [done.finish_s[first:last] for first, last in itertools.pairwise(at.tolist())]
    together_s = [_end_s(job, table, finish_s) for (job, table), finish_s in zip(pairs, ended, strict=True)]
    times = {
        job.name: JobTime(job.name, table.n_messages, *both)
        for (job, table), both in zip(pairs, zip(alone_s or together_s, together_s, strict=True), strict=True)
    }
    operations = [finish_s[table.n_ranks :] for table, finish_s in zip(tables, ended, strict=True)]
    told = [finish_s[one.receiver] for one, finish_s in zip(traffic, operations, strict=False)]
    nothing = np.empty(0)
    start_s, end_s = (nothing, nothing) if done.timeline is None else (done.timeline.start_s, done.timeline.end_s)
    return TrafficResult(
        time_s=max(one.together_s for one in times.values()),
        jobs=tuple(times[job.name] for job in jobs),
        traffic=traffic,
        start_s=start_s,
        end_s=end_s,
        done_s=np.concatenate([nothing, *told]),
        least_s=_least_s(tables[: len(traffic)], system),
        finish_s=done.finish_s[: whole.n_ranks],
        link_bytes=done.link_bytes,
        link_busy_s=done.link_busy_s,
        n_messages=done.n_messages,
        wall_s=wall_s,
    )


def _compile(system: System) -> None:
    """Play nothing once, so that the engine's time is that of its work."""
    none, two = np.zeros(1, dtype=np.int64), np.empty((0, 2), dtype=np.int64)
    columns = (none, none, none, np.zeros(1), none, none)
    play(Traffic("nothing", *columns, ("",), ("",), ("",), np.zeros(1), two, two).table(system), system)


def _played(jobs: Sequence[Job], table: MessageTable, system: System, first_rows: int | None = None) -> Run:
    try:
        return play(table, system, first_rows=first_rows)
    except ScheduleError:
        for traffic in (job.traffic for job in jobs if job.traffic is not None):
            circle = traffic.cycle()
            if circle:
                shown = " → ".join([*circle[:CYCLE_NAMES], "…"] if len(circle) > CYCLE_NAMES else circle)
                raise InputError(f"{traffic.name}: these wait for each other and never start: {shown}") from None
        raise


def _end_s(job: Job, table: MessageTable, finish_s: Floats) -> float:
    """Of a traffic the end of its operations: devices that have none do not count."""
    counted = finish_s[: table.n_ranks] if job.traffic is None else finish_s[table.n_ranks :]
    return float(counted.max(initial=0.0))


def _least_s(tables: Sequence[MessageTable], system: System) -> Floats:
    """Latency, overheads and bytes over the bandwidth that the message can reach."""
    least = [np.empty(0)]
    for table in tables:
        path = system.topology.path(table.src, table.dst)
        n_bytes = np.maximum(table.n_bytes - table.eager, 0)
        receive_s = table.overhead_s if table.receive_overhead_s is None else table.receive_overhead_s
        latency_s = path.latency_s if table.stretch is None else path.latency_s * table.stretch
        least.append(latency_s + table.overhead_s + receive_s + n_bytes / (path.bandwidth_Bps * table.share))
    return np.concatenate(least)


@dataclass(frozen=True)
class TierLoad:
    """What left the groups of a tier: bytes, and their share of what its links outwards could have carried."""

    tier: str
    n_bytes: float
    share: float


def tier_loads(topology: Topology, link_bytes: Floats, time_s: float) -> list[TierLoad]:
    """For the devices and each tier, what crossed its borders outwards, the links of all groups taken together."""
    devices = np.where(np.arange(topology.n_vertices) < topology.n_devices, np.arange(topology.n_vertices), -1)
    tiers: Mapping[str, Ints] = {"device": devices, **topology.tiers}
    loads = []
    for tier, groups in tiers.items():
        src, dst = groups[topology.links.src], groups[topology.links.dst]
        out = (src != dst) & (src >= 0)
        could = float(topology.links.bandwidth_Bps[out].sum()) * time_s
        if out.any():
            n_bytes = float(link_bytes[out].sum())
            loads.append(TierLoad(tier, n_bytes, n_bytes / could if could else 0.0))
    return loads


def renamed(jobs: Sequence[Job]) -> list[Job]:
    """The same jobs; of several with one name, the second is called ``NAME (2)``."""
    seen: dict[str, int] = {}
    made = []
    for job in jobs:
        seen[job.name] = seen.get(job.name, 0) + 1
        name = job.name if seen[job.name] == 1 else f"{job.name} ({seen[job.name]})"
        traffic = None if job.traffic is None else replace(job.traffic, name=name)
        made.append(replace(job, name=name, traffic=traffic))
    return made
