"""Decision tables: which algorithm for how many ranks and bytes. Read here, made by ``commsim tune``.

A table is TOML or JSON: a list ``rule`` with ``collective``, ``ranks_per_node`` (1 where it is not said), ``n_ranks``
and ``n_bytes`` (all three: from here on, until the next rule) and ``algorithms``, specs in the order in which they are
taken; the first that does not refuse the case. Rules in one node (all ranks are in it) are for calls in one node, the
others for calls among several.
"""

from __future__ import annotations

import json
import os
import tomllib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from collectives.registry import find, names_of
from commsim.algorithm import Algorithm, Groups
from commsim.collective import collective_named
from commsim.errors import InputError, unknown_name

VARIABLE = "COMMSIM_TUNING"
SHIPPED = Path(__file__).with_name("tuning.toml")
KEYS = ("collective", "ranks_per_node", "n_ranks", "n_bytes", "algorithms")
LAST_RESORT = ("linear", "dissemination")  # take any number of ranks, and keep their order


@dataclass(frozen=True)
class Rule:
    """What to take from so many ranks and bytes on.

    Attributes
    ----------
    collective : str
    n_ranks, n_bytes : int
        The rule holds up to those of the next one; the first also below its own.
    algorithms : tuple of str
        Specs, the best first.
    ranks_per_node : int
        As the others.
    """

    collective: str
    n_ranks: int
    n_bytes: int
    algorithms: tuple[str, ...]
    ranks_per_node: int = 1

    @property
    def is_in_one_node(self) -> bool:
        """Whether all ranks share a node, which they do not where there is one in each."""
        return _in_one_node(self.n_ranks, self.ranks_per_node)

    def __post_init__(self) -> None:
        collective_named(self.collective)
        if min(self.n_ranks, self.ranks_per_node) < 1 or self.n_bytes < 0 or not self.algorithms:
            least = "n_ranks and ranks_per_node are at least 1, n_bytes at least 0"
            raise InputError(f"{self}: {least}, and algorithms names some")
        for spec in self.algorithms:
            _require(self.collective, spec)


@dataclass(frozen=True)
class Table:
    """Rules, with where they come from.

    Attributes
    ----------
    rules : tuple of Rule
    provenance : mapping
    """

    rules: tuple[Rule, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def specs(self, collective: str, n_ranks: int, n_bytes: int, ranks_per_node: int = 1) -> tuple[str, ...]:
        """The specs for a case; of a collective without rules none.

        Where no rule is in one node, a call in one takes those for a rank in each; where all are, others take them too.
        """
        own = [rule for rule in self.rules if rule.collective == collective]
        inside = _in_one_node(n_ranks, ranks_per_node)
        left = [rule for rule in own if rule.is_in_one_node == inside]
        if not left:
            left, ranks_per_node = own, 1 if inside else n_ranks
        for key, value in (("ranks_per_node", ranks_per_node), ("n_ranks", n_ranks), ("n_bytes", n_bytes)):
            begin = _from(sorted({getattr(rule, key) for rule in left}), value)
            left = [rule for rule in left if getattr(rule, key) == begin]
        return left[-1].algorithms if left else ()

    @staticmethod
    def read(path: str | Path) -> Table:
        """The table in a file, TOML or (``.json``) JSON.

        Raises
        ------
        InputError
            Naming the file, and the rule that is wrong.
        """
        try:
            text = Path(path).read_text()
            document = json.loads(text) if str(path).endswith(".json") else tomllib.loads(text)
        except (OSError, ValueError) as error:
            raise InputError(f"decision table {path}: {error}; make one with `commsim tune`") from None
        rows = document.get("rule") if isinstance(document, dict) else None
        if not isinstance(rows, list) or not rows:
            raise InputError(f"decision table {path} has no [[rule]]; make one with `commsim tune`")
        rules = tuple(_rule(path, number, row) for number, row in enumerate(rows, 1))
        return Table(rules, document.get("provenance", {}))


def _rule(path: str | Path, number: int, row: Any) -> Rule:
    try:
        for key in row:
            if key not in KEYS:
                raise unknown_name("key", key, KEYS)
        n_ranks, n_bytes, each = int(row["n_ranks"]), int(row["n_bytes"]), int(row.get("ranks_per_node", 1))
        return Rule(row["collective"], n_ranks, n_bytes, tuple(row["algorithms"]), each)
    except KeyError as error:
        raise InputError(f"decision table {path}, rule {number}: {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"decision table {path}, rule {number}: {error}") from None


@cache
def _require(collective: str, spec: str) -> None:
    """Refuse what is no algorithm; a table names each a hundred times."""
    find(collective, spec)


def _in_one_node(n_ranks: int, ranks_per_node: int) -> bool:
    return 1 < n_ranks <= ranks_per_node


def _from(begins: Sequence[int], value: int) -> int | None:
    """The last that is not above the value; the first where all are."""
    return begins[max(bisect_right(begins, value) - 1, 0)] if begins else None


@cache
def _read(path: str) -> Table:
    return Table.read(path)


def table_of(tuning: str | Path | Table | None) -> Table:
    """The table that a call means: given, that of ``COMMSIM_TUNING``, or the one that comes with this library."""
    if isinstance(tuning, Table):
        return tuning
    return _read(str(tuning or os.environ.get(VARIABLE) or SHIPPED))


def candidates(
    collective: str,
    n_ranks: int,
    n_bytes: int,
    tuning: str | Path | Table | None = None,
    groups: Groups = None,
) -> list[Algorithm]:
    """What ``algorithm="auto"`` tries for a case, in this order; `groups` are the ranks on each host."""
    specs = table_of(tuning).specs(collective, n_ranks, n_bytes, groups or 1)
    resort = tuple(name for name in LAST_RESORT if name in names_of(collective))
    return [find(collective, spec) for spec in dict.fromkeys((*specs, *resort))]
