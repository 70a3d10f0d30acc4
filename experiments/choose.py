"""Which algorithms a user means: names, ``all``, or a Python file of their own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from collectives.registry import all_algorithms, find
from commsim import Algorithm, CommsimError
from commsim.errors import InputError, RefusedError, unknown_name
from commsim.spec import split_list


def algorithms_named(
    collective: str, text: str, accepts: Callable[[Algorithm], object]
) -> tuple[list[Algorithm], list[str]]:
    """Algorithms of a text such as ``"ring,chain:segments=4"`` or ``"all"``.

    Parameters
    ----------
    collective : str
    text : str
    accepts : callable
        Raises a CommsimError for an algorithm that cannot take the case: for ``all`` it is left out and the reason
        listed, for a named one it is an error.

    Returns
    -------
    list of Algorithm, list of str
        Those to use, and why others were left out.

    Raises
    ------
    InputError
        If nothing is named or left.
    """
    if text != "all":
        named = [find(collective, spec) for spec in split_list(text)]
        if not named:
            raise InputError("-a names no algorithm; write it like ring,rabenseifner or all")
        for algorithm in named:
            accepts(algorithm)
        return named, []
    taken, reasons = [], []
    for algorithm in all_algorithms(collective):
        try:
            accepts(algorithm)
            taken.append(algorithm)
        except CommsimError as error:
            reasons.append(str(error))
    if not taken:
        raise RefusedError("no algorithm takes this case: " + "; ".join(reasons))
    return taken, reasons


def algorithm_in_file(text: str) -> Algorithm:
    """The algorithm in ``FILE.py`` or ``FILE.py:FUNCTION``.

    Raises
    ------
    InputError
        If the file cannot be read or run, or does not hold (or not only) one algorithm.
    """
    name, _, wanted = text.partition(":")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"--file {text}: {name} is no Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"--file {text}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"--file {name}: {type(error).__name__} while it was read: {error}") from None
    found = {key: value for key, value in vars(module).items() if isinstance(value, Algorithm)}
    if wanted and wanted not in found:
        raise unknown_name(f"algorithm in {name}:", wanted, found)
    if not wanted and len(found) != 1:
        names = ", ".join(found) or "none; decorate a function with @commsim.algorithm(…)"
        raise InputError(
            f"--file {name} holds {len(found)} algorithms ({names}); choose one with --file {name}:FUNCTION"
        )
    return found[wanted] if wanted else next(iter(found.values()))
