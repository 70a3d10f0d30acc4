"""Selection: the chunks that one message carries. A range that wraps, with a pattern in it, or an explicit list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from commsim.errors import ScheduleError

Ints: TypeAlias = NDArray[np.int64]

DATA, OUTPUT, SCRATCH = 0, 1, 2
"""Buffers of a rank: its vector; what an alltoall writes; ``SCRATCH + i`` is the i-th copy beside the vector.
Every buffer is cut like the vector: chunk c is equally large in all of them."""


@lru_cache(maxsize=8)
def numbers(n: int) -> Ints:
    """``arange(n)``, not to be written."""
    array = np.arange(n)
    array.flags.writeable = False
    return array


def spread(value: Any, n_rows: int) -> Any:
    """The value of each row, array (n_rows,): `value` itself if it is one, else as often as there are rows."""
    if isinstance(value, int):
        return np.full(n_rows, value)
    if isinstance(value, np.ndarray) and value.shape == (n_rows,):
        return value
    return np.full(n_rows, value if np.ndim(value) == 0 else np.broadcast_to(value, n_rows))


def one_value(values: Any) -> Any:
    """One value if all rows have the same, else the values: the reverse of :func:`spread`."""
    if not isinstance(values, np.ndarray) or not values.ndim or not len(values) or (values != values[0]).any():
        return values
    return values[0]


def of_rows(values: Any, index: Any) -> Any:
    """The values of the given rows; what is one value for all stays one."""
    return values[index] if isinstance(values, np.ndarray) and values.ndim else values


@dataclass(frozen=True)
class Space:
    """All chunks of one rank: those of its vector, of its output if it has one, and of each scratch copy, in turn."""

    n_data: int
    has_output: bool = False
    n_scratch: int = 0

    @property
    def n_buffers(self) -> int:
        """Copies of the vector's chunks."""
        return 1 + self.has_output + self.n_scratch

    @property
    def n_chunks(self) -> int:
        """Chunks of all buffers together."""
        return self.n_buffers * self.n_data

    def n_from(self, buffer: Any) -> Any:
        """Chunks that a selection may reach from the beginning of a buffer on; in scratch the copies behind it too."""
        return (1 + (buffer >= SCRATCH) * (self.n_scratch - 1 - (buffer - SCRATCH))) * self.n_data

    def first_of(self, buffer: Any) -> Any:
        """Number of the first chunk of a buffer.

        Raises
        ------
        ScheduleError
            If there is no such buffer.
        """
        for one in [buffer] if isinstance(buffer, int) else np.unique(buffer).tolist():
            if not DATA <= one < SCRATCH + self.n_scratch or (one == OUTPUT and not self.has_output):
                raise ScheduleError(
                    f"there is no buffer {one}: the collective has {'an' if self.has_output else 'no'} output, and the "
                    f"algorithm declares scratch={self.n_scratch}"
                )
        return (buffer - (buffer >= SCRATCH) * (SCRATCH - 1 - self.has_output)) * self.n_data


@dataclass(frozen=True)
class Selection:
    """The chunks ``first + (start + i) mod size`` for ``0 <= i < length`` with ``i mod stride < block``, or a list.

    Every value is an int, or an array (n_rows,).

    Attributes
    ----------
    start, length : int or array
        First chunk and number of chunks, relative to the window.
    first, size : int or array
        The window of the buffer inside which the range wraps around; ``size`` 0 is the whole buffer.
    block, stride : int or array
        Of every ``stride`` chunks the first ``block``.
    scale : int or array
        Each chunk so far is in truth so many (of an inner program's, in the outer buffer).
    buffer : int or array
        ``DATA``, ``OUTPUT``, or ``SCRATCH`` and up.
    index : array (1 or n_rows, k), optional
        The chunks one by one, padded with -1, instead of the range; relative to the window, in units of ``scale``.
    """

    start: Any = 0
    length: Any = 1
    first: Any = 0
    size: Any = 0
    block: Any = 1
    stride: Any = 1
    scale: Any = 1
    buffer: Any = DATA
    index: Ints | None = None

    def require(self, n_rows: int) -> None:
        """Refuse what is neither one whole number for all rows nor one for each of so many.

        Raises
        ------
        ScheduleError
            Naming the value.
        """
        for value in self.values():
            if type(value) is int:
                continue
            if isinstance(value, np.ndarray):
                fits = value.shape == (n_rows,) and value.dtype == np.int64
            else:
                fits = isinstance(value, (int, np.integer))
            if not fits:
                raise ScheduleError(
                    f"a selection takes a whole number, or an array of one for each of {n_rows} messages, not {value!r}"
                )
        listed: Any = self.index
        if listed is None:
            return
        if not isinstance(listed, np.ndarray) or listed.ndim != 2 or listed.dtype != np.int64:
            raise ScheduleError(f"a list of chunks is an array (1 or n, k) of int64, not {listed!r}")
        if len(listed) not in (1, n_rows):
            raise ScheduleError(f"a list of chunks for {len(listed)} ranks, not for {n_rows}")

    def rows(self, index: Ints) -> Selection:
        """The selections of the given rows (a value that is the same for all rows stays one value)."""
        values = [of_rows(value, index) for value in self.values()]
        listed = self.index
        return Selection(*values, *([] if listed is None else [listed[index] if len(listed) > 1 else listed]))

    def of_row(self, row: int) -> Selection:
        """The selection of one row, in ints; arrays that it came from may change afterwards."""
        listed, values = self.index, self.values()
        if listed is None and set(map(type, values)) == {int}:
            return self
        values = tuple(int(value[row]) if isinstance(value, np.ndarray) else value for value in values)
        return Selection(*values, *([] if listed is None else [listed[[row if len(listed) > 1 else 0]]]))

    def shifted(self, n_chunks: int) -> Selection:
        """The same so many chunks further on, around the window, which must be given.

        Raises
        ------
        ScheduleError
        """
        if self is NOTHING or n_chunks == 0:
            return self
        if self.index is not None or np.any(np.asarray(self.size) == 0):
            raise ScheduleError("chunks that move are a range with a window: chunk(…, size=…) or chunks(…, size=…)")
        values = (self.length, self.first, self.size, self.block, self.stride, self.scale, self.buffer)
        moved = self.start + n_chunks % self.size
        return Selection(moved - self.size * (moved >= self.size), *values)  # the remainder, in a third of the time

    def tiled(self, n_times: int) -> Selection:
        """The same rows, `n_times` over."""
        if n_times == 1:
            return self
        return self._map(
            lambda value: np.tile(value, n_times),
            lambda listed: np.tile(listed, (n_times, 1)) if len(listed) > 1 else listed,
        )

    def inside(self, window: Window, rows: Ints | None) -> Selection:
        """Make this selection of an inner program's chunks, as one of the outer chunks that `window` says."""
        first = window.first if rows is None or not isinstance(window.first, np.ndarray) else window.first[rows]
        inner = self.within_window(window.n_chunks)
        if np.any(inner.first < 0) or np.any(inner.first + inner.size * inner.scale > window.n_chunks):
            raise ScheduleError(
                f"a selection does not fit in a window of {window.n_chunks} chunks: its own window is larger, or it "
                "runs over several scratch copies (such an algorithm cannot run in groups)"
            )
        return replace(
            inner,
            first=first + inner.first * window.scale,
            scale=inner.scale * window.scale,
            buffer=inner.buffer if window.buffer == DATA else _where(inner.buffer, DATA, window.buffer),
        )

    def within_window(self, n_chunks: int) -> Selection:
        """The same with the window's size filled in (counted in units of ``scale``)."""
        if isinstance(self.size, np.ndarray):
            return self._moved(self.first, np.where(self.size == 0, n_chunks, self.size), self.buffer)
        return self if self.size else self._moved(self.first, n_chunks, self.buffer)

    def _moved(self, first: Any, size: Any, buffer: Any) -> Selection:
        """The same with another window (written out: dataclasses.replace takes four times as long)."""
        values = (self.block, self.stride, self.scale, buffer, self.index)
        return Selection(self.start, self.length, first, size, *values)

    def placed(self, space: Space) -> Selection:
        """The same with the window filled in and ``first`` counted over all buffers (``buffer`` is then DATA)."""
        done = self.within_window(space.n_data)
        if isinstance(done.buffer, int) and done.buffer == DATA:
            return done
        return done._moved(done.first + space.first_of(done.buffer), done.size, DATA)

    @property
    def is_range(self) -> bool:
        """Whether every row is one plain range that may wrap."""
        return self.index is None and isinstance(self.stride, int) and self.stride == 1

    def n_selected(self) -> Any:
        """Chunks in each row's message: an int, or an array (n_rows,) or (1,)."""
        if self.index is not None:
            return (self.index >= 0).sum(axis=1) * self.scale
        if self.is_range:
            return self.length * self.scale
        whole, rest = self.length // self.stride, self.length % self.stride
        return (whole * self.block + np.minimum(rest, self.block)) * self.scale

    def expand(self, n_rows: int) -> tuple[Ints, Ints]:
        """Chunk by chunk: arrays (n,) of the row and of the chunk, in row order. The window must be filled in."""
        if not n_rows:  # nobody's selection may be senseless
            return numbers(0), numbers(0)
        length, scale = self.length, self.scale
        if self.is_range and type(length) is int and type(scale) is int:
            if length == scale == 1:
                chunk = self.first + self.start % self.size  # the common case, cheaply
                return numbers(n_rows), chunk if isinstance(chunk, np.ndarray) else np.full(n_rows, chunk)
            return self._expand_equal(n_rows)
        first, size, scale = (spread(v, n_rows) for v in self._window())
        if self.index is not None:
            listed = np.broadcast_to(self.index, (n_rows, self.index.shape[1]))
            row, column = np.nonzero(listed >= 0)
            inner = listed[row, column]
        else:
            row, inner = self._expand_range(n_rows)
            inner %= size[row]
        if isinstance(self.scale, int) and self.scale == 1:
            return row, first[row] + inner
        times = scale[row]
        row, inner = np.repeat(row, times), np.repeat(inner * times, times)
        within = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
        return row, first[row] + inner + within

    def _expand_equal(self, n_rows: int) -> tuple[Ints, Ints]:
        """Ranges of one length, without a list of offsets for each row."""
        plain = self.runs()
        start, first, size = (np.asarray(v) if np.ndim(v) else v for v in (plain.start, plain.first, plain.size))
        columns = (np.reshape(v, (-1, 1)) for v in (start, first, size))
        begin, base, end = columns
        chunk = begin + np.arange(plain.length)
        if plain.length and np.any(begin + plain.length > end):
            chunk %= end
        chunk = np.broadcast_to(chunk + base if np.any(base) else chunk, (n_rows, plain.length))
        return np.repeat(np.arange(n_rows), plain.length), chunk.ravel()

    def _expand_range(self, n_rows: int) -> tuple[Ints, Ints]:
        """Row and number in the window, not yet wrapped."""
        values = (self.start, self.length, self.block, self.stride)
        start, length, block, stride = (spread(v, n_rows) for v in values)
        if not self.is_range:
            length = length // stride * block + np.minimum(length % stride, block)
        row = np.repeat(np.arange(n_rows), length)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        if not self.is_range:
            offset = offset // block[row] * stride[row] + offset % block[row]
        return row, start[row] + offset

    def runs(self) -> Selection:
        """The same chunks as plain ranges of chunks of the buffer, where scale is 1. Only of ranges."""
        if isinstance(self.scale, int) and self.scale == 1:
            return self
        scale = self.scale
        return replace(self, start=self.start * scale, length=self.length * scale, size=self.size * scale, scale=1)

    def _window(self) -> tuple[Any, Any, Any]:
        return self.first, self.size, self.scale

    def values(self) -> tuple[Any, ...]:
        """All but ``index``."""
        return self.start, self.length, self.first, self.size, self.block, self.stride, self.scale, self.buffer

    def _map(self, function: Callable[[Any], Any], listed: Callable[[Ints], Ints]) -> Selection:
        values = (function(v) if isinstance(v, np.ndarray) and v.ndim else v for v in self.values())
        return Selection(*values, *([] if self.index is None else [listed(self.index)]))

    @staticmethod
    def joined(parts: Sequence[tuple[Selection, int]]) -> Selection:
        """One selection whose rows are those of the parts, each given with its number of rows: all lists, or none."""
        n_rows = [n for _, n in parts]
        columns = zip(*(selection.values() for selection, _ in parts), strict=True)
        values = (_joined(column, n_rows) for column in columns)
        lists = [(selection.index, n) for selection, n in parts if selection.index is not None]
        width = max((index.shape[1] for index, _ in lists), default=0)
        index = [np.concatenate([_padded(index, n, width) for index, n in lists])] if lists else []
        return Selection(*values, *index)


def _joined(values: Sequence[Any], n_rows: Sequence[int]) -> Any:
    """One value for the rows of all parts: a number where it is the same everywhere, else an array."""
    if any(issubclass(kind, np.ndarray) for kind in set(map(type, values))):
        return np.concatenate([spread(value, n) for value, n in zip(values, n_rows, strict=True)])
    return int(values[0]) if len(set(values)) == 1 else np.repeat(np.array(values), n_rows)


def _where(buffer: Any, inner: int, outer: int) -> Any:
    return (
        (outer if buffer == inner else buffer) if isinstance(buffer, int) else np.where(buffer == inner, outer, buffer)
    )


def _padded(index: Ints, n_rows: int, width: int) -> Ints:
    done = np.full((n_rows, width), -1)
    done[:, : index.shape[1]] = index
    return done


NOTHING = Selection(0, 0)


@dataclass(frozen=True)
class Window:
    """Where an inner program's chunks lie in the outer buffer: chunk c at ``first + c*scale``, ``scale`` chunks long.

    ``first`` may be an array (n_ranks,): a window for each rank. ``n_chunks`` counts inner chunks. The inner program's
    vector is the outer ``buffer``; its scratch lies in the outer scratch at the same place.
    """

    first: Any
    n_chunks: int
    scale: int = 1
    buffer: int = DATA

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", _whole(self.first))
        for word in ("n_chunks", "scale"):
            value = _whole(getattr(self, word))
            if not isinstance(value, int) or value < 1:
                raise ScheduleError(f"a window needs {word} of at least 1, not {value}")


def chunk(index: Any, *, buffer: Any = DATA, size: Any = 0) -> Selection:
    """One chunk; in a repetition that moves it, `size` says after how many it wraps around."""
    return Selection(_whole(index), size=_whole(size), buffer=_whole(buffer))


def chunks(start: Any, length: Any, *, block: Any = 1, stride: Any = 1, buffer: Any = DATA, size: Any = 0) -> Selection:
    """A range of chunks that wraps around at the end of the buffer; of every ``stride`` only the first ``block``.

    With ``size`` it wraps after so many chunks; in scratch they may run on into the copies behind.
    """
    length, block, stride = _whole(length), _whole(block), _whole(stride)
    if np.any(np.asarray(block) < 1) or np.any(np.asarray(stride) < np.asarray(block)):
        raise ScheduleError(f"block={block} must be at least 1 and at most stride={stride}")
    return Selection(_whole(start), length, size=_whole(size), block=block, stride=stride, buffer=_whole(buffer))


def listed(index: Any, *, buffer: Any = DATA) -> Selection:
    """The chunks one by one: an array (k,), the same for all ranks, or (n_ranks, k); -1 where a row has fewer."""
    rows = np.atleast_2d(np.asarray(index))
    if rows.size == 0:
        rows = rows.astype(np.int64)
    if rows.ndim != 2 or rows.dtype.kind not in "iu":
        raise ScheduleError(f"a list of chunks is an array (k,) or (n_ranks, k) of whole numbers, not {index!r}")
    return Selection(index=rows.astype(np.int64, copy=False), buffer=_whole(buffer))


def _whole(value: Any) -> Any:
    """An int, or an array (n,) of int64."""
    if type(value) is int:
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ScheduleError(f"chunks are counted in whole numbers, not {value!r}; use // instead of /")
    return array.astype(np.int64, copy=False) if array.ndim else int(array)
