"""``commsim list``: algorithms, systems, models, workloads, policies."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def list_(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="algorithms, systems, models, workloads or policies")],
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="only those of which this is a part; of workloads, a spec or FILE too"),
    ] = None,
    collective: Annotated[str | None, typer.Option("--collective", help="only algorithms of this one")] = None,
    library: Annotated[
        str | None, typer.Option("--library", help="only algorithms of this one: nccl, mpich, 'open mpi' …")
    ] = None,
    keeps_order: Annotated[
        bool, typer.Option("--keeps-order", help="only algorithms that combine in the order of ranks")
    ] = False,
    style: Annotated[str, typer.Option("--format", help="table, csv or json")] = "table",
) -> None:
    """List algorithms, systems, models, workloads and policies.

    Algorithms with constraints, cost and source; systems with their keys, their defaults and what is assumed; workloads
    with parameters, tensors, bytes of gradients and FLOPs of the forward pass of a sample; policies of exchanging them.
    """
    from experiments.listing import Wanted, as_text, listed
    from experiments.table import terminal_width

    wanted = Wanted(name, collective, library, keeps_order)
    sys.stdout.write(as_text(listed(what, wanted), style, terminal_width()))
