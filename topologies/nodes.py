"""The inside of a node as a graph, with the NIC that each device uses, and machines of many such nodes on a fabric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commsim.selection import Ints
from commsim.topology import NO_LINK, Floats, Links, Topology
from topologies.cables import Cable, shifted
from topologies.routes import packed
from topologies.routes import shifted as renumbered

Wire = tuple[int, int, Cable, str]


@dataclass(frozen=True, eq=False)
class Node:
    """A graph whose first vertices are devices, and whose last ones are NICs.

    Attributes
    ----------
    names : tuple of str
        Of its vertices.
    n_devices, n_nics : int
    wires : sequence of (int, int, Cable, str)
        Between two vertices, both ways; the last is the word for their class.
    nic_of : sequence of int
        Which NIC each device uses.
    tiers : mapping
        Name of a tier inside the node to the group of each vertex, or -1.
    """

    names: tuple[str, ...]
    n_devices: int
    n_nics: int
    wires: Sequence[Wire]
    nic_of: Sequence[int]
    tiers: Mapping[str, Sequence[int]]

    def without_nics(self) -> Node:
        """A node that is alone."""
        n = len(self.names) - self.n_nics
        wires = [wire for wire in self.wires if max(wire[:2]) < n]
        tiers = {tier: groups[:n] for tier, groups in self.tiers.items()}
        return Node(self.names[:n], self.n_devices, 0, wires, (), tiers)

    @property
    def links(self) -> Links:
        """All wires one way, then back."""
        a, b = (np.array([wire[end] for wire in self.wires], dtype=np.int64) for end in (0, 1))
        latency_s, bandwidth_Bps = (np.array([getattr(wire[2], key) for wire in self.wires]) for key in Cable._fields)
        two = (np.concatenate([each, each]) for each in (latency_s, bandwidth_Bps))
        return Links(np.concatenate([a, b]), np.concatenate([b, a]), *two)

    @property
    def widths(self) -> Floats:
        """How wide each link is when ways are chosen: links side by side, and those of the first class before others.

        Not their rates: who makes NVLink slower still has his messages take it.
        """
        words = [wire[3] for wire in self.wires]
        rates = np.array([wire[2].bandwidth_Bps for wire in self.wires])
        least = {
            word: min(rate for rate, other in zip(rates, words, strict=True) if other == word) for word in {*words}
        }
        one = [rate / least[word] + 1e3 * (word == words[0]) for rate, word in zip(rates, words, strict=True)]
        return np.array(one * 2)


@dataclass(frozen=True, eq=False)
class Ways:
    """The way between every two vertices of a small graph: of the fewest hops, the widest; then the first.

    What has no link of its own is passed on by others, devices too: hardware does so on PCIe, a library on NVLink.
    """

    link: Ints  # (n, n): the first link of the way
    next: Ints  # (n, n): the vertex behind it

    @staticmethod
    def of(n: int, links: Links, widths: Floats) -> Ways:
        """Ways of one hop, then of two …, each a link and a shorter way; widths of the links (n_links,)."""
        hops, width = np.where(np.eye(n, dtype=bool), 0, n), np.where(np.eye(n, dtype=bool), np.inf, 0.0)
        ways = Ways(np.full((n, n), NO_LINK), np.full((n, n), NO_LINK))
        columns = (links.src.tolist(), links.dst.tolist(), widths.tolist())
        ends = list(zip(range(len(links.src)), *columns, strict=True))
        for length in range(1, n):
            before = width.copy()
            near = hops == length - 1
            if not near.any():
                break
            for link, src, dst, own in ends:
                through = np.where(near[dst] & (hops[src] >= length), np.minimum(own, before[dst]), 0.0)
                better = through > width[src]
                hops[src, better], width[src, better] = length, through[better]
                ways.link[src, better], ways.next[src, better] = link, dst
        return ways

    def between(self, src: Ints, dst: Ints) -> Ints:
        """Links (n, n_hops) from each `src` to its `dst`, padding last."""
        hops, here = [], src
        while (here != dst).any():
            moves = here != dst
            hops.append(np.where(moves, self.link[here, dst], NO_LINK))
            here = np.where(moves, self.next[here, dst], here)
        return np.stack(hops, axis=1) if hops else np.full((len(src), 0), NO_LINK)


def machine(node: Node, nodes: int, fabric: Topology | None = None, slot: Ints | None = None) -> Topology:
    """`nodes` alike on a fabric whose devices are NICs. A single node has neither fabric nor NICs.

    Vertices: devices node by node; the nodes' others, node by node; the fabric's. Links: the nodes', node by node; the
    fabric's.

    Parameters
    ----------
    node : Node
    nodes : int
    fabric : Topology, optional
        Between the NICs.
    slot : array (nodes, n_nics), optional
        The device of the fabric that is each NIC; devices that are none are empty ports.
    """
    if fabric is None or slot is None:
        return _Machine(node.without_nics(), 1, None, np.zeros((1, 0), dtype=np.int64)).topology()
    return _Machine(node, nodes, fabric, slot).topology()


class _Machine:
    """Builds the topology of :func:`machine`."""

    def __init__(self, node: Node, nodes: int, fabric: Topology | None, slot: Ints) -> None:
        self.node, self.nodes, self.fabric, self.slot = node, nodes, fabric, slot
        self.inside = node.links
        self.n_devices, self.n_inner = node.n_devices, len(node.names) - node.n_devices - node.n_nics
        each, node_of = np.arange(nodes)[:, None], np.arange(nodes)
        parts = (
            each * self.n_devices + np.arange(self.n_devices),
            nodes * self.n_devices + each * self.n_inner + np.arange(self.n_inner),
            self.first_nic + slot,
        )
        self.vertex = np.concatenate(parts, axis=1)  # (nodes, vertices of a node)
        self.node_of = np.full(self.n_vertices, -1)
        self.node_of[self.vertex] = node_of[:, None]
        self.ways = Ways.of(len(node.names), self.inside, node.widths)
        self.nic_of = np.array(node.nic_of, dtype=np.int64)
        self.nic_vertex = len(node.names) - node.n_nics + self.nic_of if fabric else self.nic_of

    @property
    def first_nic(self) -> int:
        """First vertex of the fabric."""
        return self.nodes * (self.n_devices + self.n_inner)

    @property
    def n_vertices(self) -> int:
        """Of all nodes and the fabric."""
        return self.first_nic + (self.fabric.n_vertices if self.fabric else 0)

    def topology(self) -> Topology:
        """The machine."""
        n = len(self.inside.src)
        src, dst = (self.vertex[:, end].ravel() for end in (self.inside.src, self.inside.dst))
        latency_s, bandwidth_Bps = (
            np.tile(each, self.nodes) for each in (self.inside.latency_s, self.inside.bandwidth_Bps)
        )
        links = Links(src, dst, latency_s, bandwidth_Bps)
        self._make_tables()
        taken = np.zeros(n + 1, dtype=bool)
        for table in self.tables:
            taken[table] = True
        routed = np.tile(taken[:n], self.nodes)
        if self.fabric:
            links = Links.joined([links, shifted(self.fabric.links, self.first_nic)])
            routed = np.concatenate([routed, np.ones(self.fabric.n_links, dtype=bool)])
        classes = self.classes(links)
        return Topology(self.nodes * self.n_devices, links, self.route, self.name, self.tiers(), classes, routed)

    def _make_tables(self) -> None:
        """Ways between devices, from a device to its NIC, and back: rows of links, padded with NO_LINK."""
        device = np.arange(self.n_devices)
        pairs = (end.ravel() for end in np.meshgrid(device, device, indexing="ij"))
        self.tables = [self.ways.between(*pairs)]
        if self.fabric:
            self.tables += [self.ways.between(device, self.nic_vertex), self.ways.between(self.nic_vertex, device)]

    def route(self, src: Ints, dst: Ints) -> Ints:
        """Inside a node its own way; else by the NICs of both ends."""
        (a, i), (b, j) = np.divmod(src, self.n_devices), np.divmod(dst, self.n_devices)
        n, near = len(self.inside.src), (a == b)[:, None]
        inside = np.where(near, _at(self.tables[0][i * self.n_devices + j], a * n), NO_LINK)
        if self.fabric is None:
            return packed(inside)
        between = self.fabric.route(self.slot[a, self.nic_of[i]], self.slot[b, self.nic_of[j]])
        far = (_at(self.tables[1][i], a * n), renumbered(between, self.nodes * n), _at(self.tables[2][j], b * n))
        return packed(inside, *(np.where(near, NO_LINK, part) for part in far))

    def name(self, vertex: int) -> str:
        """``"node3.gpu0"``; of the fabric its own."""
        node = int(self.node_of[vertex])
        if node >= 0:
            return f"node{node}.{self.node.names[int(np.argmax(self.vertex[node] == vertex))]}"
        assert self.fabric is not None
        place = vertex - self.first_nic
        return f"empty.nic{place}" if place < self.fabric.n_devices else self.fabric.vertex_name(place)

    def classes(self, links: Links) -> dict[str, Ints]:
        """Links by the words of the node's wires; those of the fabric by its own classes, or as ``nic``."""
        n, words = len(self.inside.src), np.array([wire[3] for wire in self.node.wires] * 2)
        first = np.arange(self.nodes)[:, None] * n
        classes = {word: (first + np.flatnonzero(words == word)).ravel() for word in dict.fromkeys(words.tolist())}
        return classes | ({"nic": np.arange(self.nodes * n, len(links.src))} if self.fabric else {})

    def tiers(self) -> dict[str, Ints]:
        """Nodes, what is inside them, and the fabric's groups that hold whole nodes."""
        tiers = {"node": self.node_of}
        for tier, groups in self.node.tiers.items():
            own = np.array(groups)
            of = np.full(self.n_vertices, -1)
            offset = np.arange(self.nodes)[:, None] * (own.max() + 1)
            of[self.vertex] = np.where(own >= 0, own + offset, -1)
            tiers[tier] = of
        for tier, at in self.fabric.tiers.items() if self.fabric else ():
            at_nic = at[self.slot]
            if (at_nic == at_nic[:, :1]).all() and at_nic.max() > 0:
                tiers[tier] = np.concatenate([np.full(self.first_nic, -1), at])
                tiers[tier][self.vertex] = at_nic[:, :1]
        return tiers


def _at(local: Ints, offset: Ints) -> Ints:
    """Links of a node's table as those of the machine."""
    return np.where(local == NO_LINK, NO_LINK, local + offset[:, None])
