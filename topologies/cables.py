"""Cables of one class, as links."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from commsim.selection import Ints
from commsim.topology import Links


class Cable(NamedTuple):
    """Latency and bandwidth of one direction."""

    latency_s: float
    bandwidth_Bps: float

    def but(self, latency_s: float | None, bandwidth_Bps: float | None) -> Cable:
        """The same, but for the figures that are given."""
        return Cable(
            self.latency_s if latency_s is None else latency_s,
            self.bandwidth_Bps if bandwidth_Bps is None else bandwidth_Bps,
        )

    def one_way(self, src: Ints, dst: Ints) -> Links:
        """Links from each `src` to its `dst`, and no others."""
        n = len(src)
        return Links(src, dst, np.full(n, float(self.latency_s)), np.full(n, float(self.bandwidth_Bps)))

    def both_ways(self, a: Ints, b: Ints) -> Links:
        """First all links a to b, then all links b to a."""
        return Links.both_directions(a, b, self.latency_s, self.bandwidth_Bps)


def shifted(links: Links, by: int) -> Links:
    """The same links between vertices whose numbers are higher."""
    return replace(links, src=links.src + by, dst=links.dst + by)
