"""Options and changes as tables, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from commsim.units import format_count, format_money, format_time
from experiments.output import provenance
from experiments.planning.options import Option, on_front
from experiments.planning.prices import HOUR_S
from experiments.planning.sensitivity import Change
from experiments.scaling.output import comment, csv_text, fact_lines, row_of
from experiments.table import Column, block

DAY_S = 24 * HOUR_S
FRONT, CHOSEN = "*", "="


def row(option: Option, front: Sequence[Option]) -> dict[str, Any]:
    """An option for files."""
    parts, bill = option.bill.parts, option.bill
    return {
        **row_of(option.step),
        "train_s": option.time_s,
        "cost_usd": option.cost_usd,
        "price_usd": bill.price_usd,
        "per_hour_usd": bill.per_hour_usd,
        "watts": bill.watts,
        "nodes": parts.nodes,
        "switches": parts.switches,
        "cables": parts.cables,
        "nics": parts.nics,
        "pareto": option in front,
    }


def text(
    found: Sequence[Option],
    left_out: Sequence[tuple[str, str]],
    best: Option | None,
    changes: Sequence[Change],
    facts: Mapping[str, Any],
    style: str,
    width: int | None = None,
) -> str:
    """Options in a format; the table has the changes of the chosen one too."""
    front = on_front(found)
    rows = [row(one, front) for one in found]
    if style == "csv":
        return csv_text(rows)
    if style == "json":
        body = {
            "provenance": provenance(**facts, **{f"left out {who}": why for who, why in left_out}),
            "rows": rows,
            "chosen": None if best is None else found.index(best),
            "changes": [vars(one) for one in changes],
        }
        return json.dumps(body, indent=1) + "\n"
    lines = [*fact_lines(facts, width), *block(columns(found, best), width)]
    lines += comment(f"{FRONT} no other is both faster and cheaper; {CHOSEN} chosen", width)
    for who, why in left_out:
        lines += comment(f"left out {who}: {why}", width)
    if best is not None and changes:
        what = f"{best.system.name}, {format_count(best.step.parallel.n_ranks, 'rank')}"
        lines += ["", f"what a change of {what} is worth", *block(_change_columns(changes), width)]
        lines += _most(changes)
    return "\n".join(lines) + "\n"


def columns(found: Sequence[Option], best: Option | None = None) -> list[Column]:
    """A row for each option, with a mark for those that no other beats and for the chosen one."""
    front = on_front(found)
    marks = [(FRONT if one in front else " ") + (CHOSEN if one is best else " ") for one in found]
    bills = [one.bill for one in found]
    return [
        Column("", "", marks, 2),
        Column("system", "", [one.system.name for one in found], 0, left=True),
        Column("ranks", "", [str(one.step.parallel.n_ranks) for one in found], 0),
        Column("step", "", [format_time(one.step.step_s) for one in found], 10),
        Column("computes", "", [f"{100 * one.step.efficiency:.1f} %" for one in found], 0),
        Column("trains in", "", [duration(one.time_s) for one in found], 0),
        Column("costs", "", [format_money(one.cost_usd) for one in found], 0),
        Column("price", "", [format_money(b.price_usd) if b.price_usd is not None else "rented" for b in bills], 0),
        Column("power", "", [f"{b.watts / 1000:.1f} kW" if b.watts is not None else "-" for b in bills], 0),
        Column("bottleneck of the exchange", "", [one.step.main_bottleneck or "-" for one in found], 0, left=True),
    ]


def _change_columns(changes: Sequence[Change]) -> list[Column]:
    ordered = sorted(changes, key=lambda one: -(one.speedup or 0.0))
    return [
        Column("change", "", [one.what for one in ordered], 0, left=True),
        Column("trains in", "", [duration(one.time_s) if one.time_s is not None else "-" for one in ordered], 0),
        Column("faster", "", [f"{one.speedup:.3f} x" if one.speedup is not None else "-" for one in ordered], 0),
        Column("", "", [one.reason for one in ordered], 0, left=True),
    ]


def _most(changes: Sequence[Change]) -> list[str]:
    best = max(changes, key=lambda one: one.speedup or 0.0)
    return [] if best.speedup is None or best.speedup <= 1.001 else ["", f"{best.what} buys most"]


def duration(time_s: float) -> str:
    """Hours and days where seconds say little."""
    if time_s >= DAY_S:
        return f"{time_s / DAY_S:.3g} days"
    return f"{time_s / HOUR_S:.3g} h" if time_s >= HOUR_S else format_time(time_s)


def parts_of_bill(option: Option) -> str:
    """What the chosen one is made of."""
    parts = option.bill.parts
    counted = ((parts.nodes, "node"), (parts.switches, "switch"), (parts.cables, "cable"), (parts.nics, "NIC"))
    plural = {"switch": "switches"}
    words = [f"{n} {plural.get(word, word + 's') if n != 1 else word}" for n, word in counted if n]
    return ", ".join(words)
