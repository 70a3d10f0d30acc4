"""HPE Cray EX on Slingshot 11: Frontier (MI250X) and Alps (GH200), dragonflies."""

from __future__ import annotations

from topologies import devices
from topologies.fabrics import dragonfly
from topologies.links import ASSUMED, LINKS, LinkClass
from topologies.machines import Machine, of_servers
from topologies.servers import ALL, Server, pairs_of

GCDS = {**pairs_of("01 23 45 67", 4), **pairs_of("06 24", 2), **pairs_of("02 13 15 37 46 57", 1)}
RINGS = "0.1.3.2.4.5.7.6/0.1.5.4.2.3.7.6"
"""The rings that carry most over those links: found by linear programming over all rings."""

EVEN = "0~1+2~3+4~5+6~7-0.6+2.4-0.2+6.4"
ODD = "1~0+3~2+5~4+7~6"
WAYS = f"{EVEN}*3/{ODD}-1.3.7.5/{ODD}-5.7.3.1"
"""Ways through a node that fill its links: a strand inside a module carries 1/4 of the vector, any other 3/10.

Three fifths of the vector go to the even GCDs of the modules, which share them out over two strands and then one; the
odd ones share out two fifths along their ring, both ways.
"""

SPLIT = "as Slingshot's: MPI latency GPU-GPU 2.8 us (Alps OMB, Olivia EESSI); ASSUMED: split in four (2026-11)"

CPU_LINK = LinkClass(
    "infinity_fabric_cpu",
    36e9,
    1.0,
    LINKS["pcie4_x16"].latency_s,
    0.0,
    {
        "rate": "OLCF frontier_user_guide.rst: CPU-GCD 36 GB/s",
        "efficiency": "OLCF frontier_user_guide.rst: CPU-GCD 36 GB/s",
        "latency": f"{ASSUMED}: as PCIe 4 (2026-11)",
    },
)

frontier = Machine(
    name="frontier",
    what="Frontier: 4 MI250X (8 GCDs) and an EPYC a node, four Slingshot 11 NICs on the GPUs, a dragonfly",
    device=devices.MI250X_GCD,
    devices_per_node=8,
    n_nics=4,
    nics="4 Slingshot 11 of 200 Gb/s, one on each MI250X, behind its odd GCD",
    most_nodes=9408,
    links={
        "xgmi": LINKS["xgmi2"],
        "cpu": CPU_LINK,
        "pcie": LINKS["pcie4_x16"].but("700ns", SPLIT),
        "nic": LINKS["slingshot11"],
    },
    build=of_servers(
        Server(8, 4, GCDS, "xgmi", host="cpu", sockets=1, nic_on=(1, 3, 5, 7), modules=4, device="gcd"),
        dragonfly(16, 32, 4),
    ),
    sources=("OLCF frontier_user_guide.rst: 200 GB/s in a module, 50-100 between, 4 x 200 Gb/s, dragonfly",),
    own_assumed={
        "wiring": "which GCDs have one or two links, from memory of Pearson, arXiv 2302.14827 (2026-11)",
        "nodes": "9408 nodes, from memory (2026-11)",
        "fabric": "groups of 32 switches with 16 NICs, 4 cables between two groups, from memory (2026-11)",
        "rails": "the NICs of a node are on four switches, those of 16 nodes side by side (2026-11)",
    },
    hints=lambda _: {"rings": RINGS, "ways": WAYS},
)

alps_gh200 = Machine(
    name="alps_gh200",
    what="Alps, GH200 nodes: 4 Grace Hopper, all pairs on NVLink 4, a Slingshot 11 NIC each, a dragonfly",
    device=devices.GH200,
    devices_per_node=4,
    n_nics=4,
    nics="4 Slingshot 11 of 200 Gb/s, one on each Grace",
    most_nodes=2688,
    links={
        "nvlink": LINKS["nvlink4"].times(6).but("1.9us", "ASSUMED: as NVLink 2 without a switch (2026-11)"),
        "c2c": LINKS["nvlink_c2c"],
        "pcie": LINKS["pcie5_x16"].but("700ns", SPLIT),
        "nic": LINKS["slingshot11"],
    },
    build=of_servers(Server(4, 4, ALL, host="c2c", sockets=4, linked=False), dragonfly(16, 32, 16)),
    sources=("eth-cscs/cscs-docs, alps/hardware.md: 2688 nodes, 4 GPUs all to all by NVLink, 4 x 200 Gb/s",),
    own_assumed={
        "wiring": "6 of a GPU's 18 NVLinks to each of the three others (2026-11)",
        "grace": "Graces are linked too; GPUs do not send that way, and it is left out (2026-11)",
        "fabric": "as Frontier's, with 16 cables between two groups (2026-11)",
    },
)
