"""Which algorithms a user means: names, ``all``, or a Python file of their own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from collectives.registry import all_algorithms, find, nearest
from commsim import Algorithm, CommsimError, same_program, verify
from commsim.algorithm import Groups
from commsim.errors import InputError, RefusedError, unknown_name
from commsim.spec import split_list, split_spec

LIBRARY = "library"  # the MPI library's own collective, as an algorithm's name
PROVEN_RANKS = 64


def chosen(
    collective: str | None, text: str, file: str | None, accepts: Callable[[Algorithm], object]
) -> tuple[list[Algorithm], list[str]]:
    """What -a and --file mean together: the file's algorithm (named in -a only to set its parameters), and those named.

    Parameters
    ----------
    collective : str or None
        None: that of the file's algorithm.
    text : str
        ``"ring,chain:segments=4"``, or ``"all"``: everything that there is, or with a file its algorithm alone.
    file : str or None
        ``FILE.py`` or ``FILE.py:FUNCTION``.
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
        If nothing is named or left, or the file's algorithm is for another collective.
    """
    own = None if file is None else algorithm_in_file(file)
    if own is not None and collective not in (None, own.collective.name):
        raise InputError(f"--file {file}: {own.name} is for {own.collective.name}, not for {collective}")
    if own is None and text == "all":
        return _accepted(all_algorithms(collective), accepts)
    named = [] if text == "all" else split_list(text)
    algorithms = [_named(spec, collective, own) for spec in named]
    if own is not None and all(algorithm.name != own.name for algorithm in algorithms):
        algorithms.insert(0, own)
    if not algorithms:
        raise InputError("-a names no algorithm; write it like ring,rabenseifner or all")
    for algorithm in algorithms:
        accepts(algorithm)
    return algorithms, []


def _named(spec: str, collective: str | None, own: Algorithm | None) -> Algorithm:
    name, params = split_spec(spec)
    if own is not None and name == own.name:
        return own.with_params(**params)
    if name == LIBRARY:
        raise InputError(
            f"{LIBRARY!r} is the MPI library's own collective: it runs on real ranks only, with commsim run"
        )
    kind = collective or (own.collective.name if own else None)
    if kind is None:
        raise InputError("-a needs the collective: commsim verify COLLECTIVE -a NAME")
    return find(kind, spec)


def _accepted(
    algorithms: Sequence[Algorithm], accepts: Callable[[Algorithm], object]
) -> tuple[list[Algorithm], list[str]]:
    taken, reasons = [], []
    for algorithm in algorithms:
        try:
            accepts(algorithm)
            taken.append(algorithm)
        except CommsimError as error:
            reasons.append(str(error))
    if not taken:
        raise RefusedError("no algorithm takes this case: " + "; ".join(dict.fromkeys(reasons)))
    return taken, reasons


def acceptor(
    n_ranks: int, sizes: Sequence[int], groups: Groups, *, prove: bool, root: int = 0, rank: int | None = None
) -> Callable[[Algorithm], None]:
    """Make the check that :func:`chosen` asks for: an algorithm takes every size, and is right if it is to be proven.

    Parameters
    ----------
    n_ranks : int
    sizes : sequence of int
    groups : int or None
        Ranks in each node.
    prove : bool
        Once for each set of parameters that the sizes lead to.
    root, rank
        As :func:`proven` has them.
    """

    def accepts(algorithm: Algorithm) -> None:
        cases = {case.spec: case for case in (_resolved(algorithm, n_ranks, n_bytes, groups) for n_bytes in sizes)}
        for case in cases.values() if prove else ():
            proven(case, n_ranks, root, rank)

    return accepts


def _resolved(algorithm: Algorithm, n_ranks: int, n_bytes: int, groups: Groups) -> Algorithm:
    """As the algorithm does it; a refusal proposes what takes the case."""
    try:
        return algorithm.resolved(n_ranks, n_bytes, groups)
    except RefusedError as error:
        raise with_proposal(error, algorithm, n_ranks, n_bytes, groups) from None


def with_proposal(
    error: RefusedError, algorithm: Algorithm, n_ranks: int, n_bytes: int = 2**20, groups: Groups = None
) -> RefusedError:
    """The refusal with the nearest algorithm that takes the case."""
    other = nearest(algorithm, n_ranks, n_bytes, groups)
    return RefusedError(f"{error}; {other.spec} takes {n_ranks} ranks") if other is not None else error


def proven(algorithm: Algorithm, n_ranks: int, root: int, rank: int | None = None) -> None:
    """Refuse an algorithm of the user's that is wrong; beyond 64 ranks proving takes longer than people wait.

    Parameters
    ----------
    algorithm : Algorithm
        Resolved or not.
    n_ranks, root : int
    rank : int, optional
        The real rank that will run it: its own program must be what was proven.

    Raises
    ------
    ScheduleError
        Naming rank, step and peer.
    """
    if n_ranks > PROVEN_RANKS:
        return
    verify(algorithm, n_ranks, root=root)
    if rank is not None:
        same_program(algorithm, n_ranks, rank, root=root)


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
    except (Exception, SystemExit) as error:
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
