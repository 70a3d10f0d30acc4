"""Star: every host has one cable to one switch."""

from __future__ import annotations

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.spec import join_spec
from commsim.system import Endpoint, System
from commsim.topology import NO_LINK, Links, Topology, require_possible
from commsim.units import format_bandwidth, format_time_short
from topologies.in_network import everywhere


def star(
    hosts: int,
    bandwidth_Bps: float,
    latency_s: float,
    overhead_s: float = 0.0,
    gap_s: float = 0.0,
    gamma_s_per_byte: float = 0.0,
    in_network: str = "none",
) -> System:
    """`hosts` devices round one non-blocking switch.

    Parameters
    ----------
    hosts : int
    bandwidth_Bps, latency_s : float
        Of one direction of one cable; a path has two cables.
    overhead_s, gap_s, gamma_s_per_byte : float
        LogGP's o and g, and the cost of reduction.
    in_network : {"none", "reduce", "multicast", "both"}
        What the switch does itself.
    """
    if hosts < 1:
        raise InputError(f"hosts={hosts} must be at least 1")
    require_possible(hosts)
    devices = np.arange(hosts)
    links = Links.both_directions(devices, np.full(hosts, hosts), latency_s, bandwidth_Bps)

    def route(src: Ints, dst: Ints) -> Ints:
        return np.where((src == dst)[:, None], NO_LINK, np.stack([src, hosts + dst], axis=1))

    topology = Topology(hosts, links, route, lambda v: f"host{v}" if v < hosts else "switch")
    words = {"hosts": hosts, "bandwidth": format_bandwidth(bandwidth_Bps), "latency": format_time_short(latency_s)}
    name = join_spec("star", {key: str(value).replace(" ", "") for key, value in words.items()})
    endpoint = Endpoint.uniform(overhead_s, gap_s, gamma_s_per_byte)
    return System(name, topology, endpoint, in_network=everywhere(in_network))
