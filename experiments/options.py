"""Options that mean nothing or cannot be written to: refused, instead of silently without effect."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from commsim.collective import Collective
from commsim.errors import InputError
from commsim.simulate import item_bytes

FIGURES = (".svg", ".png", ".pdf")
REDUCIBLE = "iuf"  # numpy's kinds of types: integers and floats


def require_file(path: Path | None, *endings: str, option: str = "") -> None:
    """Check that a file that was asked for can be written.

    Raises
    ------
    InputError
        For another ending, or a folder that does not exist; names the `option`.
    """
    if path is not None and (path.suffix not in endings or not path.parent.is_dir()):
        raise InputError(f"{option}{path}: must be a {' or '.join(endings)} file in a folder that exists")


def require_meaning(collective: Collective, *, root: int = 0, op: str = "sum", dtype: str = "float32") -> None:
    """Check that every option that was given means something for the collective.

    Parameters
    ----------
    collective : Collective
    root : int
    op, dtype : str

    Raises
    ------
    InputError
        For a root where there is none, an operation where nothing is reduced, or a type that real ranks do not take.
    """
    name = collective.name
    if root and not collective.rooted:
        raise InputError(f"--root {root}: {name} has no root; leave it out")
    if op != "sum" and not collective.reduces:
        raise InputError(f"--op {op}: {name} reduces nothing; leave it out")
    item_bytes(dtype)
    if np.dtype(dtype).kind not in REDUCIBLE:
        raise InputError(f"dtype {dtype!r} cannot be reduced; use an integer or a floating type")
