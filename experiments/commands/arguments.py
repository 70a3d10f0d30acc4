"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTIVE",
        help="allreduce, broadcast, reduce, reduce_scatter, allgather, alltoall, alltoallv, gather, scatter or barrier",
    ),
]
Algorithms = Annotated[
    str | None,
    typer.Option(
        "-a",
        "--algorithm",
        help="NAME[:key=value,…][,NAME…], or all; by default those of --file, else all",
        show_default=False,
    ),
]
Sizes = Annotated[str | None, typer.Option("--sizes", help="sizes such as 1MiB,64MiB")]
Begin = Annotated[str | None, typer.Option("-b", "--begin", help="first size")]
End = Annotated[str | None, typer.Option("-e", "--end", help="last size")]
Factor = Annotated[int, typer.Option("-f", "--factor", help="factor between sizes")]
Root = Annotated[int, typer.Option("--root", help="root rank of a rooted collective")]
Dtype = Annotated[str, typer.Option("--dtype", help="element type: chunks are whole elements")]
Model = Annotated[str, typer.Option("--model", help="fluid, hockney or loggp")]
SystemSpec = Annotated[str, typer.Option("-s", "--system", help="NAME:key=value,… or FILE.toml")]
Placement = Annotated[
    str, typer.Option("--placement", help="packed, round_robin, by_rail, random or file:PATH: ranks on devices")
]
Seed = Annotated[int | None, typer.Option("--seed", help="of all that is drawn: a random placement, skew, jitter")]
Degrade = Annotated[
    list[str] | None,
    typer.Option("--degrade", help="LINK=SHARE or LINK=RATE, such as 'leaf0<->spine*=0.5'; repeatable"),
]
Fail = Annotated[list[str] | None, typer.Option("--fail", help="links that failed: 'leaf0->spine1'; repeatable")]
Format = Annotated[str, typer.Option("--format", help="table, csv, json, nccl-tests or osu")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="also write to FILE.csv, .json or .txt")]
Matrix = Annotated[Path | None, typer.Option("--matrix", help="alltoallv's sizes: CSV, a row for each sender")]
UserFile = Annotated[str | None, typer.Option("--file", help="your algorithms: FILE.py[:FUNCTION]")]
