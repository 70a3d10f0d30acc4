"""What the quickstart found, and its tables as text: what the program prints and what the report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from commsim import Result, System
from commsim.units import format_bytes, format_money, format_time
from experiments.choose import LIBRARY
from experiments.comparison import Comparison, Score
from experiments.plan import PlanPoint
from experiments.published import Published
from experiments.workloads import RESNET50_DDP_BUCKETS


@dataclass
class Findings:
    """What the quickstart found, for the report.

    Attributes
    ----------
    n_ranks : int
    system : System
        This host, as calibrated.
    drift : Score
        The second calibration against the first: what the host itself changed.
    measured : dict
        "allreduce", "broadcast" and "buckets" to the measured results, the library's among them.
    rows : dict
        The same names to predicted beside measured.
    plan : list of PlanPoint
    published : Published
    curves : dict
        Algorithm to its predicted (bytes, seconds) on the published machine.
    commands : list of str
        What to type for the same.
    """

    n_ranks: int
    system: System
    drift: Score
    published: Published
    measured: dict[str, list[Result]] = field(default_factory=dict)
    rows: dict[str, list[Comparison]] = field(default_factory=dict)
    plan: list[PlanPoint] = field(default_factory=list)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def library_s(self, name: str) -> dict[int, float]:
        """Bytes to measured seconds of the MPI library's own collective."""
        return {result.n_bytes: result.time_s for result in self.measured[name] if result.algorithm == LIBRARY}


def drift_line(total: Score) -> str:
    """What the second calibration says of this host's own steadiness."""
    typical, often = (f"{100 * math.expm1(value):.0f} %" for value in (total.median, total.p90))
    return (
        f"the same messages and reductions, measured again after the runs: off by {typical} (median), {often} (90th "
        "percentile); no prediction can be better than that"
    )


PLANNED = ("ring", "recursive_doubling", "rabenseifner", "node_split", "node_split:inter=ring")
PLAN_COLUMNS = (
    *("nodes", "GPUs", "exchange", "of bound", "step efficiency", "price"),
    *("algorithm for the largest bucket", "its bottleneck"),
)


def plan_rows(plan: Sequence[PlanPoint]) -> list[tuple[str, ...]]:
    """The plan as text, one row for each size of machine."""
    return [
        (
            str(point.nodes),
            str(point.n_ranks),
            format_time(point.exchange_s),
            f"{100 * point.bound_s / point.exchange_s:.0f} %",
            f"{100 * point.efficiency:.2f} %",
            format_money(point.price_usd or 0.0),
            point.algorithms[RESNET50_DDP_BUCKETS.index(max(RESNET50_DDP_BUCKETS))],
            point.bottleneck,
        )
        for point in plan
    ]


def comparison_rows(rows: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """Predicted beside measured as text."""
    return [
        (
            row.algorithm,
            format_bytes(row.n_bytes),
            format_time(row.predicted_s),
            format_time(row.measured_s),
            f"{100 * row.error:+.1f} %",
            row.bottleneck,
        )
        for row in rows
    ]
