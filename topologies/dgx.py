"""DGX H100 nodes on a rail-optimised InfiniBand NDR fabric (DGX SuperPOD scheme)."""

from __future__ import annotations

from commsim.errors import InputError
from commsim.spec import join_spec
from commsim.system import Endpoint, System
from commsim.units import parse_bandwidth
from topologies.cables import Cable
from topologies.fat_tree import FatTree, tree_topology
from topologies.in_network import WORDS, everywhere
from topologies.rails import rails

GPUS = 8  # a node, each with its own NIC: the rail
UNIT = 32  # nodes of a scalable unit, which share 8 leaves

# Each figure with its source; what has none stands in ASSUMED.
NVLINK_BPS = 18 * 20.6e9  # 18 NVLink4 of 20.6 GB/s per direction as NCCL counts them (NCCL 2.30 topo.h, sm90)
NIC_BPS = parse_bandwidth("393.7Gb/s")  # CX-7 NDR, ib_send_bw with CUDA: 393.7-396 Gb/s (nccl-tests issues 319, 309)
NVLINK_LATENCY_S = 1.2e-6  # half of osu_latency D-D 1 B over NVSwitch: 2.39-2.75 us on A100 (OCI tutorials)
PCIE_LATENCY_S = 0.9e-6  # with FABRIC_LATENCY_S: 2*(0.9 + 0.7) us = MPI GPU-GPU over HDR, 3.2-3.3 us (ABCI A)
FABRIC_LATENCY_S = 0.7e-6
HBM_COPY_BPS = 2.90e12  # HBM stream copy, H100 (Azure AI benchmarking guide); counts reads and writes
GAMMA_S_PER_BYTE = (
    1.5 / HBM_COPY_BPS
)  # a reduction reads two operands and writes one: 3 bytes moved where a copy moves 2
PRICE_USD = 300_000.0
NVSWITCH = WORDS["both"]  # generation 3: multicast and NVLink SHARP (NVIDIA H100 architecture whitepaper, NVSwitch)

ASSUMED = {
    "nvlink_latency": "A100's NVSwitch latency taken for H100 (2026-11)",
    "pcie_latency": "HDR's GPU-GPU latency taken for NDR, split 0.9 + 0.7 us between PCIe and cable (2026-11)",
    "fabric_latency": "as pcie_latency; the same for a cable to a leaf and between switches (2026-11)",
    "pcie bandwidth": "the GPU reaches its NIC at the NIC's rate: PCIe 5 x16 moves 55 GB/s (2026-11)",
    "gamma": "a reduction on the GPU runs at the HBM stream rate (2026-11)",
    "price": "300,000 USD a node, network excluded; a round figure, no quotation (2026-11)",
    "nvls": "NVSwitch reduces and copies at NVLink's rate and latency; NCCL 2.30 counts 0.85 of the rate (2026-11)",
    "in_network": "InfiniBand switches with SHARP reduce and copy at the cable's rate and latency (2026-11)",
}


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


def dgx_h100(
    nodes: int,
    nvlink_bandwidth_Bps: float = NVLINK_BPS,
    nvlink_latency_s: float = NVLINK_LATENCY_S,
    nic_bandwidth_Bps: float = NIC_BPS,
    pcie_latency_s: float = PCIE_LATENCY_S,
    fabric_latency_s: float = FABRIC_LATENCY_S,
    overhead_s: float = 0.0,
    gap_s: float = 0.0,
    gamma_s_per_byte: float = GAMMA_S_PER_BYTE,
    price_usd: float = PRICE_USD,
    in_network: str = "none",
    eager_limit_bytes: int = 0,
    pair_efficiency: float = 1.0,
) -> System:
    """`nodes` DGX H100: 8 GPUs on one NVSwitch plane, a 400 Gb/s NIC for each GPU on its own rail.

    Parameters
    ----------
    nodes : int
        1 to 2048. Ranks are GPUs, node by node.
    nvlink_bandwidth_Bps, nvlink_latency_s : float
        Per GPU and direction, GPU to switch plane; one hop.
    nic_bandwidth_Bps : float
        Per NIC and direction, and of every cable of the fabric.
    pcie_latency_s, fabric_latency_s : float
        GPU to NIC; one cable with its switch.
    overhead_s, gap_s, gamma_s_per_byte : float
        LogGP's o and g (inside the latencies by default), and the cost of reduction.
    price_usd : float
        One node, network excluded. ASSUMED: 300,000 USD (2026-11).
    in_network : {"none", "reduce", "multicast", "both"}
        What the InfiniBand switches do themselves ("both": SHARP). NVSwitches always do both, in their node (NVLS).
    eager_limit_bytes, pair_efficiency
        As the generators have them.
    """
    if not 1 <= nodes <= 2048:
        raise InputError(f"nodes={nodes}: dgx_h100 has 1 to 2048 nodes (64 scalable units of 32)")
    endpoint = Endpoint.uniform(overhead_s, gap_s, gamma_s_per_byte, eager_limit_bytes, pair_efficiency)
    still_assumed = {
        "nvlink_latency": nvlink_latency_s == NVLINK_LATENCY_S,
        "pcie_latency": pcie_latency_s == PCIE_LATENCY_S,
        "fabric_latency": fabric_latency_s == FABRIC_LATENCY_S,
        "gamma": gamma_s_per_byte == GAMMA_S_PER_BYTE,
        "price": price_usd == PRICE_USD,
        "in_network": in_network != "none",
    }
    assumed = {key: text for key, text in ASSUMED.items() if still_assumed.get(key, True)}
    tree = superpod_tree(nodes)
    fabric = tree_topology(tree, [Cable(fabric_latency_s, nic_bandwidth_Bps)] * tree.n_levels)
    plane, nic = Cable(nvlink_latency_s, nvlink_bandwidth_Bps), Cable(pcie_latency_s, nic_bandwidth_Bps)
    topology = rails(nodes, GPUS, plane, nic, fabric, UNIT)
    abilities = {"node": NVSWITCH, **everywhere(in_network)}
    name = join_spec("dgx_h100", {"nodes": nodes})
    return System(name, topology, endpoint, nodes * price_usd, assumed, in_network=abilities)
