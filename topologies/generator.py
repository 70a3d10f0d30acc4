"""What all generators share: the keys of endpoints and switches, the system's name, and checks of what was written."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from commsim.errors import InputError, unknown_name
from commsim.spec import join_spec
from commsim.system import Endpoint, System
from commsim.topology import Topology, require_possible
from commsim.units import format_bandwidth, format_time_short, parse_bandwidth, parse_time, parser_for
from topologies.in_network import everywhere

MAX_LINKS = 2**26
"""Directed links that a generator builds at most: 2 GiB of arrays."""

SHARED_KEYS = """

Other Parameters
----------------
overhead_s, gap_s, gamma_s_per_byte : float
    LogGP's o and g, and the cost of reduction; 0 by default.
eager_limit_bytes : int
    Up to so many bytes the sender goes on at its last byte; none by default.
pair_efficiency : float
    Share of the bandwidth that is left when two ranks send to each other in one step; 1 by default.
message_rate_per_s : float
    Messages that can begin on one port in a second; any number by default.
in_network : {"none", "reduce", "multicast", "both"}
    What the switches do themselves."""


def shared(
    overhead_s: float = 0.0,
    gap_s: float = 0.0,
    gamma_s_per_byte: float = 0.0,
    in_network: str = "none",
    eager_limit_bytes: int = 0,
    pair_efficiency: float = 1.0,
    message_rate_per_s: float = 0.0,
) -> tuple[Endpoint, Mapping[str, frozenset[str]]]:
    """The keys that every generator has, after its own."""
    more = (eager_limit_bytes, pair_efficiency, message_rate_per_s)
    endpoint = Endpoint.uniform(overhead_s, gap_s, gamma_s_per_byte, *more)
    return endpoint, everywhere(in_network)


def generator(make: Callable[..., Topology]) -> Callable[..., System]:
    """A generator of systems from a function that makes their topology.

    It has the function's keys and, after them, those that all generators share: ``overhead_s``, ``gap_s``,
    ``gamma_s_per_byte``, ``in_network``, ``eager_limit_bytes``, ``pair_efficiency`` and ``message_rate_per_s``. The
    system is named by the spec that makes it again.
    """
    own, extra = inspect.signature(make), inspect.signature(shared).parameters
    signature = own.replace(parameters=[*own.parameters.values(), *extra.values()], return_annotation="System")

    @wraps(make)
    def factory(*args: Any, **given: Any) -> System:
        values = signature.bind(*args, **given).arguments
        others = {key: values[key] for key in extra if key in values}
        endpoint, abilities = shared(**others)
        topology = make(**{key: value for key, value in values.items() if key not in others})
        if abilities and topology.n_vertices == topology.n_devices:
            word = others["in_network"]
            raise InputError(f"in_network={word}: {make.__name__} has no switches that could do so; leave it out")
        return System(spec_of(make.__name__, values), topology, endpoint, in_network=abilities)

    factory.__signature__ = signature  # type: ignore[attr-defined]
    factory.__doc__ = (inspect.getdoc(make) or "") + SHARED_KEYS
    return factory


def spec_of(name: str, values: Mapping[str, Any]) -> str:
    """The spec of a system in the words that people write."""
    return join_spec(name, {parser_for(key)[0]: _written(key, value) for key, value in values.items()})


def _written(key: str, value: Any) -> Any:
    parse = parser_for(key)[1]
    if value is None or parse is None:
        return tuple(value) if isinstance(value, list) else value
    if parse is parse_bandwidth:
        return format_bandwidth(value).replace(" ", "")
    if key.endswith("_per_s"):
        return f"{value!r}/s"
    if key.endswith("_bytes"):
        return f"{value}B"
    if key.endswith("_usd"):
        return f"{value!r}USD"
    return format_time_short(value).replace(" ", "") if parse is parse_time else f"{value!r}s/B"


def at_least_one(**counts: int) -> None:
    """Refuse a count below one.

    Raises
    ------
    InputError
    """
    for key, count in counts.items():
        if count < 1:
            raise InputError(f"{key}={count} must be at least 1")


def can_be_built(n_devices: int, n_links: int) -> None:
    """Refuse what would fill the memory, before it is built.

    Raises
    ------
    InputError
    """
    require_possible(n_devices)
    if n_links > MAX_LINKS:
        raise InputError(f"{n_links} links are too many; a generator builds at most {MAX_LINKS}: make it smaller")


def one_of(key: str, word: str, known: Iterable[str]) -> None:
    """Refuse a word that the key does not have.

    Raises
    ------
    UnknownNameError
    """
    known = tuple(known)
    if word not in known:
        raise unknown_name(key, str(word), known)


def seed_of(routing: str, seed: int | None, plain: str, hashed: str) -> int | None:
    """Seed of the routing `hashed` (0 where none is given); None for the routing `plain`, which takes no seed.

    Raises
    ------
    UnknownNameError
        For another routing.
    InputError
        For a seed without effect.
    """
    one_of("routing", routing, (plain, hashed))
    if routing == hashed:
        return 0 if seed is None else seed
    if seed is not None:
        raise InputError(f"seed={seed} does nothing with routing={plain}; leave it out or take routing={hashed}")
    return None
