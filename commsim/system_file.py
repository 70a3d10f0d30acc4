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
    eager_limit = "8KiB"
    message_rate = "200M/s"
    pair_efficiency = 0.5
    burst = "18kB"
    message = [{from = "0B", overhead = "0.9us", efficiency = 0.6}, {from = "64KiB", efficiency = 0.9}]
    both_ways = [{from = "0B", overhead = "1us", efficiency = 0.5}]
    reduction = [{from = "0B", overhead = "1us", throughput = "20GB/s"}]
    [endpoint.inside.node]                # messages inside one group of a tier; the innermost tier first
    message = [{from = "0B", overhead = "0.2us", efficiency = 0.9}]

Instead of a generator, ``[topology]`` may say ``extends = "dgx_h100:nodes=4"``, or another file (beside this one); or
the file lists devices, switches and links: :mod:`commsim.machine_file`. For a bandwidth or a latency the name of a link
class may stand (``bandwidth = "infiniband_ndr"``). ``[in_network]`` names what the switches of a tier do
(``node = "both"``), ``[assumed]`` figures that have no source.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from commsim.errors import CommsimError, InputError, unknown_name
from commsim.machine_file import ADDING, CHANGING, machine_topology, with_changes
from commsim.spec import build, keys_of, split_spec
from commsim.system import IN_NETWORK, BySize, Endpoint, System
from commsim.toml_tables import EntryError, Table, Tables
from commsim.units import parse_bandwidth, parse_bytes, parse_rate, parse_time, parser_for

SECTIONS = ("topology", "endpoint", "notes", "assumed", "in_network", *ADDING, *CHANGING)
INSIDE_KEYS = ("pair_efficiency", "message", "both_ways")
ENDPOINT_KEYS = ("gap", "eager_limit", "message_rate", "burst", *INSIDE_KEYS, "reduction", "inside")


Named = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""The keys of a table with names of link classes replaced by their figures."""


def read_system(
    path: Path,
    generators: Mapping[str, Callable[..., System]],
    extended_by: tuple[Path, ...] = (),
    *,
    named: Named = dict,
) -> System:
    """The system that a file describes.

    Parameters
    ----------
    path : Path
    generators : mapping
        Of systems by name.
    extended_by : tuple of Path
        The files that led here.
    named : callable
        Gives every table's names of link classes their figures.

    Raises
    ------
    InputError
        Naming file and key: unreadable, not TOML, an unknown section or key, a value that is none.
    """
    try:
        text = path.read_text()
        document = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from None
    try:
        document = _with_names(document, named)
        return _system(path, document, Tables(document, text), generators, extended_by, named)
    except EntryError as error:
        raise InputError(f"{path}{'' if error.line is None else f':{error.line}'}: {error}") from None
    except CommsimError as error:
        raise InputError(f"{path}: {error}") from None


def _system(
    path: Path,
    document: dict[str, Any],
    tables: Tables,
    generators: Mapping[str, Callable[..., System]],
    extended_by: tuple[Path, ...],
    named: Named,
) -> System:
    for section in document:
        if section not in SECTIONS:
            raise EntryError(str(unknown_name("section", section, SECTIONS)), tables.line_of(section))
    with tables.naming_lines("topology"):
        system = _built(path, document, tables, generators, extended_by, named)
    with tables.naming_lines("endpoint"):
        table = _table(document, "endpoint") if "endpoint" in document else {}
        _known_keys("key of [endpoint]:", table, ENDPOINT_KEYS)
        system = replace(system, endpoint=_endpoint(table, system.endpoint))
    system = replace(
        system,
        assumed={**system.assumed, **{key: str(text) for key, text in tables.one("assumed").values.items()}},
        in_network={**system.in_network, **_in_network(tables.one("in_network"), system)},
        notes=_table(document, "notes") if "notes" in document else system.notes,
    )
    return replace(with_changes(tables, system), name=str(path))


def _with_names(value: Any, named: Named) -> Any:
    """All tables of a document, each with its names replaced."""
    if isinstance(value, list):
        return [_with_names(one, named) for one in value]
    return {key: _with_names(one, named) for key, one in named(value).items()} if isinstance(value, dict) else value


def _built(
    path: Path,
    document: dict[str, Any],
    tables: Tables,
    generators: Mapping[str, Callable[..., System]],
    extended_by: tuple[Path, ...],
    named: Named,
) -> System:
    """By its generator, from what it extends, or link by link."""
    lists_links = any(word in document for word in ADDING)
    topology = dict(_table(document, "topology")) if not lists_links or "topology" in document else {}
    if "generator" in topology or not (lists_links or "extends" in topology):
        if lists_links:
            raise InputError('[topology] generator: write extends = "…" to add devices and links to a generator\'s')
        return _generated(topology, generators)
    table = tables.one("topology")
    table.only(("extends", "routing", "seed"))
    routing = {key: table.values[key] for key in ("routing", "seed") if key in table.values}
    if not isinstance(routing.get("seed", 0), int):
        raise table.error("seed", f"{routing['seed']!r} is not a whole number")
    base = _extended(path, tables, generators, extended_by, named) if "extends" in topology else None
    if base is None:
        return System(str(path), machine_topology(tables, None, routing))
    adds = routing or any(word in document for word in ADDING)
    return replace(base, topology=machine_topology(tables, base, routing)) if adds else base


def _extended(
    path: Path,
    tables: Tables,
    generators: Mapping[str, Callable[..., System]],
    extended_by: tuple[Path, ...],
    named: Named,
) -> System:
    table = tables.one("topology")
    spec = table.text("extends")
    if not spec.endswith(".toml"):
        name, values = split_spec(spec)
        if name not in generators:
            raise table.error("extends", unknown_name("system", name, generators))
        try:
            system: System = build("system", name, generators[name], named(values))
        except InputError as error:
            raise table.error("extends", error) from None
        return replace(system, name=spec)
    chain = (*extended_by, path.resolve())
    other = (path.parent / spec).resolve()
    if other in chain:
        raise table.error("extends", f"{spec} extends this file itself, by way of {len(chain)} files")
    with tables.naming_lines("topology", "extends"):
        return read_system(path.parent / spec, generators, chain, named=named)


def _generated(topology: dict[str, Any], generators: Mapping[str, Callable[..., System]]) -> System:
    generator = topology.pop("generator", None)
    if generator is None:
        raise InputError('[topology] needs generator = "…"')
    if not isinstance(generator, str) or generator not in generators:
        raise unknown_name("generator", str(generator), generators)
    for key, parameter in keys_of(generators[generator]).items():
        if parser_for(parameter.name)[1] is not None and isinstance(topology.get(key), (int, float)):
            raise InputError(f"[topology] {key} = {topology[key]}: write a text with its unit")
    system: System = build("generator", generator, generators[generator], topology)
    return system


def _in_network(table: Table, system: System) -> dict[str, frozenset[str]]:
    table.only(("all", *system.topology.tiers))
    words = {tier: table.text(tier) for tier in table.values}
    for tier, word in words.items():
        if word not in IN_NETWORK:
            raise table.error(tier, unknown_name("in_network", word, IN_NETWORK))
    return {tier: IN_NETWORK[word] for tier, word in words.items()}


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
        pair_efficiency=_parsed("pair_efficiency", _efficiency, table["pair_efficiency"])
        if "pair_efficiency" in table
        else default.pair_efficiency,
        message_rate_per_s=_parsed("message_rate", parse_rate, table["message_rate"])
        if "message_rate" in table
        else default.message_rate_per_s,
        burst_bytes=_parsed("burst", parse_bytes, table["burst"]) if "burst" in table else default.burst_bytes,
        eager_limit_bytes=_parsed("eager_limit", parse_bytes, table["eager_limit"])
        if "eager_limit" in table
        else default.eager_limit_bytes,
        inside={**default.inside, **_inside(table)},
    )


def _inside(table: Mapping[str, Any]) -> dict[str, Endpoint]:
    found, tiers = {}, table.get("inside", {})
    if not isinstance(tiers, dict) or not all(isinstance(own, dict) for own in tiers.values()):
        raise InputError("[endpoint] inside must be tables, [endpoint.inside.TIER]")
    for tier, own in tiers.items():
        _known_keys(f"key of [endpoint.inside.{tier}]:", own, INSIDE_KEYS)
        found[tier] = _endpoint(own, Endpoint())
    return found


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
    path: Path, tables: Mapping[str, Any], endpoint: Endpoint, notes: Mapping[str, Any], top: str = ""
) -> None:
    """Write a file that :func:`read_system` reads back to the same figures.

    Parameters
    ----------
    path : Path
    tables : mapping
        What makes the network: ``{"topology": {"generator": "star", …}}``, or devices and links; as TOML has them.
    endpoint : Endpoint
    notes : mapping
        Anything that TOML can hold.
    top : str
        Lines above, for people.
    """
    import tomli_w

    table: dict[str, Any] = {"gap": f"{endpoint.gap_s!r}s"}
    if endpoint.eager_limit_bytes:
        table["eager_limit"] = f"{endpoint.eager_limit_bytes}B"
    if endpoint.message_rate_per_s:
        table["message_rate"] = f"{endpoint.message_rate_per_s!r}/s"
    if endpoint.burst_bytes:
        table["burst"] = f"{endpoint.burst_bytes}B"
    table |= _written(endpoint)
    if endpoint.reduction.rate != (float("inf"),):
        table["reduction"] = _classes(endpoint.reduction, "throughput", "B/s")
    if endpoint.inside:
        table["inside"] = {tier: _written(own) for tier, own in endpoint.inside.items()}
    document = {**tables, "endpoint": table, "notes": dict(notes)}
    path.write_text("".join(f"# {line}\n" for line in top.splitlines()) + tomli_w.dumps(document))


def _written(endpoint: Endpoint) -> dict[str, Any]:
    """What a message costs, as the file has it."""
    table: dict[str, Any] = {"message": _classes(endpoint.message, "efficiency", "")}
    if endpoint.pair_efficiency < 1:
        table["pair_efficiency"] = endpoint.pair_efficiency
    if endpoint.both_ways is not None:
        table["both_ways"] = _classes(endpoint.both_ways, "efficiency", "")
    return table


def _classes(by_size: BySize, rate_key: str, unit: str) -> list[dict[str, Any]]:
    rows = zip(by_size.min_bytes, by_size.overhead_s, by_size.rate, strict=True)
    return [
        {"from": f"{size}B", "overhead": f"{overhead!r}s", rate_key: f"{rate!r}{unit}" if unit else rate}
        for size, overhead, rate in rows
    ]
