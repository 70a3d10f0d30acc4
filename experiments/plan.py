"""The planning question: how long these gradients take on so many nodes, what bounds that, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from commsim import Algorithm, CommsimError, Result, System, simulate
from commsim.errors import RefusedError
from commsim.spec import join_spec


@dataclass(frozen=True)
class PlanPoint:
    """One size of machine.

    Attributes
    ----------
    nodes, n_ranks : int
    exchange_s : float
        All gradients, one bucket after the other, each with the fastest algorithm for it.
    bound_s : float
        What no schedule can beat.
    compute_s : float
        Of one step, without any exchange.
    bottleneck : str
        Of the largest bucket.
    algorithms : tuple of str
        The winner for each bucket, with its parameters.
    price_usd : float or None
    """

    nodes: int
    n_ranks: int
    exchange_s: float
    bound_s: float
    compute_s: float
    bottleneck: str
    algorithms: tuple[str, ...]
    price_usd: float | None

    @property
    def efficiency(self) -> float:
        """Share of a step that computes when nothing overlaps: weak scaling against one rank."""
        return self.compute_s / (self.compute_s + self.exchange_s)


def best(algorithms: Sequence[Algorithm], system: System, n_bytes: int, n_ranks: int, model: str) -> Result:
    """The fastest of the algorithms that take this case.

    Raises
    ------
    RefusedError
        If none does; names the reasons.
    """
    results, reasons = [], []
    for algorithm in algorithms:
        try:
            results.append(simulate(algorithm, system, n_bytes, n_ranks=n_ranks, model=model))
        except CommsimError as error:
            reasons.append(str(error))
    if not results:
        raise RefusedError("no algorithm takes this case: " + "; ".join(reasons))
    return min(results, key=lambda result: result.time_s)


def scaling(
    system_of: Callable[[int], System],
    nodes: Sequence[int],
    buckets: Sequence[int],
    algorithms: Sequence[Algorithm],
    *,
    compute_s: float,
    model: str = "fluid",
) -> Iterator[PlanPoint]:
    """One point for each number of nodes, as soon as it is known.

    Parameters
    ----------
    system_of : callable
        The machine of so many nodes, every device of which holds a rank.
    nodes : sequence of int
    buckets : sequence of int
        Bytes of each allreduce of one step.
    algorithms : sequence of Algorithm
    compute_s : float
        Compute time of one step.
    model : str
    """
    for count in nodes:
        system = system_of(count)
        results = [best(algorithms, system, n_bytes, system.n_devices, model) for n_bytes in buckets]
        largest = max(results, key=lambda result: result.n_bytes)
        yield PlanPoint(
            nodes=count,
            n_ranks=system.n_devices,
            exchange_s=sum(result.time_s for result in results),
            bound_s=sum(result.bound_s or 0.0 for result in results),
            compute_s=compute_s,
            bottleneck=largest.bottleneck or "",
            algorithms=tuple(join_spec(result.algorithm, result.params) for result in results),
            price_usd=system.price_usd,
        )
