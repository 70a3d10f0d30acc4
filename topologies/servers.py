"""Servers as tables: accelerators on each other, on PCIe switches or sockets, and NICs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise

from topologies.cables import Cable
from topologies.nodes import Node, Wire

SWITCH, ALL = "switch", "all"


@dataclass(frozen=True)
class Server:
    """Nearly every node: what differs are numbers and the place of the NICs.

    Devices, PCIe switches and NICs are dealt out evenly in order: of 8 GPUs and 2 sockets the first 4 are on the first.

    Attributes
    ----------
    devices : int
    wiring : str or mapping
        How devices reach each other by themselves: "switch" (a plane), "all" (each pair has a link), "none", or a
        pair of devices to its number of links. All over the class `mesh`.
    mesh, host : str
        Classes of the links between devices, and from a device upwards.
    sockets, pcie_switches : int
        PCIe switches are on sockets; without them devices are. Every two sockets are linked, if `linked`.
    nics : int
    nic_on : tuple of int or None
        Devices that NICs are plugged into; None: PCIe switches, or sockets where there are none.
    modules : int
        Groups of devices in one package; a tier of their own where there are several.
    device, plane : str
        Words for them.
    """

    devices: int
    nics: int
    wiring: str | Mapping[tuple[int, int], int] = SWITCH
    mesh: str = "nvlink"
    host: str = "pcie"
    sockets: int = 2
    pcie_switches: int = 0
    linked: bool = True
    nic_on: tuple[int, ...] | None = None
    modules: int = 1
    device: str = "gpu"
    plane: str = "nvswitch"
    first: dict[str, int] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        counts = {self.device: self.devices, self.plane: int(self.wiring == SWITCH)}
        counts |= {"pcie": self.pcie_switches, "cpu": self.sockets, "nic": self.nics}
        first = 0
        for word, count in counts.items():
            self.first[word] = first
            first += count
        self.first["end"] = first

    def node(self, cables: Mapping[str, Cable]) -> Node:
        """The node, with these cables for the classes ``mesh``, ``host``, ``pcie`` and ``socket``."""
        words = [*self.first]
        counts = [self.first[after] - self.first[word] for word, after in pairwise(words)]
        names = [f"{word}{i}" for word, n in zip(words, counts, strict=False) for i in range(n)]
        names = [self.plane if name == f"{self.plane}0" else name for name in names]
        wires = [*self._between_devices(cables), *self._upwards(cables), *self._to_nics(cables)]
        return Node(tuple(names), self.devices, self.nics, wires, self._nic_of(), self._tiers(len(names)))

    def _between_devices(self, cables: Mapping[str, Cable]) -> list[Wire]:
        if self.wiring == "none":
            return []
        cable = cables[self.mesh]
        if self.wiring == SWITCH:
            return [(device, self.first[self.plane], cable, self.mesh) for device in range(self.devices)]
        pairs = dict.fromkeys(combinations(range(self.devices), 2), 1) if self.wiring == ALL else self.wiring
        assert not isinstance(pairs, str)
        return [(a, b, Cable(cable.latency_s, n * cable.bandwidth_Bps), self.mesh) for (a, b), n in pairs.items()]

    def _upwards(self, cables: Mapping[str, Cable]) -> list[Wire]:
        """Devices to PCIe switches or sockets, PCIe switches to sockets, sockets to each other."""
        host, cpu = halved(cables.get(self.host)), self.first["cpu"]
        wires: list[Wire] = []
        if self.pcie_switches:
            wires += [(i, self._pcie(i), host, self.host) for i in range(self.devices)]
            up = [(self.first["pcie"] + i, self._socket_of(i, self.pcie_switches)) for i in range(self.pcie_switches)]
            wires += [(a, cpu + b, halved(cables["pcie"]), "pcie") for a, b in up if self.sockets]
        elif self.sockets:
            wires += [(i, cpu + self._socket_of(i, self.devices), host, self.host) for i in range(self.devices)]
        if self.linked:
            pairs = combinations(range(cpu, cpu + self.sockets), 2)
            wires += [(a, b, cables["socket"], "socket") for a, b in pairs]
        return wires

    def _to_nics(self, cables: Mapping[str, Cable]) -> list[Wire]:
        first, pcie = self.first["nic"], cables["pcie"]
        if self.nic_on is not None:
            return [(device, first + i, pcie, "pcie") for i, device in enumerate(self.nic_on)]
        above = self.pcie_switches or self.sockets
        at = self.first["pcie" if self.pcie_switches else "cpu"]
        return [(at + i * above // self.nics, first + i, halved(pcie), "pcie") for i in range(self.nics)]

    def _pcie(self, device: int) -> int:
        return self.first["pcie"] + device * self.pcie_switches // self.devices

    def _socket_of(self, i: int, count: int) -> int:
        """Of one of so many things of a kind."""
        return i * self.sockets // count

    def _nic_of(self) -> list[int]:
        return [device * self.nics // self.devices for device in range(self.devices)]

    def _tiers(self, n_vertices: int) -> dict[str, list[int]]:
        """Modules, PCIe switches and sockets, where they are more than one and fewer than the devices.

        Sockets only where devices do not all reach each other without them.
        """
        tiers = {}
        if 1 < self.pcie_switches < self.devices and self.wiring == "none":
            of = [-1] * n_vertices
            for first, count in ((0, self.devices), (self.first["pcie"], self.pcie_switches)):
                of[first : first + count] = [i * self.pcie_switches // count for i in range(count)]
            tiers["switch"] = of
        if 1 < self.modules < self.devices:
            of = [-1] * n_vertices
            of[: self.devices] = [device * self.modules // self.devices for device in range(self.devices)]
            tiers["module"] = of
        if 1 < self.sockets < self.devices and self.wiring not in (SWITCH, ALL):
            tiers["socket"] = self._sockets(n_vertices)
        return tiers

    def _sockets(self, n_vertices: int) -> list[int]:
        """The socket of each vertex."""
        of = [-1] * n_vertices
        kinds = [(self.device, self.devices), ("pcie", self.pcie_switches), ("cpu", self.sockets)]
        for word, count in [*kinds, *([("nic", self.nics)] if self.nic_on is None else [])]:
            for i in range(count):
                of[self.first[word] + i] = self._socket_of(i, count)
        return of


def halved(cable: Cable | None) -> Cable:
    """One of two hops that take the cable's latency together."""
    return Cable(0.0, 1.0) if cable is None else Cable(cable.latency_s / 2, cable.bandwidth_Bps)


def pairs_of(text: str, links: int = 1) -> dict[tuple[int, int], int]:
    """``"01 23"``: the pairs of devices that have so many links."""
    return {(int(pair[0]), int(pair[1])): links for pair in text.split()}
