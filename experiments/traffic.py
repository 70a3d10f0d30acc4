"""`commsim traffic`: tables of messages, GOAL schedules and collectives on one fabric, at the same time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collectives.registry import find
from commsim import System
from commsim.disturbance import Disturbance
from commsim.errors import InputError
from commsim.from_schedule import job_of, traffic_of
from commsim.goal import read_goal, write_goal
from commsim.models import MODELS
from commsim.selection import Ints
from commsim.traffic import Job, TrafficResult, renamed, share_fabric, tier_loads
from commsim.traffic_file import read_traffic, write_traffic
from commsim.units import format_bytes, format_count, format_time, parse_bytes
from experiments.details import busiest, link_columns, tier_columns
from experiments.groups import side_by_side
from experiments.left_out import wrapped
from experiments.output import provenance
from experiments.table import Column, block

GOAL_ENDING, CSV_ENDING = ".goal", ".csv"


def jobs_of(files: Sequence[Path], schedules: Sequence[str], system: System, dtype: str) -> list[Job]:
    """What is to share the fabric.

    Parameters
    ----------
    files : sequence of Path
        GOAL by the ending ``.goal``, else CSV.
    schedules : sequence of str
        ``COLLECTIVE:ALGORITHM[:key=value,…]:SIZE[@RANKS]``.
    system : System
    dtype : str

    Raises
    ------
    InputError
        For nothing at all, or what cannot be read.
    """
    jobs = [_read(path, system) for path in files]
    jobs += [_scheduled(text, system, dtype, "--with") for text in schedules]
    if not jobs:
        raise InputError("nothing to play: give FILE.csv or FILE.goal, or --with allreduce:ring:1MiB")
    return renamed(jobs)


def job_beside(text: str, system: System) -> Job:
    """One job, as ``--beside`` names it: a file as :func:`jobs_of` reads it, or a collective as it takes it.

    Raises
    ------
    InputError
        For what cannot be read.
    """
    path = Path(text)
    if path.suffix in (GOAL_ENDING, CSV_ENDING):
        return _read(path, system)
    return _scheduled(text, system, "float32", "--beside")


def _read(path: Path, system: System) -> Job:
    return (read_goal(path) if path.suffix == GOAL_ENDING else read_traffic(path, system)).job(system)


def _scheduled(text: str, system: System, dtype: str, option: str) -> Job:
    what, at, ranks = text.partition("@")
    collective, _, rest = what.partition(":")
    spec, colon, size = rest.rpartition(":")
    if not colon or not spec:
        raise InputError(f"{option} {text}: write it like allreduce:ring:1MiB, collective, algorithm and size")
    algorithm = find(collective, spec)
    if at:
        members = _ranks(ranks, f"{option} {text}", system.n_places)
        algorithm = side_by_side(algorithm.resolved(len(members), parse_bytes(size), None), members[np.newaxis], 0)
    return job_of(algorithm, system, size, dtype=dtype, name=text)


def _ranks(text: str, said: str, n_ranks: int) -> Ints:
    """``8:15`` or ``0,4,8``: ranks, no one twice."""
    try:
        first, colon, last = text.partition(":")
        found = list(range(int(first), int(last) + 1)) if colon else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{said}: ranks are FIRST:LAST or a list such as 0,4,8, not {text!r}") from None
    if len(found) < 2 or len(set(found)) < len(found) or not 0 <= min(found) <= max(found) < n_ranks:
        raise InputError(f"{said}: at least two different ranks from 0 to {n_ranks - 1}")
    return np.array(found, dtype=np.int64)


def export(jobs: Sequence[Job], path: Path, system: System) -> None:
    """Write the one job as CSV or GOAL, by the ending.

    Raises
    ------
    InputError
        If it is not one, or the format cannot say it.
    """
    if len(jobs) != 1:
        raise InputError(f"--export {path}: one job is exported, not {len(jobs)}; leave out FILE or --with")
    if path.suffix not in (GOAL_ENDING, CSV_ENDING):
        raise InputError(f"--export {path}: the ending chooses the format: {GOAL_ENDING}, {CSV_ENDING}")
    traffic = traffic_of(jobs[0])
    if path.suffix == GOAL_ENDING:
        write_goal(traffic, path, system.n_places)
    else:
        write_traffic(traffic, path)


def played(jobs: Sequence[Job], system: System, disturbance: Disturbance) -> tuple[TrafficResult, dict[str, Any]]:
    """The result, and facts for people."""
    result = share_fabric(jobs, system, disturbance)
    facts: dict[str, Any] = {
        "system": f"{system.name}, {format_count(system.n_devices, 'device')}",
        "model": f"fluid: {MODELS['fluid'].description}",
    }
    if system.placement != "packed":
        facts["placement"] = system.placement + ("" if system.seed is None else f", seed {system.seed}")
    if not disturbance.is_none:
        facts["disturbance"] = str(disturbance)
    return result, facts


def _csv(result: TrafficResult, facts: Mapping[str, Any], system: System, top: int, width: int | None) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ROW, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.rows(system.topology))
    return text.getvalue()


def _json(result: TrafficResult, facts: Mapping[str, Any], system: System, top: int, width: int | None) -> str:
    topology = system.topology
    loads = tier_loads(topology, result.link_bytes, result.time_s)
    summary = {
        "time_s": result.time_s,
        "n_messages": result.n_messages,
        "wall_s": result.wall_s,
        "jobs": [vars(job) for job in result.jobs],
        "links": [
            {"link": topology.link_name(link), "n_bytes": float(result.link_bytes[link]), "busy_share": share}
            for link, share in busiest(result.link_bytes, result.link_busy_s, result.time_s, top)
        ],
        "tiers": [vars(load) for load in loads],
    }
    rows = list(result.rows(topology))
    return json.dumps({"provenance": provenance(**facts), "summary": summary, "rows": rows}, indent=1) + "\n"


def _table(result: TrafficResult, facts: Mapping[str, Any], system: System, top: int, width: int | None) -> str:
    rate = f", {result.n_messages / result.wall_s:,.0f} messages/s" if result.wall_s > 0 else ""
    said = {
        **facts,
        "time": format_time(result.time_s),
        "engine": f"{format_count(result.n_messages, 'message')} in {format_time(result.wall_s)}{rate}",
    }
    lines = [f"# {part}" for key, value in said.items() for part in wrapped(f"{key}: {value}", width and width - 2)]
    loads = result.link_bytes, result.link_busy_s, result.time_s
    blocks = [
        _jobs(result),
        _slowest(result, system, top),
        ("busiest links", link_columns(system.topology, *loads, top)),
        ("bytes that left the groups of each tier", tier_columns(system.topology, result.link_bytes, result.time_s)),
    ]
    for title, columns in blocks:
        if columns and columns[0].cells:
            lines += ["", title, *block(columns, width)]
    return "\n".join(lines) + "\n"


def _jobs(result: TrafficResult) -> tuple[str, list[Column]]:
    jobs = result.jobs
    slower = [f"{job.together_s / job.alone_s:.2f} x" if job.alone_s else "-" for job in jobs]
    columns = [
        Column("job", "", [job.name for job in jobs], 0, left=True),
        Column("messages", "", [str(job.n_messages) for job in jobs], 0),
    ]
    if len(jobs) > 1:
        columns.append(Column("alone", "", [format_time(job.alone_s) for job in jobs], 11))
    columns.append(Column("together" if len(jobs) > 1 else "time", "", [format_time(j.together_s) for j in jobs], 11))
    return "jobs", [*columns, Column("slower", "", slower, 0)] if len(jobs) > 1 else columns


def _slowest(result: TrafficResult, system: System, top: int) -> tuple[str, list[Column]]:
    took_s = result.end_s - result.start_s
    order = np.argsort(-took_s, kind="stable")[:top]
    rows = list(result.rows(system.topology)) if len(took_s) else []
    found = [rows[number] for number in order.tolist() if took_s[number] > 0]
    ratios = [f"{row['time_s'] / row['least_s']:.2f} x" if row["least_s"] else "-" for row in found]
    columns = [
        Column("id", "", [row["id"] for row in found], 0, left=True),
        Column("from", "", [row["src"] for row in found], 0, left=True),
        Column("to", "", [row["dst"] for row in found], 0, left=True),
        Column("size", "", [format_bytes(row["n_bytes"]) for row in found], 0),
        Column("start", "", [_at(row["start_s"]) for row in found], 11),
        Column("time", "", [format_time(row["time_s"]) for row in found], 11),
        Column("slower", "", ratios, 0),
    ]
    if any(row["label"] for row in found):
        columns.append(Column("label", "", [row["label"] or "" for row in found], 0, left=True))
    if len(result.traffic) > 1:
        columns.insert(0, Column("job", "", [row["job"] for row in found], 0, left=True))
    return "slowest messages (slower: than by itself on the empty fabric)", columns


def _at(time_s: float) -> str:
    return format_time(time_s) if time_s else "0 s"


ROW = ("job", "id", "label", "src", "dst", "n_bytes", "start_s", "end_s", "done_s", "time_s", "least_s")
FORMATS: dict[str, Callable[[TrafficResult, Mapping[str, Any], System, int, int | None], str]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
}
