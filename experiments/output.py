"""Results for people and programs: a table, CSV, JSON with provenance, others' forms; and back from the files."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from commsim.collective import COLLECTIVES
from commsim.errors import InputError, unknown_name
from commsim.result import Result
from experiments.foreign_forms import nccl_tests, osu
from experiments.left_out import LeftOut
from experiments.table import table

Facts = Mapping[str, Any]
VERSION = importlib.metadata.version("commsim")


def command() -> str:
    """What this program was started with."""
    return shlex.join(["commsim", *sys.argv[1:]])


def provenance(**facts: Any) -> dict[str, Any]:
    """Where rows come from: the command, the versions, and the facts given."""
    import numpy as np

    return {
        "commsim": VERSION,
        "command": command(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        **facts,
    }


def _table(results: Sequence[Result], facts: Facts, left_out: Sequence[LeftOut], width: int | None) -> str:
    return table(results, facts, left_out, width=width)


def _nccl_tests(results: Sequence[Result], facts: Facts, left_out: Sequence[LeftOut], width: int | None) -> str:
    return nccl_tests(results, facts)


def _osu(results: Sequence[Result], facts: Facts, left_out: Sequence[LeftOut], width: int | None) -> str:
    return osu(results)


def _json(results: Sequence[Result], facts: Facts, left_out: Sequence[LeftOut], width: int | None) -> str:
    rows = [result.row() for result in results]
    reasons = {f"left out {index}": one.message for index, one in enumerate(left_out, 1)}
    return json.dumps({"provenance": provenance(**facts, **reasons), "rows": rows}, indent=1, default=str) + "\n"


def _csv(results: Sequence[Result], facts: Facts, left_out: Sequence[LeftOut], width: int | None) -> str:
    text = io.StringIO()
    rows = [{**result.row(), "params": json.dumps(result.row()["params"])} for result in results]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


FORMATS: dict[str, Callable[[Sequence[Result], Facts, Sequence[LeftOut], int | None], str]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "nccl-tests": _nccl_tests,
    "osu": _osu,
}
ENDINGS = {".csv": "csv", ".json": "json", ".txt": "table"}


def formatter(name: str, output: Path | None, known: Collection[str] = tuple(FORMATS)) -> tuple[str, str | None]:
    """Names of the formats for the screen and for the file, refused before anything is computed.

    Parameters
    ----------
    name : str
        Of the screen's.
    output : Path or None
        The file; its ending chooses.
    known : collection of str
        The formats that there are.

    Raises
    ------
    InputError
        For an unknown format, a file ending that none has, or a folder that does not exist.
    """
    if name not in known:
        raise unknown_name("format", name, known)
    if output is None:
        return name, None
    if output.suffix not in ENDINGS:
        raise InputError(f"-o {output}: the ending chooses the format: {', '.join(ENDINGS)}")
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"-o {output}: the folder {output.parent} does not exist or cannot be written")
    return name, ENDINGS[output.suffix]


def read_results(path: Path) -> list[Result]:
    """Results from a file that ``-o FILE.json`` or ``-o FILE.csv`` wrote.

    Raises
    ------
    InputError
        Naming the file and what is wrong with it.
    """
    try:
        text = path.read_text()
        if path.suffix == ".csv" or text.startswith("collective,algorithm,"):  # also one that was printed
            rows: list[dict[str, Any]] = [_from_csv(row) for row in csv.DictReader(io.StringIO(text))]
        else:
            rows = json.loads(text)["rows"]
        return [_result(row) for row in rows]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not what `commsim run -o` or `commsim simulate -o` writes ({error})") from None


def _from_csv(row: Mapping[str, str]) -> dict[str, Any]:
    texts = {
        "collective",
        "algorithm",
        "op",
        "dtype",
        "system",
        "placement",
        "model",
        "library",
        "engine",
        "bottleneck",
        "disturbance",
    }

    def value(key: str, text: str) -> Any:
        if text == "":
            return None
        if key in texts:
            return text
        return json.loads(text.lower() if key == "in_place" else text)

    return {key: value(key, text) for key, text in row.items()}


def _result(row: Mapping[str, Any]) -> Result:
    known = {field.name for field in fields(Result)}
    values = {key: value for key, value in row.items() if key in known}
    if values["collective"] not in COLLECTIVES:
        raise unknown_name("collective", str(values["collective"]), COLLECTIVES)
    params = {
        key: tuple(value) if isinstance(value, list) else value for key, value in (values["params"] or {}).items()
    }
    result = Result(**{**values, "params": params, "time_s": float(values["time_s"])})
    if result.n_ranks < 1 or result.n_bytes < 0 or not result.time_s >= 0:
        raise ValueError(f"{result.n_ranks} ranks, {result.n_bytes} B, {result.time_s} s")
    return result
