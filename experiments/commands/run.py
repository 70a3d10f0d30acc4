"""``commsim run``: time collectives on real ranks."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.commands.arguments import (
    Begin,
    Dtype,
    End,
    Factor,
    Format,
    Matrix,
    Name,
    Output,
    Root,
    Sizes,
    UserFile,
)
from experiments.commands.printing import show


def run(
    collective: Name,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--algorithm",
            help="NAME[:key=value,…][,NAME…], library, or all; by default those of --file, else all",
        ),
    ] = None,
    sizes: Sizes = None,
    begin: Begin = None,
    end: End = None,
    factor: Factor = 2,
    iterations: Annotated[int, typer.Option("-n", "--iterations", help="ten times as many up to 64 KiB")] = 20,
    warmup: Annotated[int, typer.Option("-w", "--warmup")] = 5,
    op: Annotated[str, typer.Option("--op", help="sum, prod, max, min, or FILE.py:FUNCTION")] = "sum",
    root: Root = 0,
    dtype: Dtype = "float32",
    matrix: Matrix = None,
    file: UserFile = None,
    hang_limit: Annotated[
        float,
        typer.Option("--hang-limit", min=0, help="seconds after which a rank that others wait for is lost; 0: never"),
    ] = 8.0,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Run and time collectives: mpiexec -n P commsim run …

    Every run is checked, after the timed iterations.
    """
    from experiments.output import FORMATS, formatter
    from experiments.ranks import measure_on_ranks, worded

    results, facts, left_out = measure_on_ranks(
        collective,
        algorithm,
        file,
        sizes=(sizes, begin, end, factor),
        iterations=iterations,
        warmup=warmup,
        op=op,
        root=root,
        dtype=dtype,
        matrix=matrix,
        output=(style, output),
        hang_limit_s=hang_limit,
    )
    if results:
        styles = formatter(style, output)
        told = worded(facts)
        show(
            lambda name, width: FORMATS[name](results, facts if name == "json" else told, left_out, width),
            styles,
            output,
        )
        if any(result.n_wrong for result in results):
            raise typer.Exit(1)
