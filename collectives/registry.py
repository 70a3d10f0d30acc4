"""Finds algorithms by name: every file of a collective's folder holds one, under its own name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from commsim.algorithm import Algorithm
from commsim.collective import COLLECTIVES, collective_named
from commsim.errors import unknown_name
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
