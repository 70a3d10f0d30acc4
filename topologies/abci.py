"""ABCI 2.0 of AIST: its V nodes (4 V100) and its A nodes (8 A100)."""

from __future__ import annotations

from topologies import devices
from topologies.dgx import A100_LINKS
from topologies.fabrics import clos, slices
from topologies.links import LINKS
from topologies.machines import Machine, of_servers
from topologies.servers import ALL, Server

abci_v = Machine(
    name="abci_v",
    what="ABCI V nodes: 4 V100, each pair on two NVLink 2, two EDR NICs; racks of 34, 3:1 between racks",
    device=devices.V100,
    devices_per_node=4,
    n_nics=2,
    nics="2 InfiniBand EDR, one for two GPUs",
    most_nodes=1088,
    links={
        "nvlink": LINKS["nvlink2"].times(2),
        "pcie": LINKS["pcie3_x16"],
        "socket": LINKS["upi_skylake"],
        "nic": LINKS["infiniband_edr"],
    },
    # a rack: 4 leaves of 17 NICs, 6 cables to each of 3 switches, each of which has 4 cables to each of 2 directors
    build=of_servers(Server(4, 2, ALL, pcie_switches=2), slices((17, 4), (1, 3, 2), (1, 6, 4), 34)),
    sources=(
        "ABCI repository: P2P matrix, two NVLinks between every pair, 2 Xeon 6148",
        "MLPerf v0.6 Fujitsu system description: 512 nodes, 2 NICs, EDR fat tree",
        "news.mynavi.jp/article/abci-2: 34 nodes a rack, 4 leaves with 18 uplinks, 3 switches, 24 uplinks, 2 directors",
    ),
    own_assumed={
        "most_nodes": "1088 nodes, from memory (2026-11)",
        "pcie": "a PCIe switch with two GPUs and a NIC on each socket, from memory (2026-11)",
    },
)

abci_a = Machine(
    name="abci_a",
    what="ABCI A nodes: 8 A100 on NVSwitch 2, four HDR NICs",
    device=devices.A100,
    devices_per_node=8,
    n_nics=4,
    nics="4 InfiniBand HDR, one for two GPUs",
    most_nodes=120,
    links={**A100_LINKS, "socket": LINKS["upi_skylake"]},
    build=of_servers(Server(8, 4, pcie_switches=4), clos(20, 20, 40)),
    sources=("ABCI repository logs: 8 A100-SXM4-40GB, 12 NVLinks",),
    own_assumed={
        "nics": "4 HDR and 2 Xeon 8360Y, from memory (2026-11)",
        "pcie": "two GPUs and a NIC on each PCIe switch, two switches on each socket (2026-11)",
        "fabric": "40-port switches, 1:1; 120 nodes, from memory (2026-11)",
    },
)
