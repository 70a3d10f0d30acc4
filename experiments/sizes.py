"""Message sizes as nccl-tests has them: from -b to -e by factor -f, or a list."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from commsim.collective import Collective
from commsim.errors import InputError
from commsim.selection import Ints
from commsim.simulate import item_bytes
from commsim.units import parse_bytes


def size_list(sizes: str | None, begin: str | None, end: str | None, factor: int) -> list[int]:
    """Bytes of every run, ascending for -b/-e, as written for --sizes.

    Raises
    ------
    InputError
        If a size is none, if both forms or neither are given, or the range is empty.
    """
    if sizes is not None:
        if begin is not None or end is not None:
            raise InputError("give either --sizes or -b and -e, not both")
        listed = [parse_bytes(text) for text in sizes.split(",") if text.strip()]
        if not listed:
            raise InputError(f"--sizes {sizes!r} names no size; write it like 1MiB,64MiB")
        return listed
    if begin is None:
        raise InputError("give sizes: --sizes 1MiB,64MiB, or -b 8 -e 1GiB -f 2")
    first = parse_bytes(begin)
    last = first if end is None else parse_bytes(end)
    if factor < 2:
        raise InputError(f"-f {factor} must be at least 2")
    if first < 1 or last < first:
        raise InputError(f"-b {begin} -e {end}: the sizes must begin at 1 B or more and not end below that")
    stepped = [first]
    while stepped[-1] * factor <= last:
        stepped.append(stepped[-1] * factor)
    return stepped


@dataclass(frozen=True)
class Volume:
    """How much data the runs of a command move.

    Attributes
    ----------
    sizes : list of int
        Bytes of every run.
    counts : array (n_ranks, n_ranks) or None
        Elements from each rank to each, where every pair has a size of its own.
    notes : dict
        What was changed, for people.
    """

    sizes: list[int]
    counts: Ints | None = None
    notes: dict[str, str] = field(default_factory=dict)


def volume(
    collective: Collective,
    n_ranks: int,
    dtype: str,
    written: tuple[str | None, str | None, str | None, int],
    matrix: Path | None,
) -> Volume:
    """What a collective moves, from what was written.

    A barrier has no size. An alltoall sends equally much to each rank: sizes are cut to whole elements for each, as
    nccl-tests does. An alltoallv takes a matrix instead of sizes.

    Parameters
    ----------
    collective : Collective
    n_ranks : int
    dtype : str
    written : tuple
        --sizes, -b, -e and -f, as :func:`size_list` takes them.
    matrix : Path or None

    Raises
    ------
    InputError
        If sizes or a matrix are missing, or given where the collective has none.
    """
    has_sizes = any(text is not None for text in written[:3])
    name = collective.name
    if matrix is not None and not collective.sizes_each:
        raise InputError(f"--matrix: {name} has one size for all ranks; alltoallv has one for each pair")
    if collective.joins:
        if has_sizes:
            raise InputError(f"{name} moves no data: leave the sizes out")
        return Volume([0])
    if collective.sizes_each:
        if matrix is None or has_sizes:
            raise InputError(
                f"{name} takes --matrix FILE.csv (a row for each sender, a column for each receiver), no sizes"
            )
        counts = read_matrix(matrix, dtype)
        if len(counts) != n_ranks:
            raise InputError(f"--matrix {matrix}: {len(counts)} rows, but there are {n_ranks} ranks")
        return Volume(
            [int(counts.sum(axis=1).max()) * item_bytes(dtype)], counts, {"size": "what the busiest rank sends"}
        )
    sizes = size_list(*written)
    if n_ranks < 1:
        raise InputError(f"n_ranks={n_ranks}: there is no communicator of fewer than one rank")
    if not collective.has_output:
        return Volume(sizes)
    unit = n_ranks * item_bytes(dtype)
    cut = list(dict.fromkeys(size // unit * unit for size in sizes))
    changed = {"sizes": f"cut to multiples of {unit} B, a whole number of elements for each of {n_ranks} ranks"}
    return Volume(cut, None, {} if cut == sizes else changed)


def read_matrix(path: Path, dtype: str) -> Ints:
    """Elements from each rank (row) to each (column), from a CSV file of bytes or sizes such as 1MiB.

    Raises
    ------
    InputError
        Naming file, line and column of what is wrong.
    """
    item = item_bytes(dtype)
    try:
        lines = [line for line in csv.reader(path.read_text().splitlines()) if line and not line[0].startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--matrix {path}: cannot be read ({error})") from None
    counts: list[list[int]] = []
    if not lines:
        raise InputError(f"--matrix {path}: it is empty; one row of sizes for each rank")
    for row, line in enumerate(lines):
        if len(line) != len(lines):
            raise InputError(f"--matrix {path}: row {row + 1} has {len(line)} columns, but there are {len(lines)} rows")
        counts.append([])
        for column, text in enumerate(line):
            place = f"--matrix {path}: row {row + 1}, column {column + 1}"
            try:
                n_bytes = parse_bytes(text.strip())
            except InputError as error:
                raise InputError(f"{place}: {error}") from None
            if n_bytes % item:
                raise InputError(f"{place}: {n_bytes} B is not a whole number of {dtype} elements ({item} B each)")
            counts[-1].append(n_bytes // item)
    if sum(map(sum, counts)) * item >= 2**63:
        raise InputError(f"--matrix {path}: all of it together must stay below 2^63 B")
    return np.array(counts, dtype=np.int64)
