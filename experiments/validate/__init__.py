"""Validation: predicted against measured, row by row, and what the rows add up to."""

from experiments.validate.compare import Validation, compare, report, score_line, table
from experiments.validate.files import Told, read_measured
from experiments.validate.verdict import Limits, verdict

__all__ = [
    "Limits",
    "Told",
    "Validation",
    "compare",
    "read_measured",
    "report",
    "score_line",
    "table",
    "verdict",
]
