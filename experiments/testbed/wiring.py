"""What a system becomes when it is built: ports, bridges and forwarding entries. Pure data: nothing is touched here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.errors import RefusedError
from commsim.system import System
from commsim.topology import NO_LINK, Topology
from commsim.units import format_bandwidth

MOST_DEVICES = 64  # every one is a namespace with a process; each has a static neighbour for every other


@dataclass(frozen=True)
class Port:
    """One end of a cable: where it is, and the rate at which it sends.

    Attributes
    ----------
    vertex : int
        A device below ``n_devices``, else a switch.
    rate_Bps : float or None
        None: as fast as the machine can (between a device and the bridge that stands for its several ports).
    """

    vertex: int
    rate_Bps: float | None


@dataclass(frozen=True)
class Wiring:
    """A network to be built.

    Attributes
    ----------
    devices : tuple of str
        Names of the devices, in order.
    bridges : tuple of int
        Vertices that are bridges: switches, and devices with several ports.
    cables : tuple of (Port, Port)
        The first ``n_devices`` hold each device's own interface.
    forwarding : tuple of (int, int, int)
        Entries (bridge, device, cable): what is for this device leaves this bridge by this cable.
    """

    devices: tuple[str, ...]
    bridges: tuple[int, ...]
    cables: tuple[tuple[Port, Port], ...]
    forwarding: tuple[tuple[int, int, int], ...]

    @staticmethod
    def of(system: System) -> Wiring:
        """The network that a system describes, on which packets take the routes that the simulator gives messages.

        Raises
        ------
        RefusedError
            If it cannot be built: too many devices, half-duplex or one-way links, routes that depend on the sender.
        """
        topology = system.topology
        _require_buildable(topology)
        bridged = _bridged(topology)
        cables, cable_of = _cables(topology, set(bridged))
        names = tuple(topology.vertex_name(device) for device in range(topology.n_devices))
        return Wiring(names, tuple(bridged), cables, _forwarding(topology, set(bridged), cable_of))


def _require_buildable(topology: Topology) -> None:
    if topology.n_devices > MOST_DEVICES:
        raise RefusedError(f"{topology.n_devices} devices are too many for one machine; at most {MOST_DEVICES}")
    if topology.n_devices < 2:
        raise RefusedError("a testbed needs at least two devices")
    if topology.links.medium is not None:
        raise RefusedError("half-duplex links cannot be built: each direction is shaped by itself; make them full")


def _bridged(topology: Topology) -> list[int]:
    """Vertices that pass packets on, or choose where to send them: all but devices with one cable, to a switch."""
    links, n = topology.links, topology.n_devices
    degree = np.bincount(links.src, minlength=topology.n_vertices)
    beside = np.zeros(topology.n_vertices, dtype=bool)
    beside[links.src[links.dst < n]] = True
    return [v for v in range(topology.n_vertices) if v >= n or degree[v] != 1 or beside[v]]


def _cables(topology: Topology, bridged: set[int]) -> tuple[tuple[tuple[Port, Port], ...], dict[int, int]]:
    """All cables, the devices' own interfaces first; and of each link its cable."""
    links, n = topology.links, topology.n_devices
    own = {d: (Port(d, None), Port(d, None)) for d in range(n) if d in bridged}
    others: list[tuple[Port, Port]] = []
    cable_of: dict[int, int] = {}
    for there, back in _pairs(topology):
        ends = [Port(int(links.src[link]), float(links.bandwidth_Bps[link])) for link in (there, back)]
        ends.sort(key=lambda port: port.vertex in bridged)
        if ends[0].vertex in bridged:
            cable_of[there] = cable_of[back] = n + len(others)
            others.append((ends[0], ends[1]))
        else:
            cable_of[there] = cable_of[back] = ends[0].vertex
            own[ends[0].vertex] = (ends[0], ends[1])
    return (*(own[d] for d in range(n)), *others), cable_of


def _pairs(topology: Topology) -> list[tuple[int, int]]:
    """Links there and back that are one cable; the k-th of several between two vertices with the k-th back."""
    waiting: dict[tuple[int, int], list[int]] = {}
    pairs = []
    for link, ends in enumerate(zip(topology.links.src.tolist(), topology.links.dst.tolist(), strict=True)):
        back = waiting.get(ends[::-1])
        if back:
            pairs.append((back.pop(0), link))
        else:
            waiting.setdefault(ends, []).append(link)
    for links in waiting.values():
        if links:
            raise RefusedError(f"link {topology.link_name(links[0])} has no way back; a cable has two directions")
    return pairs


def _forwarding(topology: Topology, bridged: set[int], cable_of: dict[int, int]) -> tuple[tuple[int, int, int], ...]:
    """One entry for each bridge on some route to a device; a bridge knows where a packet goes, not where it is from."""
    n = topology.n_devices
    src, dst = (column.ravel() for column in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    different = src != dst
    src, dst = src[different], dst[different]
    entries: dict[tuple[int, int], tuple[int, int]] = {}
    for device in bridged & set(range(n)):
        entries[device, device] = (device, device)
    for sender, device, hops in zip(src.tolist(), dst.tolist(), topology.route(src, dst).tolist(), strict=True):
        for link in hops:
            vertex = int(topology.links.src[link]) if link != NO_LINK else -1
            if vertex not in bridged:
                continue
            entry = entries.setdefault((vertex, device), (cable_of[link], sender))
            if entry[0] != cable_of[link]:
                names = (topology.vertex_name(v) for v in (vertex, device, entry[1], sender))
                raise RefusedError(
                    "at {} the way to {} depends on the sender ({} or {}), and a bridge does not look at that; "
                    "use routing by destination".format(*names)
                )
    return tuple((bridge, device, cable) for (bridge, device), (cable, _) in sorted(entries.items()))


def described(wiring: Wiring) -> str:
    """One line: how many of what, at which rates."""
    rates = sorted({port.rate_Bps for cable in wiring.cables for port in cable if port.rate_Bps is not None})
    shown = ", ".join(format_bandwidth(rate) for rate in rates)
    return f"{len(wiring.devices)} devices, {len(wiring.bridges)} bridges, {len(wiring.cables)} cables at {shown}"
