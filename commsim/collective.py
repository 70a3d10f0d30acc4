"""The collectives: what each starts from and must end in, and how its bandwidth is counted.

The vector of a collective is one block, or one block for each rank; algorithms cut every block into chunks. Conditions
are said of blocks, elementwise: they take ints or arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from commsim.errors import unknown_name

Condition = Callable[[Any, Any, int], Any]


@dataclass(frozen=True)
class Collective:
    """One operation over all ranks.

    Attributes
    ----------
    name : str
    rooted : bool
        Whether one rank, the root, plays a part of its own.
    reduces : bool
        Whether it combines values (and so takes an operation).
    block_each : bool
        Whether the vector has a block for each rank; else it is one block.
    holds : callable
        ``(rank, block, root)``: whether the rank has the block's data at the start.
    needs : callable
        ``(rank, block, root)``: whether the rank must have it at the end (in its output, where there is one).
    origin : callable or None
        ``(rank, block, root)``: whose data it must then be. None: the reduction over all ranks.
    crossing : callable
        ``(n_inside, n_ranks, has_root)``: what must at least leave, and enter, a group of ranks, in vectors.
    busbw_factor : callable
        ``n_ranks`` to bus bandwidth over algorithm bandwidth, as nccl-tests counts it.
    has_output : bool
        Whether the result goes into a buffer of its own: block s of rank r is then block r of rank s's vector.
    joins : bool
        A barrier: everyone must have heard of everyone, at least once; no data moves.
    sizes_each : bool
        Whether every pair of ranks has a size of its own (a matrix).
    """

    name: str
    rooted: bool
    reduces: bool
    block_each: bool
    holds: Condition
    needs: Condition
    origin: Condition | None
    crossing: Callable[[Any, int, Any], tuple[Any, Any]]
    busbw_factor: Callable[[int], float]
    has_output: bool = False
    joins: bool = False
    sizes_each: bool = False

    def n_blocks(self, n_ranks: int) -> int:
        """Blocks of the vector."""
        return n_ranks if self.block_each else 1

    def block_slice(self, block: int, n_ranks: int, n_elements: int) -> slice:
        """Elements of a block of the vector; the first blocks have one more where they do not divide."""
        share, rest = divmod(n_elements, self.n_blocks(n_ranks))
        begin = block * share + min(block, rest)
        return slice(begin, begin + share + (block < rest))

    def end_s(self) -> str:
        """What a rank must end with, for people."""
        return "the reduction" if self.origin is None else "the data"


def _always(rank: Any, block: Any, root: int) -> Any:
    return True


def _root(rank: Any, block: Any, root: int) -> Any:
    return rank == root


def _own(rank: Any, block: Any, root: int) -> Any:
    return rank == block


def _of_root(rank: Any, block: Any, root: int) -> Any:
    return 0 * (rank + block) + root


def _of_block(rank: Any, block: Any, root: int) -> Any:
    return 0 * rank + block


def _all_but_one(n_ranks: int) -> float:
    return (n_ranks - 1) / n_ranks


def _share(n: Any, p: int) -> tuple[Any, Any]:
    """The others' share of the vector, and the group's own."""
    return (p - n) / p, n / p


def _between(n: Any, p: int, has_root: Any) -> tuple[Any, Any]:
    return n * (p - n) / p, n * (p - n) / p


_ONCE: dict[str, Callable[[Any, int, Any], tuple[Any, Any]]] = {
    "allreduce": lambda n, p, has_root: (np.ones(np.shape(n)), np.ones(np.shape(n))),
    "broadcast": lambda n, p, has_root: (1.0 * has_root, 1.0 - has_root),
    "reduce": lambda n, p, has_root: (1.0 - has_root, 1.0 * has_root),
    "reduce_scatter": lambda n, p, has_root: _share(n, p),
    "allgather": lambda n, p, has_root: _share(n, p)[::-1],
    "gather": lambda n, p, has_root: (np.where(has_root, 0, n / p), np.where(has_root, (p - n) / p, 0)),
    "scatter": lambda n, p, has_root: (np.where(has_root, (p - n) / p, 0), np.where(has_root, 0, n / p)),
    "alltoall": _between,
    "alltoallv": lambda n, p, has_root: (0.0 * n, 0.0 * n),  # depends on the sizes: see commsim.bounds
    "barrier": lambda n, p, has_root: (0.0 * n, 0.0 * n),
}


def _make(
    name: str,
    holds: Condition,
    needs: Condition,
    origin: Condition | None,
    *,
    rooted: bool = False,
    block_each: bool = False,
    busbw_factor: Callable[[int], float] = _all_but_one,
    **more: bool,
) -> Collective:
    reduces = origin is None and not more.get("joins")
    return Collective(name, rooted, reduces, block_each, holds, needs, origin, _ONCE[name], busbw_factor, **more)


def _one(n_ranks: int) -> float:
    return 1.0


ALLREDUCE = _make("allreduce", _always, _always, None, busbw_factor=lambda n_ranks: 2 * (n_ranks - 1) / n_ranks)
BROADCAST = _make("broadcast", _root, _always, _of_root, rooted=True, busbw_factor=_one)
REDUCE = _make("reduce", _always, _root, None, rooted=True, busbw_factor=_one)
REDUCE_SCATTER = _make("reduce_scatter", _always, _own, None, block_each=True)
ALLGATHER = _make("allgather", _own, _always, _of_block, block_each=True)
GATHER = _make("gather", _own, _root, _of_block, rooted=True, block_each=True)
SCATTER = _make("scatter", _root, _own, _of_root, rooted=True, block_each=True)
ALLTOALL = _make("alltoall", _always, _always, _of_block, block_each=True, has_output=True)
ALLTOALLV = _make("alltoallv", _always, _always, _of_block, block_each=True, has_output=True, sizes_each=True)
BARRIER = _make("barrier", _always, _always, None, busbw_factor=lambda n_ranks: 0.0, joins=True)

COLLECTIVES = {
    collective.name: collective
    for collective in (
        *(ALLREDUCE, BROADCAST, REDUCE, REDUCE_SCATTER, ALLGATHER),
        *(ALLTOALL, ALLTOALLV, GATHER, SCATTER, BARRIER),
    )
}


def collective_named(name: str) -> Collective:
    """The collective of that name.

    Raises
    ------
    UnknownNameError
        Naming the nearest one.
    """
    if name not in COLLECTIVES:
        raise unknown_name("collective", name, COLLECTIVES)
    return COLLECTIVES[name]
