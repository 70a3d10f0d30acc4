"""`commsim list`: what exists, as rows."""

from __future__ import annotations

import csv
import inspect
import io
import json
from collections.abc import Callable
from typing import Any

from collectives.registry import all_algorithms
from commsim.errors import unknown_name
from commsim.models import MODELS
from commsim.spec import keys_of
from topologies import SYSTEMS

Rows = list[dict[str, Any]]


def _algorithms(collective: str | None) -> Rows:
    return [
        {
            "collective": one.collective.name,
            "algorithm": one.name,
            "params": ", ".join(f"{k}={'chosen' if v is None else v}" for k, v in one.params.items()),
            "constraints": one.conditions,
            "cost": one.formula,
            "source": one.source,
            "names": "; ".join(f"{library}: {name}" for library, name in one.names.items()),
        }
        for one in all_algorithms(collective)
    ]


def _systems(collective: str | None) -> Rows:
    rows = []
    for name, factory in SYSTEMS.items():
        keys = [k if p.default is p.empty else f"[{k}]" for k, p in keys_of(factory).items()]
        rows.append({"system": name, "keys": ", ".join(keys), "what": _first_line(factory)})
    return rows


def _models(collective: str | None) -> Rows:
    return [{"model": name, "what": model.description} for name, model in MODELS.items()]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


LISTS: dict[str, Callable[[str | None], Rows]] = {"algorithms": _algorithms, "systems": _systems, "models": _models}


def as_text(rows: Rows, style: str) -> str:
    """Rows as ``table`` (a paragraph each), ``csv`` or ``json``.

    Raises
    ------
    UnknownNameError
        For another style.
    """
    if style == "json":
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    if style == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    if style != "table":
        raise unknown_name("format", style, ("table", "csv", "json"))
    return "\n".join(_paragraph(row) for row in rows)


def _paragraph(row: dict[str, Any]) -> str:
    """The name in front, then one indented line for each other column that says something."""
    titles = ("collective", "algorithm", "system", "model")
    head = " ".join(str(row[key]) for key in titles if key in row)
    return "\n".join([head, *(f"  {key:<12}{value}" for key, value in row.items() if key not in titles and value), ""])
