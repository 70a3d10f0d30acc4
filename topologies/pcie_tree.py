"""PCIe tree: GPUs under PCIe switches, switches under sockets, sockets linked; nodes joined by their NICs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.topology import Links, Topology
from topologies.cables import Cable
from topologies.cliques import clique_links, clique_route
from topologies.generator import at_least_one, can_be_built, generator
from topologies.routes import packed, shifted, where


@dataclass(frozen=True)
class PcieTree:
    """The structure: links and routes by arithmetic.

    Vertices: GPUs, PCIe switches, sockets, NICs, one network switch; each kind is numbered through all nodes. NICs and
    network exist where there are several nodes. A GPU uses the NICs of its own PCIe switch in turn.
    """

    nodes: int
    sockets: int
    switches: int
    gpus: int
    nics: int

    @property
    def counts(self) -> list[int]:
        """GPUs, PCIe switches, sockets, NICs."""
        sockets = self.nodes * self.sockets
        switches = sockets * self.switches
        return [switches * self.gpus, switches, sockets, switches * self.nics if self.nodes > 1 else 0]

    @property
    def n_links(self) -> int:
        """Directed links."""
        gpus, switches, sockets, nics = self.counts
        return 2 * (gpus + switches + 2 * nics) + sockets * (self.sockets - 1)

    def links(self, pcie: Cable, between_sockets: Cable, network: Cable) -> Links:
        """GPU-switch, switch-socket, socket-socket, switch-NIC, NIC-network; of each kind all one way, then back."""
        first = np.cumsum([0, *self.counts])
        gpu, switch, socket, nic = (np.arange(count) for count in self.counts)
        inter = clique_links(len(socket), self.sockets, between_sockets)
        return Links.joined(
            [
                pcie.both_ways(gpu, first[1] + gpu // self.gpus),
                pcie.both_ways(first[1] + switch, first[2] + switch // self.switches),
                Links(inter.src + first[2], inter.dst + first[2], inter.latency_s, inter.bandwidth_Bps),
                pcie.both_ways(first[1] + nic // self.nics, first[3] + nic),
                network.both_ways(first[3] + nic, np.full(len(nic), first[4])),
            ]
        )

    def route(self, src: Ints, dst: Ints) -> Ints:
        """Up to the first common switch, socket or pair of sockets and down; to another node by the NICs."""
        gpus, switches, sockets, nics = self.counts
        at_socket = 2 * gpus
        across = at_socket + 2 * switches
        at_nic = across + sockets * (self.sockets - 1)
        at_network = at_nic + 2 * nics
        a, b = src // self.gpus, dst // self.gpus
        s, t = a // self.switches, b // self.switches
        near = s // self.sockets == t // self.sockets
        inside, far = near & (a != b), ~near
        return packed(
            where(src != dst, src),
            where(inside, at_socket + a),
            shifted(clique_route(s, np.where(inside, t, s), self.sockets), across),
            where(inside, at_socket + switches + b),
            where(far, at_nic + self._nic(src)),
            where(far, at_network + self._nic(src)),
            where(far, at_network + nics + self._nic(dst)),
            where(far, at_nic + nics + self._nic(dst)),
            where(src != dst, gpus + dst),
        )

    def _nic(self, gpu: Ints) -> Ints:
        return gpu // self.gpus * self.nics + gpu % self.gpus % self.nics

    def under(self, per_group: tuple[int, int, int, int]) -> Ints:
        """The group of each vertex: so many GPUs, PCIe switches, sockets and NICs make one; 0: those are in none."""
        outside = [-1] if self.nodes > 1 else []
        groups = [np.arange(n) // per if per else np.full(n, -1) for n, per in zip(self.counts, per_group, strict=True)]
        return np.concatenate([*groups, np.array(outside, dtype=np.int64)])

    def vertex_name(self, vertex: int) -> str:
        """``"node0.gpu3"``."""
        first = np.cumsum([0, *self.counts])
        kind = int(np.searchsorted(first, vertex, side="right")) - 1
        if kind == 4:
            return "network"
        node, i = divmod(vertex - int(first[kind]), self.counts[kind] // self.nodes)
        return f"node{node}.{('gpu', 'pcie', 'socket', 'nic')[kind]}{i}"


@generator
def pcie_tree(
    bandwidth_Bps: float,
    latency_s: float,
    nodes: int = 1,
    sockets: int = 2,
    switches_per_socket: int = 2,
    gpus_per_switch: int = 2,
    nics_per_switch: int = 1,
    socket_bandwidth_Bps: float | None = None,
    socket_latency_s: float | None = None,
    network_bandwidth_Bps: float | None = None,
    network_latency_s: float | None = None,
) -> Topology:
    """GPUs under PCIe switches under linked sockets; several nodes are joined by NICs on the PCIe switches.

    All NICs are on one non-blocking network switch.

    Li, Song, Chen, Li, Liu, Tallent, Barker: Evaluating modern GPU interconnect: PCIe, NVLink, NV-SLI, NVSwitch and
    GPUDirect, IEEE TPDS 31(1), 2020 (arXiv 1903.04611).

    Parameters
    ----------
    bandwidth_Bps, latency_s : float
        Of one direction of a PCIe link: GPU or NIC to switch, switch to socket.
    nodes, sockets, switches_per_socket, gpus_per_switch : int
        Ranks are GPUs, node by node. Every two sockets of a node are linked; a NUMA domain counts as a socket.
    nics_per_switch : int
        The GPUs of the switch use them in turn. A single node has none.
    socket_bandwidth_Bps, socket_latency_s : float, optional
        Of the link between two sockets; as PCIe by default.
    network_bandwidth_Bps, network_latency_s : float, optional
        Of a cable between NIC and network switch; needed with several nodes.
    """
    at_least_one(nodes=nodes, sockets=sockets, switches_per_socket=switches_per_socket)
    at_least_one(gpus_per_switch=gpus_per_switch, nics_per_switch=nics_per_switch)
    if nodes > 1 and (network_bandwidth_Bps is None or network_latency_s is None):
        raise InputError(f"nodes={nodes} need network_bandwidth=… and network_latency=…, of the cables between nodes")
    tree = PcieTree(nodes, sockets, switches_per_socket, gpus_per_switch, nics_per_switch)
    can_be_built(tree.counts[0], tree.n_links)
    pcie = Cable(latency_s, bandwidth_Bps)
    links = tree.links(
        pcie,
        pcie.but(socket_latency_s, socket_bandwidth_Bps),
        pcie.but(network_latency_s, network_bandwidth_Bps),
    )
    one_switch = (gpus_per_switch, 1, 0, nics_per_switch)
    one_socket = (gpus_per_switch * switches_per_socket, switches_per_socket, 1, nics_per_switch * switches_per_socket)
    tiers = {
        "node": tree.under((sockets * one_socket[0], sockets * one_socket[1], sockets, sockets * one_socket[3])),
        "socket": tree.under(one_socket),
        "switch": tree.under(one_switch),
    }
    return Topology(tree.counts[0], links, tree.route, tree.vertex_name, tiers)
