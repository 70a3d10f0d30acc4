"""What the quickstart found, and its tables as text: what the program prints and what the report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from commsim import Result, System
from commsim.units import format_bytes, format_time
from experiments.choose import LIBRARY
from experiments.comparison import Comparison, Score
from experiments.exchange.report import StepBeside
from experiments.planning import Option
from experiments.published import Published


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
    plan : list of Option
        The same network on more and more nodes.
    published : Published
    curves : dict
        Algorithm to its predicted (bytes, seconds) on the published machine.
    steps : list of StepBeside
        Of a training loop that exchanges ResNet-50's gradients on the ranks, by algorithm: predicted beside measured.
    computed_s : float
        Of such a step, computing alone.
    commands : list of str
        What to type for the same.
    """

    n_ranks: int
    system: System
    drift: Score
    published: Published
    measured: dict[str, list[Result]] = field(default_factory=dict)
    rows: dict[str, list[Comparison]] = field(default_factory=dict)
    plan: list[Option] = field(default_factory=list)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    steps: list[StepBeside] = field(default_factory=list)
    computed_s: float = 0.0
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


STEP_COLUMNS = ("algorithm", "step", "predicted", "error", "waiting", "predicted")


def step_rows(found: Findings) -> list[tuple[str, ...]]:
    """Of each algorithm, cells of ``STEP_COLUMNS``."""
    return [
        (
            one.algorithm,
            format_time(one.step_s),
            format_time(one.predicted.step_s),
            f"{100 * one.error:+.1f} %",
            format_time(one.exposed_s),
            format_time(one.predicted.exposed_s),
        )
        for one in found.steps
    ]
