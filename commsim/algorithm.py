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
from commsim.selection import Space
from commsim.spec import convert, join_spec
from commsim.tracing import traced
from commsim.units import format_count

OF_THE_CASE = ("root", "for_bytes")
MOST_CHUNKS = 2**28  # of all buffers of a rank
TAKES = {
    "defaults": "(n_ranks, n_bytes, groups, **given)",
    "cost": "(n_ranks, n_bytes, alpha, beta, gamma, **parameters)",
}
Groups = int | None
"""Ranks in each node, where all nodes have as many (None: not known; ``SCATTERED``: they do not follow each other)."""
SCATTERED = 0
"""The machine has nodes, but ranks are not placed on them in equal runs: no number says who shares one."""


@dataclass(frozen=True)
class Constraint:
    """What an algorithm asks of its case, in MPICH's words.

    Attributes
    ----------
    name : str
        "commutative", "equal nodes" …
    refuses : callable, optional
        Takes ``(n_ranks, **params)``; the reason as a text, or None where the case is fine.
    applies : callable, optional
        Takes ``(n_ranks, **params)``; whether it is asked at all. None: always.
    when : str
        The same in words.
    """

    name: str
    refuses: Callable[..., str | None] | None = None
    applies: Callable[..., bool] | None = None
    when: str = ""

    def only(self, when: str, applies: Callable[..., bool]) -> Constraint:
        """The same, asked only of some parameters: ``COMMUTATIVE.only("radix above 2", lambda n_ranks, radix: …)``."""
        return replace(self, when=when, applies=applies)

    def decided(self) -> Constraint:
        """The same where it applies, as if it always did."""
        return replace(self, when="", applies=None) if self.applies else self


COMMUTATIVE = Constraint("commutative")
"""It combines values in another order than that of ranks."""
ROUNDS_APART = Constraint("ranks may round apart")
"""Ranks combine the same values in different orders: floats may differ in their last bits from rank to rank."""


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
        ``chunks(n_ranks, **params)``: into how many chunks each block of the vector is cut (allreduce, broadcast and
        reduce: the vector is one block; the others: a block for each rank).
    scratch : callable
        ``scratch(n_ranks, **params)``: how many copies of the vector it needs beside it.
    cost : callable or None
        ``cost(n_ranks, n_bytes, alpha, beta, gamma, **params)`` in seconds, with ``root`` if it asks for it; its
        docstring is the formula.
    defaults : callable or None
        ``defaults(n_ranks, n_bytes, groups, **given)``: values of the parameters that were left open.
    constraints : tuple of Constraint
    source : str
        Paper or document, with the section.
    names : mapping
        What libraries call it.
    params : mapping
        Parameter values; None is open (a parameter without a default in the program), to be chosen by ``defaults``.
    for_bytes : int or None
        Size of the vector that the open parameters were chosen for, where the program asks for it (``*, for_bytes``) to
        choose those of other algorithms by it: all functions of the algorithm then get it as they get a parameter.
    """

    name: str
    collective: Collective
    program: Program
    chunks: Callable[..., int]
    scratch: Callable[..., int] = lambda n_ranks, **params: 0
    cost: Callable[..., float] | None = None
    defaults: Callable[..., Mapping[str, Any]] | None = None
    constraints: tuple[Constraint, ...] = ()
    source: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    for_bytes: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """All that its functions get as keywords: the parameters, and what belongs to the case."""
        return {**self.params} if self.for_bytes is None else {**self.params, "for_bytes": self.for_bytes}

    @property
    def spec(self) -> str:
        """Name with the parameters that are set, as users write it."""
        return join_spec(self.name, self.params)

    @property
    def keeps_order(self) -> bool:
        """Whether it combines values in the order of ranks, and so takes an operation that does not commute.

        Where that depends on parameters it is known once they are :meth:`resolved`; until then the answer is no.
        """
        return self.collective.reduces and COMMUTATIVE.name not in {one.name for one in self.constraints}

    @property
    def conditions(self) -> str:
        """What it asks of its case, for people."""
        words = [f"{one.name} ({one.when})" if one.when else one.name for one in self.constraints]
        return ", ".join([*words, *(["keeps the order of ranks"] if self.keeps_order else [])])

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
        """The same with every open parameter filled in for this case, and the constraints that apply to it.

        Raises
        ------
        RefusedError
            If a constraint does not hold; names it.
        """
        if n_ranks < 1:
            raise InputError(f"n_ranks={n_ranks}: there is no communicator of fewer than one rank")
        open_params = [key for key, value in self.params.items() if value is None]
        chosen: dict[str, Any] = {}
        if groups == SCATTERED and "ranks_per_node" in open_params:
            raise RefusedError(
                f"{self.name} groups ranks by node, and here the ranks of a node do not follow each other in equal "
                "runs; use placement packed on nodes of one size, or give it ranks_per_node=…"
            )
        groups = groups or None
        if self.defaults and open_params:
            given = {key: value for key, value in self.params.items() if value is not None}
            chosen = self._asked("defaults", self.defaults, n_ranks, n_bytes, groups, **given)
            if not isinstance(chosen, Mapping):
                raise ScheduleError(f"{self.name}: defaults must return a mapping of parameters, not {chosen!r}")
        for key in open_params:
            if chosen.get(key) is None:
                raise InputError(f"{self.name!r} needs {key}=…: it has no default")
        params = {**self.params, **{key: chosen[key] for key in open_params}}
        for_bytes = None if self.for_bytes is None else n_bytes
        return replace(self, params=params, for_bytes=for_bytes)._constrained(n_ranks)

    def _constrained(self, n_ranks: int) -> Algorithm:
        """The same with the constraints that apply, none of which refuses."""
        options = self.options
        for one in self.constraints:
            reason = self._asked(one.name, one.refuses, n_ranks, **options) if one.refuses else None
            if reason:
                raise RefusedError(f"{self.name} refuses {format_count(n_ranks, 'rank')} ({one.name}): {reason}")
        if not any(one.applies for one in self.constraints):
            return self
        left = [o for o in self.constraints if not o.applies or self._asked(o.name, o.applies, n_ranks, **options)]
        return replace(self, constraints=tuple(one.decided() for one in left))

    def space(self, n_ranks: int) -> Space:
        """All chunks of one rank (of a resolved algorithm).

        Raises
        ------
        ScheduleError
            If blocks are not cut in a whole number of at least one chunk, or scratch is no whole number.
        """
        each = self._asked("chunks", self.chunks, n_ranks, **self.options)
        if not isinstance(each, (int, np.integer)) or each < 1:
            raise ScheduleError(f"{self.name} cuts the vector in {each} chunks; it needs a whole number, at least one")
        copies = self._asked("scratch", self.scratch, n_ranks, **self.options)
        if not isinstance(copies, (int, np.integer)) or copies < 0:
            raise ScheduleError(f"{self.name} wants {copies} copies as scratch; it needs a whole number")
        if self.collective.sizes_each and (each != 1 or copies):
            raise ScheduleError(
                f"{self.name}: where every pair has a size of its own, chunks={each} must be 1 and scratch={copies} 0"
            )
        space = Space(self.collective.n_blocks(n_ranks) * int(each), self.collective.has_output, int(copies))
        if space.n_chunks > MOST_CHUNKS:
            raise ScheduleError(f"{self.name} on {n_ranks} ranks has {space.n_chunks} chunks; at most {MOST_CHUNKS}")
        return space

    def _asked(self, what: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function of the algorithm's author."""
        try:
            return function(*args, **kwargs)
        except CommsimError:
            raise
        except (Exception, SystemExit) as error:
            takes = TAKES.get(what, "(n_ranks, **parameters)")
            raise ScheduleError(f"{self.name}: {what}{takes} failed: {type(error).__name__}: {error}") from error

    def cost_s(self, n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, root: int = 0) -> float:
        """Closed-form time in seconds (of a resolved algorithm), for sizes that divide.

        Raises
        ------
        InputError
            If the algorithm states none.
        """
        if self.cost is None:
            raise InputError(f"{self.name} states no cost")
        rooted = {"root": root} if "root" in inspect.signature(self.cost).parameters else {}
        found: float = self._asked("cost", self.cost, n_ranks, n_bytes, alpha, beta, gamma, **rooted, **self.options)
        return found


def parameters_of(program: Program) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a program that users may set; those that belong to the case are not among them."""
    signature = inspect.signature(program)
    return {p.name: p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.name not in OF_THE_CASE}


def algorithm(
    collective: str,
    *,
    chunks: Callable[..., int] | int = 1,
    scratch: Callable[..., int] | int = 0,
    form: str = "array",
    cost: Callable[..., float] | None = None,
    defaults: Callable[..., Mapping[str, Any]] | None = None,
    constraints: tuple[Constraint, ...] | Constraint = (),
    source: str = "",
    names: Mapping[str, str] | None = None,
) -> Callable[[Program], Algorithm]:
    """Make an :class:`Algorithm` of the decorated program; the arguments are its attributes.

    With ``form="int"`` the program is written for one int rank only (a plain ``if rank == root`` works); it is traced
    rank by rank, and the steps of the two ends of each message are brought together (:mod:`commsim.tracing`).

    Examples
    --------
    >>> from commsim import COMMUTATIVE, algorithm, chunk, exchange
    >>> @algorithm("allreduce", chunks=lambda n_ranks: n_ranks, constraints=(COMMUTATIVE,))
    ... def my_ring(rank, n_ranks):
    ...     for step in range(2 * (n_ranks - 1)):
    ...         yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks,
    ...                         send=chunk((rank - step) % n_ranks), receive=chunk((rank - step - 1) % n_ranks),
    ...                         reduce=step < n_ranks - 1)]
    >>> my_ring.name
    'my_ring'
    """
    if isinstance(constraints, Constraint):
        constraints = (constraints,)
    if not all(isinstance(constraint, Constraint) for constraint in constraints):
        raise InputError(f"constraints={constraints!r}: write them like (COMMUTATIVE, Constraint(name, refuses))")
    if form not in ("array", "int"):
        raise unknown_name("form", form, ("array", "int"))

    def wrap(program: Program) -> Algorithm:
        return Algorithm(
            name=program.__name__,
            collective=collective_named(collective),
            program=program if form == "array" else traced(program),
            chunks=chunks if callable(chunks) else lambda n_ranks, **params: chunks,
            scratch=scratch if callable(scratch) else lambda n_ranks, **params: scratch,
            cost=cost,
            defaults=defaults,
            constraints=tuple(constraints),
            source=source,
            names=dict(names or {}),
            params={n: None if p.default is p.empty else p.default for n, p in parameters_of(program).items()},
            for_bytes=0 if "for_bytes" in inspect.signature(program).parameters else None,
        )

    return wrap
