"""Reads one file, or a node's and its fabric's together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from commsim.errors import InputError, unknown_name
from commsim.units import format_bandwidth
from topologies.importers import figures, hwloc_xml, ibnetdiscover, nccl_xml, nvidia_smi
from topologies.importers.description import Description, LinkClass

READERS: dict[str, Callable[[str], Description]] = {
    "nccl": nccl_xml.read,
    "nvidia-smi": nvidia_smi.read,
    "ibnetdiscover": ibnetdiscover.read,
    "hwloc": hwloc_xml.read,
}
_SIGNS = (
    ("nccl", re.compile(r"<system[\s/>]")),
    ("hwloc", re.compile(r"<topology[\s/>]|<!DOCTYPE topology")),
    (
        "ibnetdiscover",
        re.compile(r"^(Switch|Ca)\s+\d+\s+\"|^(vendid|sysimgguid|caguid|switchguid)=|ibnetdiscover", re.M),
    ),
    ("nvidia-smi", re.compile(r"^\W*(?:\x1b\[\d*m)?\s*GPU0\s", re.M)),
)
ALIKE = 0.15  # rates that differ by less are one: sources count headers and encodings differently


def imported(paths: Sequence[Path], kind: str | None = None, nodes: int = 1) -> Description:
    """What the files say.

    Parameters
    ----------
    paths : sequence of Path
        One file; or two, of which one describes a node (NCCL, nvidia-smi, hwloc) and one its fabric (ibnetdiscover):
        every host of the fabric is such a node.
    kind : {"nccl", "nvidia-smi", "ibnetdiscover", "hwloc"}, optional
        Of one file; known by its content by default.
    nodes : int
        That many nodes of one file, their NICs on one switch, which is ASSUMED not to block.

    Raises
    ------
    InputError
        Naming file and line: what cannot be read, is incomplete, contradicts itself or the other file.
    """
    if not 1 <= nodes <= 65536:
        raise InputError(f"--nodes {nodes}: it must be 1 to 65536")
    if len(paths) > 2 or (kind is not None and len(paths) != 1):
        raise InputError("give one file, with --kind or without, or two: a node's and what ibnetdiscover printed")
    found = [_read(path, kind) for path in paths]
    if len(found) == 1:
        return _several(found[0], nodes) if nodes > 1 else found[0]
    fabrics = [one.source == "ibnetdiscover" for one in found]
    if sum(fabrics) != 1 or nodes > 1:
        raise InputError("of two files one must describe a node and one the fabric (ibnetdiscover), without --nodes")
    fabric, node = fabrics.index(True), fabrics.index(False)
    return _together(found[node], found[fabric], paths[node], paths[fabric])


def _read(path: Path, kind: str | None) -> Description:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if kind is None:
        kind = next((name for name, sign in _SIGNS if sign.search(text)), None)
        if kind is None:
            raise InputError(f"{path}: none of the known kinds ({', '.join(READERS)}); name one with --kind")
    if kind not in READERS:
        raise unknown_name("kind of topology file", kind, READERS)
    try:
        return READERS[kind](text)
    except InputError as error:
        raise InputError(f"{path}:{error}") from None


def _several(node: Description, nodes: int) -> Description:
    """Nodes numbered by ranges; their NICs on one switch."""
    if node.source == "ibnetdiscover":
        raise InputError("--nodes: ibnetdiscover lists all nodes already")
    if not node.nics:
        raise InputError(f"--nodes {nodes}: {node.source} shows no NIC that could link nodes")
    made = _prefixed(node, f"node[0-{nodes - 1}]", "node{0}")
    made.devices = _node_by_node(list(node.devices), nodes)
    made.switches["fabric"] = {}
    made.comments["fabric"] = "ASSUMED: one switch that does not block"
    for nic, rate in node.nics.items():
        link = figures.fabric(rate, "the NIC's speed")
        made.cable(f"node[0-{nodes - 1}].{nic}", "fabric", "fabric", link)
    return made


def _node_by_node(names: list[str], nodes: int) -> dict[str, dict[str, str]]:
    """The devices of all nodes, those of the first node first: by ranges, where their names differ in the number."""
    stem = names[0].rstrip("0123456789")
    if names == [f"{stem}{number}" for number in range(len(names))]:
        return {f"node[0-{nodes - 1}].{stem}[0-{len(names) - 1}]": {"node": "node{0}"}}
    return {f"node{at}.{name}": {"node": f"node{at}"} for at in range(nodes) for name in names}


def _prefixed(node: Description, prefix: str, group: str) -> Description:
    """The same with another node in front of each name."""

    def tiers(own: dict[str, str]) -> dict[str, str]:
        return {tier: group if tier == "node" else f"{group}.{value}" for tier, value in own.items()}

    return replace(
        node,
        devices={f"{prefix}.{name}": tiers(own) for name, own in node.devices.items()},
        switches={f"{prefix}.{name}": tiers(own) for name, own in node.switches.items()},
        comments={f"{prefix}.{name}": text for name, text in node.comments.items()},
        cables=[replace(cable, a=f"{prefix}.{cable.a}", b=f"{group}.{cable.b}") for cable in node.cables],
        classes=dict(node.classes),
        nics={},
    )


def _together(node: Description, fabric: Description, node_path: Path, fabric_path: Path) -> Description:
    """Every host of the fabric as a node; its k-th adapter is the node's k-th NIC, or that of the same GUID."""
    if not node.nics:
        raise InputError(f"{node_path}: it has no NIC for the hosts of {fabric_path}")
    hosts: dict[str, list[str]] = {}
    for name, tiers in fabric.devices.items():
        hosts.setdefault(tiers["node"], []).append(name)
    made = Description(f"{node.source} and ibnetdiscover", in_network=dict(node.in_network))
    vertex_of: dict[str, str] = {}
    for host, adapters in hosts.items():
        _agree(node, fabric, host, adapters, (node_path, fabric_path))
        one = _prefixed(node, host, host)
        for word in ("devices", "switches", "comments", "classes"):
            getattr(made, word).update(getattr(one, word))
        made.cables += one.cables
        vertex_of |= {
            adapter: f"{host}.{nic}" for adapter, nic in zip(adapters, _order(node, fabric, adapters), strict=True)
        }
    made.switches |= {name: own for name, own in fabric.switches.items() if not own}
    made.comments |= {name: text for name, text in fabric.comments.items() if name in made.switches}
    for cable in fabric.cables:
        if cable.link_class != "host":
            a, b = (vertex_of.get(end, end) for end in (cable.a, cable.b))
            made.cable(a, b, f"ib_{cable.link_class}", fabric.classes[cable.link_class], cable.count)
    return made


def _order(node: Description, fabric: Description, adapters: list[str]) -> list[str]:
    """The NIC of each adapter."""
    by_guid = {guid: nic for nic, guid in node.guids.items() if guid}
    if all(fabric.guids.get(adapter) in by_guid for adapter in adapters):
        return [by_guid[fabric.guids[adapter]] for adapter in adapters]
    return list(node.nics)


def _agree(node: Description, fabric: Description, host: str, adapters: list[str], paths: tuple[Path, Path]) -> None:
    place = f"{paths[1]}:{fabric.lines[adapters[0]]}"
    if len(adapters) != len(node.nics):
        raise InputError(
            f"{place}: {host} has {len(adapters)} adapters, but {paths[0]} has {len(node.nics)} NICs in a node"
        )
    for adapter, nic in zip(adapters, _order(node, fabric, adapters), strict=True):
        mine, theirs = node.nics[nic], fabric.nics[adapter]
        if mine and theirs and abs(mine - theirs) > ALIKE * max(mine, theirs):
            raise InputError(
                f"{paths[1]}:{fabric.lines[adapter]}: {fabric.comments[adapter].split(',')[0]} runs at "
                f"{format_bandwidth(theirs)}, but {nic} of {paths[0]}:{node.lines[nic]} at {format_bandwidth(mine)}"
            )


__all__ = ["READERS", "Description", "LinkClass", "imported"]
