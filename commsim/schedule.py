"""Schedule: an algorithm applied to a number of ranks. Lazy and re-iterable; it is never stored whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from commsim.algorithm import Algorithm
from commsim.errors import CommsimError, InputError, ScheduleError
from commsim.program import Exchange, Lanes, PlainStep, Repeat, Step, unrolled
from commsim.selection import Space


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
    space: Space = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.root < self.n_ranks:
            raise InputError(f"root={self.root} is not a rank of {self.n_ranks}; use 0 to {self.n_ranks - 1}")
        object.__setattr__(self, "space", self.algorithm.space(self.n_ranks))

    @property
    def n_chunks(self) -> int:
        """Chunks of the vector."""
        return self.space.n_data

    @property
    def keeps_order(self) -> bool:
        """Whether values must be combined in the order of ranks."""
        return self.algorithm.keeps_order

    def __iter__(self) -> Iterator[PlainStep]:
        """All steps, repetitions written out."""
        return unrolled(self.blocks())

    def blocks(self) -> Iterator[Step]:
        """All steps, repetitions as such."""
        rank = np.arange(self.n_ranks) if self.rank is None else self.rank
        rooted = {"root": self.root} if self.algorithm.collective.rooted else {}
        begin = self.algorithm.program
        yield from self._checked(lambda: begin(rank, self.n_ranks, **rooted, **self.algorithm.options))

    def _checked(self, begin: Callable[[], Iterator[Step]], lane: str = "") -> Iterator[Step]:
        """The steps of a program, or of a lane of it; whatever its author does wrong is a ScheduleError."""
        index = 0
        try:
            for step in begin():
                if isinstance(step, Lanes):
                    lanes = [
                        self._checked(partial(iter, program), f"{lane}lane {number} ")
                        for number, program in enumerate(step.programs)
                    ]
                    yield Lanes(tuple(unrolled(steps) for steps in lanes), step.stagger)
                elif isinstance(step, Repeat):
                    yield step
                    index += step.times - 1
                else:
                    if not isinstance(step, list) or not all(isinstance(part, Exchange) for part in step):
                        kind = type(step).__name__
                        raise ScheduleError(f"{self.at(index, lane)}: a step is a list of exchanges, not {kind}")
                    yield step
                index += 1
        except CommsimError as error:
            said = (f"{self.algorithm.name}, ", f"{self.algorithm.name}: ")  # where it is wrong
            if isinstance(error, ScheduleError) and not str(error).startswith(said):
                raise type(error)(f"{self.at(index, lane)}: {error}") from error
            raise
        except (Exception, SystemExit) as error:  # whatever a user's program does wrong
            hint = "; in a simulation rank is an array of all ranks: use where(condition, a, b) instead of if"
            remedy = hint + ', or form="int"' if "truth value of an array" in str(error) else ""
            raise ScheduleError(f"{self.at(index, lane)}: {type(error).__name__}: {error}{remedy}") from error

    def at(self, step: int, lane: str = "") -> str:
        """Where something is wrong, for messages."""
        return f"{self.algorithm.name}, {lane}step {step}"
