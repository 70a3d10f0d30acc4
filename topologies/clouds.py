"""Clouds: AWS p3dn, p4d, p5, p5en, p6; Azure NDv2, ND A100 v4, ND H100 v5; GCP A3 High and Mega.

Their networks are not published beyond the NICs: one switch that never blocks stands for them.
"""

from __future__ import annotations

from collections.abc import Mapping

from topologies import devices
from topologies.dgx import (
    A100_LINKS,
    CUBE_MESH_V100,
    H100_LINKS,
    MESH_SOURCES,
    NVLS,
    RINGS_V100,
    cube_mesh_links,
)
from topologies.fabrics import one_switch
from topologies.links import LINKS, STAS, LinkClass
from topologies.machines import Device, Machine, of_servers
from topologies.servers import Server

NETWORK_ASSUMED = "a network that never blocks, as one switch (2026-11)"
PCIE_ASSUMED = "PCIe switches and sockets as in NVIDIA's own node of the same GPUs (2026-11)"


def _cloud(
    name: str,
    what: str,
    device: Device,
    links: Mapping[str, LinkClass],
    nic: LinkClass,
    n_nics: int,
    nics: str,
    most_nodes: int,
    *sources: str,
    wiring: dict[tuple[int, int], int] | None = None,
    switches: str = "none",
) -> Machine:
    """Eight GPUs of an NVSwitch, or of a cube mesh, and the provider's NICs."""
    server = Server(8, n_nics, pcie_switches=4) if wiring is None else Server(8, n_nics, wiring, pcie_switches=4)
    return Machine(
        name=name,
        what=what,
        device=device,
        devices_per_node=8,
        n_nics=n_nics,
        nics=nics,
        most_nodes=most_nodes,
        links={**links, "nic": nic},
        build=of_servers(server, one_switch),
        sources=sources,
        own_assumed={
            "network": NETWORK_ASSUMED,
            "pcie": PCIE_ASSUMED,
            "most_nodes": f"{most_nodes} nodes in one cluster, from memory (2026-11)",
            **({"nvls": NVLS} if switches == "both" else {}),
        },
        switches=switches,
        hints=lambda nodes: {"rings": RINGS_V100} if wiring and nodes < 3 else {},  # beyond, the NIC is narrower
    )


EDR, HDR, NDR = (LINKS[f"infiniband_{word}"] for word in ("edr", "hdr", "ndr"))
MESH_LINKS = cube_mesh_links("nvlink2", "upi_skylake", EDR)
P4D_LINKS = {**A100_LINKS, "socket": LINKS["upi_skylake"]}
P5_LINKS = {**H100_LINKS, "socket": LINKS["infinity_fabric_epyc"]}

aws_p3dn = _cloud(
    "aws_p3dn",
    "AWS p3dn.24xlarge: 8 V100 in a hybrid cube mesh, one 100 Gb/s EFA",
    devices.V100,
    MESH_LINKS,
    LINKS["efa1"],
    1,
    "1 EFA of 100 Gb/s, for all GPUs",
    128,
    *MESH_SOURCES,
    wiring=CUBE_MESH_V100,
)
aws_p4d = _cloud(
    "aws_p4d",
    "AWS p4d.24xlarge: 8 A100 on NVSwitch 2, four 100 Gb/s EFA",
    devices.A100,
    P4D_LINKS,
    LINKS["efa1"],
    4,
    "4 EFA of 100 Gb/s, one for two GPUs",
    500,
    f"{STAS}: EFA v1",
)
aws_p5 = _cloud(
    "aws_p5",
    "AWS p5.48xlarge: 8 H100 on NVSwitch 3 with NVLS, 32 EFA of 100 Gb/s",
    devices.H100,
    P5_LINKS,
    LINKS["efa2"].times(4),
    8,
    "32 EFA of 100 Gb/s, four for each GPU as one",
    2500,
    f"{STAS}: EFA v2",
    switches="both",
)
aws_p5en = _cloud(
    "aws_p5en",
    "AWS p5en.48xlarge: 8 H200 on NVSwitch 3 with NVLS, 16 EFA of 200 Gb/s",
    devices.H200,
    P5_LINKS,
    LINKS["efa3"].times(2),
    8,
    "16 EFA of 200 Gb/s, two for each GPU as one",
    2500,
    f"{STAS}: EFA v3",
    switches="both",
)
aws_p6_b200 = _cloud(
    "aws_p6_b200",
    "AWS p6-b200.48xlarge: 8 B200 on NVSwitch 4 with NVLS, 8 EFA of 400 Gb/s",
    devices.B200,
    {**P5_LINKS, "nvlink": LINKS["nvlink5"].times(18)},
    LINKS["efa4"],
    8,
    "8 EFA of 400 Gb/s, one a GPU",
    2500,
    f"{STAS}: EFA v4",
    switches="both",
)
azure_ndv2 = _cloud(
    "azure_ndv2",
    "Azure NDv2 (ND40rs v2): 8 V100 in a hybrid cube mesh, one EDR NIC",
    devices.V100,
    MESH_LINKS,
    EDR,
    1,
    "1 InfiniBand EDR, for all GPUs",
    100,
    *MESH_SOURCES,
    wiring=CUBE_MESH_V100,
)
azure_nd_a100 = _cloud(
    "azure_nd_a100",
    "Azure ND A100 v4: 8 A100 on NVSwitch 2, eight HDR NICs",
    devices.A100,
    A100_LINKS,
    HDR,
    8,
    "8 InfiniBand HDR, one for each GPU",
    500,
    "Azure AI benchmarking guide: ND A100 v4",
)
azure_nd_h100 = _cloud(
    "azure_nd_h100",
    "Azure ND H100 v5: 8 H100 on NVSwitch 3 with NVLS, eight NDR NICs",
    devices.H100,
    H100_LINKS,
    NDR,
    8,
    "8 InfiniBand NDR, one for each GPU",
    1800,
    "Azure AI benchmarking guide: ND H100 v5",
    switches="both",
)
TCPX = LINKS["tcpx_200g"]
gcp_a3_high = _cloud(
    "gcp_a3_high",
    "GCP A3 High: 8 H100 on NVSwitch 3 with NVLS, four 200 Gb/s NICs, GPUDirect-TCPX",
    devices.H100,
    H100_LINKS,
    TCPX,
    4,
    "4 Ethernet of 200 Gb/s (TCPX), one for two GPUs",
    3250,
    f"{STAS}: 4 x 200 Gb/s TCPX",
    switches="both",
)
gcp_a3_mega = _cloud(
    "gcp_a3_mega",
    "GCP A3 Mega: 8 H100 on NVSwitch 3 with NVLS, eight 200 Gb/s NICs, GPUDirect-TCPXO",
    devices.H100,
    H100_LINKS,
    TCPX,
    8,
    "8 Ethernet of 200 Gb/s (TCPXO), one for each GPU",
    3250,
    f"{STAS}: 8 x 200 Gb/s TCPXO",
    switches="both",
)
