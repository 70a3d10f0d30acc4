"""What holds a rank, with the stream rate of its memory: a reduction of ranks' data runs at that."""

from __future__ import annotations

from topologies.machines import Device

MEMORY = "ASSUMED: 0.85 of the specified memory bandwidth, from memory (2026-11)"

P100 = Device("P100", 0.85 * 732e9, MEMORY)
V100 = Device("V100", 780e9, "device copy, read and write: 780 GB/s (ABCI V)")
A100 = Device("A100", 1300e9, "device copy, read and write: 1292-1307 GB/s (ABCI A)")
H100 = Device("H100", 2900e9, "HBM stream copy: 2.90 TB/s (Azure AI benchmarking guide)")
H200 = Device("H200", 0.85 * 4800e9, MEMORY)
GH200 = Device("GH200", 0.85 * 4000e9, MEMORY)
B200 = Device("B200", 0.85 * 8000e9, MEMORY)
MI250X_GCD = Device("MI250X GCD", 0.85 * 1600e9, MEMORY)
MI300X = Device("MI300X", 0.85 * 5300e9, MEMORY)
XEON_8280 = Device("Xeon 8280 socket", 0.85 * 141e9, MEMORY)
SPARC64_VIIIFX = Device("SPARC64 VIIIfx", 0.85 * 64e9, MEMORY)
SW26010 = Device("SW26010", 0.85 * 136e9, MEMORY)
TPU_V2 = Device("TPU v2 chip", 0.85 * 1400e9, MEMORY)
TPU_V3 = Device("TPU v3 chip", 0.85 * 1800e9, MEMORY)
TPU_V4 = Device("TPU v4 chip", 0.85 * 1200e9, MEMORY)
