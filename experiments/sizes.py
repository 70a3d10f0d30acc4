"""Message sizes as nccl-tests has them: from -b to -e by factor -f, or a list."""

from __future__ import annotations

from commsim.errors import InputError
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
