"""What a tool said about a machine, and the system file that says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from commsim.units import format_bandwidth, format_time_short


@dataclass(frozen=True)
class LinkClass:
    """Rate and latency of one direction, each with where it is from; a source that begins with ASSUMED is none."""

    bandwidth_Bps: float
    bandwidth_source: str
    latency_s: float
    latency_source: str
    duplex: str = "full"


@dataclass(frozen=True)
class Cable:
    """Two vertices, the class of the cable, and how many there are; ``line`` of the source."""

    a: str
    b: str
    link_class: str
    count: int = 1
    line: int | None = None


@dataclass
class Description:
    """A machine, vertex by vertex.

    Attributes
    ----------
    source : str
        What made the file.
    devices, switches : dict
        Name to tiers (name of a tier to a group) of each, in order.
    comments : dict
        Of a vertex, for people: what the source calls it.
    classes : dict
        Name to class of links.
    cables : list of Cable
    in_network : dict
        Name of a tier to what its switches do.
    nics : dict
        Name of a vertex that is plugged into a fabric, to its rate in B/s (None: not known).
    lines : dict
        Line of the source that describes a vertex.
    guids : dict
        Of a NIC, where the source has it.
    """

    source: str
    devices: dict[str, dict[str, str]] = field(default_factory=dict)
    switches: dict[str, dict[str, str]] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    classes: dict[str, LinkClass] = field(default_factory=dict)
    cables: list[Cable] = field(default_factory=list)
    in_network: dict[str, str] = field(default_factory=dict)
    nics: dict[str, float | None] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    guids: dict[str, str] = field(default_factory=dict)

    def cable(self, a: str, b: str, name: str, link_class: LinkClass, count: int = 1, line: int | None = None) -> None:
        """Add a cable; classes of one name and another rate get a number."""
        chosen, at = name, 2
        while self.classes.setdefault(chosen, link_class) != link_class:
            chosen, at = f"{name}_{at}", at + 1
        self.cables.append(Cable(a, b, chosen, count, line))

    @property
    def assumed(self) -> dict[str, str]:
        """Figures without a source: class and key, to what was assumed."""
        found = {}
        for name, one in self.classes.items():
            for key, source in (("bandwidth", one.bandwidth_source), ("latency", one.latency_source)):
                if source.startswith("ASSUMED"):
                    found[f"{name} {key}"] = source.removeprefix("ASSUMED").lstrip(": ")
        return found

    def toml(self) -> str:
        """The system file."""
        parts = [f"# From {self.source}. Figures marked ASSUMED are not in it: put in what you know."]
        parts += [
            _class(name, one) for name, one in self.classes.items() if any(c.link_class == name for c in self.cables)
        ]
        parts += [_vertex("device", name, tiers, self.comments.get(name)) for name, tiers in self.devices.items()]
        parts += [_vertex("switch", name, tiers, self.comments.get(name)) for name, tiers in self.switches.items()]
        parts += [_cable(cable) for cable in self.cables]
        parts += _table("in_network", self.in_network) + _table("assumed", self.assumed)
        return "\n\n".join(parts) + "\n"


def _class(name: str, one: LinkClass) -> str:
    lines = [
        f"[class.{name}]",
        f"bandwidth = {_text(format_bandwidth(one.bandwidth_Bps).replace(' ', ''))}  # {one.bandwidth_source}",
        f"latency = {_text(format_time_short(one.latency_s).replace(' ', ''))}  # {one.latency_source}",
    ]
    return "\n".join([*lines, *([f"duplex = {_text(one.duplex)}"] if one.duplex != "full" else [])])


def _vertex(kind: str, name: str, tiers: Mapping[str, str], comment: str | None) -> str:
    head = f"[[{kind}]]" + (f"  # {' '.join(comment.split())}" if comment else "")
    return "\n".join([head, f"name = {_text(name)}", *(f"{tier} = {_text(group)}" for tier, group in tiers.items())])


def _cable(cable: Cable) -> str:
    lines = ["[[link]]", f"from = {_text(cable.a)}", f"to = {_text(cable.b)}", f"class = {_text(cable.link_class)}"]
    return "\n".join([*lines, *([f"count = {cable.count}"] if cable.count > 1 else [])])


def _table(name: str, values: Mapping[str, str]) -> list[str]:
    if not values:
        return []
    return ["\n".join([f"[{name}]", *(f"{_text(key)} = {_text(value)}" for key, value in values.items())])]


def _text(value: str) -> str:
    """A TOML string."""
    import json

    return json.dumps(value, ensure_ascii=False)
