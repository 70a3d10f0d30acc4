"""Calibration: what a message and a reduction cost between these ranks, fitted and written as a system.

Only messages between pairs, one and several at once, and local reductions are timed, never a collective. They go
through the same plans as collectives do, and the data is as fresh as there: the sender has just written what it sends,
and the reduction reads what has just arrived.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from commsim.bounds import burst_s
from commsim.errors import InputError, RefusedError
from commsim.system import System
from experiments.calibrate.file import save
from experiments.calibrate.fit import Calibration, Way, fit
from experiments.calibrate.measure import LARGEST, Measured, measure, places
from experiments.calibrate.patterns import BOTH_WAYS, ONE_WAY, PAIR, REDUCTION, patterns_of
from experiments.calibrate.places import Place, tiers_of, tiers_of_system
from experiments.calibrate.structure import ways_in, with_shares
from experiments.calibrate.told import draw, noted, summary
from experiments.comparison import Score, score_of
from experiments.crowding import crowded_machines
from experiments.measure import host_facts

if TYPE_CHECKING:
    from mpi4py import MPI

    from commsim.selection import Ints

__all__ = [
    "BOTH_WAYS",
    "ONE_WAY",
    "PAIR",
    "REDUCTION",
    "Calibration",
    "Measured",
    "Place",
    "Way",
    "calibrate",
    "draw",
    "drift",
    "fit",
    "noted",
    "places",
    "save",
    "summary",
]

ONE_RANK = "calibration needs at least 2 ranks: mpiexec -n 2 commsim calibrate …"


def calibrate(
    comm: MPI.Comm,
    where: Sequence[Place],
    *,
    structure: System | None = None,
    largest: int = LARGEST,
    iterations: int = 20,
    warmup: int = 5,
    cold: bool = False,
) -> tuple[Calibration, dict[str, Ints]]:
    """Measure and fit; every rank of `comm` calls this and gets the same, with the tiers of the ranks.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        At least two ranks.
    where : sequence of Place
        Of all ranks: :func:`places`.
    structure : System, optional
        The network as far as it is known; rank r is on its device r. Its links and latencies stay.
    largest : int
        Bytes of the largest message.
    iterations, warmup : int
        Of each size; small ones are repeated more, and slow ones less: see :func:`experiments.measure.repeats`.
    cold : bool
        Caches are written over before everything that is timed: as in a training step, where a vector comes by once.
    """
    tiers = tiers_of(where) if structure is None else tiers_of_system(structure, comm.size)
    given = None if structure is None else ways_in(structure, tiers, comm.size)
    rest_s = 0.0 if structure is None else burst_s(structure)
    measured = measure(comm, patterns_of(tiers, comm.size), largest, iterations, warmup, rest_s, cold)
    facts = host_facts(comm)
    facts |= {"caches": "written over before each message"} if cold else {}
    most = max(Counter(place.host for place in where).values())
    found = fit(measured, given, facts, most)
    return found if structure is None else with_shares(found, structure, tiers), tiers


def require_ranks(where: Sequence[Place], structure: System | None, allow_oversubscribed: bool) -> None:
    """Refuse what cannot be calibrated.

    Raises
    ------
    InputError
        On a single rank.
    RefusedError
        With more ranks than cores, or more than the structure's devices.
    """
    if len(where) < 2:
        raise InputError(ONE_RANK)
    crowded = crowded_machines([(place.machine, place.cores) for place in where])
    if crowded and not allow_oversubscribed:
        raise RefusedError(
            f"{', '.join(crowded)}: ranks would wait for each other's turn, and the figures be no speeds; start fewer "
            "ranks, or say --allow-oversubscribed"
        )
    if structure is not None:
        structure.require(len(where))


def drift(before: System, after: System) -> Score:
    """How far two calibrations of one host lie apart, by what was measured in both."""
    first, second = (
        {
            (row["what"], row["class"], row["pairs"], row["n_bytes"]): row["measured_s"]
            for row in system.notes["calibration"]
        }
        for system in (before, after)
    )
    return score_of([abs(math.log(second[key] / first[key])) for key in first if key in second])


def require_sizes(largest: int) -> None:
    """Refuse a largest size with too few sizes below it.

    Raises
    ------
    InputError
    """
    if largest < 1024:
        raise InputError(f"--largest {largest}B: at least 1KiB is needed for a fit")
