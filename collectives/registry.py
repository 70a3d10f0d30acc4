"""Finds algorithms by name: every file of a collective's folder holds one, under its own name."""

from __future__ import annotations

import importlib
import math
import pkgutil
from functools import cache

from commsim.algorithm import Algorithm, Groups
from commsim.collective import COLLECTIVES, collective_named
from commsim.errors import InputError, unknown_name
from commsim.spec import split_spec


@cache
def names_of(collective: str) -> tuple[str, ...]:
    """Names of the algorithms of one collective, in alphabetical order."""
    package = importlib.import_module(f"collectives.{collective_named(collective).name}")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def find(collective: str, spec: str) -> Algorithm:
    """The algorithm that a spec such as ``"chain:segments=16"`` means.

    Raises
    ------
    UnknownNameError
        For an unknown collective, algorithm or parameter; names the nearest.
    InputError
        For a parameter value that is none.
    """
    name, params = split_spec(spec)
    if name not in names_of(collective):
        raise unknown_name(f"{collective} algorithm", name, names_of(collective))
    found: Algorithm = getattr(importlib.import_module(f"collectives.{collective}.{name}"), name)
    return found.with_params(**params)


def all_algorithms(collective: str | None = None) -> list[Algorithm]:
    """Every algorithm, of one collective or of all."""
    wanted = [collective_named(collective).name] if collective else list(COLLECTIVES)
    return [find(kind, name) for kind in wanted for name in names_of(kind)]


def nearest(refused: Algorithm, n_ranks: int, n_bytes: int, groups: Groups = None) -> Algorithm | None:
    """What to take instead of an algorithm that refuses a case.

    Itself with its own choice of parameters; else the algorithm of the same collective whose cost is closest to what
    this one costs on the nearest number of ranks that it takes. None if there is none.
    """
    plain = find(refused.collective.name, refused.name) if refused.name in names_of(refused.collective.name) else None
    mended = plain and _taken(plain, n_ranks, n_bytes, groups)
    if mended is not None:
        return mended
    others = [_taken(one, n_ranks, n_bytes, groups) for one in all_algorithms(refused.collective.name)]
    wanted_s = _cost_nearby(plain or refused, n_ranks, n_bytes, groups)
    ranked = [(_distance(one, n_ranks, n_bytes, wanted_s), one.name, one) for one in others if one is not None]
    return min(ranked, key=lambda item: item[:2])[2] if ranked else None


def _taken(algorithm: Algorithm, n_ranks: int, n_bytes: int, groups: Groups) -> Algorithm | None:
    try:
        return algorithm.resolved(n_ranks, n_bytes, groups)
    except InputError:
        return None


def _cost_nearby(algorithm: Algorithm, n_ranks: int, n_bytes: int, groups: Groups) -> float | None:
    by_distance = sorted(range(1, 2 * n_ranks + 2), key=lambda n: abs(n - n_ranks))
    found = next(((n, one) for n in by_distance if (one := _taken(algorithm, n, n_bytes, groups))), None)
    return _cost_s(found[1], found[0], n_bytes) if found else None


def _cost_s(algorithm: Algorithm, n_ranks: int, n_bytes: int) -> float | None:
    return algorithm.cost_s(n_ranks, n_bytes, 2e-6, 1 / 25e9, 1e-12) if algorithm.cost else None


def _distance(algorithm: Algorithm, n_ranks: int, n_bytes: int, wanted_s: float | None) -> float:
    cost_s = _cost_s(algorithm, n_ranks, n_bytes)
    return abs(math.log(cost_s / wanted_s)) if cost_s and wanted_s else math.inf
