"""A scaling curve: the step at each number of ranks, against one rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import topologies
from commsim import System
from commsim.errors import CommsimError, InputError
from commsim.spec import join_spec, keys_of, split_spec
from experiments.training import StepResult, Training, simulate_step

MOST_POINTS = 200
SHARE_THAT_DOMINATES = 0.5
"""Of a step that is exposed: where the exchange takes longer than everything else."""


@dataclass(frozen=True, eq=False)
class Point:
    """One number of ranks.

    Attributes
    ----------
    n_ranks : int
    step : StepResult
    ideal_per_s : float
        Samples per second if the first point's ranks were as many times faster as there are more.
    """

    n_ranks: int
    step: StepResult
    ideal_per_s: float

    @property
    def efficiency(self) -> float:
        """Throughput against the ideal line."""
        return self.step.samples_per_s / self.ideal_per_s

    @property
    def exposed_share(self) -> float:
        """Of the step that is exposed exchange."""
        return self.step.exposed_s / self.step.step_s


@dataclass(frozen=True, eq=False)
class Curve:
    """Points in order of ranks, and those that could not be: ranks and reason.

    Attributes
    ----------
    points : tuple of Point
    left_out : tuple of (int, str)
    strong : bool
        Whether the global batch is the same at all points.
    """

    points: tuple[Point, ...]
    left_out: tuple[tuple[int, str], ...]
    strong: bool

    @staticmethod
    def of(steps: Sequence[StepResult]) -> Curve:
        """Weak scaling against the first of these steps."""
        per_rank_s = steps[0].samples_per_s / steps[0].parallel.n_ranks
        points = [Point(one.parallel.n_ranks, one, per_rank_s * one.parallel.n_ranks) for one in steps]
        return Curve(tuple(points), (), strong=False)

    @property
    def dominated_from(self) -> int | None:
        """The first number of ranks at which at least half of the step is exposed exchange; None: nowhere."""
        return next((p.n_ranks for p in self.points if p.exposed_share >= SHARE_THAT_DOMINATES), None)


def rank_counts(text: str) -> list[int]:
    """``"1:1024"``: powers of two from 1 to 1024, the last one too; ``"1:1024:64"``: in steps of 64; ``"1,2,6"``.

    Raises
    ------
    InputError
        If it is none of these, or too many.
    """
    try:
        parts = [int(part) for part in text.split(":")] if ":" in text else None
        found = _range(*parts) if parts is not None else sorted({int(part) for part in text.split(",")})
    except (ValueError, TypeError):
        raise InputError(f"--ranks {text}: write FIRST:LAST, FIRST:LAST:STEP or a list such as 1,2,4") from None
    if not found or found[0] < 1:
        raise InputError(f"--ranks {text}: at least one rank, first before last")
    if len(found) > MOST_POINTS:
        raise InputError(f"--ranks {text}: {len(found)} points; at most {MOST_POINTS}")
    return found


def _range(first: int, last: int, step: int | None = None) -> list[int]:
    if step is not None:
        return sorted({*range(first, last + 1, step), last})
    found = []
    while 1 <= first < last:
        found.append(first)
        first *= 2
    return [*found, last]


def system_for(spec: str, n_ranks: int, held: dict[int, System]) -> System:
    """The machine with as many nodes as the ranks need, where it is a number of nodes; else the machine as it is.

    Parameters
    ----------
    spec : str
        With ``nodes=`` it is taken as it is, if it is large enough.
    n_ranks : int
    held : dict
        Machines that were made, by their number of nodes (0: as it is).
    """
    name, values = split_spec(spec)
    factory = topologies.SYSTEMS.get(name)
    fixed = factory is None or "nodes" not in keys_of(factory) or "nodes" in values
    if 0 not in held and fixed:
        held[0] = topologies.find(spec)
    if fixed:
        return held[0]
    if 1 not in held:
        held[1] = topologies.find(join_spec(name, {**values, "nodes": 1}))
    nodes = -(-n_ranks // held[1].n_devices)
    if nodes not in held:
        held[nodes] = topologies.find(join_spec(name, {**values, "nodes": nodes}))
    return held[nodes]


def scaled(
    training: Training,
    system: Callable[[int], System],
    ranks: Sequence[int],
    *,
    batch: float,
    strong: bool = False,
) -> Iterator[Point | tuple[int, str]]:
    """A point for each number of ranks, as soon as it is known; or the number and why it cannot be.

    Parameters
    ----------
    training : Training
    system : callable
        The machine for so many ranks.
    ranks : sequence of int
        Ascending.
    batch : float
        Samples of a step: for each copy of the model, or with `strong` of all together.
    strong : bool
    """
    per_rank_s: float | None = None
    for n_ranks in ranks:
        try:
            copies = n_ranks / (training.tensor * training.pipeline)
            if strong and batch < copies:
                raise InputError(f"a global batch of {batch:g} is smaller than {copies:g} copies of the model")
            step = simulate_step(replace(training), system(n_ranks), batch / copies if strong else batch, n_ranks)
        except CommsimError as error:
            yield n_ranks, str(error)
            continue
        per_rank_s = step.samples_per_s / n_ranks if per_rank_s is None else per_rank_s
        yield Point(n_ranks, step, per_rank_s * n_ranks)
