"""Patterns: which ranks send to which at the same time, as programs that run and are simulated like any other.

Every class of links is measured alone, on its first pair of ranks, then with several pairs at once. Never a collective.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commsim import PROC_NULL, Algorithm, Rank, Step, algorithm, chunk, exchange
from commsim.selection import Ints
from experiments.calibrate.places import Pair, classes_of, side_by_side, triangle

ONE_WAY, BOTH_WAYS, REDUCTION = "one way", "both ways at once", "reduction"
PAIR = "both ways between two"  # where three ranks are of a class; with two, both ways is that
CROWD, CROWD_PAIR = "several pairs, one way", "several pairs, both ways"
ROW, ROW_BOTH = "a row of messages, one way", "a row of messages, both ways"
TO_SEVERAL, FROM_SEVERAL = "a row of messages, to several", "a row of messages, from several"
ROWS = (ROW, ROW_BOTH, TO_SEVERAL, FROM_SEVERAL)
IN_A_ROW, ROW_BYTES = 64, 8  # messages of a rank at once, so small that their bytes take no time

Sends = dict[int, int]
"""Sender to receiver: at most one of each for every rank."""


def among(steps: Sequence[Sends], together: bool = False) -> Algorithm:
    """A program of these messages, step by step or all `together` in one. No broadcast, and never verified.

    The first of its chunks is what is sent; the others, a single one or one for each step, are what is received.
    """
    n_received = len(steps) if together else 1

    @algorithm("broadcast", chunks=1 + n_received)
    def messages(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
        exchanges = []
        for number, sends in enumerate(steps):
            dst, src = np.full(n_ranks, PROC_NULL), np.full(n_ranks, PROC_NULL)
            dst[list(sends)] = list(sends.values())
            src[list(sends.values())] = list(sends)
            exchanges.append(exchange(dst[rank], src[rank], send=chunk(0), receive=chunk(1 + number % n_received)))
        yield from [exchanges] if together else ([one] for one in exchanges)

    return messages


@dataclass(frozen=True)
class Pattern:
    """What is timed.

    Attributes
    ----------
    what : str
        `ONE_WAY` …
    link_class : str
    steps : tuple of dict
        The messages.
    n_pairs : int
        Pairs at once.
    together : bool
        Whether all messages are of one step.
    """

    what: str
    link_class: str
    steps: tuple[Sends, ...]
    n_pairs: int = 1
    together: bool = False

    @property
    def program(self) -> Algorithm:
        """To run and to simulate."""
        return among(self.steps, self.together)

    @property
    def n_chunks(self) -> int:
        """Of the program's vector, each as large as a message."""
        return 1 + (len(self.steps) if self.together else 1)

    @property
    def key(self) -> tuple[str, str, int]:
        """Names it."""
        return self.link_class, self.what, self.n_pairs

    def message_s(self, seconds: float) -> float:
        """Seconds of one message, of the seconds of all steps."""
        return seconds / len(self.steps)


def _there_and_back(pairs: Sequence[Pair]) -> tuple[Sends, ...]:
    return dict(pairs), {b: a for a, b in pairs}


def _swapped(pairs: Sequence[Pair]) -> tuple[Sends, ...]:
    return ({a: b for pair in pairs for a, b in (pair, pair[::-1])},)


def patterns_of(tiers: Mapping[str, Ints], n_ranks: int) -> list[Pattern]:
    """All that is to be timed between these ranks, for each class of links; the innermost first."""
    found = []
    order = list(tiers)
    for name, pairs in classes_of(tiers, n_ranks).items():
        first, three = pairs[:1], triangle(pairs)
        found.append(Pattern(ONE_WAY, name, _there_and_back(first)))
        if three is None:
            found.append(Pattern(BOTH_WAYS, name, _swapped(first)))
        else:
            a, b, c = three
            found += [Pattern(BOTH_WAYS, name, ({a: b, b: c, c: a},)), Pattern(PAIR, name, _swapped(first))]
        below = order.index(name) - 1 if name in order else len(order) - 1
        several = side_by_side(pairs, tiers[order[below]] if below >= 0 else None)
        n = len(several)
        for k in sorted({2, n}) if n > 1 else ():
            found.append(Pattern(CROWD, name, _there_and_back(several[:k]), k))
        if n > 1:
            found.append(Pattern(CROWD_PAIR, name, _swapped(several), n))
        found += _rows(name, pairs, several)
    return found


def _rows(name: str, pairs: Sequence[Pair], several: Sequence[Pair]) -> Iterator[Pattern]:
    """Many messages of a rank in one step: to one other, to it and back, to several, from several; of several pairs."""

    def row(what: str, sends: Sequence[Sends], n_pairs: int) -> Pattern:
        return Pattern(what, name, tuple(itertools.islice(itertools.cycle(sends), IN_A_ROW)), n_pairs, together=True)

    a, b = pairs[0]
    for k in sorted({1, len(several)}):
        yield row(ROW, [dict(several[:k])], k)
    yield row(ROW_BOTH, [{a: b, b: a}], 1)
    others = [end for pair in pairs if a in pair for end in pair if end != a]
    if len(others) > 1:
        yield row(TO_SEVERAL, [{a: other} for other in others], len(others))
        yield row(FROM_SEVERAL, [{other: a} for other in others], len(others))
