"""How a vector of elements is cut into chunks, so that selections of chunks become bytes and slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commsim.errors import InputError
from commsim.program import Ints, Selection


@dataclass(frozen=True)
class Layout:
    """``n_elements`` in ``n_chunks`` chunks of whole elements; the first ``n_elements mod n_chunks`` have one more.

    A chunk may be empty. ``offsets[c]`` (n_chunks + 1,) is the first element of chunk ``c``.
    """

    n_elements: int
    n_chunks: int
    item_bytes: int
    offsets: Ints = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n_elements < 0 or self.n_chunks < 1 or self.item_bytes < 1:
            raise InputError(
                f"no layout has {self.n_elements} elements of {self.item_bytes} B in {self.n_chunks} chunks"
            )
        if self.n_bytes >= 2**63:
            raise InputError(f"a vector of {self.n_bytes} B is too large; it must stay below 2^63 B")
        share, rest = divmod(self.n_elements, self.n_chunks)
        index = np.arange(self.n_chunks + 1)
        object.__setattr__(self, "offsets", index * share + np.minimum(index, rest))

    @property
    def n_bytes(self) -> int:
        """Size of the vector."""
        return self.n_elements * self.item_bytes

    @property
    def is_uniform(self) -> bool:
        """Whether all chunks have one size."""
        return self.n_elements % self.n_chunks == 0

    def bytes_of(self, selection: Selection) -> Any:
        """Bytes that each row's message carries: an int, or an array (n_rows,)."""
        if self.is_uniform:
            return selection.length * (self.n_elements // self.n_chunks * self.item_bytes)
        inside = selection.within_buffer(self.n_chunks)
        start = inside.start % inside.size
        end = start + inside.length
        wrapped = np.maximum(end - inside.size, 0)
        first = np.asarray(inside.first)
        until_end = self.offsets[first + np.minimum(end, inside.size)] - self.offsets[first + start]
        from_begin = self.offsets[first + wrapped] - self.offsets[first]
        return (until_end + from_begin) * self.item_bytes

    def slices(self, start: int, length: int, first: int, size: int) -> list[slice]:
        """Element slices (one, or two when the range wraps; none when it is empty) of one row's selection."""
        begin = start % size
        end = begin + length
        pieces = [(begin, min(end, size)), (0, max(end - size, 0))]
        bounds = [(int(self.offsets[first + a]), int(self.offsets[first + b])) for a, b in pieces]
        return [slice(a, b) for a, b in bounds if b > a]
