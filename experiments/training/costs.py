"""What collective calls take on a machine: the network engine's times, cached, and how calls slow each other down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from collectives.registry import find
from commsim import CommsimError, Job, System, share_fabric
from commsim.algorithm import Algorithm
from commsim.collective import BROADCAST
from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import InputError, RefusedError
from commsim.layout import Layout
from commsim.models import MODELS
from commsim.models.fluid import MessageTable, message_table
from commsim.program import Program, exchange
from commsim.schedule import Schedule
from commsim.selection import Ints, chunk
from commsim.simulate import item_bytes
from commsim.topology import Floats
from experiments.groups import side_by_side
from experiments.policies.backends import TWO_LEVELS, Backend
from experiments.policies.step import Call
from experiments.training.parallel import Parallel

MOST_SIZES = 8
"""Calls of one kind with more different sizes are timed at powers of four and read between them."""

MOST_RANKS: Mapping[str, int] = {"multi_ring": 64, "nccl_tree": 128, "nvls_tree": 256}
"""Algorithms that need every event are tried up to so many ranks."""

IN_NODES = ("multi_ring", "node_split", "nvls", "nvls_tree", TWO_LEVELS)
"""Algorithms for several ranks in a node: not tried where a group has one in each."""

MOST_JOINT_MESSAGES, MOST_JOINT_CALLS = 10_000, 4
"""At most so many calls, of so many messages together, are played on one fabric to see how they slow each other down;
of more or larger ones the loads of links are added."""

GRID_FROM_BYTES = 4096
UNIT_BYTES = 8
"""Sizes are rounded up to whole elements of this size where they are divided."""


@dataclass(frozen=True, eq=False)
class Timed:
    """A call on the machine.

    Attributes
    ----------
    time_s : float
        By itself, without what the library adds.
    algorithm : str
        The fastest that the library has.
    load : array (n_links,)
        Share of the time that each link is busy.
    bottleneck : str
        The busiest link.
    table : callable or None
        Makes the table of its messages; None where they are not one.
    """

    time_s: float
    algorithm: str
    load: Floats
    bottleneck: str = ""
    n_messages: int = 0
    table: Callable[[], MessageTable] | None = None


Kind = tuple[str, str, str, str | None, int, int | None]


def kind_of(call: Call) -> Kind:
    """What a call has in common with others but for its size."""
    return call.collective, call.group, call.dtype, call.algorithm, call.root, call.stage


OTHER = Call("another job", 0, 0.0, 0, 0, group="other")
"""What stands for a job that is not this training's, beside calls of it."""


@dataclass(eq=False)
class Costs:
    """Times of calls on one machine.

    Attributes
    ----------
    system : System
    parallel : Parallel
    backend : Backend
    model : str
    algorithms : mapping
        Collective to the algorithms to choose from, instead of the backend's.
    other : Job, optional
        Another job on the same fabric: what ``OTHER`` stands for.
    disturbance : Disturbance
        Of every call.
    """

    system: System
    parallel: Parallel
    backend: Backend
    model: str = "fluid"
    algorithms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    other: Job | None = None
    disturbance: Disturbance = NO_DISTURBANCE
    _times: dict[tuple[Kind, int], Timed] = field(default_factory=dict)
    _together: dict[tuple[tuple[Kind, int], ...], tuple[float, ...]] = field(default_factory=dict)
    _sizes: dict[Kind, tuple[int, ...]] = field(default_factory=dict)
    _groups: dict[tuple[str, int | None], Ints] = field(default_factory=dict)

    def prepare(self, calls: Iterable[Call]) -> None:
        """Decide at which sizes calls are timed."""
        sizes: dict[Kind, set[int]] = {}
        for call in calls:
            sizes.setdefault(kind_of(call), set()).add(self.n_bytes(call))
        for kind, found in sizes.items():
            if len(found) <= MOST_SIZES:
                self._sizes[kind] = tuple(sorted(found))
            else:
                last = int(np.ceil(np.log2(max(*found, GRID_FROM_BYTES)) / 2))
                first = int(np.log2(GRID_FROM_BYTES) / 2)
                self._sizes[kind] = (UNIT_BYTES, *(4**power for power in range(first, last + 1)))

    def groups(self, kind: str, stage: int | None = None) -> Ints:
        """The groups of a kind, (n_groups, size), or those of one stage."""
        if (kind, stage) not in self._groups:
            found = self.parallel.groups(kind, self.system)
            self._groups[kind, stage] = found if stage is None else np.split(found, self.parallel.pipeline)[stage]
        return self._groups[kind, stage]

    def n_bytes(self, call: Call) -> int:
        """Of the vector, with the number of ranks in it."""
        if call.each:
            return call.n_bytes * int(self.groups(call.group).shape[1])
        if call.divided:
            share = -(-call.n_bytes // int(self.groups("node").shape[1]))
            return -(-share // UNIT_BYTES) * UNIT_BYTES
        return call.n_bytes

    def time_s(self, call: Call) -> float:
        """Of a call by itself: messages, and what the library adds. Between two sizes that were timed, linearly."""
        size = self.n_bytes(call)
        if self._alone(call):
            return 0.0
        below, above = self._around(call, size)
        share = 0.0 if above == below else (size - below) / (above - below)
        kind = kind_of(call)
        of_messages = (1 - share) * self._timed(kind, below).time_s + share * self._timed(kind, above).time_s
        return of_messages + self.backend.extra_s(size)

    def algorithm(self, call: Call) -> str:
        """That it is done with; empty where a rank is alone."""
        return "" if self._alone(call) else self.timed(call).algorithm

    def bottleneck(self, call: Call) -> str:
        """Its busiest link; empty where a rank is alone."""
        return "" if self._alone(call) else self.timed(call).bottleneck

    def timed(self, call: Call) -> Timed:
        """At the nearest size that is timed."""
        return self._timed(kind_of(call), self._around(call, self.n_bytes(call))[1])

    def _alone(self, call: Call) -> bool:
        return call.group not in (*SENDS, OTHER.group) and self.groups(call.group).shape[1] == 1

    def _around(self, call: Call, size: int) -> tuple[int, int]:
        sizes = self._sizes.get(kind_of(call), (size,))
        place = int(np.searchsorted(sizes, size))
        above = sizes[min(place, len(sizes) - 1)]
        return (above, above) if above == size or place == 0 else (sizes[place - 1], above)

    def _timed(self, kind: Kind, n_bytes: int) -> Timed:
        if kind == kind_of(OTHER):
            return self._other
        key = (kind, n_bytes)
        if key not in self._times:
            self._times[key] = self._best(kind, n_bytes)
        return self._times[key]

    def _best(self, kind: Kind, n_bytes: int) -> Timed:
        """The fastest algorithm that takes the case.

        Raises
        ------
        RefusedError
            If none does; names the reasons.
        """
        collective, group, dtype, own, root, stage = kind
        item = item_bytes(dtype)
        n_bytes = -(-n_bytes // item) * item
        if group in SENDS:
            return self._run(_send(self.parallel, group, stage), self.parallel.n_ranks, n_bytes, item, 0)
        members = self.groups(group, stage)
        found, reasons = [], []
        for spec in self._candidates(collective, own, members):
            try:
                if spec == TWO_LEVELS:
                    found.append(self._two_levels(collective, n_bytes, item, stage))
                else:
                    found.append(self._one(find(collective, spec), members, n_bytes, item, root))
            except CommsimError as error:
                reasons.append(str(error))
        if not found:
            raise RefusedError(f"no algorithm of {self.backend.name} takes this {collective}: " + "; ".join(reasons))
        return min(found, key=lambda timed: timed.time_s)

    def _candidates(self, collective: str, own: str | None, members: Ints) -> list[str]:
        names = (own,) if own else self.algorithms.get(collective, self.backend.algorithms.get(collective, ()))
        n_ranks = self.parallel.n_ranks
        left = [name for name in names if own or n_ranks <= MOST_RANKS.get(name, n_ranks)]
        if not own and self._per_node(members) not in (None, members.shape[1]):
            left = [name for name in left if name != "nvls"] or left  # it ends at the node
        if not own and self._per_node(members) == 1:
            left = [name for name in left if name not in IN_NODES] or left
        rings = self.system.notes.get("rings")
        return [f"{name}:rings={rings}" if name == "multi_ring" and rings else name for name in left]

    def _one(self, algorithm: Algorithm, members: Ints, n_bytes: int, item: int, root: int) -> Timed:
        size = members.shape[1]
        n_bytes = self._divisible(algorithm, n_bytes, size, item)
        together = (
            self.system.ranks_per_node(self.parallel.n_ranks) if self._whole(members) else self._per_node(members)
        )
        resolved = algorithm.resolved(size, n_bytes, together)
        root = root % size
        if self._whole(members):
            return self._run(resolved, size, n_bytes, item, root)
        return self._run(side_by_side(resolved, members, root), self.parallel.n_ranks, n_bytes, item, root)

    def _two_levels(self, collective: str, n_bytes: int, item: int, stage: int | None) -> Timed:
        """In each node, and each share across nodes: one after the other, each in all groups at once."""
        parts = []
        for group, share in (("node", n_bytes), ("across", -(-n_bytes // int(self.groups("node").shape[1])))):
            size = -(-share // item) * item
            members = self.groups(group, stage)
            if members.shape[1] > 1:
                parts.append(self._one(find(collective, "ring"), members, size, item, 0))
        if len(parts) < 2:
            raise RefusedError(f"{TWO_LEVELS} needs several ranks in each of several nodes")
        time_s = sum(part.time_s for part in parts)
        load = np.sum([part.load * part.time_s for part in parts], axis=0) / time_s
        worst = max(parts, key=lambda part: part.time_s)
        return Timed(time_s, TWO_LEVELS, load, worst.bottleneck, MOST_JOINT_MESSAGES + 1)

    @staticmethod
    def _divisible(algorithm: Algorithm, n_bytes: int, size: int, item: int) -> int:
        """Where all ranks send each other equally much, up to a whole number of elements each."""
        unit = item * size if algorithm.collective.has_output else item
        return -(-n_bytes // unit) * unit

    def _whole(self, members: Ints) -> bool:
        """Whether the one group are the first ranks in order."""
        return len(members) == 1 and bool((members[0] == np.arange(members.shape[1])).all())

    def _per_node(self, members: Ints) -> int | None:
        """Ranks of a group in each node; None where they are not equally many, side by side."""
        nodes = self.system.topology.tiers.get("node")
        if nodes is None:
            return None
        held = nodes[members[0]]
        n_nodes = len(np.unique(held))
        each = len(held) // n_nodes
        even = len(held) % n_nodes == 0 and (np.diff(held.reshape(n_nodes, -1), axis=1) == 0).all()
        return each if even else 1

    def _run(self, algorithm: Algorithm, n_ranks: int, n_bytes: int, item: int, root: int) -> Timed:
        self.system.require(n_ranks)
        schedule = Schedule(algorithm, n_ranks, root)
        layout = Layout.of(schedule.space, algorithm.collective, n_ranks, n_bytes // item, item)
        done = MODELS[self.model].run(schedule, self.system, layout, None, self.disturbance)
        time_s = float(done.finish_s.max())
        load = done.link_busy_s / time_s if time_s else np.zeros_like(done.link_busy_s)
        busiest = self.system.topology.link_name(int(np.argmax(load))) if len(load) else ""
        table = partial(message_table, schedule, layout, self.system)
        return Timed(time_s, algorithm.spec, load, busiest, done.n_messages, table)

    @cached_property
    def _other(self) -> Timed:
        """The other job by itself.

        Raises
        ------
        InputError
            If it sends nothing.
        """
        if self.other is None:
            raise InputError("there is no other job")
        done = share_fabric([self.other], self.system, self.disturbance)
        if not done.time_s or not done.link_busy_s.any():
            raise InputError(f"{self.other.name} sends nothing that could be beside a training step")
        table = self.other.table
        return Timed(done.time_s, "", done.link_busy_s / done.time_s, "", done.n_messages, lambda: table)

    def slowdowns(self, calls: Sequence[Call]) -> tuple[float, ...]:
        """How much longer each takes while all are on their way; those that share no link leave each other alone."""
        if len(calls) < 2:
            return (1.0,) * len(calls)
        keys = tuple((kind_of(call), self._around(call, self.n_bytes(call))[1]) for call in calls)
        order = sorted(range(len(keys)), key=lambda place: repr(keys[place]))
        ordered = tuple(keys[place] for place in order)
        if ordered not in self._together:
            timed = [self._timed(*key) for key in ordered]
            factors = [1.0] * len(timed)
            for members in sharing([one.load for one in timed]):
                for place, factor in zip(members, self._slowed([timed[place] for place in members]), strict=True):
                    factors[place] = factor
            self._together[ordered] = tuple(factors)
        found = dict(zip(order, self._together[ordered], strict=True))
        return tuple(found[place] for place in range(len(keys)))

    def _slowed(self, timed: Sequence[Timed]) -> tuple[float, ...]:
        if len(timed) < 2:
            return (1.0,) * len(timed)
        tables = [one.table for one in timed if one.table is not None]
        few = len(timed) <= MOST_JOINT_CALLS and sum(one.n_messages for one in timed) <= MOST_JOINT_MESSAGES
        if self.model != "fluid" or not few or len(tables) < len(timed):
            return by_loads([one.load for one in timed])
        jobs = [Job(str(place), table()) for place, table in enumerate(tables)]
        times = share_fabric(jobs, self.system, self.disturbance).jobs
        first = min(range(len(times)), key=lambda place: times[place].together_s)
        shared_s = times[first].together_s
        progress = [1 - (one.together_s - shared_s) / one.alone_s if one.alone_s else 1.0 for one in times]
        slowed = [
            shared_s / (done * one.alone_s) if done > 0 and one.alone_s else 1.0
            for one, done in zip(times, progress, strict=True)
        ]
        return tuple(max(1.0, factor) for factor in slowed)

    def latency_and_bandwidth(self, call: Call) -> tuple[float, float]:
        """A line through a call's time at 64 KiB and at 16 MiB."""
        small, large = (self.time_s(replace(call, n_bytes=size, dtype="float32")) for size in LINE_BYTES)
        per_byte_s = max(large - small, 1e-15) / (LINE_BYTES[1] - LINE_BYTES[0])
        return max(small - LINE_BYTES[0] * per_byte_s, 1e-9), 1 / per_byte_s


LINE_BYTES = (2**16, 2**24)
SENDS = ("forwards", "backwards")
"""Groups of the messages between pipeline stages."""


def by_loads(loads: Sequence[Floats]) -> tuple[float, ...]:
    """How much longer each takes if links are busy as long as all of them need: of its links the one that is worst."""
    total = np.sum(loads, axis=0)
    return tuple(max(1.0, float(total[load > 0].max(initial=0.0))) for load in loads)


def sharing(loads: Sequence[Floats]) -> list[list[int]]:
    """Places of those that have a link in common, or a third that has one with both: disjoint lists that hold all."""
    used = np.array([load > 0 for load in loads], dtype=np.float32)
    joined = csr_array(used @ used.T > 0)
    label = connected_components(joined, directed=False)[1]
    return [np.flatnonzero(label == one).tolist() for one in np.unique(label)]


def _send(parallel: Parallel, direction: str, stage: int | None) -> Algorithm:
    """Every rank of a stage to the same rank of the next one, or of the one before; of all stages at once or of one."""
    stages = parallel.stages()
    pairs = (stages[:-1], stages[1:]) if direction == "forwards" else (stages[1:], stages[:-1])
    if stage is not None:
        place = stage if direction == "forwards" else stage - 1
        pairs = (pairs[0][place : place + 1], pairs[1][place : place + 1])
    src, dst = (ranks.ravel() for ranks in pairs)

    def program(rank: Any, n_ranks: int, **_: Any) -> Any:
        to, from_ = np.full(n_ranks, -1), np.full(n_ranks, -1)
        to[src], from_[dst] = dst, src
        yield [exchange(to[rank], from_[rank], send=chunk(0), receive=chunk(0))]

    made: Program = program
    return Algorithm("send", BROADCAST, made, lambda *_, **__: 1)
