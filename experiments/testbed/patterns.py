"""What a testbed is calibrated on: messages between pairs of ranks, one pair at a time and several at once.

No pattern is a collective: ranks reach at most three others, and nobody passes on what it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from commsim import PROC_NULL, Algorithm, Rank, Step, algorithm, chunk, exchange
from commsim.selection import Ints
from commsim.simulate import unbound_s
from commsim.system import System

STREAM_STEPS = 8
MOST = 3  # messages that a rank sends, or receives, in a step
CHUNKS = 1 + MOST  # of a pattern's vector: one message that is sent, and all that are received

Messages = Sequence[tuple[int, int]]
"""Who sends to whom in a step."""


def pattern(name: str, steps: list[Messages]) -> Algorithm:
    """A program of steps in which these messages are sent, all of one size."""

    def program(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:  # noqa: ARG001
        """Messages between pairs. No broadcast, and never verified."""
        for messages in steps:
            rows = _rows(messages, n_ranks)
            yield [
                exchange(to[rank], by[rank], send=chunk(0), receive=chunk(1 + row)) for row, (to, by) in enumerate(rows)
            ]

    program.__name__ = name
    made: Algorithm = algorithm("broadcast", chunks=CHUNKS)(program)
    return made


def patterns(n_ranks: int) -> list[Algorithm]:
    """All patterns for so many ranks: pairs near and far, one way and both ways; shifts, streams; several of a rank."""
    half = n_ranks // 2
    far = [(rank, rank + half) for rank in range(half)]
    found = [
        pattern("near_pair", _there_and_back([(0, 1)])),
        *(pattern(f"far_pairs_{k}", _there_and_back(far[:k])) for k in (1, 2, 4) if k <= half),
        *(pattern(f"far_swaps_{k}", [_both(far[:k])]) for k in (1, 2, 4) if k <= half),
        pattern("near_swaps", [_both([(rank, rank + 1) for rank in range(0, n_ranks - 1, 2)])]),
    ]
    for distance in range(1, min(MOST, n_ranks - 1) + 1):
        shift = _shift(n_ranks, distance)
        found += [
            pattern(f"shift_{distance}", [shift]),
            pattern(f"shifts_{distance}", [shift] * STREAM_STEPS),
        ]
    found.append(pattern("swaps_stream", [_both(far)] * STREAM_STEPS))
    for k in range(2, min(MOST, half - 1) + 1):
        others = [(0, n_ranks - 1 - place) for place in range(k)]
        found += [
            pattern(f"sends_{k}", [others]),
            pattern(f"receives_{k}", [_back(others)]),
            pattern(f"swaps_{k}", [_both(others)]),
            pattern(f"spread_{k}", [[pair for distance in range(1, k + 1) for pair in _shift(n_ranks, distance)]]),
        ]
    return found


def time_s(program: Algorithm, system: System, n_bytes: int) -> float:
    """Of a pattern whose messages are of so many bytes; it is no broadcast, whatever it is written as."""
    return unbound_s(program, system, CHUNKS * n_bytes)


def _rows(messages: Messages, n_ranks: int) -> list[tuple[Ints, Ints]]:
    """To whom each rank sends and from whom it receives, at most one in each row."""
    rows: list[tuple[Ints, Ints]] = []
    for src, dst in messages:
        row = next((row for row in rows if row[0][src] == row[1][dst] == PROC_NULL), None)
        if row is None:
            row = np.full(n_ranks, PROC_NULL), np.full(n_ranks, PROC_NULL)
            rows.append(row)
        row[0][src], row[1][dst] = dst, src
    return rows


def _shift(n_ranks: int, distance: int) -> Messages:
    return [(rank, (rank + distance) % n_ranks) for rank in range(n_ranks)]


def _back(messages: Messages) -> Messages:
    return [(dst, src) for src, dst in messages]


def _both(messages: Messages) -> Messages:
    return [*messages, *_back(messages)]


def _there_and_back(messages: Messages) -> list[Messages]:
    return [messages, _back(messages)]
