"""A system as a TOML file: read and written here alone.

``[topology]`` holds the generator and its keys, as on the command line; ``[endpoint]`` replaces the endpoint's costs;
``[notes]`` is free and travels with the system::

    [topology]
    generator = "star"
    hosts = 2
    bandwidth = "8.1GB/s"
    latency = "250ns"

    [endpoint]
    gap = "0s"
    message = [{from = "0B", overhead = "0.9us", efficiency = 0.6}, {from = "64KiB", efficiency = 0.9}]
    both_ways = [{from = "0B", overhead = "1us", efficiency = 0.5}]
    reduction = [{from = "0B", overhead = "1us", throughput = "20GB/s"}]
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from commsim.errors import CommsimError, InputError, unknown_name
from commsim.spec import build, keys_of
from commsim.system import BySize, Endpoint, System
from commsim.units import parse_bandwidth, parse_bytes, parse_time, parser_for

SECTIONS = ("topology", "endpoint", "notes")
ENDPOINT_KEYS = ("gap", "message", "both_ways", "reduction")


def read_system(path: Path, generators: Mapping[str, Callable[..., System]]) -> System:
    """The system that a file describes.

    Raises
    ------
    InputError
        Naming file and key: unreadable, not TOML, an unknown section or key, a value that is none.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    try:
        return _system(path, document, generators)
    except CommsimError as error:
        raise InputError(f"{path}: {error}") from None


def _system(path: Path, document: dict[str, Any], generators: Mapping[str, Callable[..., System]]) -> System:
    _known_keys("section", document, SECTIONS)
    topology = dict(_table(document, "topology"))
    generator = topology.pop("generator", None)
    if generator is None:
        raise InputError('[topology] needs generator = "…"')
    if not isinstance(generator, str) or generator not in generators:
        raise unknown_name("generator", str(generator), generators)
    for key, parameter in keys_of(generators[generator]).items():
        if parser_for(parameter.name)[1] is not None and isinstance(topology.get(key), (int, float)):
            raise InputError(f"[topology] {key} = {topology[key]}: write a text with its unit")
    system: System = build("generator", generator, generators[generator], topology)
    endpoint = _table(document, "endpoint") if "endpoint" in document else {}
    _known_keys("key of [endpoint]:", endpoint, ENDPOINT_KEYS)
    return replace(
        system,
        name=str(path),
        endpoint=_endpoint(endpoint, system.endpoint),
        notes=_table(document, "notes") if "notes" in document else {},
    )


def _endpoint(table: Mapping[str, Any], default: Endpoint) -> Endpoint:
    def classes(key: str, rate_key: str, parse_rate: Callable[[Any], float]) -> BySize:
        rows = table[key]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
            raise InputError(f"[endpoint] {key} must be a list of {{from, overhead, {rate_key}}}")
        for row in rows:
            _known_keys(f"key of [endpoint] {key}:", row, ("from", "overhead", rate_key))
            if rate_key not in row:
                raise InputError(f"[endpoint] {key} needs {rate_key} in every class")
        return BySize(
            tuple(_parsed(f"{key} from", parse_bytes, row.get("from", "0B")) for row in rows),
            tuple(_parsed(f"{key} overhead", parse_time, row.get("overhead", "0s")) for row in rows),
            tuple(_parsed(f"{key} {rate_key}", parse_rate, row[rate_key]) for row in rows),
        )

    return Endpoint(
        message=classes("message", "efficiency", _efficiency) if "message" in table else default.message,
        both_ways=classes("both_ways", "efficiency", _efficiency) if "both_ways" in table else default.both_ways,
        gap_s=_parsed("gap", parse_time, table["gap"]) if "gap" in table else default.gap_s,
        reduction=classes("reduction", "throughput", parse_bandwidth) if "reduction" in table else default.reduction,
    )


def _parsed(key: str, parse: Callable[[Any], Any], value: Any) -> Any:
    """A figure of [endpoint], which has its unit (but for an efficiency)."""
    if parse is not _efficiency and not isinstance(value, str):
        raise InputError(f"[endpoint] {key} = {value}: write a text with its unit")
    try:
        return parse(value)
    except InputError as error:
        raise InputError(f"[endpoint] {key}: {error}") from None


def _efficiency(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise InputError(f"efficiency = {value!r} must be above 0 and at most 1")
    return float(value)


def _table(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key)
    if not isinstance(table, dict):
        raise InputError(f"[{key}] is missing" if table is None else f"{key} must be a table, [{key}]")
    return table


def _known_keys(what: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise unknown_name(what, key, known)


def write_system(
    path: Path, generator: str, parameters: Mapping[str, Any], endpoint: Endpoint, notes: Mapping[str, Any]
) -> None:
    """Write a file that :func:`read_system` reads back to the same figures.

    Parameters
    ----------
    path : Path
    generator : str
    parameters : mapping
        The generator's keys, values as text with units or whole numbers.
    endpoint : Endpoint
    notes : mapping
        Anything that TOML can hold.
    """
    import tomli_w

    def classes(by_size: BySize, rate_key: str, unit: str) -> list[dict[str, Any]]:
        rows = zip(by_size.min_bytes, by_size.overhead_s, by_size.rate, strict=True)
        return [
            {
                "from": f"{size}B",
                "overhead": f"{overhead!r}s",
                rate_key: f"{rate!r}{unit}" if unit else rate,
            }
            for size, overhead, rate in rows
        ]

    table: dict[str, Any] = {"gap": f"{endpoint.gap_s!r}s", "message": classes(endpoint.message, "efficiency", "")}
    if endpoint.both_ways is not None:
        table["both_ways"] = classes(endpoint.both_ways, "efficiency", "")
    if endpoint.reduction.rate != (float("inf"),):
        table["reduction"] = classes(endpoint.reduction, "throughput", "B/s")
    document = {"topology": {"generator": generator, **parameters}, "endpoint": table, "notes": dict(notes)}
    path.write_text(tomli_w.dumps(document))
