"""What a testbed is calibrated on: messages between pairs of ranks, one pair at a time and several at once.

No pattern is a collective: every rank sends at most one message and receives at most one in a step, and nobody passes
on what it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from commsim import PROC_NULL, Algorithm, Rank, Step, algorithm, chunk, exchange

STREAM_STEPS = 8

Pairs = Mapping[int, int]
"""Who sends to whom in a step."""


def pattern(name: str, steps: list[Pairs]) -> Algorithm:
    """A program of steps in which these pairs send; its vector is one message out and one in."""

    def program(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:  # noqa: ARG001
        """Messages between pairs. No broadcast, and never verified."""
        for pairs in steps:
            to, by = np.full(n_ranks, PROC_NULL), np.full(n_ranks, PROC_NULL)
            for src, dst in pairs.items():
                to[src], by[dst] = dst, src
            yield [exchange(to[rank], by[rank], send=chunk(0), receive=chunk(1))]

    program.__name__ = name
    made: Algorithm = algorithm("broadcast", chunks=2)(program)
    return made


def there_and_back(pairs: Pairs) -> list[Pairs]:
    """A round trip."""
    return [pairs, {dst: src for src, dst in pairs.items()}]


def patterns(n_ranks: int) -> list[Algorithm]:
    """All patterns for so many ranks: one pair near and far, several pairs one way and both ways, shifts, streams."""
    half = n_ranks // 2
    far = {rank: rank + half for rank in range(half)}
    found = [
        pattern("near_pair", there_and_back({0: 1})),
        *(pattern(f"far_pairs_{k}", there_and_back({r: far[r] for r in range(k)})) for k in _powers(half)),
        *(pattern(f"far_swaps_{k}", [_both({r: far[r] for r in range(k)})]) for k in _powers(half)),
        pattern("near_swaps", [_both({rank: rank + 1 for rank in range(0, n_ranks - 1, 2)})]),
    ]
    for distance in (1, 2, 3):
        shift = {rank: (rank + distance) % n_ranks for rank in range(n_ranks)}
        found += [
            pattern(f"shift_{distance}", [shift]),
            pattern(f"shifts_{distance}", [shift] * STREAM_STEPS),
        ]
    found.append(pattern("swaps_stream", [_both(far)] * STREAM_STEPS))
    return found


def _both(pairs: Pairs) -> Pairs:
    return {**pairs, **{dst: src for src, dst in pairs.items()}}


def _powers(most: int) -> list[int]:
    return [k for k in (1, 2, 4) if k <= most]
