"""Schedule: an algorithm applied to a number of ranks. Lazy and re-iterable; it is never stored whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from commsim.algorithm import Algorithm
from commsim.errors import CommsimError, InputError, ScheduleError
from commsim.program import Exchange, Step


@dataclass(frozen=True)
class Schedule:
    """The steps of all ranks (``rank`` None), or of one.

    Attributes
    ----------
    algorithm : Algorithm
        Resolved: no parameter is open.
    n_ranks, root : int
    rank : int or None
    """

    algorithm: Algorithm
    n_ranks: int
    root: int = 0
    rank: int | None = None
    n_chunks: int = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.root < self.n_ranks:
            raise InputError(f"root={self.root} is not a rank of {self.n_ranks}; use 0 to {self.n_ranks - 1}")
        object.__setattr__(self, "n_chunks", self.algorithm.n_chunks(self.n_ranks))

    def __iter__(self) -> Iterator[Step]:
        rank = np.arange(self.n_ranks) if self.rank is None else self.rank
        rooted = {"root": self.root} if self.algorithm.collective.rooted else {}
        index = 0
        try:
            for step in self.algorithm.program(rank, self.n_ranks, **rooted, **self.algorithm.params):
                if not isinstance(step, list) or not all(isinstance(part, Exchange) for part in step):
                    raise ScheduleError(f"{self.at(index)}: a step is a list of exchanges, not {type(step).__name__}")
                yield step
                index += 1
        except CommsimError:
            raise
        except Exception as error:  # whatever a user's program does wrong
            hint = "; in a simulation rank is an array of all ranks: use where(condition, a, b) instead of if"
            remedy = hint if "truth value of an array" in str(error) else ""
            raise ScheduleError(f"{self.at(index)}: {type(error).__name__}: {error}{remedy}") from error

    def at(self, step: int) -> str:
        """Where something is wrong, for messages."""
        return f"{self.algorithm.name}, step {step}"
