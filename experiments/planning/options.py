"""Machines to choose from: how long each takes to train, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from commsim import System
from commsim.errors import CommsimError
from experiments.planning.prices import HOUR_S, Bill, Prices
from experiments.scaling.curve import system_for
from experiments.training import StepResult, Training, simulate_step


@dataclass(frozen=True)
class Question:
    """What is to be trained.

    Attributes
    ----------
    training : Training
    samples : float
        In all.
    batch : float
        Of a step, for each copy of the model; with `strong` of all together.
    strong : bool
    """

    training: Training
    samples: float
    batch: float
    strong: bool = False

    def on(self, system: System, n_ranks: int) -> StepResult:
        """A step on so many ranks of a system; errors as :func:`simulate_step` has them."""
        copies = n_ranks / (self.training.tensor * self.training.pipeline)
        return simulate_step(self.training, system, self.batch / copies if self.strong else self.batch, n_ranks)


@dataclass(frozen=True, eq=False)
class Option:
    """One machine of one size.

    Attributes
    ----------
    system : System
    step : StepResult
    bill : Bill
    samples : float
    """

    system: System
    step: StepResult
    bill: Bill
    samples: float

    @property
    def time_s(self) -> float:
        """To train on all samples."""
        return self.samples / self.step.samples_per_s

    @property
    def cost_usd(self) -> float:
        """Of that: rent, or the machine's share of its life and energy."""
        return self.time_s / HOUR_S * self.bill.per_hour_usd


def options(
    question: Question, systems: Sequence[str], ranks: Sequence[int], prices: Prices
) -> Iterator[Option | tuple[str, str]]:
    """Every system with every number of ranks, as soon as it is known; or which, and why it cannot be."""
    for spec in systems:
        held: dict[int, System] = {}
        for n_ranks in ranks:
            try:
                system = system_for(spec, n_ranks, held)
                yield Option(system, question.on(system, n_ranks), prices.bill(system), question.samples)
            except CommsimError as error:
                yield f"{spec}, {n_ranks} ranks", str(error)


def on_front(found: Sequence[Option]) -> list[Option]:
    """Those that no other beats in time and cost at once, fastest first."""
    best: list[Option] = []
    for option in sorted(found, key=lambda one: (one.time_s, one.cost_usd)):
        if not best or option.cost_usd < best[-1].cost_usd:
            best.append(option)
    return best


def chosen(found: Sequence[Option], budget_usd: float | None, target_s: float | None) -> Option | None:
    """The fastest within a budget, the cheapest within a time, else the cheapest; None if none fits."""
    fits = [
        one
        for one in found
        if (budget_usd is None or one.cost_usd <= budget_usd) and (target_s is None or one.time_s <= target_s)
    ]
    if not fits:
        return None
    return min(fits, key=lambda one: one.cost_usd if budget_usd is None else one.time_s)
