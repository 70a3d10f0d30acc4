"""What a calibration says to people: a summary in lines, and the figure of its residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from commsim.units import format_bandwidth, format_bytes, format_count, format_time
from experiments.calibrate.fit import ALL, MESSAGE_RATE, Calibration

Points = list[tuple[int, float]]


def summary(calibration: Calibration) -> str:
    """The fitted figures in a few lines."""
    lines = [line for name in calibration.ways for line in _class_lines(calibration, name)]
    lines += _rate_lines(calibration)
    residuals: dict[str, list[float]] = {}
    for row in calibration.rows():
        residuals.setdefault(_series(row, len(calibration.ways) > 1), []).append(row["residual"])
    for series, errors in residuals.items():
        worst, typical = max(errors, key=abs), median(abs(error) for error in errors)
        lines.append(f"fit of {series}: median residual {100 * typical:.1f} %, worst {100 * worst:+.1f} %")
    kept = calibration.held_out
    lines.append(
        f"fitted on every second size, judged on the {format_count(kept.n_rows, 'point')} between: median "
        f"|ln| {kept.median:.3f}, 90th percentile {kept.p90:.3f}"
    )
    return "\n".join(lines) + "\n"


def _class_lines(calibration: Calibration, name: str) -> list[str]:
    way, ends = calibration.ways[name], calibration.measured.ends[name]
    shared = f", several pairs share {format_bandwidth(way.shared_Bps)}" if way.shared_Bps < float("inf") else ""
    switch = f"up to {format_bytes(ends.eager_bytes)}" if ends.eager_bytes else "never"
    return [
        f"{name}: latency {format_time(way.latency_s)}, bandwidth {format_bandwidth(way.bandwidth_Bps)}{shared}",
        f"  send {format_time(ends.send_s)}, receive {format_time(ends.receive_s)}; senders go on without the "
        f"receiver {switch}",
    ]


def _rate_lines(calibration: Calibration) -> list[str]:
    """The message rate with its interval, and what the patterns that it is fitted to show by themselves."""
    return [
        f"message rate of a port: {_rate(band['per_s'])} (95 %: {' to '.join(map(_rate, band['per_s_95']))})"
        if band["per_s"]
        else "message rate of a port: not bounded beyond what a single message takes"
        for band in calibration.bands
        if band["what"] == MESSAGE_RATE
    ]


def _rate(per_s: float) -> str:
    return f"{per_s / 1e6:.3g} M/s" if per_s >= 1e6 else f"{per_s / 1e3:.3g} k/s"


def _series(row: Mapping[str, Any], several_classes: bool) -> str:
    what = row["what"] + (f" ({row['pairs']})" if row["pairs"] > 1 else "")
    return f"{row['class']}, {what}" if several_classes and row["class"] != ALL else what


def noted(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Points], dict[str, Points]]:
    """Measured and fitted points by series, of the rows that a calibrated system keeps in its notes."""
    several = len({row["class"] for row in rows if row["class"] != ALL}) > 1
    measured: dict[str, Points] = {}
    fitted: dict[str, Points] = {}
    for row in rows:
        name, seconds = _series(row, several), row["measured_s"]
        measured.setdefault(name, []).append((row["n_bytes"], seconds))
        fitted.setdefault(name, []).append((row["n_bytes"], seconds * (1 + row["residual"])))
    return measured, fitted


def draw(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """The figure of the fit and its residuals as PNG."""
    from experiments import figures

    figure = figures.calibration(*noted(rows), title)
    figures.save_as(figure, path)
