"""Other nodes on fat trees: MI300X, GPUs on PCIe alone, Frontera, Sunway TaihuLight."""

from __future__ import annotations

from topologies import devices
from topologies.fabrics import clos
from topologies.links import ASSUMED, LINKS, STAS, LinkClass
from topologies.machines import Machine, of_servers
from topologies.servers import ALL, Server

mi300x = Machine(
    name="mi300x",
    what="MI300X platform: 8 MI300X, all pairs on xGMI, a 400 Gb/s RoCE NIC each, rail-optimised",
    device=devices.MI300X,
    devices_per_node=8,
    n_nics=8,
    nics="8 RoCE of 400 Gb/s, one for each GPU, a rail each",
    most_nodes=1024,
    links={
        "xgmi": LINKS["xgmi3"],
        "pcie": LINKS["pcie5_x16"],
        "socket": LINKS["infinity_fabric_epyc"],
        "nic": LINKS["roce_400g"],
    },
    build=of_servers(Server(8, 8, ALL, "xgmi", pcie_switches=8), clos(32, 32, 64, rails=True)),
    sources=(f"{STAS}: 7 links of 64 GB/s",),
    own_assumed={
        "nics": "one 400 Gb/s RoCE NIC for each GPU, on a PCIe switch of its own (2026-11)",
        "fabric": "64-port switches, rails, 1:1, at most 1024 nodes (2026-11)",
    },
)

pcie_a100 = Machine(
    name="pcie_a100",
    what="A server of 8 A100 on PCIe 4 alone: four switches, two sockets (NUMA), an HDR NIC on each socket",
    device=devices.A100,
    devices_per_node=8,
    n_nics=2,
    nics="2 InfiniBand HDR, one on a PCIe switch of each socket",
    most_nodes=512,
    links={
        "pcie": LINKS["pcie4_x16"],
        "socket": LINKS["infinity_fabric_epyc"],
        "nic": LINKS["infiniband_hdr"],
    },
    build=of_servers(Server(8, 2, "none", pcie_switches=4), clos(20, 20, 40)),
    sources=("Li et al.: Evaluating modern GPU interconnect, IEEE TPDS 31(1), 2020: PCIe trees under two sockets",),
    own_assumed={
        "structure": "a server as many vendors sell, no one machine; at most 512 nodes (2026-11)",
        "fabric": "40-port switches, 1:1 (2026-11)",
    },
)

frontera = Machine(
    name="frontera",
    what="Frontera: two Xeon 8280 sockets a node, one HDR100 NIC, a fat tree with 11:9 taper",
    device=devices.XEON_8280,
    devices_per_node=2,
    n_nics=1,
    nics="1 InfiniBand HDR100, on the first socket",
    most_nodes=8008,
    links={
        "upi": LINKS["upi_skylake"],
        "pcie": LINKS["pcie3_x16"],
        "nic": LINKS["infiniband_hdr100"],
    },
    build=of_servers(
        Server(2, 1, ALL, "upi", sockets=0, linked=False, nic_on=(0,), device="socket"), clos(44, 36, 200)
    ),
    sources=(),
    own_assumed={
        "structure": "8008 nodes; leaves with 44 HDR100 down, 18 HDR up (as 36 HDR100), from memory (2026-11)",
        "fabric": "two levels, under directors (2026-11)",
    },
    hints=lambda nodes: {"ways": "0~1"} if nodes > 1 else {},
)

ON_CHIP = LinkClass(
    "node interface",
    16e9,
    1.0,
    0.0,
    0.0,
    {
        "rate": f"{ASSUMED}: twice the network's (2026-11)",
        "efficiency": f"{ASSUMED}: twice the network's (2026-11)",
        "latency": f"{ASSUMED}: inside the network's (2026-11)",
    },
)

sunway_taihulight = Machine(
    name="sunway_taihulight",
    what="Sunway TaihuLight: nodes of one SW26010, supernodes of 256 on a switch board, a 1/4 fat tree above",
    device=devices.SW26010,
    devices_per_node=1,
    nics="1 port of the Sunway network",
    most_nodes=40_960,
    links={"pcie": ON_CHIP, "nic": LINKS["sunway"]},
    build=of_servers(
        Server(1, 1, "none", sockets=0, linked=False, nic_on=(0,), device="processor"), clos(256, 64, 160)
    ),
    sources=("levlafayette.com/node/808; Dongarra, UT-EECS-16-742: 40 cabinets of 4 supernodes of 256 nodes",),
    own_assumed={"fabric": "64 cables up from each supernode, a quarter, from memory (2026-11)"},
)
