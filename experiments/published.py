"""Published measurements that the product ships, as they were printed, with their source."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files

from commsim.errors import InputError
from commsim.units import parse_time


@dataclass(frozen=True)
class Published:
    """One nccl-tests run.

    Attributes
    ----------
    header : dict
        "source", "system", "measured", "software", "algorithm/protocol" as the file says.
    points : tuple of (int, float)
        Bytes and seconds: of each row the better of out of place and in place (single outliers stand in good sets).
    """

    header: dict[str, str]
    points: tuple[tuple[int, float], ...]


def nccl_tests(name: str) -> Published:
    """A shipped nccl-tests measurement by its file name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    source = files("experiments") / "data" / f"{name}.csv"
    if not source.is_file():
        raise InputError(f"no published measurement {name!r} is shipped")
    lines = source.read_text().splitlines()
    comments = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    header = {key: value.strip() for key, _, value in (line.partition(":") for line in comments)}
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    points = tuple(
        (int(row["size_B"]), parse_time(f"{min(float(row['oop_us']), float(row['ip_us']))}us")) for row in rows
    )
    return Published(header, points)
