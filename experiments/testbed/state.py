"""What was built: a record that is written before anything is made, so that a crash at any point can be cleared away.

A testbed is a name, and everything of it begins with that name: its namespaces ``commsim-NAME-fabric`` and
``commsim-NAME-0`` …, its folder of records. Nothing else is ever taken away.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from commsim.errors import ExecutionError, InputError
from experiments.testbed import network

FOLDER = Path("/run/commsim-testbed")  # as long-lived as namespaces are: until the machine restarts
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Record:
    """What there is of a testbed.

    Attributes
    ----------
    name : str
    system : str
        The file, resolved, or the spec.
    devices : tuple of str
    owner : (int, int)
        Process that builds it, or that it ends with, and when that began; (0, 0): it stays until `down`.
    """

    name: str
    system: str
    devices: tuple[str, ...]
    owner: tuple[int, int] = (0, 0)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return FOLDER / self.name

    @property
    def fabric(self) -> str:
        """The namespace of the bridges."""
        return f"commsim-{self.name}-fabric"

    @property
    def hosts(self) -> list[str]:
        """The namespaces of the devices."""
        return [f"commsim-{self.name}-{device}" for device in range(len(self.devices))]

    @property
    def abandoned(self) -> bool:
        """Whether it was to end with a process that is no more."""
        return self.owner != (0, 0) and _began(self.owner[0]) != self.owner[1]

    def write(self) -> None:
        """Keep it; the file is whole or not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "record.draft"
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(self.folder / "record.json")


def me() -> tuple[int, int]:
    """The process that asks, as an owner."""
    return os.getpid(), _began(os.getpid()) or 0


def _began(process: int) -> int | None:
    """When a process began, in ticks since the machine did; None if there is none."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def name_of(system: str, given: str | None) -> str:
    """The name of a system's testbed: given, or the file's with a few digits of its path.

    Raises
    ------
    InputError
        If a given one cannot be part of a namespace's name.
    """
    if given is not None:
        if NAME.fullmatch(given) is None:
            raise InputError(f"--name {given!r}: use lower-case letters, digits, - and _, at most 40")
        return given
    stem = re.sub(r"[^a-z0-9]+", "-", Path(system).stem.lower()).strip("-")[:24]
    return f"{stem or 'system'}-{sha256(source(system).encode()).hexdigest()[:6]}"


def source(system: str) -> str:
    """A file by its full path; a spec as it is."""
    return str(Path(system).resolve()) if system.endswith(".toml") else system


def records() -> list[Record]:
    """All that there are on this machine."""
    found = []
    for path in sorted(FOLDER.glob("*/record.json")):
        try:
            values = json.loads(path.read_text())
            found.append(Record(values["name"], values["system"], tuple(values["devices"]), tuple(values["owner"])))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExecutionError(f"{path}: no record of a testbed ({error}); remove its folder by hand") from None
    return found


@contextmanager
def alone() -> Iterator[None]:
    """One process at a time makes or removes testbeds."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def clear(record: Record) -> None:
    """End all of its processes, take its namespaces away, then the record."""
    for namespace in (*record.hosts, record.fabric):
        network.remove(namespace)
    shutil.rmtree(record.folder, ignore_errors=True)


def clear_of(owner: tuple[int, int]) -> None:
    """Clear away what belongs to a process, whether it is no more or about to be."""
    for record in records():
        if record.owner == owner:
            clear(record)


def clear_abandoned() -> list[str]:
    """Clear away what processes left that are no more; the names."""
    left = [record for record in records() if record.abandoned]
    for record in left:
        clear(record)
    return [record.name for record in left]
