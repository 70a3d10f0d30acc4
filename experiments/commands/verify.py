"""``commsim verify``: prove algorithms right."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from experiments.commands.arguments import Algorithms, UserFile


def verify(
    collective: Annotated[str | None, typer.Argument(metavar="[COLLECTIVE]")] = None,
    algorithm: Algorithms = None,
    ranks: Annotated[str, typer.Option("--ranks", help="N, or FIRST:LAST")] = "1:40",
    file: UserFile = None,
) -> None:
    """Prove algorithms right by counting every contribution.

    For every root; thousands of ranks by fingerprints.
    """
    from experiments.choose import chosen
    from experiments.proof import prove, rank_range

    numbers = rank_range(ranks)
    sys.stdout.writelines(prove(chosen(collective, algorithm, file), numbers))
