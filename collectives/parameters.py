"""Parameters that several algorithms have: what is asked of their values, and how they are chosen where left open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt, prod
from typing import Any, TypeAlias

from collectives.grids import Shape, as_shape, near_square, nearest_shape, written
from commsim import Constraint, Groups

Defaults: TypeAlias = Callable[..., Mapping[str, Any]]
"""``defaults(n_ranks, n_bytes, groups, **given)``: values of the parameters that were left open."""

MOST = 1 << 20  # segments, or ranks in a node
MOST_CHOSEN = 1024  # segments, where nobody says how many


def at_least(parameter: str, least: int, most: int | None = None, why: str = "") -> Constraint:
    """What is asked of a parameter that counts something."""
    wanted = f"at least {least}" if most is None else f"{least} to {most}"
    because = f": {why}" if why else ""

    def refuses(n_ranks: int, **params: Any) -> str | None:
        value = params[parameter]
        fits = value >= least and (most is None or value <= most)
        return None if fits else f"{parameter}={value} must be {wanted}{because}"

    return Constraint(f"{parameter} at least {least}", refuses)


def segments_at_least(least: int, why: str = "") -> Constraint:
    """What is asked of the number of segments."""
    return at_least("segments", least, MOST, why)


def _no_variant(n_ranks: int, *, variant: str, **others: Any) -> str | None:
    known = ("bandwidth", "latency")
    return None if variant in known else f"there is no variant={variant}; use {' or '.join(known)}"


def _unequal(n_ranks: int, *, ranks_per_node: int | Shape, **others: Any) -> str | None:
    shape = as_shape(ranks_per_node)
    if min(shape) >= 1 and n_ranks % prod(shape) == 0:
        return None
    nearest = nearest_shape(n_ranks, shape)
    return f"they are not a multiple of ranks_per_node={written(shape)}; try ranks_per_node={written(nearest)}"


ARITY = at_least("arity", 1)
"""Children of a rank in a k-ary tree."""
RADIX = at_least("radix", 2)
"""Base of the digits of a rank's number: a rank sends one message less than that in a round."""
SEGMENTS = segments_at_least(1)
RANKS_PER_NODE = at_least("ranks_per_node", 1, MOST)
EQUAL_NODES = Constraint("equal nodes", _unequal)
VARIANT = Constraint("variant bandwidth or latency", _no_variant)


def together(*parts: Defaults) -> Defaults:
    """What all of them choose, each knowing what those before have chosen."""

    def choose(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for part in parts:
            chosen |= part(n_ranks, n_bytes, groups, **{**chosen, **given})
        return chosen

    return choose


def segments_by_size(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, int]:
    """Segments of 128 KiB (MPICH's chunk of its circ_graph), at most 1024 of them."""
    return {"segments": min(max(-(-n_bytes // (128 * 1024)), 1), MOST_CHOSEN)}


def segments_of_halves(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, int]:
    """As :func:`segments_by_size`, of each half of the vector."""
    return segments_by_size(n_ranks, -(-n_bytes // 2), groups)


def segments_by_root(latency_bytes: int) -> Defaults:
    """The square root of the size, in units of what a link carries in the time of a latency.

    That is best for two stages: S segments take ``(S + 1)(alpha + n/S*beta)``.
    """

    def choose(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, int]:
        return {"segments": min(max(isqrt(n_bytes // latency_bytes), 1), MOST_CHOSEN)}

    return choose


segments_between_nodes = segments_by_root(256 * 1024)  # about 5 µs at 50 GB/s
segments_in_fabric = segments_by_root(1024 * 1024)  # about 2.3 µs at 450 GB/s, NVLink's of an H100


def nodes_by_machine(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, int]:
    """As many ranks in a node as the machine has, else about as many as there are nodes."""
    return {"ranks_per_node": min(groups or isqrt(n_ranks), n_ranks)}


def equal_nodes_by_machine(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, int]:
    """The same for algorithms that need equal nodes."""
    return {"ranks_per_node": min(groups, n_ranks) if groups else near_square(n_ranks)[0]}
