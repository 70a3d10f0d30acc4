"""Scratch memory of plans: one's own, or shared by plans of which only one runs at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from collectives.operations import Array

SMALLEST_BYTES = 4096
PAGE_BYTES = 4096


def paged(n_bytes: int, after: int = 0) -> Array:
    """Memory (n_bytes,) of undefined values that begins with a page, or so many bytes after.

    A copy to a place that is less than a cache line further on in its page than its source is in its own can take
    thirteen times as long, where ``memcpy`` is ``rep movsb`` (seen on AMD's Zen). numpy's large arrays begin 16 bytes
    after a page, others' often with one.
    """
    memory = np.empty(n_bytes + PAGE_BYTES, np.uint8)
    begin = (after - memory.ctypes.data) % PAGE_BYTES
    return memory[begin : begin + n_bytes]


class Memory:
    """Scratch that plans share which never run at the same time: as much as the largest of them takes.

    It begins half a page from where users' arrays do.
    """

    def __init__(self) -> None:
        self._arenas: dict[tuple[int, int], Array] = {}

    def lease(self, first: int = 0) -> Lease:
        """What one plan takes of it, pieces that do not overlap, counted from `first` on."""
        return Lease(self._arenas, first)

    def touch(self) -> None:
        """Write all that was leased: the system gives pages when they are first written, which takes time."""
        for arena in self._arenas.values():
            arena.fill(0)


class Lease:
    """Pieces of memory for one plan; the n-th piece of one size class is the same memory in all plans that share it."""

    def __init__(self, arenas: dict[tuple[int, int], Array] | None = None, first: int = 0) -> None:
        self._arenas, self._n_taken = arenas, first

    def take(self, n_elements: int, dtype: np.dtype[Any]) -> Array:
        """An array (n_elements,) of undefined values."""
        if self._arenas is None:
            return paged(n_elements * dtype.itemsize, PAGE_BYTES // 2).view(dtype)
        n_bytes = n_elements * dtype.itemsize
        size = max(SMALLEST_BYTES, 1 << max(n_bytes - 1, 0).bit_length())
        key, self._n_taken = (self._n_taken, size), self._n_taken + 1
        if key not in self._arenas:
            self._arenas[key] = paged(size, PAGE_BYTES // 2)
        return self._arenas[key][:n_bytes].view(dtype)
