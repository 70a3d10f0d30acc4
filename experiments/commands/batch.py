"""``commsim batch``: many commands in one launch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def batch(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="one command a line, without `commsim`; # begins a comment")
    ],
) -> None:
    """Run many commands at once: mpiexec -n P commsim batch …

    In one launch, so that all see the same ranks.
    """
    import shlex

    from commsim.errors import InputError
    from experiments.cli import app
    from experiments.progress import say_once

    try:
        lines = [shlex.split(line, comments=True) for line in file.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as commands ({error})") from None
    for words in filter(None, lines):
        say_once(f"> {shlex.join(words)}")
        code = app(words, standalone_mode=False)
        if code:
            raise typer.Exit(code)
