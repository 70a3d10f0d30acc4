"""Int-only programs: written for one rank, traced rank by rank, and brought into the form of all other programs.

The k-th message from one rank to another meets the k-th receive of that pair. Steps whose messages meet become one step
of everyone; a rank idles in the steps of others. Where the steps cannot be put in such an order, real ranks that wait
for both ends of every message would wait for ever: refused, naming the cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache, wraps
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from commsim.errors import ScheduleError
from commsim.program import Exchange, Lanes, Program, Rank, Side, Step, unrolled
from commsim.selection import Selection
from commsim.units import format_count

TRACES_KEPT = 8
MOST_STEPS = 1 << 18  # of one rank, all of which are kept
MOST_NAMED = 8  # steps of a deadlock, and ranks of each


def traced(program: Program) -> Program:
    """The program of one int rank as one that takes an array of ranks too.

    Raises
    ------
    ScheduleError
        When it is run: a message without its other end (rank, step, peer), or a deadlock (the cycle of steps).
    """

    @lru_cache(maxsize=TRACES_KEPT)
    def everyone(n_ranks: int, options: tuple[tuple[str, Any], ...]) -> list[list[Exchange]]:
        trace = _Trace()
        for rank in range(n_ranks):
            trace.add(rank, program(rank, n_ranks, **dict(options)))
        return trace.aligned()

    @wraps(program)
    def both_forms(rank: Rank, n_ranks: int, **options: Any) -> Iterator[Step]:
        for step in everyone(n_ranks, tuple(sorted(options.items()))):
            yield step if isinstance(rank, np.ndarray) else [exchange.of_rank(int(rank)) for exchange in step]

    return both_forms


class _End(NamedTuple):
    """One end of a message: in which of all steps, and where in it."""

    step: int
    place: int  # of the exchange in the step
    row: int  # of the message in the exchange
    selection: Selection
    reduce: bool
    received_first: bool
    fabric: str | None


Pair = tuple[int, int]  # src, dst


class _Trace:
    """Steps of all ranks, numbered one after the other, and both ends of their messages by (src, dst)."""

    def __init__(self) -> None:
        self._n_steps: list[int] = []  # of each rank
        self._sends: dict[Pair, list[_End]] = defaultdict(list)
        self._receives: dict[Pair, list[_End]] = defaultdict(list)

    def add(self, rank: int, steps: Iterator[Step]) -> None:
        """Walk through the program of the next rank; what it yields may change afterwards."""
        first = number = sum(self._n_steps)
        for step in unrolled(steps):
            if number - first >= MOST_STEPS:
                raise ScheduleError(f"rank {rank} has taken {MOST_STEPS} steps and goes on: does its program end?")
            if isinstance(step, Lanes):
                raise ScheduleError('an int-only program has no lanes; write it for arrays of ranks (form="array")')
            if not isinstance(step, list) or not all(isinstance(part, Exchange) for part in step):
                raise ScheduleError(f"a step is a list of exchanges, not {step!r}")
            for index, part in enumerate(step):
                for row, peer in enumerate(part.sends.peer.tolist()):
                    self._sends[rank, peer].append(_end(number, index, row, part.sends, part))
                for row, peer in enumerate(part.receives.peer.tolist()):
                    self._receives[peer, rank].append(_end(number, index, row, part.receives, part))
            number += 1
        self._n_steps.append(number - first)

    def aligned(self) -> list[list[Exchange]]:
        """The steps of everyone, as exchanges of array programs."""
        joint = list(range(sum(self._n_steps)))  # union-find: steps that must be one
        for pair in sorted({*self._sends, *self._receives}):
            sends, receives = self._sends.get(pair, []), self._receives.get(pair, [])
            self._refuse_unpaired(pair, sends, receives)
            for sent, taken in zip(sends, receives, strict=True):
                joint[_find(joint, sent.step)] = _find(joint, taken.step)
        level = self._levels([_find(joint, step) for step in joint])
        steps: list[dict[tuple[Any, ...], list[tuple[int, int, _End, _End]]]] = [
            defaultdict(list) for _ in range(max(level, default=-1) + 1)
        ]
        for (src, dst), sends in sorted(self._sends.items()):
            for sent, taken in zip(sends, self._receives[src, dst], strict=True):
                lists = sent.selection.index is not None, taken.selection.index is not None
                alike = (taken.place, taken.reduce, taken.fabric or "", *lists)
                steps[level[sent.step]][alike].append((src, dst, sent, taken))
        return [[_together(step[alike]) for alike in sorted(step)] for step in steps if step]

    def _refuse_unpaired(self, pair: Pair, sends: list[_End], receives: list[_End]) -> None:
        src, dst = pair
        if len(sends) > len(receives):
            _, step = self._place(sends[len(receives)].step)
            raise ScheduleError(
                f"rank {src} sends to {dst} in its step {step}, but {dst} receives from {src} only "
                f"{format_count(len(receives), 'time')}"
            )
        if len(receives) > len(sends):
            _, step = self._place(receives[len(sends)].step)
            often = format_count(len(sends), "time")
            raise ScheduleError(
                f"rank {dst} receives from {src} in its step {step}, but {src} sends to {dst} only {often}"
            )
        for sent, taken in zip(sends, receives, strict=True):
            if sent.fabric != taken.fabric:
                rank, step = self._place(sent.step)
                raise ScheduleError(f"rank {rank} step {step}: only one end of its message to {dst} is the fabric's")

    def _place(self, number: int) -> tuple[int, int]:
        """Rank and its step, of a step's number."""
        for rank, n_steps in enumerate(self._n_steps):
            if number < n_steps:
                return rank, number
            number -= n_steps
        raise IndexError(number)

    def _levels(self, joint: list[int]) -> list[int]:
        """The common step of each step: after all that come before it on any of the ranks that it joins."""
        after: dict[int, list[int]] = defaultdict(list)
        waits = dict.fromkeys(joint, 0)
        for end, n_steps in zip(accumulate(self._n_steps), self._n_steps, strict=True):
            for before, later in pairwise(joint[end - n_steps : end]):
                after[before].append(later)
                waits[later] += 1
        level = dict.fromkeys(joint, 0)
        ready = [step for step, count in waits.items() if not count]
        for step in ready:  # grows
            for later in after[step]:
                level[later] = max(level[later], level[step] + 1)
                waits[later] -= 1
                if not waits[later]:
                    ready.append(later)
        if len(ready) < len(waits):
            stuck = {step for step, count in waits.items() if count}
            raise ScheduleError(self._cycle(joint, {later: step for step in sorted(stuck) for later in after[step]}))
        return [level[step] for step in joint]

    def _cycle(self, joint: list[int], before: dict[int, int]) -> str:
        """Names a cycle of steps that wait for each other."""
        seen: dict[int, None] = {}
        step = min(before)
        while step not in seen:
            seen[step] = None
            step = before[step]
        cycle = [*seen][[*seen].index(step) :][::-1]
        members: dict[int, list[str]] = defaultdict(list)
        for number, one in enumerate(joint):
            members[one].append("rank {} step {}".format(*self._place(number)))
        said = [_listed(" + ", members[one]) for one in cycle]
        return f"deadlock: each of these steps waits for the one before it: {_listed(' → ', [*said, said[0]])}"


def _find(joint: list[int], step: int) -> int:
    """The representative of a step's set."""
    while joint[step] != step:
        joint[step] = joint[joint[step]]
        step = joint[step]
    return step


def _listed(between: str, words: list[str]) -> str:
    if len(words) > MOST_NAMED:
        words = [*words[: MOST_NAMED - 1], f"… ({len(words) - MOST_NAMED} more)", words[-1]]
    return between.join(words)


def _end(step: int, index: int, row: int, side: Side, part: Exchange) -> _End:
    first: Any = part.received_first if side is part.receives else False
    first = bool(first[row]) if isinstance(first, np.ndarray) else bool(first)
    return _End(step, index, row, side.selection.of_row(row), part.reduce, first, part.fabric)


def _together(messages: list[tuple[int, int, _End, _End]]) -> Exchange:
    """One exchange of the messages that their receivers take at the same place of a step."""
    if len(messages) == 1:  # most often, cheaply
        [(one, other, sent, taken)] = messages
        src, dst = np.array([one]), np.array([other])
        sides = Side(src, dst, sent.selection), Side(dst, src, taken.selection)
        return Exchange(*sides, taken.reduce, True, taken.received_first, taken.fabric)
    ordered = sorted(messages, key=lambda message: (message[1], message[3].row))
    src, dst = (np.array(end) for end in zip(*(message[:2] for message in ordered), strict=True))
    send = Selection.joined([(sent.selection, 1) for _, _, sent, _ in ordered])
    receive = Selection.joined([(taken.selection, 1) for _, _, _, taken in ordered])
    whole = ordered[0][3]
    first = np.array([taken.received_first for _, _, _, taken in ordered]) if whole.reduce else False
    one_each = len(set(src.tolist())) == len(src) == len(set(dst.tolist()))
    return Exchange(Side(src, dst, send), Side(dst, src, receive), whole.reduce, one_each, first, whole.fabric)
