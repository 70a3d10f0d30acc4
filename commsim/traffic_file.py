"""Traffic as CSV: a row for each message, read and written here alone.

Columns, in any order: ``src`` and ``dst`` (numbers or names of devices) and ``bytes`` must be there; ``id`` (by default
the number of the row), ``after`` (ids separated by ``;``: the message starts when all of them are done), ``start`` (a
time: it does not start before), ``compute`` (a time: how long the receiver computes on it; a row from a device to
itself is a computation) and ``label`` (free) may be.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from commsim.errors import InputError, unknown_name
from commsim.system import System
from commsim.traffic import Traffic
from commsim.units import parse_bytes, parse_time

COLUMNS = ("id", "after", "start", "src", "dst", "bytes", "compute", "label")
MOST_BYTES = 2**53
NEEDED = ("src", "dst", "bytes")


def read_traffic(path: Path | str, system: System) -> Traffic:
    """The messages of a CSV file.

    Raises
    ------
    InputError
        Naming file, line and column of what is wrong.
    """
    path = Path(path)
    lines = list(_lines(path))
    if not lines:
        raise InputError(f"{path}: it is empty; its first line names the columns: {','.join(COLUMNS)}")
    (number, header), *rows = lines
    header = [word.strip() for word in header]
    for word in header:
        if word not in COLUMNS:
            raise unknown_name(f"column in {path}, line {number}:", word, COLUMNS)
        if header.count(word) > 1:
            raise InputError(f"{path}, line {number}: the column {word} stands twice")
    for word in NEEDED:
        if word not in header:
            raise InputError(f"{path}, line {number}: the column {word} is missing; needed are {', '.join(NEEDED)}")
    for number, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: {len(row)} values for {len(header)} columns")
    places = [number for number, _ in rows]
    columns = {word: [row[at].strip() for _, row in rows] for at, word in enumerate(header)}
    return _traffic(path, places, columns, system)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows without blank lines and comments."""
    try:
        reader = csv.reader(path.read_text().splitlines(), strict=True)
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV: {error}") from None


def _traffic(path: Path, places: list[int], columns: Mapping[str, list[str]], system: System) -> Traffic:
    n = len(places)

    def column(word: str, parse: Any, default: Any) -> list[Any]:
        made = []
        for place, text in zip(places, columns.get(word, [""] * n), strict=True):
            try:
                made.append(parse(text) if text or word in NEEDED else default)
            except InputError as error:
                raise InputError(f"{path}, line {place}, {word}: {error}") from None
        return made

    device = _devices(system)
    src, dst = (np.array(column(word, device, 0), dtype=np.int64) for word in ("src", "dst"))
    ids = [one or str(row) for row, one in enumerate(columns.get("id", [""] * n), 1)]
    operations = np.arange(n)
    return Traffic(
        name=str(path),
        src=src,
        dst=dst,
        n_bytes=np.array(column("bytes", _bytes, 0), dtype=np.int64),
        compute_s=np.array(column("compute", parse_time, 0.0), dtype=np.float64),
        sender=operations,
        receiver=operations,
        ids=tuple(ids),
        labels=tuple(columns.get("label", [""] * n)),
        operations=tuple(ids),
        start_s=np.array(column("start", parse_time, 0.0), dtype=np.float64),
        requires=_predecessors(path, places, ids, columns.get("after", [""] * n)),
        follows=np.empty((0, 2), dtype=np.int64),
    )


def _devices(system: System) -> Any:
    """Finds a device by its number or its name."""
    names: dict[str, int] = {}
    n = system.n_devices

    def device(text: str) -> int:
        if text.isdecimal():
            if int(text) < n:
                return int(text)
            raise InputError(f"there is no device {text}; {system.name} has {n}, 0 to {n - 1}")
        if not names:
            names.update((system.topology.vertex_name(one), one) for one in range(n))
        if text not in names:
            raise unknown_name(f"device of {system.name}:", text, names)
        return names[text]

    return device


def _bytes(text: str) -> int:
    if text.startswith("-"):
        raise InputError(f"{text} must be zero or more")
    n_bytes = parse_bytes(text)
    if n_bytes > MOST_BYTES:
        raise InputError(f"{text} is too much; a message has at most {MOST_BYTES} B")
    return n_bytes


def _predecessors(path: Path, places: list[int], ids: list[str], after: list[str]) -> Any:
    number = {one: row for row, one in enumerate(ids)}
    if len(number) < len(ids):
        twice = next(row for row, one in enumerate(ids) if number[one] != row)
        other = number[ids[twice]]
        raise InputError(f"{path}, line {places[other]}: the id {ids[twice]} stands in line {places[twice]} already")
    pairs = []
    for row, text in enumerate(after):
        for one in filter(None, (part.strip() for part in text.split(";"))) if text else ():
            if one not in number:
                raise unknown_name(
                    f"id in {path}, line {places[row]}, after:", one, ids if len(ids) < 1000 else ids[:3]
                )
            pairs.append((row, number[one]))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def write_traffic(traffic: Traffic, path: Path) -> None:
    """Write what :func:`read_traffic` reads back.

    A message whose ends are posted by two operations starts when both may, and both are done with it at once: exact
    where senders wait for delivery.

    Raises
    ------
    InputError
        If an operation follows the start of another, which CSV does not know.
    """
    if len(traffic.follows):
        one, other = (traffic.operations[number] for number in traffic.follows[0])
        raise InputError(f"{path}: {one} starts when {other} has started: only GOAL knows that")
    rows_of: dict[int, list[int]] = {}
    for row, operations in enumerate(zip(traffic.sender.tolist(), traffic.receiver.tolist(), strict=True)):
        for operation in dict.fromkeys(operations):
            rows_of.setdefault(operation, []).append(row)
    before: list[dict[str, None]] = [{} for _ in traffic.ids]
    for one, other in traffic.requires.tolist():
        for row in rows_of[one]:
            before[row].update((traffic.ids[earlier], None) for earlier in rows_of[other])
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, one in enumerate(traffic.ids):
            start_s = max(traffic.start_s[traffic.sender[number]], traffic.start_s[traffic.receiver[number]])
            ends = int(traffic.src[number]), int(traffic.dst[number]), int(traffic.n_bytes[number])
            times = (f"{float(seconds)!r}s" if seconds else "" for seconds in (start_s, traffic.compute_s[number]))
            start, compute = times
            writer.writerow([one, ";".join(before[number]), start, *ends, compute, traffic.labels[number]])
