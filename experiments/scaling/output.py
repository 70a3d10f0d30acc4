"""Scaling curves and steps as tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from commsim.errors import InputError
from commsim.units import format_count, format_time
from experiments.left_out import wrapped
from experiments.output import provenance
from experiments.scaling.curve import Curve, Point
from experiments.table import Column, block
from experiments.training import StepResult

FORMATS = ("table", "csv", "json")


def facts_of(step: StepResult) -> dict[str, str]:
    """What holds for all rows."""
    training, parallel = step.training, step.parallel
    facts = {
        "workload": f"{training.workload.name}, a step of {training.workload.sample}s",
        "policy": f"{training.policy.name} over {training.policy.backend.name}",
        "compute": step.compute_source,
        "network": training.model,
    }
    if parallel.tensor * parallel.pipeline > 1:
        facts["parallel"] = f"{parallel.tensor} tensor x {parallel.data} data x {parallel.pipeline} pipeline"
    if training.policy.n_passes > 1:
        facts["passes"] = f"{training.policy.n_passes} before each optimizer step"
    conditions = training.conditions
    suffered = {
        "interference": conditions.interference,
        "straggler": conditions.straggler - 1,
        "input": conditions.input_s,
        "variation": conditions.variation,
    }
    said = [f"{word} {value + (word == 'straggler'):g}" for word, value in suffered.items() if value]
    said += [] if training.disturbance.is_none else [str(training.disturbance)]
    return facts | ({"conditions": ", ".join(said)} if said else {})


def row_of(step: StepResult) -> dict[str, Any]:
    """A step for files."""
    return {
        "workload": step.training.workload.name,
        "policy": step.training.policy.name,
        "backend": step.training.policy.backend.name,
        "system": step.system,
        "n_ranks": step.parallel.n_ranks,
        "tensor": step.parallel.tensor,
        "data": step.parallel.data,
        "pipeline": step.parallel.pipeline,
        "batch": step.batch,
        "global_batch": step.global_batch,
        "step_s": step.step_s,
        "compute_s": step.compute_s,
        "ideal_s": step.ideal_s,
        "exchange_s": step.exchange_s,
        "exposed_s": step.exposed_s,
        "overlap": step.overlap,
        "efficiency": step.efficiency,
        "samples_per_s": step.samples_per_s,
        "algorithm": step.main_algorithm,
        "bottleneck": step.main_bottleneck,
        "compute": step.compute_source,
        "beside": None if step.beside is None else step.beside.name,
        "alone_s": step.step_s if step.beside is None else step.beside.alone_s,
        "beside_slower": None if step.beside is None else step.beside.slower,
    }


def _point_row(point: Point) -> dict[str, Any]:
    return {**row_of(point.step), "ideal_per_s": point.ideal_per_s, "scaling_efficiency": point.efficiency}


def curve_text(curve: Curve, facts: Mapping[str, Any], style: str, width: int | None = None) -> str:
    """A curve in a format."""
    rows = [_point_row(point) for point in curve.points]
    if style == "csv":
        return csv_text(rows)
    if style == "json":
        left_out = {f"left out {ranks}": reason for ranks, reason in curve.left_out}
        return json.dumps({"provenance": provenance(**facts, **left_out), "rows": rows}, indent=1) + "\n"
    said = {
        **facts,
        "scaling": "strong: one global batch" if curve.strong else "weak: one batch for each copy of the model",
    }
    lines = fact_lines(said, width)
    lines += block(_columns(curve.points), width)
    dominated = curve.dominated_from
    where = "nowhere here" if dominated is None else f"from {format_count(dominated, 'rank')} on"
    lines += comment(f"exposed exchange is at least half of the step: {where}", width)
    for ranks, reason in curve.left_out:
        lines += comment(f"left out {format_count(ranks, 'rank')}: {reason}", width)
    return "\n".join(lines) + "\n"


def _columns(points: Sequence[Point]) -> list[Column]:
    steps = [point.step for point in points]
    return [
        Column("ranks", "", [str(point.n_ranks) for point in points], 0),
        Column("batch", "", [f"{step.global_batch:g}" for step in steps], 0),
        Column("step", "", [format_time(step.step_s) for step in steps], 10),
        Column("compute", "", [format_time(step.compute_s) for step in steps], 10),
        Column("exchange", "", [format_time(step.exchange_s) if step.exchange_s else "-" for step in steps], 10),
        Column("exposed", "", [format_time(step.exposed_s) if step.exposed_s > 1e-9 else "-" for step in steps], 10),
        Column("samples/s", "", [f"{step.samples_per_s:.6g}" for step in steps], 0),
        Column("efficiency", "", [f"{100 * point.efficiency:.1f} %" for point in points], 0),
        Column("algorithm", "", [step.main_algorithm.partition(":")[0] or "-" for step in steps], 0, left=True),
        Column("its bottleneck", "", [step.main_bottleneck or "-" for step in steps], 0, left=True),
    ]


def step_text(step: StepResult, style: str, width: int | None = None) -> str:
    """One step in a format."""
    facts = {"system": f"{step.system}, {format_count(step.parallel.n_ranks, 'rank')}", **facts_of(step)}
    if style == "csv":
        return csv_text([row_of(step)])
    if style == "json":
        intervals = [vars(one) for one in step.intervals if one.stream != "compute"]
        body = {"provenance": provenance(**facts), "rows": [row_of(step)], "calls": intervals}
        return json.dumps(body, indent=1) + "\n"
    told = [
        ("step", format_time(step.step_s), f"{step.samples_per_s:.6g} {step.training.workload.sample}s/s in all"),
        ("compute", format_time(step.compute_s), f"{100 * step.efficiency:.1f} % of the step"),
        *(_waits(step)),
        ("exchange", format_time(step.exchange_s), f"{100 * step.overlap:.0f} % hidden"),
        ("exposed", format_time(step.exposed_s), f"{100 * step.exposed_s / step.step_s:.1f} % of the step"),
    ]
    if step.beside is not None:
        longer, more = step.step_s - step.beside.alone_s, step.step_s / step.beside.alone_s - 1
        told.append(("longer", format_time(longer), f"{100 * more:.1f} %, by what is beside: {step.beside.name}"))
        told.append(("beside", f"{step.beside.slower:.2f} x", "as long as without this training"))
    width_of = max(len(word) for word, _, _ in told)
    lines = [*fact_lines(facts, width), *(f"{word:<{width_of}}  {time:>11}  {what}" for word, time, what in told), ""]
    return "\n".join([*lines, *block(_calls(step), width)]) + "\n"


def _waits(step: StepResult) -> list[tuple[str, str, str]]:
    idle_s = step.ideal_s - step.compute_s
    if idle_s <= 1e-9 * step.step_s:
        return []
    return [("idle", format_time(idle_s), "pipeline bubbles, stragglers and input, without any exchange")]


def _calls(step: StepResult) -> list[Column]:
    """A row for each kind of call: how many of which size, with what, and how long they took in all."""
    kinds: dict[tuple[str, int], list[float]] = {}
    for one in step.intervals:
        if one.stream != "compute":
            kinds.setdefault((one.name.split()[0], one.n_bytes), []).append(one.end_s - one.start_s)
    ordered = sorted(kinds, key=lambda kind: -sum(kinds[kind]))[:MOST_KINDS]
    return [
        Column("calls", "", [str(len(kinds[kind])) for kind in ordered], 0),
        Column("collective", "", [kind[0] for kind in ordered], 0, left=True),
        Column("bytes", "", [str(kind[1]) for kind in ordered], 0),
        Column("in all", "", [format_time(sum(kinds[kind])) for kind in ordered], 10),
        Column(
            "algorithm", "", [step.algorithms.get(kind, "").partition(":")[0] or "-" for kind in ordered], 0, left=True
        ),
        Column("bottleneck", "", [step.bottlenecks.get(kind, "") or "-" for kind in ordered], 0, left=True),
    ]


MOST_KINDS = 12


def fact_lines(facts: Mapping[str, Any], width: int | None) -> list[str]:
    """Facts above a table."""
    return [line for key, value in facts.items() for line in comment(f"{key}: {value}", width)]


def comment(text: str, width: int | None) -> list[str]:
    """A line that is no row, wrapped."""
    return [f"# {part}" for part in wrapped(text, width and width - 2)]


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV."""
    if not rows:
        raise InputError("there is nothing to write")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
