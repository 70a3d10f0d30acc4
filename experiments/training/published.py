"""Published training measurements that the product ships, as they were printed, with their source."""

from __future__ import annotations

import csv
from importlib.resources import files

from commsim.errors import InputError


def rows_of(name: str) -> list[dict[str, str]]:
    """Rows of a shipped file by its name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    return list(csv.DictReader(line for line in _lines(name) if not line.startswith("#")))


def source_of(name: str) -> str:
    """Where a shipped file is from, as its header says."""
    return next(line.partition("source:")[2].strip() for line in _lines(name) if line.startswith("# source:"))


def _lines(name: str) -> list[str]:
    source = files("experiments") / "training" / "data" / f"{name}.csv"
    if not source.is_file():
        raise InputError(f"no published training measurement {name!r} is shipped")
    return source.read_text().splitlines()
