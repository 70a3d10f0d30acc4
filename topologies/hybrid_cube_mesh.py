"""Hybrid cube mesh: the eight GPUs of a DGX-1, wired by NVLink without a switch."""

from __future__ import annotations

import numpy as np

from commsim.selection import Ints
from commsim.topology import NO_LINK, Links, Topology
from topologies.cables import Cable
from topologies.generator import generator, one_of
from topologies.routes import packed, where

GPUS = 8
WIRING = {  # pairs with two NVLinks, pairs with one
    # microsoft/msccl-tools dgx1(), microsoft/taccl ndv2(); other sources number the GPUs otherwise
    "v100": ("01 04 13 23 26 45 57 67", "02 03 12 15 37 46 47 56"),
    # two quads, all connected, and i to i+4; Li et al. 2019, figure 1 (from memory)
    "p100": ("", "01 02 03 12 13 23 45 46 47 56 57 67 04 15 26 37"),
}


@generator
def hybrid_cube_mesh(bandwidth_Bps: float, latency_s: float, generation: str = "v100") -> Topology:
    """Eight GPUs of a DGX-1: two quads and links between them; what has no link is relayed by one neighbour.

    Li, Song, Chen, Li, Liu, Tallent, Barker: Evaluating modern GPU interconnect: PCIe, NVLink, NV-SLI, NVSwitch and
    GPUDirect, IEEE TPDS 31(1), 2020 (arXiv 1903.04611). A pair's two NVLinks are one link of twice the bandwidth.
    Hardware relays nothing: a communication library does.

    Parameters
    ----------
    bandwidth_Bps, latency_s : float
        Of one direction of one NVLink.
    generation : {"v100", "p100"}
        Six NVLinks a GPU, eight pairs have two; or four, each pair has one.
    """
    one_of("generation", generation, WIRING)
    width = np.zeros((GPUS, GPUS), dtype=np.int64)
    for count, pairs in zip((2, 1), WIRING[generation], strict=True):
        for a, b in (map(int, pair) for pair in pairs.split()):
            width[a, b] = width[b, a] = count
    src, dst = width.nonzero()
    link = np.full((GPUS, GPUS), NO_LINK)
    link[src, dst] = np.arange(len(src))
    wired = Cable(latency_s, bandwidth_Bps).one_way(src, dst)
    links = Links(src, dst, wired.latency_s, wired.bandwidth_Bps * width[src, dst])
    # the relay of each pair: the widest way, then the lowest number
    relay = np.minimum(width[:, None, :], width[None, :, :]).argmax(axis=2)

    def route(src: Ints, dst: Ints) -> Ints:
        direct = link[src, dst] != NO_LINK
        stop = np.where(direct | (src == dst), dst, relay[src, dst])
        return packed(link[src, stop], where(~direct, link[stop, dst]))

    return Topology(GPUS, links, route, "gpu{}".format, {"node": np.zeros(GPUS, dtype=np.int64)})
