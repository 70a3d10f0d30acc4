"""Results printed as wide as the terminal, and written to the file that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path


def show(text: Callable[[str, int | None], str], styles: tuple[str, str | None], output: Path | None) -> None:
    """Write results to a file where one was asked for, and print them.

    Parameters
    ----------
    text : callable
        From the name of a format and a width in characters, or None for as wide as needed.
    styles : tuple
        The formats of the screen and of the file, as `experiments.output.formatter` finds them.
    output : Path or None
    """
    from experiments.table import terminal_width

    on_screen, in_file = styles
    if output is not None and in_file is not None:
        output.write_text(text(in_file, None))
    sys.stdout.write(text(on_screen, terminal_width()))
