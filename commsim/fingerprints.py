"""Fingerprints: the proof for thousands of ranks, a number modulo a prime for each chunk of each rank.

Every (rank, chunk) starts as a random number, and reductions add: a wrong schedule ends right with a probability of
1 in 2^31 (Freivalds' way: Probabilistic machines can use less running time, IFIP 1977). Its loops are compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from commsim.execution import Moves
from commsim.program import Lanes
from commsim.schedule import Schedule
from commsim.selection import Ints
from commsim.states import Promise, ProofState

PRIME = np.uint32(2**31 - 1)
HELD, NOT_HELD = 1, 2  # salts: what a rank does not hold is another number
TRY_FEWER = "try fewer ranks (--ranks 1:40): counting them names the step and the peer"


class Table(NamedTuple):
    """Numbers of all chunks, array (n_ranks * width,), and where each lies.

    Rank by rank; or, ``by_distance`` of chunk and rank, where messages carry single chunks: a ring then finds what it
    needs side by side.
    """

    values: NDArray[np.uint32]
    n_ranks: int
    width: int
    by_distance: bool


# Signatures are given, so that each loop is compiled once, however its arrays lie in memory.
TABLE = types.NamedTuple((types.uint32[::1], types.int64, types.int64, types.boolean), Table)  # type: ignore[no-untyped-call]
FLAGS, TWO = (types.Array(kind, 2, "A", readonly=True) for kind in (types.boolean, types.int64))  # (n_ranks, n_data)
ONE = types.Array(types.int64, 1, "A", readonly=True)  # (n,)
TOTAL, VALUES = types.int64[::1], types.uint32[::1]  # (n_data,), (n,)


class Fingerprints(ProofState):
    """The sum of what was combined in each chunk, modulo a prime."""

    def __init__(self, schedule: Schedule, promise: Promise) -> None:
        self._schedule, self._promise = schedule, promise
        n_ranks, width = schedule.n_ranks, schedule.space.n_chunks
        self._table = Table(np.empty(n_ranks * width, dtype=np.uint32), n_ranks, width, _single_chunks(schedule))
        self._total = np.zeros(schedule.space.n_data, dtype=np.int64)
        _fill(self._table, promise.holds, self._total)

    def read(self, rank: Ints, chunk: Ints) -> Any:
        """The numbers of these chunks."""
        return _read(self._table, rank, chunk)

    def write(self, moves: Moves, values: Any) -> None:
        """Put numbers in the place of others, or add them."""
        _write(self._table, moves.dst, moves.receive_chunk, values, moves.reduce)

    def wrong(self, writer: Ints | None) -> str | None:
        """What is wrong first, in words."""
        promise = self._promise
        copied = promise.origin is not None
        whose = promise.origin if copied else promise.home
        at = _first_wrong(self._table, promise.needs, promise.home, whose, copied, self._total, promise.first_needed)
        if at < 0:
            return None
        rank, chunk = divmod(at, len(self._total))
        what = self._schedule.algorithm.collective.end_s()
        return f"rank {rank} does not end with {what} in chunk {chunk}; {TRY_FEWER}"


def _single_chunks(schedule: Schedule) -> bool:
    """Whether the messages of the first step that has any carry one chunk each."""
    for step in schedule:
        if isinstance(step, Lanes):
            return False
        for exchange in step:
            if len(exchange.sends.row):
                return bool(np.all(np.asarray(exchange.sends.selection.n_selected()) == 1))
    return False


@njit(cache=True)
def _random(rank: Any, chunk: Any, salt: Any) -> Any:
    """A number below the prime that depends on all three, scattered as SplitMix64 does (Steele et al., OOPSLA 2014)."""
    x = (np.uint64(rank) << np.uint64(32)) + np.uint64(chunk) + np.uint64(salt) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x >>= np.uint64(33)
    return np.uint32(x) if x < PRIME else np.uint32(0)


@njit(cache=True)
def _place(table: Any, rank: Any, chunk: Any) -> Any:
    """Where in the table a chunk lies."""
    if not table.by_distance:
        return rank * table.width + chunk
    distance = chunk - rank
    if distance < 0:
        distance += table.width
        if distance < 0:
            distance %= table.width
    return distance * table.n_ranks + rank


@njit(types.void(TABLE, FLAGS, TOTAL), cache=True)
def _fill(table: Any, holds: Any, total: Any) -> None:
    """Put a number of its own everywhere; `total` gets the sum of what the ranks hold of each chunk."""
    n_outer, n_inner = (table.width, table.n_ranks) if table.by_distance else (table.n_ranks, table.width)
    for outer in range(n_outer):
        wrapped = outer
        for inner in range(n_inner):  # in the order of memory
            rank, chunk = (inner, wrapped) if table.by_distance else (outer, inner)
            wrapped = wrapped + 1 if wrapped + 1 < table.width else 0
            held = chunk < len(total) and holds[rank, chunk]
            value = _random(rank, chunk, HELD if held else NOT_HELD)
            table.values[outer * n_inner + inner] = value
            if held:
                total[chunk] += value
    for chunk in range(len(total)):
        total[chunk] %= PRIME


@njit(VALUES(TABLE, ONE, ONE), cache=True)
def _read(table: Any, rank: Any, chunk: Any) -> Any:
    found = np.empty(len(rank), dtype=np.uint32)
    for i in range(len(rank)):
        found[i] = table.values[_place(table, rank[i], chunk[i])]
    return found


@njit(types.void(TABLE, ONE, ONE, VALUES, types.boolean), cache=True)
def _write(table: Any, rank: Any, chunk: Any, values: Any, add: Any) -> None:
    for i in range(len(rank)):
        place = _place(table, rank[i], chunk[i])
        value = values[i]
        if add:
            value += table.values[place]  # below 2^32
            if value >= PRIME:
                value -= PRIME
        table.values[place] = value


@njit(types.int64(TABLE, FLAGS, TWO, TWO, types.boolean, TOTAL, types.int64), cache=True)
def _first_wrong(table: Any, needs: Any, home: Any, whose: Any, copied: Any, total: Any, first: Any) -> Any:
    """The first chunk, ``rank * n_data + chunk``, that does not hold what it should; -1 if there is none."""
    n_outer, n_inner = (table.width, table.n_ranks) if table.by_distance else (table.n_ranks, table.width)
    found, n_data = -1, len(total)
    for outer in range(n_outer):
        wrapped = outer
        for inner in range(n_inner):
            rank, chunk = (inner, wrapped - first) if table.by_distance else (outer, inner - first)
            wrapped = wrapped + 1 if wrapped + 1 < table.width else 0
            if chunk < 0 or chunk >= n_data or not needs[rank, chunk]:
                continue
            origin = home[rank, chunk]
            wanted = np.int64(_random(whose[rank, chunk], origin, HELD)) if copied else total[origin]
            if table.values[outer * n_inner + inner] != wanted:
                at = rank * n_data + chunk
                found = at if found < 0 else min(found, at)
    return found
