"""``commsim calibrate``: measure a machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def calibrate(
    output: Annotated[Path, typer.Option("-o", "--output", help="the system file to write, FILE.toml")],
    structure: Annotated[
        str | None,
        typer.Option("--structure", help="NAME:key=value,… or FILE.toml: links and rates that are known, and stay"),
    ] = None,
    largest: Annotated[str, typer.Option("--largest", help="the largest message")] = "32MiB",
    iterations: Annotated[
        int, typer.Option("-n", "--iterations", help="ten times as many up to 64 KiB; fewer where links are slow")
    ] = 20,
    allow_oversubscribed: Annotated[
        bool, typer.Option("--allow-oversubscribed", help="though ranks share cores: the figures are no speeds")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="write over the caches before each message: for commsim exchange")
    ] = False,
    figure: Annotated[Path | None, typer.Option("--figure", help="draw the fit and its residuals: FILE.png")] = None,
) -> None:
    """Measure a machine: mpiexec -n P commsim calibrate …

    Messages between pairs of its ranks, one and several at once, and reductions, never a collective; writes a system
    file.
    """
    from commsim.units import parse_bytes
    from experiments.ranks import calibrate_on_ranks

    printed = calibrate_on_ranks(
        output,
        structure=structure,
        largest=parse_bytes(largest),
        iterations=iterations,
        allow_oversubscribed=allow_oversubscribed,
        figure=figure,
        cold=cold,
    )
    sys.stdout.write(printed)
