"""The part of a system file that says device by device and link by link what a machine is, or what is other about one.

::

    [class.nvlink]                        # rates by class
    bandwidth = "450GB/s"
    latency = "500ns"
    duplex = "full"                       # full (default), half or simplex

    [[device]]
    name = "node[0-3].gpu[0-7]"           # [0-7] stands for eight names
    node = "node{0}"                      # other keys are tiers: their group; {0}: the first range's number
    rail = "{1}"

    [[switch]]
    name = "node[0-3].nvswitch"
    node = "node{0}"

    [[link]]                              # a cable: both directions, unless it is simplex
    from = "node[0-3].gpu[0-7]"
    to = "node{0}.nvswitch"               # of the same node; without {0}: each of them to all
    class = "nvlink"                      # or bandwidth, latency and duplex of its own
    count = 1                             # parallel cables

    [[override]]                          # and [[degraded]]: factor, bandwidth, latency, duplex
    links = "node0.gpu3↔node0.nvswitch"
    bandwidth = "225GB/s"

    [[failed]]
    links = "node0.gpu3→*"
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from commsim.errors import CommsimError, InputError, unknown_name
from commsim.link_changes import DUPLEX, LinkChange, changed
from commsim.routing import routed
from commsim.selection import Ints
from commsim.system import System
from commsim.toml_tables import EntryError, Table, Tables
from commsim.topology import MAX_DEVICES, Floats, Links, Topology, require_possible
from commsim.units import format_bandwidth, format_time_short, parse_bandwidth, parse_time

ADDING = ("device", "switch", "link", "class")
CHANGING = ("override", "degraded", "failed")
USUAL = ("name", "node", "rail", "leaf", "group", "unit", "rack")
LINK_KEYS = ("bandwidth", "latency", "duplex")
_RANGE = re.compile(r"\[(\d+)-(\d+)\]")
_NUMBER = re.compile(r"\{(\d+)\}")


def expanded(pattern: str) -> dict[str, tuple[int, ...]]:
    """``"node[0-1].gpu[0-7]"`` to sixteen names, each with its numbers; the last range turns fastest."""
    parts = _RANGE.split(pattern)
    ranges = [range(int(a), int(b) + 1) for a, b in zip(parts[1::3], parts[2::3], strict=True)]
    if any(not r for r in ranges):
        raise InputError(f"{pattern!r} stands for nothing; write a range like [0-7]")
    require_possible(int(np.prod([float(len(r)) for r in ranges])))
    return {
        "".join(f"{a}{b}" for a, b in zip(parts[::3], [*numbers, ""], strict=True)): numbers
        for numbers in product(*ranges)
    }


def filled(pattern: str, numbers: tuple[int, ...]) -> str:
    """``"node{0}"`` with the numbers of a name's ranges in their places."""
    for place in _NUMBER.findall(pattern):
        if int(place) >= len(numbers):
            raise InputError(f"{pattern!r}: there is no range number {place} to take {{{place}}} from, counted from 0")
    return _NUMBER.sub(lambda match: str(numbers[int(match[1])]), pattern)


@dataclass
class _Machine:
    """What has been described so far."""

    base: str | None  # the name of what it extends
    devices: list[str] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)
    groups: dict[str, dict[str, int]] = field(default_factory=dict)  # by tier, of a vertex
    known: dict[str, dict[Any, int]] = field(default_factory=dict)  # by tier, the number of a group
    parts: list[tuple[list[str], list[str], float, float, str, str | None]] = field(default_factory=list)
    table_of: dict[str, Table | None] = field(default_factory=dict)  # where a vertex is described; None: in the base

    @property
    def names(self) -> list[str]:
        """Devices, then switches."""
        return self.devices + self.switches


def machine_topology(tables: Tables, base: System | None, routing: Mapping[str, Any]) -> Topology:
    """The topology that the file's devices, switches and links make, with those of what it extends.

    Parameters
    ----------
    tables : Tables
    base : System or None
    routing : mapping
        ``routing`` and ``seed`` of :func:`commsim.routing.routed`.

    Returns
    -------
    Topology
        Routed anew, as one network; what the base's generator knows of its structure is not used.

    Raises
    ------
    InputError
        Naming line and key.
    """
    devices, switches, links = (tables.each(word) for word in ("device", "switch", "link"))
    classes = _classes(tables, base)
    machine = _Machine(None if base is None else base.name)
    if base is not None:
        _begin_with(machine, base.topology)
    for table, kind in [*((t, machine.devices) for t in devices), *((t, machine.switches) for t in switches)]:
        _add_vertices(machine, table, kind)
    if not machine.devices:
        raise InputError("it has no device: write [[device]] with a name, or [topology] with a generator or extends")
    for table in links:
        _add_link(machine, table, classes)
    return _built(machine, base, routing)


def _begin_with(machine: _Machine, topology: Topology) -> None:
    names = [topology.vertex_name(vertex) for vertex in range(topology.n_vertices)]
    machine.devices, machine.switches = names[: topology.n_devices], names[topology.n_devices :]
    machine.table_of = dict.fromkeys(names)
    for tier, groups in topology.tiers.items():
        own = groups[: len(names)]
        machine.groups[tier] = {names[v]: int(own[v]) for v in np.flatnonzero(own >= 0).tolist()}
        machine.known[tier] = {f"{tier}{g}": g for g in range(int(groups.max(initial=-1)) + 1)}


def _add_vertices(machine: _Machine, table: Table, into: list[str]) -> None:
    names: dict[str, tuple[int, ...]] = _told(table, "name", expanded, table.text("name"))
    for name in names:
        if name in machine.table_of:
            other = machine.table_of[name]
            where = machine.base if other is None else f"line {other.line}"
            raise table.error("name", f"{name!r} is there already, by {where}; a name stands for one device or switch")
        machine.table_of[name] = table
    into += names
    for tier, value in table.values.items():
        if tier == "name":
            continue
        near = [] if tier in USUAL else difflib.get_close_matches(tier, USUAL, n=1, cutoff=0.75)
        if near:
            raise table.error(tier, f"{tier!r} would be a tier of its own; did you mean {near[0]!r}?")
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise table.error(tier, f"{value!r} is neither a text nor a number: which group of the tier {tier!r}?")
        known, own = machine.known.setdefault(tier, {}), machine.groups.setdefault(tier, {})
        for name, numbers in names.items():
            group = _told(table, tier, filled, str(value), numbers)
            own[name] = known.setdefault(group, max(known.values(), default=-1) + 1)


def _told(table: Table, key: str, function: Callable[..., Any], *args: Any) -> Any:
    """What the function makes of an entry; what it refuses is the entry's mistake."""
    try:
        return function(*args)
    except InputError as error:
        raise table.error(key, error) from None


def _classes(tables: Tables, base: System | None) -> dict[str, Table]:
    classes = {} if base is None else {name: _as_table(name, base.topology) for name in base.topology.classes}
    for name, table in tables.named("class").items():
        classes[name] = table
        table.only(LINK_KEYS)
        _figures(table, table)
        own = base.topology.classes.get(name) if base is not None else None
        if base is not None and own is not None and len(own):
            _same_as_base(table, name, base, int(own[0]))
    return classes


def _as_table(name: str, topology: Topology) -> Table:
    """A class of what the file extends, as a file would have it."""
    links, own = topology.links, topology.classes[name]
    if not len(own):
        return Table(f"[class.{name}]", {})
    bandwidth_Bps, latency_s = float(links.bandwidth_Bps[own[0]]), float(links.latency_s[own[0]])
    is_shared = (links.media[own] != own).any()
    duplex = {"duplex": "half"} if is_shared else {}
    return Table(f"[class.{name}]", {"bandwidth": f"{bandwidth_Bps!r}B/s", "latency": f"{latency_s!r}s", **duplex})


def _same_as_base(table: Table, name: str, base: System, link: int) -> None:
    """Two files that disagree about a class are refused."""
    for key, parse, values, show in (
        ("bandwidth", parse_bandwidth, base.topology.links.bandwidth_Bps, format_bandwidth),
        ("latency", parse_time, base.topology.links.latency_s, format_time_short),
    ):
        value = table.parsed(key, parse)
        if value is not None and not np.isclose(value, values[link], rtol=1e-9):
            raise table.error(
                key,
                f"{base.name} has {show(float(values[link]))} for this class; to change it there, write [[override]] "
                f'with links = "class {name}"',
            )


def _figures(table: Table, own_class: Table) -> tuple[float | None, float | None, str]:
    """Latency, bandwidth and duplex of a link or class: its own, else its class's."""
    found = []
    for key, parse in (("latency", parse_time), ("bandwidth", parse_bandwidth)):
        value = table.parsed(key, parse)
        if value == 0 and key == "bandwidth":
            raise table.error(key, "it must be above 0; a link without any bandwidth is written [[failed]]")
        found.append(own_class.parsed(key, parse) if value is None else value)
    given = [t.text("duplex") for t in (table, own_class) if "duplex" in t.values]
    for word in given:
        if word not in DUPLEX:
            raise table.error("duplex", unknown_name("duplex", word, DUPLEX))
    if len(set(given)) > 1:
        raise table.error("duplex", f"{given[0]} contradicts {own_class.title}, which is {given[1]} duplex")
    return found[0], found[1], given[0] if given else "full"


def _add_link(machine: _Machine, table: Table, classes: Mapping[str, Table]) -> None:
    table.only(("from", "to", "class", "count", *LINK_KEYS))
    name = table.text("class") if "class" in table.values else None
    if name is not None and name not in classes:
        raise table.error("class", unknown_name("class of links", name, classes))
    latency_s, bandwidth_Bps, duplex = _figures(table, classes[name] if name else table)
    if latency_s is None or bandwidth_Bps is None:
        key = "latency" if latency_s is None else "bandwidth"
        raise table.error(None, f"{key} = … is missing, here or in its class")
    pairs = _pairs(machine, table)
    if duplex != "simplex":  # a cable runs both ways: the same two vertices stand for one
        pairs = list({frozenset(pair): pair for pair in reversed(pairs)}.values())[::-1]
    if len(pairs) * table.number("count", 1) > MAX_DEVICES:
        raise table.error("count", f"{len(pairs)} pairs of {table.number('count', 1)} cables are too many")
    pairs = [pair for pair in pairs for _ in range(table.number("count", 1))]
    machine.parts.append(([a for a, _ in pairs], [b for _, b in pairs], latency_s, bandwidth_Bps, duplex, name))
    _one_duplex(machine, table)


def _one_duplex(machine: _Machine, table: Table) -> None:
    """The same two vertices cabled twice, once full and once half duplex, is a contradiction."""
    *_, (src, dst, _, _, duplex, _) = machine.parts
    own = {frozenset(pair) for pair in zip(src, dst, strict=True)}
    for a, b, _, _, other, _ in machine.parts[:-1]:
        if {other, duplex} == {"full", "half"}:
            both = next((pair for pair in zip(a, b, strict=True) if frozenset(pair) in own), None)
            if both:
                raise table.error(
                    "duplex" if "duplex" in table.values else None,
                    f"{both[0]}–{both[1]} is {duplex} duplex here and {other} duplex in another [[link]]",
                )


def _pairs(machine: _Machine, table: Table) -> list[tuple[str, str]]:
    """Each vertex of `from` with all of `to`, but for itself."""
    sources = _vertices(machine, table, "from", table.text("from"))
    to = table.text("to")
    if _NUMBER.search(to):
        filled_in = ((a, _told(table, "to", filled, to, numbers)) for a, numbers in sources.items())
        pairs = [(a, b) for a, pattern in filled_in for b in _vertices(machine, table, "to", pattern) if a != b]
    else:
        pairs = [(a, b) for a, b in product(sources, _vertices(machine, table, "to", to)) if a != b]
    if not pairs:
        raise table.error("to", f"it links {next(iter(sources))!r} to itself alone")
    return pairs


def _vertices(machine: _Machine, table: Table, end: str, pattern: str) -> dict[str, tuple[int, ...]]:
    """Names, with the numbers of their ranges; ``*`` and ``?`` stand for anything."""
    if "*" in pattern or "?" in pattern:
        found = fnmatch.filter(machine.names, pattern)
        if not found:
            raise table.error(end, unknown_name("device or switch", pattern, machine.names))
        return dict.fromkeys(found, ())
    names: dict[str, tuple[int, ...]] = _told(table, end, expanded, pattern)
    for name in names:
        if name not in machine.table_of:
            raise table.error(end, unknown_name("device or switch", name, machine.names))
    return names


def _built(machine: _Machine, base: System | None, routing: Mapping[str, Any]) -> Topology:
    names, old_n = machine.names, 0 if base is None else base.topology.n_devices
    number = {name: at for at, name in enumerate(names)}
    moved = len(machine.devices) - old_n
    parts: list[Links] = []
    named: dict[str | None, list[Ints]] = {}
    n = 0
    if base is not None:
        links = base.topology.links
        ends = (np.where(end >= old_n, end + moved, end) for end in (links.src, links.dst))
        parts.append(replace(links, src=next(ends), dst=next(ends)))
        named, n = {key: [own] for key, own in base.topology.classes.items()}, len(links.src)
    for src, dst, latency_s, bandwidth_Bps, duplex, name in machine.parts:
        part = _cables(np.array([[number[v] for v in end] for end in (src, dst)]), latency_s, bandwidth_Bps, duplex)
        parts.append(part)
        named.setdefault(name, []).append(np.arange(n, n + len(part.src)))
        n += len(part.src)
    links = Links.joined(parts) if parts else _cables(np.empty((2, 0), dtype=np.int64), 0.0, 1.0, "full")
    linked = np.zeros(len(names), dtype=bool)
    linked[links.src] = linked[links.dst] = True
    if len(machine.devices) > 1 and not linked[: len(machine.devices)].all():
        lost = names[int(np.argmin(linked[: len(machine.devices)]))]
        table = machine.table_of[lost] or Table("[[device]]", {})
        raise table.error("name", f"{lost!r} has no link")
    tiers = {
        tier: np.array([own.get(name, -1) for name in names], dtype=np.int64) for tier, own in machine.groups.items()
    }
    classes = {key: np.concatenate(own) for key, own in named.items() if key is not None}
    return routed(names, len(machine.devices), links, tiers, classes, **routing)


def _cables(ends: Ints, latency_s: float, bandwidth_Bps: float, duplex: str) -> Links:
    n = ends.shape[1]

    def same(value: float, times: int) -> Floats:
        return np.full(times * n, value)

    if duplex == "simplex":
        return Links(ends[0], ends[1], same(latency_s, 1), same(bandwidth_Bps, 1))
    medium = np.tile(np.arange(n), 2) if duplex == "half" else None
    src, dst = np.concatenate([ends[0], ends[1]]), np.concatenate([ends[1], ends[0]])
    return Links(src, dst, same(latency_s, 2), same(bandwidth_Bps, 2), medium)


def with_changes(tables: Tables, system: System) -> System:
    """What [[override]], [[degraded]] and [[failed]] say about the links of a system.

    Raises
    ------
    InputError
        Naming line and key.
    """
    for word in CHANGING:
        for table in tables.each(word):
            table.only(("links", "factor", *LINK_KEYS) if word != "failed" else ("links",))
            links = table.text("links")
            factor = table.values.get("factor")
            if factor is not None and (isinstance(factor, bool) or not isinstance(factor, int | float)):
                raise table.error("factor", f"{factor!r} is not a share of the bandwidth, such as 0.5")
            bandwidth_Bps = table.parsed("bandwidth", parse_bandwidth)
            if bandwidth_Bps == 0:
                raise table.error("bandwidth", "it must be above 0; a link without any bandwidth is written [[failed]]")
            duplex = table.text("duplex") if "duplex" in table.values else None
            try:
                change = LinkChange(
                    links, word == "failed", factor, bandwidth_Bps, table.parsed("latency", parse_time), duplex
                )
                system = changed(system, [change])
            except EntryError:
                raise
            except CommsimError as error:
                key = next((k for k in ("factor", "duplex") if k in table.values and k in str(error)), "links")
                raise table.error(key, error) from None
    return system
