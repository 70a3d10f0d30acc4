"""``commsim quickstart``: the main job once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def quickstart(
    output: Annotated[Path, typer.Option("-o", "--output", help="the folder to write")] = Path("commsim_quickstart"),
    ranks: Annotated[
        int | None, typer.Option("--ranks", help="real ranks; as many as cores, 2 to 4, by default")
    ] = None,
) -> None:
    """Do the main job once, and write a report of it.

    Calibrate this host, run, predict, compare, plan a cluster.
    """
    from experiments.quickstart import quickstart as main_job

    main_job(output, ranks)
