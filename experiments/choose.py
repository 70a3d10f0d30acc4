"""Which algorithms a user means: names, ``all``, or those in a Python file of their own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collectives.registry import all_algorithms, find, names_of, nearest
from commsim import Algorithm, CommsimError, same_program, verify
from commsim.algorithm import Groups
from commsim.errors import InputError, RefusedError, UnknownNameError, unknown_name
from commsim.spec import split_list, split_spec
from commsim.units import format_count
from experiments.left_out import LeftOut, in_one_line
from experiments.progress import watched

LIBRARY = "library"  # the MPI library's own collective, as an algorithm's name
ALL = "all"
PROVEN_VALUES = 1 << 23  # chunks of all ranks that a proof in passing may hold: a second or two

Accepts = Callable[[Algorithm], object]
Finder = Callable[[str, str], Algorithm]
"""Takes a collective's name and what was written for the algorithm."""


@dataclass(frozen=True)
class Choice:
    """What a user asked for.

    Attributes
    ----------
    algorithms : list of Algorithm
        Those to use.
    left_out : list of LeftOut
        Those that cannot take the case, where ``all`` were asked for.
    own : list of Algorithm
        Those of the user's file.
    lenient : bool
        Whether an algorithm that cannot take the case is left out, instead of an error.
    """

    algorithms: list[Algorithm]
    left_out: list[LeftOut] = field(default_factory=list)
    own: list[Algorithm] = field(default_factory=list)
    lenient: bool = False

    def is_own(self, algorithm: Algorithm) -> bool:
        """Whether it comes from the user's file."""
        return any(one.program is algorithm.program for one in self.own)


def chosen(collective: str | None, text: str | None, file: str | None, accepts: Accepts = lambda _: None) -> Choice:
    """What -a and --file mean together: the file's algorithms (named in -a only to set parameters), and those named.

    Parameters
    ----------
    collective : str or None
        None: those of the file's algorithms.
    text : str or None
        ``"ring,chain:segments=4"``, or ``"all"``: everything that there is. None: the file's; without one everything.
    file : str or None
        ``FILE.py`` or ``FILE.py:FUNCTION``.
    accepts : callable
        Raises a CommsimError for an algorithm that cannot take the case: unless it was named it is left out and the
        reason listed. What is wrong with the user's own is always an error.

    Raises
    ------
    InputError
        If nothing is named or left, or the file's algorithms are for other collectives.
    """
    own = [] if file is None else _own(collective, file)
    lenient = text in (None, ALL)
    if lenient:
        library = all_algorithms(collective) if text == ALL or not own else []
        return _accepted(Choice([*own, *library], own=own, lenient=True), accepts)
    named = [_named(spec, collective, own) for spec in split_list(text or "")]
    names = {one.name for one in named}
    algorithms = [*(one for one in own if one.name not in names), *named]
    if not algorithms:
        raise InputError("-a names no algorithm; write it like ring,rabenseifner or all")
    for algorithm in algorithms:
        accepts(algorithm)
    return Choice(algorithms, own=own)


def _own(collective: str | None, file: str) -> list[Algorithm]:
    """The algorithms of the user's file for this collective."""
    every = algorithms_in_file(file)
    own = [one for one in every if collective in (None, one.collective.name)]
    if not own:
        raise InputError(f"--file {file}: {every[0].name} is for {every[0].collective.name}, not for {collective}")
    return own


def _named(spec: str, collective: str | None, own: Sequence[Algorithm]) -> Algorithm:
    name, params = split_spec(spec)
    for one in own:
        if name == one.name:
            return one.with_params(**params)
    if name == LIBRARY:
        raise InputError(
            f"{LIBRARY!r} is the MPI library's own collective: it runs on real ranks only, with commsim run"
        )
    kind = collective or (own[0].collective.name if own else None)
    if kind is None:
        raise InputError("-a needs the collective: commsim verify COLLECTIVE -a NAME")
    return find(kind, spec)


def _accepted(choice: Choice, accepts: Accepts) -> Choice:
    taken: list[Algorithm] = []
    left_out: list[LeftOut] = []
    for algorithm in choice.algorithms:
        try:
            accepts(algorithm)
            taken.append(algorithm)
        except CommsimError as error:
            wrong = choice.is_own(algorithm) and not isinstance(error, RefusedError)
            if wrong or len(choice.algorithms) == 1:
                raise
            left_out.append(LeftOut.of(algorithm.name, error))
    if not taken:
        raise RefusedError("no algorithm takes this case: " + in_one_line(left_out))
    return Choice(taken, left_out, choice.own, lenient=True)


def acceptor(
    n_ranks: int, sizes: Sequence[int], groups: Groups, *, propose: bool = True
) -> Callable[[Algorithm], None]:
    """Make the check that :func:`chosen` asks for: an algorithm takes every size.

    Parameters
    ----------
    n_ranks : int
    sizes : sequence of int
    groups : int or None
        Ranks in each node.
    propose : bool
        Whether a refusal names what takes the case instead.
    """

    def accepts(algorithm: Algorithm) -> None:
        for n_bytes in sizes:
            try:
                algorithm.resolved(n_ranks, n_bytes, groups)
            except RefusedError as error:
                raise with_proposal(error, algorithm, n_ranks, n_bytes, groups) if propose else error from None

    return accepts


def with_proposal(
    error: RefusedError, algorithm: Algorithm, n_ranks: int, n_bytes: int = 2**20, groups: Groups = None
) -> RefusedError:
    """The refusal with the nearest algorithm that takes the case."""
    other = nearest(algorithm, n_ranks, n_bytes, groups)
    return RefusedError(f"{error}; {other.spec} takes {format_count(n_ranks, 'rank')}") if other is not None else error


def proven(
    choice: Choice, n_ranks: int, sizes: Sequence[int], groups: Groups, *, root: int, rank: int | None = None
) -> str | None:
    """Refuse algorithms of the user's that are wrong, once for each set of parameters that the sizes lead to.

    Parameters
    ----------
    choice : Choice
    n_ranks : int
    sizes : sequence of int
    groups : int or None
    root : int
    rank : int, optional
        The real rank that will run them: its own program must be what was proven.

    Returns
    -------
    str or None
        What was proven and how, or that it was not; None where nothing is the user's.

    Raises
    ------
    ScheduleError
        Naming rank, step and peer.
    """
    own = [one.resolved(n_ranks, size, groups) for one in choice.algorithms if choice.is_own(one) for size in sizes]
    cases = {(case.spec, case.for_bytes): case for case in own}  # a program may ask for the size as well
    said: dict[str, list[str]] = {}
    for (spec, _), case in cases.items():
        specs = said.setdefault(_proven_by(case, n_ranks, root, rank), [])
        specs += [spec] if spec not in specs else []
    return "; ".join(f"{', '.join(specs)} {how}" for how, specs in said.items()) or None


def _proven_by(algorithm: Algorithm, n_ranks: int, root: int, rank: int | None) -> str:
    on = f"on {format_count(n_ranks, 'rank')}"
    if n_ranks * algorithm.space(n_ranks).n_chunks > PROVEN_VALUES:
        return f"NOT PROVEN {on}, too large to do in passing: commsim verify --file FILE.py --ranks {n_ranks}"
    proof = verify(watched(algorithm), n_ranks, root=root)
    if rank is not None:
        same_program(algorithm, n_ranks, rank, root=root)
    return f"proven {on}, {'counted' if proof.means.startswith('counting') else 'by fingerprints'}"


def algorithms_in_file(text: str) -> list[Algorithm]:
    """All algorithms in ``FILE.py``, in the order in which they stand there, or the one of ``FILE.py:FUNCTION``.

    Raises
    ------
    InputError
        If the file cannot be read or run, or holds no algorithm (of that name).
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
    own = [one for one in found.values() if not _is_shipped(one)]
    if not wanted and not own:
        raise InputError(f"--file {name} holds no algorithm; decorate a function with @commsim.algorithm(…)")
    return [found[wanted]] if wanted else own


def _is_shipped(algorithm: Algorithm) -> bool:
    """Whether it is one of the library's, that a file may import and build on."""
    kind = algorithm.collective.name
    return algorithm.name in names_of(kind) and find(kind, algorithm.name).program is algorithm.program


def require_known(specs: Iterable[str], collectives: Collection[str], algorithm: Finder = find) -> None:
    """Check that each is an algorithm of one of the collectives at least.

    Raises
    ------
    UnknownNameError
        Of the first that is none.
    """
    for spec in specs:
        errors = []
        for collective in collectives:
            try:
                algorithm(collective, spec)
            except UnknownNameError as error:
                errors.append(error)
        if errors and len(errors) == len(collectives):
            raise errors[0]


def finder(file: str | None) -> Finder:
    """Find an algorithm by its collective and spec, among those of the user's file first."""
    own = [] if file is None else algorithms_in_file(file)

    def found(collective: str, spec: str) -> Algorithm:
        return _named(spec, collective, [one for one in own if one.collective.name == collective])

    return found
