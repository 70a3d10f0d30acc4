"""Algorithm: a program with its collective, parameters, constraints, cost and source. The type, not the list."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from commsim.collective import Collective, collective_named
from commsim.errors import CommsimError, InputError, RefusedError, ScheduleError, unknown_name
from commsim.program import Program
from commsim.spec import convert, join_spec

Groups = int | None
"""Ranks in each node, where all nodes have as many (None: not known)."""


@dataclass(frozen=True)
class Constraint:
    """What an algorithm asks of its case, in MPICH's words.

    Attributes
    ----------
    name : str
        "commutative", "equal nodes" …
    refuses : callable, optional
        Takes ``(n_ranks, **params)``; the reason as a text, or None where the case is fine.
    """

    name: str
    refuses: Callable[..., str | None] | None = None


COMMUTATIVE = Constraint("commutative")


@dataclass(frozen=True)
class Algorithm:
    """A program and what is known of it. Made by :func:`algorithm`; parameters are fixed by :meth:`with_params`.

    Attributes
    ----------
    name : str
    collective : Collective
    program : callable
        ``program(rank, n_ranks, *, root, **params)``: a generator of steps.
    chunks : callable
        ``chunks(n_ranks, **params)``: into how many chunks the vector is cut.
    cost : callable or None
        ``cost(n_ranks, n_bytes, alpha, beta, gamma, **params)`` in seconds; its docstring is the formula.
    defaults : callable or None
        ``defaults(n_ranks, n_bytes, groups, **given)``: values of the parameters that were left open.
    constraints : tuple of Constraint
    source : str
        Paper or document, with the section.
    names : mapping
        What libraries call it.
    params : mapping
        Parameter values; None is open (a parameter without a default in the program), to be chosen by ``defaults``.
    """

    name: str
    collective: Collective
    program: Program
    chunks: Callable[..., int]
    cost: Callable[..., float] | None = None
    defaults: Callable[..., Mapping[str, Any]] | None = None
    constraints: tuple[Constraint, ...] = ()
    source: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """Name with the parameters that are set, as users write it."""
        return join_spec(self.name, self.params)

    @property
    def formula(self) -> str:
        """The cost as a text, from the cost function's docstring."""
        return inspect.getdoc(self.cost) or "" if self.cost else ""

    def with_params(self, **values: Any) -> Algorithm:
        """The same algorithm with parameters set.

        Raises
        ------
        UnknownNameError
            For a parameter that it does not have.
        InputError
            For a value that is none.
        """
        declared = parameters_of(self.program)
        for key, value in values.items():
            if key not in declared:
                known = list(declared) or ["it has none"]
                raise unknown_name(f"parameter of {self.name!r}:", key, known)
            values[key] = None if value is None else convert(declared[key], value)
        return replace(self, params={**self.params, **values})

    def resolved(self, n_ranks: int, n_bytes: int = 0, groups: Groups = None) -> Algorithm:
        """The same with every open parameter filled in for this case.

        Raises
        ------
        RefusedError
            If a constraint does not hold; names it.
        """
        if n_ranks < 1:
            raise InputError(f"n_ranks={n_ranks}: there is no communicator of fewer than one rank")
        open_params = [key for key, value in self.params.items() if value is None]
        chosen: dict[str, Any] = {}
        if self.defaults and open_params:
            given = {key: value for key, value in self.params.items() if value is not None}
            chosen = dict(self._asked("defaults", self.defaults, n_ranks, n_bytes, groups, **given))
        for key in open_params:
            if chosen.get(key) is None:
                raise InputError(f"{self.name!r} needs {key}=…: it has no default")
        done = replace(self, params={**self.params, **{key: chosen[key] for key in open_params}})
        for constraint in self.constraints:
            reason = constraint.refuses(n_ranks, **done.params) if constraint.refuses else None
            if reason:
                raise RefusedError(f"{self.name} refuses {n_ranks} ranks ({constraint.name}): {reason}")
        return done

    def n_chunks(self, n_ranks: int) -> int:
        """Into how many chunks the vector is cut (of a resolved algorithm).

        Raises
        ------
        ScheduleError
            If it is no whole number of at least one.
        """
        count = self._asked("chunks", self.chunks, n_ranks, **self.params)
        if not isinstance(count, (int, np.integer)) or count < 1:
            raise ScheduleError(f"{self.name} cuts the vector in {count} chunks; it needs a whole number, at least one")
        return int(count)

    def _asked(self, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of the algorithm's author."""
        try:
            return function(*args, **kwargs)
        except CommsimError:
            raise
        except Exception as error:
            takes = "(n_ranks, **parameters)" if what == "chunks" else "(n_ranks, n_bytes, groups, **given)"
            raise ScheduleError(f"{self.name}: {what}{takes} failed: {type(error).__name__}: {error}") from error

    def cost_s(self, n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
        """Closed-form time in seconds (of a resolved algorithm), for sizes that divide.

        Raises
        ------
        InputError
            If the algorithm states none.
        """
        if self.cost is None:
            raise InputError(f"{self.name} states no cost")
        return self.cost(n_ranks, n_bytes, alpha, beta, gamma, **self.params)


def parameters_of(program: Program) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a program that users may set (``root`` belongs to the collective)."""
    signature = inspect.signature(program)
    return {p.name: p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.name != "root"}


def algorithm(
    collective: str,
    *,
    chunks: Callable[..., int] | int,
    cost: Callable[..., float] | None = None,
    defaults: Callable[..., Mapping[str, Any]] | None = None,
    constraints: tuple[Constraint, ...] = (),
    source: str = "",
    names: Mapping[str, str] | None = None,
) -> Callable[[Program], Algorithm]:
    """Make an :class:`Algorithm` of the decorated program; the arguments are its attributes.

    Examples
    --------
    >>> from commsim import algorithm, chunk, exchange
    >>> @algorithm("allreduce", chunks=lambda n_ranks: n_ranks)
    ... def my_ring(rank, n_ranks):
    ...     for step in range(2 * (n_ranks - 1)):
    ...         yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks,
    ...                         send=chunk((rank - step) % n_ranks), receive=chunk((rank - step - 1) % n_ranks),
    ...                         reduce=step < n_ranks - 1)]
    >>> my_ring.name
    'my_ring'
    """

    def wrap(program: Program) -> Algorithm:
        return Algorithm(
            name=program.__name__,
            collective=collective_named(collective),
            program=program,
            chunks=chunks if callable(chunks) else lambda n_ranks, **params: chunks,
            cost=cost,
            defaults=defaults,
            constraints=constraints,
            source=source,
            names=dict(names or {}),
            params={n: None if p.default is p.empty else p.default for n, p in parameters_of(program).items()},
        )

    return wrap
