"""``commsim traffic``: messages, schedules and collectives on one fabric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.arguments import Degrade, Dtype, Fail, Output, Placement, Seed, SystemSpec
from experiments.commands.disturbances import Jitter, Skew, Stragglers, disturbance
from experiments.commands.printing import show


def traffic(
    system: SystemSpec,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE.csv|FILE.goal]…", help="messages with predecessors")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--with", help="a collective at the same time: COLLECTIVE:ALGORITHM:SIZE[@RANKS], RANKS as 8:15; repeatable"
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="write the one job as FILE.csv or FILE.goal for other simulators")
    ] = None,
    dtype: Dtype = "float32",
    placement: Placement = "packed",
    seed: Seed = None,
    degrade: Degrade = None,
    fail: Fail = None,
    skew: Skew = None,
    straggler: Stragglers = None,
    jitter: Jitter = None,
    top: Annotated[int, typer.Option("--top", min=1, help="so many messages and links are listed")] = 10,
    style: Annotated[
        str, typer.Option("--format", help="table, csv or json: the last two hold every message")
    ] = "table",
    output: Output = None,
) -> None:
    """Play messages with predecessors, GOAL schedules and collectives together on one fabric, and each alone."""
    from experiments.output import formatter
    from experiments.predict import as_asked
    from experiments.traffic import FORMATS, jobs_of, played
    from experiments.traffic import export as write

    styles = formatter(style, output, FORMATS)
    suffered = disturbance(skew, straggler, jitter, seed)
    machine = as_asked(system, placement, seed, degrade or (), fail or (), suffered)
    jobs = jobs_of(files or (), beside or (), machine, dtype)
    if export is not None:
        write(jobs, export, machine)
    result, facts = played(jobs, machine, suffered)
    show(lambda name, width: FORMATS[name](result, facts, machine, top, width), styles, output)
