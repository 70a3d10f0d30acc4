"""Places: where ranks sit, and the classes of links between them. Pure functions of facts that the ranks gathered."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commsim.selection import Ints
from commsim.system import System
from experiments.crowding import kernel_here

ACROSS = "across"  # what no tier holds together
PACKAGES = Path("/sys/devices/system/cpu")

Pair = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """Where one rank sits.

    Attributes
    ----------
    host : str
        The same for ranks that share memory.
    machine : str
        The same for ranks that share cores: :func:`kernel_here`.
    socket : int or None
        Of its host; None where the rank may run on several, or nothing is known.
    cores : tuple of int
        That it may run on.
    """

    host: str
    machine: str
    socket: int | None
    cores: tuple[int, ...]


def place_here(host: str, packages: Path = PACKAGES) -> Place:
    """The place of this process; `packages` holds ``cpuN/topology/physical_package_id``."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    sockets = {_package(packages / f"cpu{core}") for core in cores}
    return Place(host, kernel_here(), sockets.pop() if len(sockets) == 1 else None, cores)


def _package(folder: Path) -> int | None:
    try:
        return int((folder / "topology" / "physical_package_id").read_text())
    except (OSError, ValueError):
        return None


def tiers_of(places: Sequence[Place]) -> dict[str, Ints]:
    """Socket and node of every rank, numbered (n_ranks,), -1 where there is none; the innermost tier first."""
    hosts = {host: number for number, host in enumerate(dict.fromkeys(place.host for place in places))}
    keys = [None if place.socket is None else (place.host, place.socket) for place in places]
    sockets = {key: number for number, key in enumerate(dict.fromkeys(key for key in keys if key is not None))}
    socket = np.array([-1 if key is None else sockets[key] for key in keys])
    node = np.array([hosts[place.host] for place in places])
    return {"socket": socket, "node": node}


def tiers_of_system(system: System, n_ranks: int) -> dict[str, Ints]:
    """The tiers of a system that hold some of these ranks together, the innermost first."""
    held = {tier: groups[:n_ranks] for tier, groups in system.topology.tiers.items()}

    def size(tier: str) -> float:
        counts = np.unique(held[tier][held[tier] >= 0], return_counts=True)[1]
        return float(counts.mean()) if len(counts) else 0.0

    return {tier: held[tier] for tier in sorted(held, key=size) if size(tier) > 1}


def classes_of(tiers: Mapping[str, Ints], n_ranks: int) -> dict[str, list[Pair]]:
    """For each class of links its pairs of ranks (a < b), in order: the innermost tier that both share, or `ACROSS`.

    Classes without a pair are not there; the innermost comes first.
    """
    found: dict[str, list[Pair]] = {name: [] for name in (*tiers, ACROSS)}
    for a, b in itertools.combinations(range(n_ranks), 2):
        shared = (tier for tier, groups in tiers.items() if groups[a] == groups[b] >= 0)
        found[next(shared, ACROSS)].append((a, b))
    return {name: pairs for name, pairs in found.items() if pairs}


def triangle(pairs: Sequence[Pair]) -> tuple[int, int, int] | None:
    """Three ranks all of whose pairs are of the class: each can send to one and receive from another. The first."""
    own = set(pairs)
    a, b = pairs[0]
    others = sorted({rank for pair in pairs for rank in pair} - {a, b})
    fits = (c for c in others if {tuple(sorted((a, c))), tuple(sorted((b, c)))} <= own)
    third = next(fits, None)
    return None if third is None else (a, b, third)


def side_by_side(pairs: Sequence[Pair], inner: Ints | None) -> list[Pair]:
    """Pairs without a common rank that run beside the first: between the same two groups of the tier below.

    `inner` (n_ranks,): the groups of that tier; None in the innermost class, where any pairs will do.
    """
    a, b = pairs[0]
    taken: set[int] = set()
    found = []
    for pair in pairs:
        beside = inner is None or [inner[end] for end in pair] == [inner[a], inner[b]]
        if beside and not taken & set(pair):
            found.append(pair)
            taken |= set(pair)
    return found
