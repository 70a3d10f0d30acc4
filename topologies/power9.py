"""IBM AC922: Summit (6 V100 a node) and Sierra (4): NVLink from GPUs to GPUs and to their POWER9."""

from __future__ import annotations

from dataclasses import replace

from topologies import devices
from topologies.fabrics import Fabric, clos
from topologies.links import LINKS
from topologies.machines import Machine, of_servers
from topologies.servers import Server, pairs_of

EDR = LINKS["infiniband_edr"]
INJECTION = replace(
    EDR,
    name="infiniband_edr of Summit",
    efficiency=11.5 / 12.5,
    sources={**EDR.sources, "efficiency": "OLCF summit_user_guide.rst: 23 GB/s of injection over two EDR"},
)
NODE_LINKS = {
    "nvlink": LINKS["nvlink2"],
    "pcie": LINKS["pcie4_x16"],
    "socket": LINKS["x_bus_power9"],
    "nic": INJECTION,
}


def _ac922(
    name: str, what: str, gpus: int, bricks: int, pairs: str, most_nodes: int, fabric: Fabric, *sources: str
) -> Machine:
    """Half of the GPUs on each socket, `bricks` NVLinks in each pair of them and to the socket; a NIC port a socket."""
    links = {**NODE_LINKS, "cpu": LINKS["nvlink2"].times(bricks)}
    return Machine(
        name=name,
        what=what,
        device=devices.V100,
        devices_per_node=gpus,
        n_nics=2,
        nics="2 ports of InfiniBand EDR, one on each socket, a rail each",
        most_nodes=most_nodes,
        links=links,
        build=of_servers(Server(gpus, 2, pairs_of(pairs, bricks), host="cpu"), fabric),
        sources=sources,
        own_assumed={
            "nodes": f"{most_nodes} nodes, from memory (2026-11)",
            "fabric": "36-port leaves with 18 nodes a rail (2026-11)",
            "x_bus": "GPUs of two sockets reach each other over the X bus at NCCL's rate (2026-11)",
        },
    )


summit = _ac922(
    "summit",
    "Summit: 6 V100 and two POWER9 on NVLink 2, dual-rail EDR, a fat tree that never blocks",
    6,
    2,
    "01 02 12 34 35 45",
    4608,
    clos(18, 18, 36, rails=True),
    "OLCF summit_user_guide.rst: two NVLink 2 bricks (50 GB/s) GPU-GPU and CPU-GPU, 3 GPUs a socket, dual-rail EDR",
)
sierra = _ac922(
    "sierra",
    "Sierra: 4 V100 and two POWER9 on NVLink 2, dual-rail EDR, a fat tree with 2:1 taper",
    4,
    3,
    "01 23",
    4320,
    clos(18, 9, 36, rails=True),
    "ornl.gov, Evaluation of CORAL interconnects (abstract): 2:1 between racks and aggregation; three bricks a pair",
)
