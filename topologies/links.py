"""Link classes by name: what one link or port of a technology carries in one direction, and how late.

A link carries ``rate_Bps * efficiency``: the rate is the specified one, after line coding; the efficiency is what the
largest messages reach of it, protocol overhead included. That is the one place where raw and sustained rates meet.
Every figure has its source, or says ASSUMED. The names may stand for values of systems: ``bandwidth=infiniband_ndr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from commsim.units import format_bandwidth, format_time_short, parse_bandwidth, parse_time
from topologies.cables import Cable

ASSUMED = "ASSUMED"


@dataclass(frozen=True)
class LinkClass:
    """One class of links.

    Attributes
    ----------
    name : str
    rate_Bps : float
        Specified, one direction.
    efficiency : float
        Sustained over specified.
    latency_s : float
        Of one hop over the link and into what is behind it. Of a network: a NIC to its switch, the NIC's part included.
    hop_latency_s : float
        Of a network: from switch to switch.
    sources : mapping
        Name of a figure to where it is from, or to "ASSUMED: …" with the date.
    """

    name: str
    rate_Bps: float
    efficiency: float
    latency_s: float
    hop_latency_s: float
    sources: Mapping[str, str]

    @property
    def bandwidth_Bps(self) -> float:
        """Sustained, one direction."""
        return self.rate_Bps * self.efficiency

    @property
    def cable(self) -> Cable:
        """Of one hop."""
        return Cable(self.latency_s, self.bandwidth_Bps)

    @property
    def assumed(self) -> dict[str, str]:
        """The figures without a source."""
        return {key: text for key, text in self.sources.items() if text.startswith(ASSUMED)}

    def times(self, n: int) -> LinkClass:
        """`n` links side by side, over which hardware spreads every message."""
        return replace(self, name=f"{n} {self.name}", rate_Bps=n * self.rate_Bps)

    def but(self, latency: str, source: str) -> LinkClass:
        """The same with another latency, for a place where it is another."""
        return replace(self, latency_s=parse_time(latency), sources={**self.sources, "latency": source})

    def described(self) -> str:
        """``"20.6 GB/s (82 % of 25 GB/s), 1.2 µs"``."""
        rates = f"{format_bandwidth(self.bandwidth_Bps)} ({self.efficiency:.0%} of {format_bandwidth(self.rate_Bps)})"
        return f"{rates}, {format_time_short(self.latency_s)}"


# Sources that stand at several figures
STAS = "stas00/ml-engineering, network/README.md"
NCCL = "NCCL 2.30 src/graph/topo.h"
PCI_SIG = "PCI Express base specification: transfer rate, 16 lanes, line coding"
IB_SPEC = "lane rates of NCCL net_ib's ibvSpeeds, four lanes"
MEMORY = "ASSUMED: from memory, no opened source (2026-11)"
SWITCH_HOP = "ASSUMED: a switch's 100 to 130 ns from memory, and 20 m of fibre (2026-11)"
AS_HDR = "ASSUMED: as HDR, whose MPI latency GPU-GPU is 3.2-3.3 us (ABCI A), split 0.9 + 0.7 us at each end (2026-11)"
AS_LAST = "ASSUMED: as the generation before (2026-11)"


def _class(
    name: str,
    rate: tuple[str, str],
    efficiency: tuple[float, str],
    latency: tuple[str, str],
    hop_latency: tuple[str, str] | None = None,
) -> LinkClass:
    """Figures with their sources."""
    sources = {"rate": rate[1], "efficiency": efficiency[1], "latency": latency[1]}
    if hop_latency is not None:
        sources["hop_latency"] = hop_latency[1]
    hop_s = parse_time((hop_latency or latency)[0])
    return LinkClass(name, parse_bandwidth(rate[0]), efficiency[0], parse_time(latency[0]), hop_s, sources)


DIRECT = "CUDA p2p test, P2P write, V100 direct: 1.86-1.98 us (ABCI V)"
SWITCHED = "half of osu_latency D-D 1 B over NVSwitch, A100: 2.39-2.75 us (OCI tutorials)"
NO_COST = (1.0, "payload rate")
NET_HOP = ("200ns", SWITCH_HOP)
HDR_LATENCY = ("700ns", AS_HDR)
SLINGSHOT_LATENCY = (
    ("700ns", "MPI latency GPU-GPU 2.8 us (Alps OMB, Olivia EESSI); ASSUMED: split 0.7 + 0.7 us at each end (2026-11)"),
    ("400ns", "Rosetta switch 350 ns (opened), and 10 m of fibre"),
)
ETHERNET = (0.94, "1448 B of payload in 1538 B on the wire: TCP, MTU 1500")
ETHERNET_LATENCY = (("5us", "ASSUMED: TCP through the kernel, 10 us one way (2026-11)"), ("500ns", MEMORY))
ROCE = (
    0.96,
    "4096 B of payload in 4170 B on the wire: RoCE v2, MTU 4200; ASSUMED: and 2 % for acknowledgements (2026-11)",
)
ROCE_LATENCY = (("900ns", "ASSUMED: as InfiniBand, and 0.2 us more for the NIC (2026-11)"), ("600ns", MEMORY))
EFA = (0.97, "ASSUMED: SRD's headers in 8 KiB packets (2026-11)")
EFA_LATENCY = (("7.5us", "ASSUMED: MPI latency of 15 us over EFA, from memory (2026-11)"), ("500ns", MEMORY))
TCPX = (0.90, "ASSUMED: TCP headers and copies of GPUDirect-TCPX (2026-11)")
TCPX_LATENCY = (("10us", "ASSUMED: TCP through the kernel, 20 us one way (2026-11)"), ("500ns", MEMORY))
OMNI_PATH = ("100Gb/s", "Omni-Path 100 product brief, from memory; ASSUMED (2026-11)")

_ALL = [
    # NVLink: one link; a GPU has 4, 6, 12, 18, 18 of them
    _class(
        "nvlink1",
        ("20GB/s", STAS),
        (18 / 20, f"{NCCL}: 18.0 GB/s, sm60"),
        ("1.9us", f"ASSUMED: as NVLink 2 (2026-11); {DIRECT}"),
    ),
    _class("nvlink2", ("25GB/s", STAS), (20 / 25, f"{NCCL}: 20.0 GB/s, sm70"), ("1.9us", DIRECT)),
    _class("nvlink3", ("25GB/s", STAS), (20 / 25, f"{NCCL}: 20.0 GB/s, sm80"), ("1.2us", SWITCHED)),
    _class("nvlink4", ("25GB/s", STAS), (20.6 / 25, f"{NCCL}: 20.6 GB/s, sm90"), ("1.2us", f"{AS_LAST}; {SWITCHED}")),
    _class("nvlink5", ("50GB/s", STAS), (40.1 / 50, f"{NCCL}: 40.1 GB/s, sm100"), ("1.2us", f"{AS_LAST}; {SWITCHED}")),
    _class(
        "nvlink_c2c",
        ("450GB/s", "NVIDIA Grace Hopper whitepaper: 900 GB/s both ways; ASSUMED: from memory (2026-11)"),
        (193 / 450, "D2H 193 GB/s, GB200 (Azure AI benchmarking guide)"),
        ("700ns", "ASSUMED: as half of the way between GPU and NIC over Slingshot (2026-11)"),
    ),
    # Between accelerators of AMD, one link
    _class(
        "xgmi2",
        ("50GB/s", "OLCF frontier_user_guide.rst: 50 to 200 GB/s between GCDs, 1 to 4 links"),
        (0.78, MEMORY),
        ("1.9us", "ASSUMED: as NVLink 2 without a switch (2026-11)"),
    ),
    _class(
        "xgmi3",
        ("64GB/s", f"{STAS}: MI300X, 7 links"),
        (0.78, MEMORY),
        ("1.9us", "ASSUMED: as NVLink 2 without a switch (2026-11)"),
    ),
    # Between sockets
    _class("qpi_broadwell", ("6GB/s", f"{NCCL}: BDW_QPI_BW"), NO_COST, ("300ns", MEMORY)),
    _class("upi_skylake", ("10GB/s", f"{NCCL}: SKL_QPI_BW"), NO_COST, ("300ns", MEMORY)),
    _class("upi_sapphire_rapids", ("22GB/s", f"{NCCL}: SRP_QPI_BW"), NO_COST, ("300ns", MEMORY)),
    _class("infinity_fabric_epyc", ("16GB/s", f"{NCCL}: AMD_BW"), NO_COST, ("300ns", MEMORY)),
    _class("x_bus_power9", ("32GB/s", f"{NCCL}: P9_BW"), NO_COST, ("300ns", MEMORY)),
    # PCIe, 16 lanes; latency of a device's whole way to its NIC
    _class(
        "pcie3_x16",
        ("15.75GB/s", f"{PCI_SIG}: 8 GT/s, 128b/130b"),
        (12 / 15.75, f"{NCCL}: PCI_BW 12.0 GB/s"),
        ("500ns", "MPI latency GPU-GPU over EDR 2.4 us (ABCI V); ASSUMED: split 0.5 + 0.7 us at each end (2026-11)"),
    ),
    _class("pcie4_x16", ("31GB/s", STAS), (55.06 / 63, "ASSUMED: as PCIe 5 (2026-11)"), ("900ns", AS_HDR)),
    _class("pcie5_x16", ("63GB/s", STAS), (55.06 / 63, f"D2H 55.06 GB/s, H200 ({STAS})"), ("900ns", AS_HDR)),
    _class("pcie6_x16", ("121GB/s", STAS), (55.06 / 63, "ASSUMED: as PCIe 5 (2026-11)"), ("900ns", AS_HDR)),
    # InfiniBand, four lanes
    _class(
        "infiniband_fdr",
        ("54.3Gb/s", f"{IB_SPEC}: 56 Gb/s, 64b/66b"),
        (0.98, "ASSUMED: as NDR (2026-11)"),
        HDR_LATENCY,
        NET_HOP,
    ),
    _class(
        "infiniband_edr",
        ("100Gb/s", IB_SPEC),
        (24.78 / 25, "osu_mbw_mr, host buffers, 2 EDR: 24.78 GB/s (ABCI V)"),
        ("700ns", "MPI latency GPU-GPU over EDR 2.4 us (ABCI V); ASSUMED: split 0.5 + 0.7 us at each end (2026-11)"),
        NET_HOP,
    ),
    _class(
        "infiniband_hdr100",
        ("100Gb/s", f"{IB_SPEC}; HDR with two lanes"),
        (24.78 / 25, "ASSUMED: as EDR (2026-11)"),
        HDR_LATENCY,
        NET_HOP,
    ),
    _class(
        "infiniband_hdr",
        ("200Gb/s", IB_SPEC),
        (94.27 / 100, "host buffers, 4 HDR: 94.27 GB/s (ABCI A)"),
        HDR_LATENCY,
        NET_HOP,
    ),
    _class(
        "infiniband_ndr",
        ("400Gb/s", IB_SPEC),
        (393.7 / 400, "ib_send_bw with CUDA: 393.7-396 Gb/s (nccl-tests issues 319, 309)"),
        HDR_LATENCY,
        NET_HOP,
    ),
    _class("infiniband_xdr", ("800Gb/s", IB_SPEC), (393.7 / 400, "ASSUMED: as NDR (2026-11)"), HDR_LATENCY, NET_HOP),
    # Other networks
    _class(
        "omni_path_100",
        OMNI_PATH,
        (0.98, "ASSUMED: as InfiniBand EDR (2026-11)"),
        ("600ns", MEMORY),
        ("150ns", "switch 100-110 ns, from memory; ASSUMED (2026-11)"),
    ),
    _class(
        "slingshot10",
        ("100Gb/s", "ASSUMED: Rosetta's ports with 100 Gb/s NICs (2026-11)"),
        (23.3 / 25, "ASSUMED: as Slingshot 11 (2026-11)"),
        *SLINGSHOT_LATENCY,
    ),
    _class(
        "slingshot11",
        ("200Gb/s", "alcf.anl.gov, Aurora interconnect: 64 ports of 200 Gb/s"),
        (23.3 / 25, "osu_bw GPU-GPU 4 MiB: 23.3 GB/s (Olivia EESSI)"),
        *SLINGSHOT_LATENCY,
    ),
    _class("efa1", ("100Gb/s", f"{STAS}: P4d has 4"), EFA, *EFA_LATENCY),
    _class("efa2", ("100Gb/s", f"{STAS}: P5 has 32"), EFA, *EFA_LATENCY),
    _class("efa3", ("200Gb/s", f"{STAS}: P5en has 16"), EFA, *EFA_LATENCY),
    _class("efa4", ("400Gb/s", f"{STAS}: P6-B200 has 8"), EFA, *EFA_LATENCY),
    _class("tcpx_200g", ("200Gb/s", f"{STAS}: A3 High has 4, A3 Mega 8"), TCPX, *TCPX_LATENCY),
    *(_class(f"roce_{g}g", (f"{g}Gb/s", "IEEE 802.3"), ROCE, *ROCE_LATENCY) for g in (25, 50, 100, 200, 400, 800)),
    *(
        _class(f"ethernet_{g}g", (f"{g}Gb/s", "IEEE 802.3"), ETHERNET, *ETHERNET_LATENCY)
        for g in (1, 10, 25, 40, 50, 100, 200, 400, 800)
    ),
    # Tori
    _class(
        "tofu", ("5GB/s", "Torus fusion (Wikipedia)"), (0.94, MEMORY), ("100ns", "ASSUMED: a router's hop (2026-11)")
    ),
    _class(
        "tofu_d",
        ("6.8GB/s", "TofuD, from memory; ASSUMED (2026-11)"),
        (0.94, MEMORY),
        ("100ns", "ASSUMED: as Tofu; a put takes 0.49 us, from memory (2026-11)"),
    ),
    _class("tpu_ici_v2", ("496Gb/s", "from memory; ASSUMED (2026-11)"), (0.9, MEMORY), ("1us", MEMORY)),
    _class("tpu_ici_v3", ("656Gb/s", "from memory; ASSUMED (2026-11)"), (0.9, MEMORY), ("1us", MEMORY)),
    _class(
        "tpu_ici_v4",
        ("400Gb/s", "glennklockwood.com, TPUv4: 400 Gb/s in each direction"),
        (0.9, MEMORY),
        ("1us", MEMORY),
    ),
    _class(
        "sunway",
        ("8GB/s", "16 GB/s both ways, from memory; ASSUMED (2026-11)"),
        (0.75, "MPI reaches 12 of 16 GB/s, from memory; ASSUMED (2026-11)"),
        ("400ns", "latency of 1 us, from memory; ASSUMED (2026-11)"),
        ("200ns", MEMORY),
    ),
]
LINKS: Mapping[str, LinkClass] = {link.name: link for link in _ALL}
"""Every class by its name."""


def with_link_classes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a system with the names of link classes replaced by their figures.

    ``bandwidth=infiniband_ndr,latency=infiniband_ndr``: a name stands for the sustained bandwidth where the key is one,
    and for the latency where the key is one.
    """

    def figure(key: str, value: Any) -> Any:
        link = LINKS.get(value) if isinstance(value, str) else None
        if link is None:
            return value
        if key.endswith("bandwidth"):
            return f"{link.bandwidth_Bps!r}B/s"
        return f"{link.latency_s!r}s" if key.endswith("latency") else value

    return {key: figure(key, value) for key, value in values.items()}
