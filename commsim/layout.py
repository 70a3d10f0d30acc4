"""How a vector of elements is cut into blocks and chunks, so that selections of chunks become bytes and slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commsim.collective import Collective
from commsim.errors import InputError
from commsim.selection import Ints, Selection, Space


@dataclass(frozen=True)
class Layout:
    """``n_elements`` in blocks of whole elements, every block in chunks; the first ones have one element more.

    A chunk may be empty. ``offsets[c]`` (n_chunks + 1,) is the first element of chunk ``c`` of the vector. All buffers
    of a rank (see :class:`commsim.selection.Space`) are cut alike and lie one behind the other.
    """

    n_elements: int
    n_chunks: int
    item_bytes: int
    n_blocks: int = 1
    n_buffers: int = 1
    offsets: Ints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n_elements < 0 or self.n_chunks < 1 or self.item_bytes < 1 or self.n_chunks % self.n_blocks:
            raise InputError(
                f"no layout has {self.n_elements} elements of {self.item_bytes} B in {self.n_chunks} chunks"
            )
        if self.n_bytes >= 2**63:
            raise InputError(f"a vector of {self.n_bytes} B is too large; it must stay below 2^63 B")
        each = self.n_chunks // self.n_blocks
        block_first, block_size = _parts(self.n_elements, self.n_blocks)
        if each == 1:
            offsets = block_first
        else:
            share, rest = np.divmod(block_size, each)
            inside = np.arange(each)
            inner = inside * share[:, None] + np.minimum(inside, rest[:, None])
            offsets = np.append((block_first[:-1, None] + inner).ravel(), self.n_elements)
        object.__setattr__(self, "offsets", offsets)

    @staticmethod
    def of(space: Space, collective: Collective, n_ranks: int, n_elements: int, item_bytes: int) -> Layout:
        """The layout of a schedule's chunks.

        Raises
        ------
        InputError
            If all ranks must send each other equally much and the elements do not divide.
        """
        blocks = collective.n_blocks(n_ranks)
        if collective.has_output and n_elements % blocks:
            n_bytes, unit = n_elements * item_bytes, blocks * item_bytes
            lower = n_bytes // unit * unit
            raise InputError(
                f"{collective.name} sends equally much to each of {n_ranks} ranks: {n_bytes} B is not a multiple of "
                f"{unit} B; use {lower} or {lower + unit}, or alltoallv"
            )
        return Layout(n_elements, space.n_data, item_bytes, blocks, space.n_buffers)

    @property
    def n_bytes(self) -> int:
        """Size of the vector."""
        return self.n_elements * self.item_bytes

    @property
    def is_uniform(self) -> bool:
        """Whether all chunks have one size."""
        return self.n_elements % self.n_chunks == 0

    @property
    def depends_on_rank(self) -> bool:
        """Whether a chunk's size depends on whose it is."""
        return False

    def n_total(self, rank: int) -> int:
        """Elements of all buffers of a rank."""
        return self.n_buffers * self.n_elements

    def n_output(self, rank: int) -> int:
        """Elements of a rank's output, where it has one."""
        return self.n_elements

    def bytes_of(self, selection: Selection, rank: Any = 0) -> Any:
        """Bytes that each row's message carries: an int, or an array (n_rows,).

        Parameters
        ----------
        selection : Selection
            Placed, or of the vector.
        rank : int or array (n_rows,)
            Whose buffer it is; matters where every pair has a size of its own.
        """
        if self.is_uniform:
            return selection.n_selected() * (self.n_elements // self.n_chunks * self.item_bytes)
        inside = selection.within_window(self.n_chunks)
        if not inside.is_range or np.any(inside.size * inside.scale > self.n_chunks):  # beyond one buffer
            n = max(len(v) if isinstance(v, np.ndarray) else 1 for v in (*inside.values(), inside.index, rank))
            row, chunk = inside.expand(n)
            size = np.diff(self.offsets)[chunk % self.n_chunks]
            return np.bincount(row, size, n).astype(np.int64) * self.item_bytes
        inside = inside.runs()
        start = inside.start % inside.size
        end = start + inside.length
        wrapped = np.maximum(end - inside.size, 0)
        first = np.asarray(inside.first) % self.n_chunks
        until_end = self.offsets[first + np.minimum(end, inside.size)] - self.offsets[first + start]
        from_begin = self.offsets[first + wrapped] - self.offsets[first]
        return (until_end + from_begin) * self.item_bytes

    def slices(self, selection: Selection, rank: int) -> list[slice]:
        """Element slices of a selection of one row, placed, in order; touching ones are one. Over all buffers."""
        _, chunk = selection.within_window(self.n_chunks).expand(1)
        begin, end = self.bounds(chunk, rank)
        if not len(chunk):
            return []
        joins = begin[1:] == end[:-1]
        first, last = np.flatnonzero(np.append(True, ~joins)), np.flatnonzero(np.append(~joins, True))
        pieces = zip(begin[first].tolist(), end[last].tolist(), strict=True)
        return [slice(a, b) for a, b in pieces if b > a]

    def bounds(self, chunk: Ints, rank: Any) -> tuple[Ints, Ints]:
        """First element, and the one after the last, of chunks counted over all buffers."""
        buffer, inner = np.divmod(chunk, self.n_chunks)
        base = buffer * self.n_elements
        return base + self.offsets[inner], base + self.offsets[inner + 1]


def _parts(total: int, n_parts: int) -> tuple[Ints, Ints]:
    """Offsets (n_parts + 1,) and sizes of nearly equal parts, the larger ones first."""
    share, rest = divmod(total, n_parts)
    index = np.arange(n_parts + 1)
    offsets = index * share + np.minimum(index, rest)
    return offsets, np.diff(offsets)


@dataclass(frozen=True)
class MatrixLayout(Layout):
    """A vector whose block for each rank has a size of its own: ``counts[r, s]`` elements go from rank r to rank s.

    Only for collectives with an output, one chunk a block and no scratch: the two ends of a pair then know its size.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((1, 1), dtype=np.int64), compare=False)
    _out: Ints = field(init=False, repr=False, compare=False)
    _in: Ints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, counts in (("_out", self.counts), ("_in", self.counts.T)):
            ends = np.cumsum(counts, axis=1)
            object.__setattr__(self, name, np.concatenate([np.zeros((len(counts), 1), dtype=np.int64), ends], axis=1))

    @staticmethod
    def of_counts(space: Space, counts: NDArray[np.int64], item_bytes: int) -> MatrixLayout:
        """The layout of a square matrix of elements.

        Raises
        ------
        InputError
            If a count is negative, or the algorithm cuts blocks or keeps scratch.
        """
        n_ranks = len(counts)
        if (counts < 0).any():
            src, dst = np.argwhere(counts < 0)[0]
            raise InputError(f"rank {src} cannot send {counts[src, dst]} elements to rank {dst}")
        if space.n_data != n_ranks or space.n_scratch:
            raise InputError("sizes of their own for each pair need an algorithm of whole blocks without scratch")
        return MatrixLayout(int(counts.sum(axis=1).max()), n_ranks, item_bytes, n_ranks, 2, counts)

    @property
    def is_uniform(self) -> bool:
        """Never: sizes are looked up."""
        return False

    @property
    def depends_on_rank(self) -> bool:
        """Always."""
        return True

    def n_total(self, rank: int) -> int:
        """Elements of both buffers of a rank."""
        return int(self._out[rank, -1] + self._in[rank, -1])

    def n_output(self, rank: int) -> int:
        """Elements that a rank receives, its own included."""
        return int(self._in[rank, -1])

    def bytes_of(self, selection: Selection, rank: Any = 0) -> Any:
        """Bytes that each row's message carries, array (n_rows,)."""
        placed = selection.within_window(self.n_chunks)
        n = max(len(v) if isinstance(v, np.ndarray) else 1 for v in (*placed.values(), placed.index, rank))
        row, chunk = placed.expand(n)
        begin, end = self.bounds(chunk, np.broadcast_to(rank, n)[row])
        return np.bincount(row, end - begin, n).astype(np.int64) * self.item_bytes

    def bounds(self, chunk: Ints, rank: Any) -> tuple[Ints, Ints]:
        """First element, and the one after the last, of chunks of the vector and then of the output."""
        inner, is_output = chunk % self.n_chunks, chunk >= self.n_chunks
        base = np.where(is_output, self._out[rank, -1], 0)
        begin = np.where(is_output, self._in[rank, inner], self._out[rank, inner])
        end = np.where(is_output, self._in[rank, inner + 1], self._out[rank, inner + 1])
        return base + begin, base + end
