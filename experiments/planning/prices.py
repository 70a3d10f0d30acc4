"""Prices and power of nodes and fabrics, from a file that people edit."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from commsim import System
from commsim.errors import InputError, unknown_name
from commsim.spec import split_spec
from commsim.units import parse_money

SHIPPED = "experiments/planning/prices.toml"
HOUR_S = 3600.0
EMPTY = "empty."
"""How vertices are called where a fabric has room for nodes that are not there."""


@dataclass(frozen=True)
class NodePrice:
    """One node: bought, or rented by the hour with everything around it."""

    price_usd: float = 0.0
    watts: float = 0.0
    per_hour_usd: float | None = None


@dataclass(frozen=True)
class Fabric:
    """What stands between nodes."""

    switch_usd: float
    switch_watts: float
    cable_usd: float
    nic_usd: float
    nic_watts: float


@dataclass(frozen=True)
class Parts:
    """What a system is made of."""

    nodes: int
    switches: int
    cables: int
    nics: int


@dataclass(frozen=True)
class Bill:
    """What a system costs.

    Attributes
    ----------
    parts : Parts
    price_usd : float or None
        To buy; None where it is rented.
    per_hour_usd : float
        Of using it: rent, or the price over its life and its energy.
    watts : float or None
        None where it is rented.
    """

    parts: Parts
    price_usd: float | None
    per_hour_usd: float
    watts: float | None


@dataclass(frozen=True)
class Prices:
    """All prices of a file.

    Attributes
    ----------
    source : str
        The file, and its date.
    """

    source: str
    hours: float
    usd_per_kwh: float
    cooling: float
    fabric: Fabric
    nodes: Mapping[str, NodePrice] = field(default_factory=dict)

    def bill(self, system: System) -> Bill:
        """What a system costs; a machine without a price of its own costs what a default node does."""
        parts, name = parts_of(system), split_spec(system.name)[0]
        node = self.nodes.get(name, self.nodes["default"])
        if node.per_hour_usd is not None:
            return Bill(parts, None, parts.nodes * node.per_hour_usd, None)
        whole = name in self.nodes or "node" not in system.topology.tiers  # its NICs are in its price
        nics = 0 if whole else parts.nics
        price_usd = (
            parts.nodes * node.price_usd
            + parts.switches * self.fabric.switch_usd
            + parts.cables * self.fabric.cable_usd
            + nics * self.fabric.nic_usd
        )
        watts = parts.nodes * node.watts + parts.switches * self.fabric.switch_watts + nics * self.fabric.nic_watts
        energy_usd = self.cooling * watts / 1000 * self.usd_per_kwh
        return Bill(parts, price_usd, price_usd / self.hours + energy_usd, watts)


def parts_of(system: System) -> Parts:
    """Nodes, switches, cables and NICs as they stand in the topology."""
    topology = system.topology
    nodes = topology.tiers.get("node")
    vertices = np.arange(topology.n_vertices)
    if nodes is None:
        outside, n_nodes = vertices >= topology.n_devices, topology.n_devices
    else:
        outside, n_nodes = np.asarray(nodes) < 0, len(np.unique(nodes[: topology.n_devices]))
    names = [topology.vertex_name(vertex) for vertex in vertices.tolist()]
    empty = np.array([name.startswith(EMPTY) for name in names], dtype=bool)
    nics = sum(".nic" in name for name in names) - int(empty.sum())
    outside &= ~empty
    ends = (topology.links.src, topology.links.dst)
    between = (outside[ends[0]] | outside[ends[1]]) & ~empty[ends[0]] & ~empty[ends[1]]
    return Parts(n_nodes, int(outside.sum()), int(between.sum()) // 2, nics)


def read_prices(path: Path | None = None) -> Prices:
    """Prices of a file; those that are shipped by default.

    Raises
    ------
    InputError
        Naming file and what is wrong.
    """
    name = SHIPPED if path is None else str(path)
    try:
        text = (files("experiments") / "planning" / "prices.toml").read_text() if path is None else path.read_text()
        values = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read as TOML ({getattr(error, 'strerror', None) or error})") from None
    try:
        return _prices(name, values)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _prices(name: str, values: Mapping[str, Any]) -> Prices:
    _known("key", values, ("date", "hours", "usd_per_kwh", "cooling", "fabric", "node"))
    fabric, nodes = _table(values, "fabric"), _table(values, "node")
    _known("key of [fabric]:", fabric, ("switch", "switch_watts", "cable", "nic", "nic_watts"))
    if "default" not in nodes:
        raise InputError("[node.default] is missing: what a node costs that has no table of its own")
    return Prices(
        f"{name}, ASSUMED ({values.get('date', 'no date')})" if name == SHIPPED else name,
        _number(values, "hours"),
        _number(values, "usd_per_kwh"),
        _number(values, "cooling"),
        Fabric(
            parse_money(fabric.get("switch", "0USD")),
            _number(fabric, "switch_watts"),
            parse_money(fabric.get("cable", "0USD")),
            parse_money(fabric.get("nic", "0USD")),
            _number(fabric, "nic_watts"),
        ),
        {key: _node(key, _table(nodes, key)) for key in nodes},
    )


def _node(name: str, values: Mapping[str, Any]) -> NodePrice:
    _known(f"key of [node.{name}]:", values, ("price", "watts", "per_hour"))
    if ("price" in values) == ("per_hour" in values):
        raise InputError(f"[node.{name}] needs either price or per_hour")
    if "per_hour" in values:
        return NodePrice(per_hour_usd=parse_money(values["per_hour"]))
    return NodePrice(parse_money(values["price"]), _number(values, "watts"))


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    if not isinstance(found, Mapping):
        raise InputError(f"[{key}] is missing")
    return found


def _known(what: str, values: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            raise unknown_name(what, key, known)


def _number(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise InputError(f"{key}={value!r} must be a number, zero or more")
    if key == "hours" and value == 0:
        raise InputError("hours must be above zero")
    return float(value)
