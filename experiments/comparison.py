"""A predicted and a measured time of the same thing, side by side, and what the errors add up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Comparison:
    """One row: what ran, how long it should have taken and how long it took.

    Attributes
    ----------
    collective, algorithm : str
        The algorithm with its parameters, as users write it.
    n_ranks, n_bytes : int
    predicted_s, measured_s : float
    bottleneck : str
        Of the prediction.
    group : str
        What the row belongs to: "sweep" or "ResNet-50 bucket".
    """

    collective: str
    algorithm: str
    n_ranks: int
    n_bytes: int
    predicted_s: float
    measured_s: float
    bottleneck: str = ""
    group: str = "sweep"

    @property
    def error(self) -> float:
        """Relative: +0.1 when the prediction is 10 % too long."""
        return self.predicted_s / self.measured_s - 1

    @property
    def log_ratio(self) -> float:
        """|ln(predicted/measured)|: symmetric, 0 is perfect."""
        return float(abs(np.log(self.predicted_s / self.measured_s)))


def series(rows: Sequence[Comparison]) -> list[str]:
    """For each row the series that it belongs to: the algorithm, with parameters only where one size has several."""
    names = [row.algorithm.partition(":")[0] for row in rows]
    seen = {(name, row.n_bytes): row.algorithm for name, row in zip(names, rows, strict=True)}
    mixed = {name for name, row in zip(names, rows, strict=True) if seen[name, row.n_bytes] != row.algorithm}
    return [row.algorithm if name in mixed else name for name, row in zip(names, rows, strict=True)]


@dataclass(frozen=True)
class Score:
    """What a set of comparisons adds up to: median and 90th percentile of |ln(predicted/measured)|."""

    n_rows: int
    median: float
    p90: float


def score(rows: Sequence[Comparison]) -> Score:
    """Score of some rows; there must be at least one."""
    return score_of([row.log_ratio for row in rows])


def score_of(log_ratios: Sequence[float]) -> Score:
    """Score of values of |ln(predicted/measured)|; there must be at least one."""
    return Score(len(log_ratios), float(np.median(log_ratios)), float(np.quantile(log_ratios, 0.9)))
