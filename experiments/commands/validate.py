"""``commsim validate``: predictions beside measurements."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.arguments import Matrix, Model, SystemSpec, UserFile


def validate(
    measured: Annotated[
        list[Path],
        typer.Argument(
            metavar="MEASURED…", help="what `commsim run -o` or `exchange -o` wrote; nccl-tests' or OSU's text; CSV"
        ),
    ],
    system: SystemSpec,
    model: Model = "fluid",
    matrix: Matrix = None,
    file: UserFile = None,
    algorithm: Annotated[
        str | None,
        typer.Option("-a", "--algorithm", help="for rows that do not say what ran: the fastest predicted of these"),
    ] = None,
    collective: Annotated[str | None, typer.Option("--collective", help="where a file does not say it")] = None,
    ranks: Annotated[int | None, typer.Option("--ranks", min=1, help="where a file does not say it")] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="exit 1 if the 90th percentile of |ln(predicted/measured)| is above")
    ] = None,
    limit_median: Annotated[float | None, typer.Option("--limit-median", help="exit 1 if the median is above")] = None,
    limit_winners: Annotated[
        float | None, typer.Option("--limit-winners", help="exit 1 if the predicted winner wins in a lesser share")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="draw predicted against measured: FILE.png, .svg or .pdf")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="also write the rows to FILE.csv")] = None,
) -> None:
    """Predict what was measured, and put both side by side.

    Rows that cannot be predicted are told below; exit 2 if nothing is left, 1 beyond a limit.
    """
    from commsim.errors import LimitError
    from commsim.spec import split_list
    from experiments.choose import finder
    from experiments.validate import Limits, Told
    from experiments.validate.command import validated

    printed, passed = validated(
        measured,
        system,
        told=Told(collective, ranks),
        stand_in=split_list(algorithm or ""),
        limits=Limits(limit, limit_median, limit_winners),
        figure=figure,
        output=output,
        model=model,
        algorithm=finder(file),
        matrix=matrix,
    )
    sys.stdout.write(printed)
    if passed:
        raise LimitError("; ".join(passed))
