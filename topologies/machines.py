"""Named machines: one record each, from which its function, its keys, its sources and its assumed figures follow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from commsim.errors import InputError
from commsim.system import System
from commsim.topology import Topology
from commsim.units import parser_for
from topologies.cables import Cable
from topologies.fabrics import Fabric
from topologies.generator import shared, spec_of
from topologies.in_network import WORDS
from topologies.links import ASSUMED, LinkClass
from topologies.nodes import machine
from topologies.servers import Server

NETWORK = "nic"
"""The class of the links from a NIC to its switch and between switches."""

SHARED = inspect.signature(shared).parameters
"""Keys that every system has, by name."""

Build = Callable[[int, Mapping[str, Cable]], Topology]


@dataclass(frozen=True)
class Device:
    """What holds a rank.

    Attributes
    ----------
    name : str
    copy_Bps : float
        What its memory moves, reads and writes counted: a reduction reads two bytes for each that it writes.
    source : str
    """

    name: str
    copy_Bps: float
    source: str

    @property
    def gamma_s_per_byte(self) -> float:
        """Seconds to reduce a byte: both operands are read, the result is written."""
        return 3 / self.copy_Bps


@dataclass(frozen=True, eq=False)
class Machine:
    """A named system: call it with a number of nodes, and other figures where wanted.

    Attributes
    ----------
    name, what : str
        Its name, and one line about it.
    device : Device
    devices_per_node, n_nics : int
    nics : str
        What its NICs or ports are, for people.
    most_nodes : int
        Of the largest that was built.
    links : mapping
        Classes of links by their word; ``nic`` is the network.
    build : callable
        ``build(nodes, cables)`` makes the topology; cables by word, and ``hop`` between switches.
    sources : tuple of str
        Of its structure.
    own_assumed : mapping
        What is assumed of its structure.
    nodes : int
        By default.
    price_usd, price_source
        Of a node, where there is a figure.
    switches : str
        What the switches of a node do: "none", "both" …
    hints : callable, optional
        Notes of a system with so many nodes: what algorithms may be handed, such as the shape of a torus.
    """

    name: str
    what: str
    device: Device
    devices_per_node: int
    nics: str
    most_nodes: int
    links: Mapping[str, LinkClass]
    build: Build
    sources: tuple[str, ...]
    own_assumed: Mapping[str, str] = field(default_factory=dict)
    n_nics: int = 1
    nodes: int = 1
    price_usd: float | None = None
    price_source: str = ""
    switches: str = "none"
    hints: Callable[[int], Mapping[str, Any]] = lambda _: {}

    def __post_init__(self) -> None:
        parameters = [
            inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
            for key, (default, kind) in self._keys().items()
        ]
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__signature__", inspect.Signature(parameters, return_annotation=System))
        object.__setattr__(self, "__doc__", self._doc())

    def _keys(self) -> dict[str, tuple[Any, str]]:
        """Every key with its default and its type."""
        keys: dict[str, tuple[Any, str]] = {"nodes": (self.nodes, "int")}
        for word, link in self.links.items():
            keys[f"{word}_bandwidth_Bps"] = (link.bandwidth_Bps, "float")
            keys["fabric_latency_s" if word == NETWORK else f"{word}_latency_s"] = (link.latency_s, "float")
        if NETWORK in self.links:
            keys["hop_latency_s"] = (self.links[NETWORK].hop_latency_s, "float")
        if self.price_usd is not None:
            keys["price_usd"] = (self.price_usd, "float")
        own = {"gamma_s_per_byte": self.device.gamma_s_per_byte}
        for key, parameter in SHARED.items():
            if key != "in_network" or NETWORK in self.links:
                keys[key] = (own.get(key, parameter.default), str(parameter.annotation))
        return keys

    def _doc(self) -> str:
        lines = [f"{self.what}.", "", f"1 to {self.most_nodes} nodes of {self.devices_per_node} {self.device.name}; "]
        lines[-1] += f"NICs: {self.nics}. Ranks are devices, node by node." if self.nics else "ranks are devices."
        return "\n".join(
            [*lines, "", *(f"{word}: {link.name}, {link.described()}" for word, link in self.links.items())]
        )

    def __call__(self, nodes: int | None = None, **given: Any) -> System:
        """The system with so many nodes, and these figures instead of its own."""
        signature: inspect.Signature = getattr(self, "__signature__")  # noqa: B009
        bound = signature.bind(**({} if nodes is None else {"nodes": nodes}), **given)
        bound.apply_defaults()
        keys = bound.arguments
        n = keys["nodes"]
        if not 1 <= n <= self.most_nodes:
            raise InputError(f"nodes={n}: {self.name} has 1 to {self.most_nodes} nodes")
        endpoint, everywhere = shared(**{key: keys[key] for key in SHARED if key in keys})
        abilities = {} if self.switches == "none" else {"node": WORDS[self.switches]}
        price = n * keys["price_usd"] if "price_usd" in keys else None
        return System(
            spec_of(self.name, {"nodes": n, **given}),
            self.build(n, self._cables(keys)),
            endpoint,
            price,
            {key: text for key, text in self.assumed.items() if self._still(key, keys, given)},
            self.hints(n),
            {**abilities, **everywhere},
        )

    def _cables(self, keys: Mapping[str, Any]) -> dict[str, Cable]:
        latency = {word: "fabric_latency_s" if word == NETWORK else f"{word}_latency_s" for word in self.links}
        cables = {word: Cable(keys[latency[word]], keys[f"{word}_bandwidth_Bps"]) for word in self.links}
        if NETWORK in cables:
            cables["hop"] = Cable(keys["hop_latency_s"], keys[f"{NETWORK}_bandwidth_Bps"])
        return cables

    @staticmethod
    def _still(word: str, keys: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
        """Whether the figure of that word is in use as assumed."""
        if word == "in_network":
            return bool(keys[word] != "none")
        return word not in {parser_for(key)[0] for key in given}

    @property
    def assumed(self) -> dict[str, str]:
        """Figures without an opened source, by the word of the key that sets them."""
        found = dict(self.own_assumed)
        for word, link in self.links.items():
            for figure, text in link.sources.items():
                if ASSUMED in text:
                    found[self._key_of(word, figure)] = text.removeprefix(f"{ASSUMED}: ")
        if ASSUMED in self.device.source:
            found["gamma"] = self.device.source.removeprefix(f"{ASSUMED}: ")
        if ASSUMED in self.price_source:
            found["price"] = self.price_source.removeprefix(f"{ASSUMED}: ")
        if NETWORK in self.links:
            found["in_network"] = "switches that reduce do so at the cable's rate and latency (2026-11)"
        return found

    @staticmethod
    def _key_of(word: str, figure: str) -> str:
        if figure in ("rate", "efficiency"):
            return f"{word}_bandwidth"
        at_network = {"latency": "fabric_latency", "hop_latency": "hop_latency"}
        return at_network[figure] if word == NETWORK else f"{word}_latency"

    @property
    def all_sources(self) -> tuple[str, ...]:
        """Of its structure and of every figure."""
        texts = [text for link in self.links.values() for text in link.sources.values()]
        return tuple(dict.fromkeys([*self.sources, *texts, self.device.source, *filter(None, [self.price_source])]))


def of_servers(server: Server, fabric: Fabric) -> Build:
    """Nodes alike, on a fabric."""

    def build(nodes: int, cables: Mapping[str, Cable]) -> Topology:
        node = server.node(cables)
        if nodes == 1:
            return machine(node, 1)
        return machine(node, nodes, *fabric(nodes, server.nics, cables[NETWORK], cables["hop"]))

    return build
