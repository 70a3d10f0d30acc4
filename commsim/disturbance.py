"""Disturbance: ranks that start late, ranks that are slow, and jitter. Nothing of it makes anything faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.errors import InputError
from commsim.hashing import mixed
from commsim.selection import Ints
from commsim.topology import Floats
from commsim.units import format_time_short

STARTS, JITTER = 1, 2  # streams of random numbers


@dataclass(frozen=True)
class Disturbance:
    """What the ranks of a machine suffer; by default nothing. Bounds stay bounds: all of it only delays.

    Attributes
    ----------
    skew_s : float
        Every rank starts at a time of its own, uniform between 0 and this.
    start_s : tuple of float
        When each rank starts, instead of a skew.
    stragglers : tuple of (int, float)
        A rank, and how many times as long its overheads, reductions and computations take.
    jitter : float
        Overheads and latency of every message are stretched by ``1 + jitter * x``, x exponential with mean 1. Drawn
        message by message, in the order of steps.
    seed : int
        Of all that is drawn.
    """

    skew_s: float = 0.0
    start_s: tuple[float, ...] = ()
    stragglers: tuple[tuple[int, float], ...] = ()
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.skew_s < float("inf") or not all(0 <= start < float("inf") for start in self.start_s):
            raise InputError("a rank starts at a finite time, zero or more")
        if self.skew_s and self.start_s:
            raise InputError("ranks start by a skew or at given times, not by both")
        if not 0 <= self.jitter < float("inf"):
            raise InputError(f"jitter={self.jitter} must be a finite share, zero or more")
        if self.seed < 0:
            raise InputError(f"seed={self.seed} must be zero or more")
        for rank, factor in self.stragglers:
            if rank < 0 or not 1 <= factor < float("inf"):
                raise InputError(f"straggler {rank}={factor}: a rank, and a factor of at least 1")

    @property
    def is_none(self) -> bool:
        """Whether nothing is disturbed."""
        return not (self.skew_s or any(self.start_s) or self.jitter or any(factor > 1 for _, factor in self.stragglers))

    @property
    def is_drawn(self) -> bool:
        """Whether the seed matters."""
        return bool(self.skew_s or self.jitter)

    def starts(self, n_ranks: int) -> Floats:
        """When each rank starts, seconds (n_ranks,).

        Raises
        ------
        InputError
            If times were given for another number of ranks.
        """
        if not self.start_s:
            return self.skew_s * self._uniform(STARTS, np.arange(n_ranks))
        if len(self.start_s) != n_ranks:
            raise InputError(f"{len(self.start_s)} starts are given, but there are {n_ranks} ranks")
        return np.array(self.start_s)

    def slowdown(self, n_ranks: int) -> Floats:
        """How many times as long everything takes each rank (n_ranks,).

        Raises
        ------
        InputError
            If a straggler is no rank.
        """
        slow = np.ones(n_ranks)
        for rank, factor in self.stragglers:
            if rank >= n_ranks:
                raise InputError(f"straggler {rank}={factor:g}: there are only {n_ranks} ranks")
            slow[rank] = factor
        return slow

    def stretches(self, numbers: Ints) -> Floats:
        """By how much the overheads and the latency of these messages are stretched (n,); messages are numbered."""
        if not self.jitter:
            return np.ones(len(numbers))
        return 1 - self.jitter * np.log1p(-self._uniform(JITTER, numbers))

    def _uniform(self, stream: int, numbers: Ints) -> Floats:
        """At least 0, below 1, as fine as a float is."""
        drawn: Floats = (mixed(self.seed, stream, numbers) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return drawn

    def __str__(self) -> str:
        parts = [f"skew {format_time_short(self.skew_s)}"] if self.skew_s else []
        parts += ["starts given"] if any(self.start_s) else []
        parts += [f"straggler {rank}={factor:g}" for rank, factor in self.stragglers]
        parts += [f"jitter {100 * self.jitter:g} %"] if self.jitter else []
        parts += [f"seed {self.seed}"] if self.is_drawn else []
        return ", ".join(parts) or "none"


NO_DISTURBANCE = Disturbance()
