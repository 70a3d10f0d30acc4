"""NVIDIA's DGX systems and their SuperPODs: DGX-1, DGX-2, DGX A100, H100 and B200, GB200 NVL72."""

from __future__ import annotations

from commsim.selection import Ints
from commsim.topology import Topology
from topologies import devices
from topologies.cables import Cable
from topologies.fabrics import clos, rail_tree
from topologies.fat_tree import FatTree
from topologies.links import LINKS, STAS, SWITCHED, LinkClass
from topologies.machines import Machine, of_servers
from topologies.servers import Server, pairs_of

UNIT = 32  # nodes of a scalable unit of H100 and B200, which share 8 leaves
SWITCHED_NVLINK2 = LINKS["nvlink2"].but("1.2us", f"ASSUMED: as NVLink 3 (2026-11); {SWITCHED}")

# Numbered so that GPU k and k+1 are linked, on the V100 twice. microsoft/msccl-tools dgx1() and microsoft/taccl ndv2()
# have 0 1 3 2 6 7 5 4 for our 0 … 7; each two of a PCIe switch stay together.
CUBE_MESH_V100 = {**pairs_of("01 12 23 34 45 56 67 07", 2), **pairs_of("03 02 13 16 25 47 57 46")}
CUBE_MESH_P100 = pairs_of("01 02 03 12 13 23 45 46 47 56 57 67 07 16 25 34")
RINGS_V100 = "0.1.2.3.4.5.6.7*2/0.3.1.6.4.7.5.2"
RINGS_P100 = "0.1.2.3.4.5.6.7/0.2.5.7.4.6.1.3"
"""Rings over all GPUs of a cube mesh that share no link, and use all of them, both ways; the first of V100s twice."""

MESH_SOURCES = ("microsoft/msccl-tools dgx1(), microsoft/taccl ndv2(): 8 pairs with two NVLinks, 8 with one",)
PCIE_MEMORY = "two GPUs and their NIC on each PCIe switch, two switches on each socket, from memory (2026-11)"
SUPERPOD = "docs.nvidia.com, DGX SuperPOD B200 reference architecture: 32 nodes and 8 leaves in a unit, 1:1"


def superpod_tree(nodes: int) -> FatTree:
    """The rail-optimised fabric for `nodes`: per scalable unit of 32 nodes 8 leaves, rail r of every node on leaf r.

    1:1 everywhere, 64-port switches. Up to 8 units two tiers, beyond that pods of 4 units under core switches: for 1 to
    64 units the counts of the DGX SuperPOD reference architecture (B200; same scheme for H100), docs.nvidia.com.
    """
    units = -(-nodes // UNIT)
    power = 1 << (units - 1).bit_length()
    if power <= 8:
        return FatTree((UNIT, 8 * power), (1, 4 * power), (1, 8 // power))
    pods = power // 4
    return FatTree((UNIT, 32, pods), (1, 32, pods // 2), (1, 1, 64 // pods))


def superpod(nodes: int, nics: int, nic: Cable, hop: Cable) -> tuple[Topology, Ints]:
    """The fabric of :func:`superpod_tree`."""
    return rail_tree(superpod_tree(nodes), nodes, nics, UNIT, nic, hop)


def dgx1_server(wiring: dict[tuple[int, int], int], nics: int) -> Server:
    """Eight GPUs in a cube mesh, two of them on each PCIe switch."""
    return Server(8, nics, wiring, pcie_switches=4)


def cube_mesh_links(nvlink: str, socket: str, nic: LinkClass) -> dict[str, LinkClass]:
    """The classes of a DGX-1 and its like."""
    return {"nvlink": LINKS[nvlink], "pcie": LINKS["pcie3_x16"], "socket": LINKS[socket], "nic": nic}


dgx1_p100 = Machine(
    name="dgx1_p100",
    what="DGX-1 with P100: a cube mesh of NVLink 1, four EDR NICs",
    device=devices.P100,
    devices_per_node=8,
    n_nics=4,
    nics="4 InfiniBand EDR, one for two GPUs, a rail each",
    most_nodes=124,
    links=cube_mesh_links("nvlink1", "qpi_broadwell", LINKS["infiniband_edr"]),
    build=of_servers(dgx1_server(CUBE_MESH_P100, 4), clos(18, 18, 36, rails=True)),
    sources=(),
    own_assumed={
        "wiring": "two quads, all connected, and 4 links between them, from memory (2026-11)",
        "pcie": PCIE_MEMORY,
        "fabric": "36-port switches, rails, 1:1; 124 nodes as in SATURNV, from memory (2026-11)",
    },
    price_usd=129_000.0,
    price_source="ASSUMED: NVIDIA press release, 5 April 2016, from memory (2026-11)",
    hints=lambda _: {"rings": RINGS_P100},
)

dgx1_v100 = Machine(
    name="dgx1_v100",
    what="DGX-1 with V100: a hybrid cube mesh of NVLink 2, four EDR NICs",
    device=devices.V100,
    devices_per_node=8,
    n_nics=4,
    nics="4 InfiniBand EDR (ConnectX-4), one for two GPUs, a rail each",
    most_nodes=660,
    links=cube_mesh_links("nvlink2", "qpi_broadwell", LINKS["infiniband_edr"]),
    build=of_servers(dgx1_server(CUBE_MESH_V100, 4), clos(18, 18, 36, rails=True)),
    sources=(*MESH_SOURCES, "MLPerf v0.6 dgx1_n130 system description: 4 EDR"),
    own_assumed={
        "pcie": PCIE_MEMORY,
        "fabric": "36-port switches, rails, 1:1; 660 nodes as in SATURNV Volta, from memory (2026-11)",
    },
    price_usd=149_000.0,
    price_source="ASSUMED: list price at GTC 2017, from memory (2026-11)",
    hints=lambda _: {"rings": RINGS_V100},
)

dgx2 = Machine(
    name="dgx2",
    what="DGX-2 (and DGX-2H): 16 V100 on NVSwitch 1, eight EDR NICs; up to the SuperPOD of 96",
    device=devices.V100,
    devices_per_node=16,
    n_nics=8,
    nics="8 InfiniBand EDR (ConnectX-5), one for two GPUs, a rail each; 2 more for storage are left out",
    most_nodes=96,
    links={
        "nvlink": SWITCHED_NVLINK2.times(6),
        "pcie": LINKS["pcie3_x16"],
        "socket": LINKS["upi_skylake"],
        "nic": LINKS["infiniband_edr"],
    },
    build=of_servers(Server(16, 8, pcie_switches=8), clos(18, 18, 36, rails=True)),
    sources=("MLPerf v0.6 dgx2h_n96 system description: 96 nodes, 10 ConnectX-5 EDR, two Xeon 8174",),
    own_assumed={
        "nvswitch": "12 NVSwitches, 6 NVLinks a GPU, non-blocking, from memory (2026-11)",
        "pcie": "two GPUs and a NIC on each PCIe switch, four switches on each socket, from memory (2026-11)",
        "fabric": "36-port switches, rails, 1:1 (2026-11)",
    },
    price_usd=399_000.0,
    price_source="ASSUMED: NVIDIA press release, 27 March 2018, from memory (2026-11)",
)

DGX_A100_SERVER = Server(8, 8, pcie_switches=4)
A100_LINKS = {
    "nvlink": LINKS["nvlink3"].times(12),
    "pcie": LINKS["pcie4_x16"],
    "socket": LINKS["infinity_fabric_epyc"],
    "nic": LINKS["infiniband_hdr"],
}

dgx_a100 = Machine(
    name="dgx_a100",
    what="DGX A100: 8 A100 on NVSwitch 2, eight HDR NICs; up to the SuperPOD of 140",
    device=devices.A100,
    devices_per_node=8,
    n_nics=8,
    nics="8 InfiniBand HDR, one for each GPU, a rail each; 2 more for storage are left out",
    most_nodes=140,
    links=A100_LINKS,
    build=of_servers(DGX_A100_SERVER, clos(20, 20, 40, rails=True)),
    sources=("msccl-tools dgx_a100(): 12 NVLinks a GPU",),
    own_assumed={
        "pcie": PCIE_MEMORY,
        "fabric": "SuperPOD of 7 units of 20 nodes, 40-port switches, 1:1, from memory (2026-11)",
    },
    price_usd=199_000.0,
    price_source="ASSUMED: NVIDIA press release, 14 May 2020, from memory (2026-11)",
)

HGX_SERVER = Server(8, 8, pcie_switches=4)
H100_LINKS = {
    "nvlink": LINKS["nvlink4"].times(18),
    "pcie": LINKS["pcie5_x16"],
    "socket": LINKS["upi_sapphire_rapids"],
    "nic": LINKS["infiniband_ndr"],
}
NVLS = "NVSwitch reduces and copies at NVLink's rate and latency; NCCL 2.30 counts 0.85 of the rate (2026-11)"

dgx_h100 = Machine(
    name="dgx_h100",
    what="DGX H100: 8 H100 on NVSwitch 3 with NVLS, eight NDR NICs; up to the SuperPOD of 2048",
    device=devices.H100,
    devices_per_node=8,
    n_nics=8,
    nics="8 InfiniBand NDR (ConnectX-7), one for each GPU, a rail each; 2 more for storage are left out",
    most_nodes=2048,
    links=H100_LINKS,
    build=of_servers(HGX_SERVER, superpod),
    sources=(f"{STAS}: 18 NVLink 4, 4 NVSwitches", "MLPerf v3.0 dgxh100_n64 system description: 8 NDR", SUPERPOD),
    own_assumed={"nvls": NVLS, "pcie": PCIE_MEMORY},
    price_usd=300_000.0,
    price_source="ASSUMED: 300,000 USD a node, network excluded; a round figure, no quotation (2026-11)",
    switches="both",
)

dgx_b200 = Machine(
    name="dgx_b200",
    what="DGX B200: 8 B200 on NVSwitch 4 with NVLS, eight NDR NICs; up to the SuperPOD of 2048",
    device=devices.B200,
    devices_per_node=8,
    n_nics=8,
    nics="8 InfiniBand NDR (ConnectX-7), one for each GPU, a rail each",
    most_nodes=2048,
    links={**H100_LINKS, "nvlink": LINKS["nvlink5"].times(18)},
    build=of_servers(HGX_SERVER, superpod),
    sources=(f"{STAS}: 18 NVLink 5", SUPERPOD),
    own_assumed={"nvls": NVLS, "pcie": PCIE_MEMORY, "nic": "8 NDR, from memory (2026-11)"},
    switches="both",
)

gb200_nvl72 = Machine(
    name="gb200_nvl72",
    what="GB200 NVL72: a rack of 72 B200 on 9 NVLink switch trays is one node; up to the SuperPOD of 128 racks",
    device=devices.B200,
    devices_per_node=72,
    n_nics=72,
    nics="72 InfiniBand NDR (ConnectX-7) a rack, one for each GPU, behind its Grace",
    most_nodes=128,
    links={
        "nvlink": LINKS["nvlink5"].times(18),
        "c2c": LINKS["nvlink_c2c"],
        "pcie": LINKS["pcie5_x16"],
        "nic": LINKS["infiniband_ndr"],
    },
    build=of_servers(Server(72, 72, host="c2c", sockets=36, linked=False), clos(32, 32, 64)),
    sources=(
        "docs.nvidia.com, base command manager: 18 trays of 4 GPUs, 9 NVLink switch trays",
        f"{STAS}: 18 NVLink 5, one 400 Gb/s NIC for each GPU",
    ),
    own_assumed={
        "nvls": NVLS,
        "grace": "two GPUs and two NICs on each Grace, from memory (2026-11)",
        "fabric": "64-port switches, 1:1; 16 units of 8 racks, from memory (2026-11)",
    },
    switches="both",
)
