"""What ``ibnetdiscover`` prints: the switches and channel adapters of an InfiniBand subnet, port by port.

Blocks begin with ``Switch 40 "S-guid" # "name"`` or ``Ca 1 "H-guid" # "host adapter"``; each of their lines is a port:
``[1] "S-guid"[21] # "name" lid 3 4xHDR`` (infiniband-diags, ibnetdiscover(8)).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from commsim.errors import InputError, unknown_name
from topologies.importers import figures
from topologies.importers.description import Description, LinkClass

_BLOCK = re.compile(r'(Switch|Ca|Rt)\s+(\d+)\s+"([^"]+)"\s*(?:#\s*"([^"]*)")?')
_PORT = re.compile(r'\[(\d+)\](?:\[ext \d+\])?(?:\(([0-9a-fA-F]+)\))?\s+"([^"]+)"\[(\d+)\](?:\[ext \d+\])?(.*)')
_RATE = re.compile(r"\b(\d+)x([A-Z]+[0-9]*)\b")
AGGREGATION = "Aggregation Node"  # SHARP's own adapter inside a switch: it holds no rank


@dataclass
class _Node:
    kind: str
    guid: str
    title: str
    line: int
    name: str = ""
    ports: dict[int, tuple[str, int, str, int]] = field(default_factory=dict)  # peer, its port, rate, line


def read(text: str) -> Description:
    """The subnet that the text describes.

    Raises
    ------
    InputError
        Beginning with the line.
    """
    nodes = _nodes(text)
    if not nodes:
        raise InputError("1: no line begins with Switch or Ca: is it the output of ibnetdiscover?")
    _same_from_both_ends(nodes)
    made = Description("ibnetdiscover")
    _name(nodes)
    _hosts(made, nodes)
    _cables(made, nodes)
    if not made.devices:
        raise InputError("1: it has no channel adapter (Ca): there is nothing that could hold a rank")
    return made


def _nodes(text: str) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    current: _Node | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if block := _BLOCK.match(line):
            kind, _, guid, title = block.groups()
            if guid in nodes:
                raise InputError(f"{number}: {kind} {guid} is there already, in line {nodes[guid].line}")
            current = nodes[guid] = _Node(kind, guid, title or guid, number)
        elif line.startswith("["):
            _port(current, line, number)
        elif re.match(r"(Switch|Ca|Rt)\b", line):
            raise InputError(f'{number}: it begins a block, but is not like Ca 1 "H-…" # "host adapter"')
    return nodes


def _port(current: _Node | None, line: str, number: int) -> None:
    found = _PORT.match(line)
    if found is None or current is None:
        raise InputError(
            f'{number}: not a port like [1] "S-…"[21] # "name" lid 3 4xHDR, in a block: is the file complete?'
        )
    port, _, peer, peer_port, rest = found.groups()
    rates = _RATE.findall(rest)
    if not rates:
        raise InputError(f"{number}: port {port} of {current.title} has no width and speed such as 4xHDR")
    width, speed = rates[-1]
    if speed not in figures.LANE_GBps:
        raise InputError(f"{number}: {unknown_name('InfiniBand speed', speed, figures.LANE_GBps)}")
    if int(port) in current.ports:
        raise InputError(
            f"{number}: port {port} of {current.title} is there already, in line {current.ports[int(port)][3]}"
        )
    current.ports[int(port)] = peer, int(peer_port), f"{width}x{speed}", number


def _same_from_both_ends(nodes: dict[str, _Node]) -> None:
    for node in nodes.values():
        for port, (peer, peer_port, rate, line) in node.ports.items():
            if peer not in nodes:
                raise InputError(f"{line}: {peer} has no block of its own: is the file complete?")
            back = nodes[peer].ports.get(peer_port)
            if back is None:
                raise InputError(f"{line}: port {peer_port} of {nodes[peer].title} has no line: is the file complete?")
            if back[:2] != (node.guid, port) or back[2] != rate:
                other = f"{back[0]} port {back[1]} at {back[2]}"
                raise InputError(
                    f"{line}: {node.title} port {port} is linked at {rate} to {nodes[peer].title} port {peer_port}, "
                    f"which by line {back[3]} is linked to {other}"
                )


def _name(nodes: dict[str, _Node]) -> None:
    """Switches ``leaf0`` …, ``spine0`` … by how far adapters are, in the order of the file."""
    level = {guid: 0 for guid, node in nodes.items() if _is_adapter(node)}
    reached = list(level)
    while reached:
        further = [peer for guid in reached for peer, *_ in nodes[guid].ports.values() if peer not in level]
        reached = list(dict.fromkeys(further))
        level |= {guid: level[further_from] + 1 for guid in reached for further_from in [_nearest(nodes, level, guid)]}
    count: dict[str, int] = {}
    for guid, node in nodes.items():
        if not _is_adapter(node) and node.kind != "Ca":
            word = {1: "leaf", 2: "spine", 3: "core"}.get(level.get(guid, 0), "switch")
            node.name = f"{word}{count.setdefault(word, 0)}"
            count[word] += 1


def _nearest(nodes: dict[str, _Node], level: dict[str, int], guid: str) -> str:
    return min((peer for peer, *_ in nodes[guid].ports.values() if peer in level), key=level.__getitem__)


def _is_adapter(node: _Node) -> bool:
    return node.kind == "Ca" and AGGREGATION not in node.title


def _hosts(made: Description, nodes: dict[str, _Node]) -> None:
    """A device for each adapter; the adapters of one host are a node, with a switch for what they exchange."""
    hosts: dict[str, list[_Node]] = {}
    for node in nodes.values():
        if _is_adapter(node) and node.ports:
            hosts.setdefault(_host(node), []).append(node)
    for host, adapters in hosts.items():
        adapters.sort(key=lambda node: node.title)
        for at, node in enumerate(adapters):
            node.name = f"{host}.hca{at}"
            made.devices[node.name] = {"node": host}
            made.comments[node.name], made.lines[node.name] = f"{node.title}, {node.guid}", node.line
            made.nics[node.name] = max(_rate(rate).bandwidth_Bps for _, _, rate, _ in node.ports.values())
            made.guids[node.name] = node.guid.rpartition("-")[2]
    for node in nodes.values():
        if node.name and not _is_adapter(node):
            made.switches[node.name] = {}
            made.comments[node.name], made.lines[node.name] = f"{node.title}, {node.guid}", node.line
    for host, adapters in hosts.items():
        if len(adapters) > 1:
            made.switches[f"{host}.host"] = {"node": host}
            for node in adapters:
                made.cable(node.name, f"{host}.host", "host", figures.pcie(None, ""))
    if any(AGGREGATION in node.title for node in nodes.values()):
        made.in_network["all"] = "both"


def _host(node: _Node) -> str:
    """The first word of an adapter's description; its GUID where nobody has set one."""
    word = re.split(r"\s+|'", node.title.strip())[0]
    return node.guid if not word or re.match(r"MT\d|Mellanox|ConnectX", word) else word


def _cables(made: Description, nodes: dict[str, _Node]) -> None:
    """Each once; parallel cables together."""
    counts: dict[tuple[str, str, str], tuple[int, int]] = {}
    for node in nodes.values():
        for port, (peer, peer_port, rate, line) in sorted(node.ports.items()):
            other = nodes[peer]
            if node.name and other.name and (node.guid, port) < (peer, peer_port):
                ends = (node.name, other.name) if _is_adapter(node) else (other.name, node.name)
                ends = ends if _is_adapter(node) or _is_adapter(other) else tuple(sorted(ends))  # type: ignore[assignment]
                before = counts.get((*ends, rate), (0, line))
                counts[(*ends, rate)] = before[0] + 1, before[1]
    for (a, b, rate), (count, line) in counts.items():
        made.cable(a, b, rate.lower(), _rate(rate), count, line)


def _rate(rate: str) -> LinkClass:
    width, _, speed = rate.partition("x")
    gigabits = int(width) * figures.LANE_GBps[speed]
    return figures.fabric(figures.gigabits(gigabits), f"{rate}: {gigabits:g} Gb/s of data")
