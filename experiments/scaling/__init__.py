"""How a workload scales on a system: a step at each number of ranks."""

from __future__ import annotations

from experiments.scaling.curve import Curve, Point, rank_counts, scaled

__all__ = ["Curve", "Point", "rank_counts", "scaled"]
