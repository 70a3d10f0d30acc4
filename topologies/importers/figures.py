"""Rates and latencies that importers fill in, each with its source or marked ASSUMED."""

from __future__ import annotations

import re

from commsim.errors import InputError
from commsim.units import BITS_PER_BYTE, parse_bandwidth
from topologies.importers.description import LinkClass

NCCL = "NCCL 2.30 topo.h"
NVLINK_GBps = {
    60: 18.0,
    70: 20.0,
    80: 20.0,
    86: 12.0,
    90: 20.6,
    100: 40.1,
}  # one link, one direction, by SM; NCCL topo.h
XGMI_GBps = 48.0  # ASSUMED: an MI300X link of 64 GB/s at 75 %
MOST_NVLINKS = 18  # of one GPU: H100 and B200 (NVIDIA H100 architecture whitepaper, NVLink)
NVLINK_HOP_S = 1.2e-6
PCIE_HOP_S = 0.45e-6
CPU_HOP_S = 0.3e-6
FABRIC_HOP_S = 0.7e-6
PCIE_LANE = {"2.5": 1.5, "5": 3.0, "5.0": 3.0, "8": 6.0, "8.0": 6.0, "16": 12.0, "16.0": 12.0, "32": 24.0}
PCIE_LANE |= {
    "32.0": 24.0,
    "64": 48.0,
    "64.0": 48.0,
}  # Gb/s of a lane as NCCL counts them (graph/topo.cc, kvDictPciGen)
LANE_GBps = {"SDR": 2, "DDR": 4, "QDR": 8, "FDR10": 10, "FDR": 13.64, "EDR": 25, "HDR": 50, "NDR": 100, "XDR": 200}
"""Gb/s of data of one InfiniBand lane (InfiniBand Trade Association, roadmap)."""


def gigabytes(value: float) -> float:
    """GB/s as B/s."""
    return parse_bandwidth(f"{value!r}GB/s")


def gigabits(value: float) -> float:
    """Gb/s as B/s."""
    return gigabytes(value / BITS_PER_BYTE)


def nvlink(sm: int | None, count: int, to_switch: bool) -> LinkClass:
    """`count` links of one GPU as one; `sm` is the GPU's compute capability times ten."""
    known = [own for own in sorted(NVLINK_GBps) if sm is not None and own <= sm]
    each = NVLINK_GBps[known[-1]] if known else NVLINK_GBps[90 if count >= 18 else 80]
    source = f"{count} x {each:g} GB/s, {NCCL} for sm {sm}" if known else f"ASSUMED: {count} x {each:g} GB/s"
    hops = 1 if to_switch else 2
    latency = "ASSUMED: half of 2.4 us between GPUs over NVSwitch" if to_switch else "ASSUMED: as over NVSwitch"
    return LinkClass(gigabytes(count * each), source, hops * NVLINK_HOP_S, latency)


def pcie(bandwidth_Bps: float | None, source: str) -> LinkClass:
    """One PCIe link; without a rate, generation 4 with 16 lanes."""
    if bandwidth_Bps is None:
        bandwidth_Bps, source = gigabits(16 * PCIE_LANE["16"]), "ASSUMED: PCIe 4 x16"
    return LinkClass(bandwidth_Bps, source, PCIE_HOP_S, "ASSUMED: half of 0.9 us from a GPU to its NIC")


def pcie_of(speed: str, width: str) -> LinkClass:
    """``"16.0 GT/s PCIe"`` and ``"16"``, as Linux and NCCL write them.

    Raises
    ------
    InputError
        For a speed or width that is none.
    """
    found = re.match(r"\s*([0-9.]+)\s*GT/s", speed)
    if found is None or found[1] not in PCIE_LANE:
        raise InputError(f"{speed!r} is no PCIe speed; write it like '16.0 GT/s PCIe'")
    if not width.strip().isdecimal() or not 1 <= int(width) <= 32:
        raise InputError(f"{width!r} is no PCIe width; write it like 16")
    lanes = int(width)
    return pcie(gigabits(lanes * PCIE_LANE[found[1]]), f"{found[1]} GT/s x{lanes} as NCCL counts it (graph/topo.cc)")


def between_cpus(bandwidth_GBps: float | None, source: str) -> LinkClass:
    """Two sockets or NUMA nodes; without a rate, that of Intel's Sapphire Rapids."""
    if bandwidth_GBps is None:
        bandwidth_GBps, source = 22.0, "ASSUMED: as Sapphire Rapids in NCCL 2.30 topo.h"
    return LinkClass(gigabytes(bandwidth_GBps), source, CPU_HOP_S, "ASSUMED: a hop between sockets")


def fabric(bandwidth_Bps: float | None, source: str) -> LinkClass:
    """A NIC's cable; without a rate, 400 Gb/s."""
    if bandwidth_Bps is None:
        bandwidth_Bps, source = gigabits(400), "ASSUMED: 400 Gb/s"
    return LinkClass(
        bandwidth_Bps, source, FABRIC_HOP_S, "ASSUMED: a cable with its switch, as HDR measured end to end"
    )
