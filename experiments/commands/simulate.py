"""``commsim simulate``: predict algorithms on a system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.arguments import (
    Algorithms,
    Begin,
    Degrade,
    Dtype,
    End,
    Factor,
    Fail,
    Format,
    Matrix,
    Model,
    Name,
    Output,
    Placement,
    Root,
    Seed,
    Sizes,
    SystemSpec,
    UserFile,
)
from experiments.commands.disturbances import Jitter, Skew, Stragglers, disturbance
from experiments.commands.printing import show


def simulate(
    collective: Name,
    system: SystemSpec,
    algorithm: Algorithms = None,
    sizes: Sizes = None,
    begin: Begin = None,
    end: End = None,
    factor: Factor = 2,
    ranks: Annotated[int | None, typer.Option("--ranks", help="ranks; all devices by default")] = None,
    model: Model = "fluid",
    root: Root = 0,
    dtype: Dtype = "float32",
    matrix: Matrix = None,
    placement: Placement = "packed",
    seed: Seed = None,
    degrade: Degrade = None,
    fail: Fail = None,
    skew: Skew = None,
    straggler: Stragglers = None,
    jitter: Jitter = None,
    file: UserFile = None,
    top: Annotated[
        int, typer.Option("--top", min=0, help="show so many of the busiest links, and the bytes of each tier")
    ] = 0,
    links: Annotated[Path | None, typer.Option("--links", help="write every link's load to FILE.csv")] = None,
    timeline: Annotated[Path | None, typer.Option("--timeline", help="write every message to FILE.csv")] = None,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Predict the time of algorithms on a system."""
    from experiments.details import Details
    from experiments.output import FORMATS, formatter
    from experiments.predict import predict
    from experiments.table import terminal_width

    styles = formatter(style, output)
    details = Details(top, links, timeline)
    results, facts, left_out, machine = predict(
        collective,
        algorithm,
        file,
        system=system,
        sizes=(sizes, begin, end, factor),
        matrix=matrix,
        n_ranks=ranks,
        model=model,
        root=root,
        dtype=dtype,
        placement=placement,
        seed=seed,
        degrade=degrade or (),
        fail=fail or (),
        disturbance=disturbance(skew, straggler, jitter, seed),
        timeline=timeline is not None,
    )
    details.write(results, machine.topology)
    show(lambda name, width: FORMATS[name](results, facts, left_out, width), styles, output)
    if style == "table":
        sys.stdout.write(details.text(results, machine.topology, terminal_width()))
