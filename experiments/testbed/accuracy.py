"""How near predictions come to a network that really contends: a section of the page on accuracy.

``python -m experiments.testbed.accuracy`` writes it from measured rows and fitted systems; it needs no root.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import topologies
from collectives.registry import find
from commsim import simulate
from commsim.errors import InputError
from commsim.units import format_bytes, format_time
from experiments.choose import LIBRARY
from experiments.comparison import Comparison
from experiments.marks import between_marks

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "testbed"
PAGE = ROOT / "docs" / "accuracy.md"
FABRICS = {
    "star": "star",
    "tree_1to1": "two leaves, 1:1",
    "tree_2to1": "two leaves, 2:1",
    "ring": "ring of four switches",
}
COLLECTIVES = ("allreduce", "broadcast")
TIE = 0.03
N_WORST = 12


@dataclass(frozen=True)
class Case:
    """One collective of one size on one fabric: all algorithms, and the MPI library's own."""

    fabric: str
    collective: str
    n_bytes: int
    rows: tuple[Comparison, ...]
    library_s: float | None

    @property
    def best_s(self) -> float:
        """Of the fastest algorithm, measured."""
        return min(row.measured_s for row in self.rows)

    @property
    def chosen(self) -> Comparison:
        """The algorithm that the prediction would choose."""
        return min(self.rows, key=lambda row: row.predicted_s)

    @property
    def right(self) -> bool:
        """Whether that is the fastest, or as fast."""
        return self.chosen.measured_s <= self.best_s * (1 + TIE)

    @property
    def tied(self) -> bool:
        """Whether it is, or the prediction says that the fastest is as fast as the one that it would choose."""
        fastest = min(self.rows, key=lambda row: row.measured_s)
        return self.right or fastest.predicted_s <= self.chosen.predicted_s * (1 + TIE)


def cases(folder: Path = FOLDER, fabrics: Sequence[str] = tuple(FABRICS)) -> list[Case]:
    """Every case that was measured, predicted on the fitted systems.

    Raises
    ------
    InputError
        If a file is not there.
    """
    found = []
    for fabric in fabrics:
        path = folder / "measured" / f"{fabric}.json"
        try:
            rows = json.loads(path.read_text())["rows"]
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        system = topologies.find(str(folder / "calibrated" / f"{fabric}.toml"))
        for collective in COLLECTIVES:
            of_it = [row for row in rows if row["what"] == collective]
            for n_bytes in sorted({row["n_bytes"] for row in of_it}):
                found.append(_case(fabric, collective, n_bytes, [r for r in of_it if r["n_bytes"] == n_bytes], system))
    return found


def _case(fabric: str, collective: str, n_bytes: int, rows: Sequence[dict[str, Any]], system: Any) -> Case:
    compared, library_s = [], None
    for row in rows:
        if row["algorithm"] == LIBRARY:
            library_s = row["time_s"]
            continue
        result = simulate(find(collective, row["algorithm"]), system, n_bytes)
        compared.append(
            Comparison(
                collective=collective,
                algorithm=row["algorithm"],
                n_ranks=system.n_devices,
                n_bytes=n_bytes,
                predicted_s=result.time_s,
                measured_s=row["time_s"],
                bottleneck=result.bottleneck or "",
                group=fabric,
            )
        )
    return Case(fabric, collective, n_bytes, tuple(compared), library_s)


def section(found: Sequence[Case]) -> str:
    """The section of the page."""
    return "\n".join([*_summary(found), *_by_size(found), *_worst(found), *_winners(found), *_library(found)])


def _errors(found: Sequence[Case]) -> Any:
    return np.array([abs(row.error) for case in found for row in case.rows])


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _figures(found: Sequence[Case]) -> tuple[str, ...]:
    errors = _errors(found)
    right, tied = (f"{sum(getattr(case, word) for case in found)} of {len(found)}" for word in ("right", "tied"))
    median, p90 = (f"{100 * float(np.quantile(errors, q)):.1f} %" for q in (0.5, 0.9))
    return str(len(errors)), median, p90, right, tied


def _summary(found: Sequence[Case]) -> Iterator[str]:
    yield _line("fabric", "collective", "rows", "median \\|error\\|", "90th percentile", "winner right", "or tied")
    yield "|---|---|---|---|---|---|---|"
    for fabric, name in FABRICS.items():
        for collective in COLLECTIVES:
            some = [case for case in found if (case.fabric, case.collective) == (fabric, collective)]
            if some:
                yield _line(name, collective, *_figures(some))
    yield _line("**all**", "", *_figures(found))
    yield ""


def _by_size(found: Sequence[Case]) -> Iterator[str]:
    yield _line("size", "rows", "median \\|error\\|", "90th percentile", "winner right", "or tied")
    yield "|---|---|---|---|---|---|"
    for n_bytes in sorted({case.n_bytes for case in found}):
        yield _line(format_bytes(n_bytes), *_figures([case for case in found if case.n_bytes == n_bytes]))
    yield ""


def _worst(found: Sequence[Case]) -> Iterator[str]:
    rows = sorted((row for case in found for row in case.rows), key=lambda row: -abs(row.error))[:N_WORST]
    yield "The rows that are farthest off:"
    yield ""
    yield _line("fabric", "collective", "algorithm", "size", "predicted", "measured", "error", "predicted bottleneck")
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        times = (format_time(row.predicted_s), format_time(row.measured_s), f"{100 * row.error:+.0f} %")
        name = row.algorithm.partition(":")[0]
        yield _line(FABRICS[row.group], row.collective, name, format_bytes(row.n_bytes), *times, row.bottleneck)
    yield ""


def _winners(found: Sequence[Case]) -> Iterator[str]:
    wrong = [case for case in found if not case.right]
    if not wrong:
        yield f"The predicted winner is the measured one, or within {100 * TIE:.0f} % of it, everywhere."
        yield ""
        return
    yield "Where the predicted winner is not the measured one (nor within 3 % of it):"
    yield ""
    yield _line("fabric", "collective", "size", "predicted winner", "is slower than the best by")
    yield "|---|---|---|---|---|"
    for case in wrong:
        lost = f"{100 * (case.chosen.measured_s / case.best_s - 1):.0f} %"
        name = case.chosen.algorithm.partition(":")[0]
        yield _line(FABRICS[case.fabric], case.collective, format_bytes(case.n_bytes), name, lost)
    yield ""


def _library(found: Sequence[Case]) -> Iterator[str]:
    sizes = sorted({case.n_bytes for case in found})
    yield "Our fastest algorithm's time over the MPI library's own collective, both on the same ranks and network:"
    yield ""
    yield _line("fabric", "collective", *(format_bytes(n_bytes) for n_bytes in sizes))
    yield "|---|---|" + "---|" * len(sizes)
    for fabric, name in FABRICS.items():
        for collective in COLLECTIVES:
            some = {case.n_bytes: case for case in found if (case.fabric, case.collective) == (fabric, collective)}
            ratios = (
                f"{some[n].best_s / some[n].library_s:.2f}" if n in some and some[n].library_s else "–"  # type: ignore[operator]
                for n in sizes
            )
            yield _line(name, collective, *ratios)
    yield ""


def replaced(page: str, text: str) -> str:
    """The page with this section between its marks."""
    return between_marks(page, "testbed", f"\n{text}\n")


def main() -> None:
    """Write the section."""
    PAGE.write_text(replaced(PAGE.read_text(), section(cases())))
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
