"""Int-only programs: written for one rank, traced rank by rank, and brought into the form of all other programs.

The k-th message from one rank to another meets the k-th receive of that pair. Steps whose messages meet become one step
of everyone; a rank idles in the steps of others. Where the steps cannot be put in such an order, real ranks that wait
for both ends of every message would wait for ever: refused, naming the cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, wraps
from itertools import pairwise
from typing import Any

import numpy as np

from commsim.errors import ScheduleError
from commsim.program import Exchange, Lanes, Program, Rank, Side, Step
from commsim.selection import Selection

TRACES_KEPT = 8
Node = tuple[int, int]  # a rank and the number of one of its steps


def traced(program: Program) -> Program:
    """The program of one int rank as one that takes an array of ranks too.

    Raises
    ------
    ScheduleError
        When it is run: a message without its other end (rank, step, peer), or a deadlock (the cycle of steps).
    """

    @lru_cache(maxsize=TRACES_KEPT)
    def everyone(n_ranks: int, options: tuple[tuple[str, Any], ...]) -> list[list[Exchange]]:
        return _aligned([_steps_of(program(rank, n_ranks, **dict(options))) for rank in range(n_ranks)])

    @wraps(program)
    def both_forms(rank: Rank, n_ranks: int, **options: Any) -> Iterator[Step]:
        for step in everyone(n_ranks, tuple(sorted(options.items()))):
            yield step if isinstance(rank, np.ndarray) else [exchange.of_rank(int(rank)) for exchange in step]

    return both_forms


def _steps_of(steps: Iterator[Step]) -> list[list[Exchange]]:
    """One rank's steps, as lists."""
    found = []
    for step in steps:
        if isinstance(step, Lanes):
            raise ScheduleError('an int-only program has no lanes; write it for arrays of ranks (form="array")')
        found.append(list(step))
    return found


def _aligned(ranks: list[list[list[Exchange]]]) -> list[list[Exchange]]:
    """The steps of everyone, as exchanges of array programs."""
    sends, receives = _ends(ranks, "sends"), _ends(ranks, "receives")
    for pair in sorted({*sends, *receives}):
        _refuse_unpaired(pair, sends[pair], receives[pair])
    groups = _Groups()
    for pair, messages in sends.items():
        for sent, taken in zip(messages, receives[pair], strict=True):
            groups.join((pair[0], sent.step), (pair[1], taken.step))
    level = _levels(ranks, groups)
    columns: list[dict[tuple[int, bool], list[Any]]] = [
        defaultdict(list) for _ in range(max(level.values(), default=-1) + 1)
    ]
    for pair, messages in sorted(sends.items()):
        for sent, taken in zip(messages, receives[pair], strict=True):
            place = columns[level[groups.find((pair[0], sent.step))]]
            place[taken.index, taken.exchange.reduce].append((*pair, sent, taken))
    return [[_together(place[key]) for key in sorted(place)] for place in columns]


@dataclass(frozen=True)
class _End:
    """One end of a message: where it stands in its rank's program."""

    step: int
    index: int  # of the exchange in the step
    row: int  # of the message in the exchange
    selection: Selection
    exchange: Exchange

    @property
    def received_first(self) -> bool:
        first = self.exchange.received_first
        return bool(first[self.row]) if isinstance(first, np.ndarray) else bool(first)


def _ends(ranks: list[list[list[Exchange]]], word: str) -> dict[tuple[int, int], list[_End]]:
    """For each (src, dst) its messages in program order."""
    found: dict[tuple[int, int], list[_End]] = defaultdict(list)
    for rank, steps in enumerate(ranks):
        for number, step in enumerate(steps):
            for index, exchange in enumerate(step):
                side: Side = getattr(exchange, word)
                for row, peer in enumerate(side.peer.tolist()):
                    pair = (rank, peer) if word == "sends" else (peer, rank)
                    selection = side.selection.rows(np.array([row]))
                    found[pair].append(_End(number, index, row, selection, exchange))
    return found


def _refuse_unpaired(pair: tuple[int, int], sends: list[_End], receives: list[_End]) -> None:
    src, dst = pair
    if len(sends) > len(receives):
        step = sends[len(receives)].step
        raise ScheduleError(
            f"rank {src} sends to {dst} in its step {step}, but {dst} receives from {src} only {len(receives)} times"
        )
    if len(receives) > len(sends):
        step = receives[len(sends)].step
        raise ScheduleError(
            f"rank {dst} receives from {src} in its step {step}, but {src} sends to {dst} only {len(sends)} times"
        )


class _Groups:
    """Steps that must be one: union-find over (rank, step)."""

    def __init__(self) -> None:
        self._parent: dict[Node, Node] = {}

    def find(self, node: Node) -> Node:
        """The representative of a step's group."""
        while self._parent.get(node, node) != node:
            self._parent[node] = self._parent.get(self._parent[node], self._parent[node])
            node = self._parent[node]
        return node

    def join(self, a: Node, b: Node) -> None:
        """Both are one step."""
        self._parent[self.find(a)] = self.find(b)


def _levels(ranks: list[list[list[Exchange]]], groups: _Groups) -> dict[Node, int]:
    """The common step of every group: after all that come before it on any of its ranks."""
    after: dict[Node, list[Node]] = defaultdict(list)
    waits: dict[Node, int] = defaultdict(int)
    for rank, steps in enumerate(ranks):
        chain = [groups.find((rank, number)) for number in range(len(steps))]
        for before, later in pairwise(chain):
            after[before].append(later)
            waits[later] += 1
        for node in chain:
            waits[node] += 0
    level = dict.fromkeys(waits, 0)
    ready = [node for node in sorted(waits) if not waits[node]]
    done = 0
    while ready:
        node = ready.pop()
        done += 1
        for later in after[node]:
            level[later] = max(level[later], level[node] + 1)
            waits[later] -= 1
            if not waits[later]:
                ready.append(later)
    if done < len(waits):
        raise ScheduleError(_cycle(ranks, groups, after, waits))
    return level


def _cycle(
    ranks: list[list[list[Exchange]]], groups: _Groups, after: dict[Node, list[Node]], waits: dict[Node, int]
) -> str:
    """Names a cycle of steps that wait for each other."""
    stuck = {node for node, count in waits.items() if count}
    before: dict[Node, Node] = {later: node for node in sorted(stuck) for later in after[node] if later in stuck}
    node, seen = min(before), []
    while node not in seen:
        seen.append(node)
        node = before[node]
    members: dict[Node, list[Node]] = defaultdict(list)
    for rank, steps in enumerate(ranks):
        for number in range(len(steps)):
            members[groups.find((rank, number))].append((rank, number))
    cycle = seen[seen.index(node) :][::-1]
    said = " → ".join(" + ".join(f"rank {r} step {n}" for r, n in members[one]) for one in [*cycle, cycle[0]])
    return f"deadlock: each of these steps waits for the one before it: {said}"


def _together(messages: list[tuple[int, int, _End, _End]]) -> Exchange:
    """One exchange of the messages that their receivers take at the same place of a step."""
    ordered = sorted(messages, key=lambda message: (message[1], message[3].row))
    src, dst = (np.array(end) for end in zip(*(message[:2] for message in ordered), strict=True))
    sent, taken = [message[2] for message in ordered], [message[3] for message in ordered]
    send, receive = (Selection.joined([(end.selection, 1) for end in ends]) for ends in (sent, taken))
    first = np.array([end.received_first for end in taken])
    one_each = len(np.unique(src)) == len(src) and len(np.unique(dst)) == len(dst)
    whole = taken[0].exchange
    sides = Side(src, dst, send), Side(dst, src, receive)
    return Exchange(*sides, whole.reduce, one_each, first if whole.reduce else False, whole.fabric)
