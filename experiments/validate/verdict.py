"""What rows of predicted against measured add up to: scores by size, winners, worst rows, what is extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commsim.system import System
from commsim.units import format_bytes, format_count, format_time
from experiments.comparison import Comparison, score
from experiments.left_out import wrapped

SMALL_BYTES, MEDIUM_BYTES = 8 * 2**10, 2**20  # the largest small and the largest medium vector
TIE = 0.03  # an algorithm that measured within so much of the best has won too
WORST = 3
TOLERATED = 0.2  # rows that are off by less need no explanation


@dataclass(frozen=True)
class Limits:
    """What a user will not accept; None: anything.

    Attributes
    ----------
    p90, median : float or None
        Most of |ln(predicted/measured)|.
    winners : float or None
        Least share of cases whose predicted winner won.
    """

    p90: float | None = None
    median: float | None = None
    winners: float | None = None

    def passed(self, rows: Sequence[Comparison]) -> list[str]:
        """The limits that these rows do not keep, in words."""
        total, (won, cases) = score(rows), winners(rows)
        found = []
        for word, value, limit in (
            ("90th percentile", total.p90, self.p90),
            ("median", total.median, self.median),
        ):
            if limit is not None and value > limit:
                option = "--limit" if word != "median" else "--limit-median"
                found.append(f"the {word} of |ln(predicted/measured)| is {value:.3f}, above {option} {limit:g}")
        if self.winners is not None and won < self.winners * cases:
            found.append(f"the predicted winner won in {won} of {cases} cases, below --limit-winners {self.winners:g}")
        return found


def by_size(rows: Sequence[Comparison]) -> dict[str, list[Comparison]]:
    """Rows of small, medium and large vectors; classes without a row are not there."""
    small, medium = f"up to {format_bytes(SMALL_BYTES)}", f"up to {format_bytes(MEDIUM_BYTES)}"
    found: dict[str, list[Comparison]] = {small: [], medium: [], "larger": []}
    for row in rows:
        place = small if row.n_bytes <= SMALL_BYTES else medium if row.n_bytes <= MEDIUM_BYTES else "larger"
        found[place].append(row)
    return {name: own for name, own in found.items() if own}


def winners(rows: Sequence[Comparison]) -> tuple[int, int]:
    """In how many cases the predicted winner won, and cases: several algorithms of one collective, ranks and size."""
    cases: dict[tuple[str, str, int, int], list[Comparison]] = {}
    for row in rows:
        cases.setdefault((row.group, row.collective, row.n_ranks, row.n_bytes), []).append(row)
    several = [own for own in cases.values() if len({row.algorithm for row in own}) > 1]
    return sum(_won(own) for own in several), len(several)


def _won(rows: Sequence[Comparison]) -> bool:
    predicted = min(rows, key=lambda row: row.predicted_s)
    return predicted.measured_s <= (1 + TIE) * min(row.measured_s for row in rows)


def extrapolated(rows: Sequence[Comparison], system: System) -> list[str]:
    """What of the rows lies outside of what the system was calibrated on, in words."""
    points = system.notes.get("calibration")
    if not points:
        return ["the system's figures were not measured by commsim calibrate: every row is extrapolated"]
    sizes = [point["n_bytes"] for point in points if point.get("pairs", 1) == 1]
    n_ranks = int(system.notes.get("n_ranks", 0))
    classes = list(dict.fromkeys(str(point["class"]) for point in points if "class" in point))
    found = []
    if larger := [row for row in rows if row.n_bytes > max(sizes)]:
        found.append(
            f"{format_count(len(larger), 'row')} above {format_bytes(max(sizes))}, the largest message measured"
        )
    if more := [row for row in rows if row.n_ranks > n_ranks]:
        most = max(row.n_ranks for row in more)
        measured = ", ".join(name for name in classes if name != "all ranks")
        found.append(
            f"{format_count(len(more), 'row')} on up to {most} ranks, calibrated on {n_ranks} ({measured}): what more "
            "ranks share was not measured"
        )
    return found


def verdict(rows: Sequence[Comparison], system: System, width: int | None = None) -> str:
    """Lines below the table, for people."""
    lines = []
    for name, own in by_size(rows).items():
        part = score(own)
        counted = format_count(part.n_rows, "row")
        lines.append(f"vectors {name}: median {part.median:.3f}, 90th percentile {part.p90:.3f}, {counted}")
    won, cases = winners(rows)
    if cases:
        lines.append(f"the predicted winner won in {won} of {cases} cases (ties within {100 * TIE:.0f} % count)")
    lines += [
        _explained(row) for row in sorted(rows, key=lambda row: -row.log_ratio)[:WORST] if row.log_ratio > TOLERATED
    ]
    outside = extrapolated(rows, system)
    lines += [f"extrapolated: {one}" for one in outside]
    if not outside:
        lines.append("nothing is extrapolated: sizes and ranks are within the calibration")
    return "".join(f"# {part}\n" for line in lines for part in wrapped(line, width))


def _explained(row: Comparison) -> str:
    """One bad row: by how much, and what its prediction was made of."""
    times = f"{row.collective} {row.algorithm} {format_bytes(row.n_bytes)}: {100 * row.error:+.0f} %"
    made_of = f"predicted {format_time(row.predicted_s)}, bounded by {row.bottleneck or 'nothing named'}"
    return f"far off: {times}; {made_of}: {_suspect(row)}"


def _suspect(row: Comparison) -> str:
    """Which figure of the system to look at first."""
    short = "too short" if row.error < 0 else "too long"
    if "latenc" in row.bottleneck:
        return f"latencies and overheads of small messages are {short}, or ranks wait for something else"
    if "reduc" in row.bottleneck:
        return f"the time of reductions is {short}"
    return f"the time that bytes take on the way is {short}"
