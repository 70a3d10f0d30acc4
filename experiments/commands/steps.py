"""``commsim steps``: draw an algorithm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.arguments import Name, Root, UserFile


def steps(
    collective: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.svg, .png or .pdf")],
    algorithm: Annotated[str | None, typer.Option("-a", "--algorithm", help="NAME[:key=value,…]")] = None,
    ranks: Annotated[int, typer.Option("--ranks", help="few: every rank is a line")] = 8,
    size: Annotated[str, typer.Option("--size", help="for parameters that follow the size")] = "1MiB",
    per_node: Annotated[int | None, typer.Option("--ranks-per-node", help="for algorithms that ask")] = None,
    root: Root = 0,
    window: Annotated[
        str | None, typer.Option("--steps", help="FIRST:LAST; by default all, or the first and the last that fit")
    ] = None,
    file: UserFile = None,
) -> None:
    """Draw who sends what to whom, step by step.

    And below it what every rank then has.
    """
    from experiments.pages import draw

    draw(collective, algorithm, file, output, n_ranks=ranks, size=size, groups=per_node, root=root, window=window)
