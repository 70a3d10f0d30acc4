"""The collectives: what each starts from and must end in, and how its bandwidth is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commsim.errors import unknown_name


@dataclass(frozen=True)
class Collective:
    """One operation over all ranks.

    Attributes
    ----------
    name : str
    rooted : bool
        Whether one rank, the root, plays a part of its own.
    reduces : bool
        Whether it combines values (and so takes an operation).
    busbw_factor : callable
        ``n_ranks`` to bus bandwidth over algorithm bandwidth, as nccl-tests counts it.
    wanted : callable
        ``(n_ranks, root)`` to an int array (n_ranks, n_ranks): how often the value of rank *j* must stand in each
        chunk of rank *i* at the end. At the start each rank holds its own value once.
    """

    name: str
    rooted: bool
    reduces: bool
    busbw_factor: Callable[[int], float]
    wanted: Callable[[int, int], NDArray[np.int64]]


def _everyones_everywhere(n_ranks: int, root: int) -> NDArray[np.int64]:
    return np.ones((n_ranks, n_ranks), dtype=np.int64)


def _roots_everywhere(n_ranks: int, root: int) -> NDArray[np.int64]:
    wanted = np.zeros((n_ranks, n_ranks), dtype=np.int64)
    wanted[:, root] = 1
    return wanted


ALLREDUCE = Collective(
    "allreduce",
    rooted=False,
    reduces=True,
    busbw_factor=lambda n_ranks: 2 * (n_ranks - 1) / n_ranks,
    wanted=_everyones_everywhere,
)
BROADCAST = Collective(
    "broadcast", rooted=True, reduces=False, busbw_factor=lambda n_ranks: 1.0, wanted=_roots_everywhere
)

COLLECTIVES = {collective.name: collective for collective in (ALLREDUCE, BROADCAST)}


def collective_named(name: str) -> Collective:
    """The collective of that name.

    Raises
    ------
    UnknownNameError
        Naming the nearest one.
    """
    if name not in COLLECTIVES:
        raise unknown_name("collective", name, COLLECTIVES)
    return COLLECTIVES[name]
