"""System: a topology, the endpoints' own costs, and its price. Rank r sits on device r (packed placement)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commsim.errors import InputError, RefusedError
from commsim.selection import Ints
from commsim.topology import Topology


@dataclass(frozen=True)
class BySize:
    """A cost ``overhead_s + n_bytes/rate`` whose two figures depend on the size class of the message.

    Attributes
    ----------
    min_bytes : tuple of int
        Where each class begins; the first is 0, ascending.
    overhead_s : tuple of float
    rate : tuple of float
        For messages the share of the route's bandwidth that is reached; for reductions bytes per second.
    """

    min_bytes: tuple[int, ...] = (0,)
    overhead_s: tuple[float, ...] = (0.0,)
    rate: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not len(self.min_bytes) == len(self.overhead_s) == len(self.rate) > 0:
            raise InputError("size classes need one overhead and one rate each")
        if self.min_bytes[0] != 0 or list(self.min_bytes) != sorted(set(self.min_bytes)):
            raise InputError(f"size classes must begin at 0 and ascend, not {list(self.min_bytes)}")
        if not all(0 <= overhead < float("inf") for overhead in self.overhead_s) or not all(r > 0 for r in self.rate):
            raise InputError("a size class needs an overhead of at least 0 and a rate above 0")

    def at(self, n_bytes: Any) -> tuple[Any, Any]:
        """Overhead and rate for each message size: two floats where there is one class, else arrays like `n_bytes`."""
        if len(self.min_bytes) == 1:
            return self.overhead_s[0], self.rate[0]
        index = np.searchsorted(self.min_bytes, n_bytes, side="right") - 1
        return np.asarray(self.overhead_s)[index], np.asarray(self.rate)[index]


NO_REDUCTION_COST = BySize(rate=(float("inf"),))


@dataclass(frozen=True)
class Endpoint:
    """What sending, receiving and reducing cost a rank.

    Attributes
    ----------
    message : BySize
        Overhead at each end of a message, and the share of the bandwidth that it reaches.
    both_ways : BySize or None
        The same while one of its ends sends and receives in the same step (None: no difference, full duplex).
    gap_s : float
        LogGP's g: least time between two messages of one rank.
    reduction : BySize
        Overhead and throughput (B/s) of a reduction.
    """

    message: BySize = BySize()
    both_ways: BySize | None = None
    gap_s: float = 0.0
    reduction: BySize = NO_REDUCTION_COST

    def __post_init__(self) -> None:
        if not 0 <= self.gap_s < float("inf"):
            raise InputError(f"gap_s={self.gap_s} must be a finite number, zero or more")

    @staticmethod
    def uniform(overhead_s: float = 0.0, gap_s: float = 0.0, gamma_s_per_byte: float = 0.0) -> Endpoint:
        """One figure each for all sizes: LogGP's o and g, and gamma."""
        throughput_Bps = 1 / gamma_s_per_byte if gamma_s_per_byte else float("inf")
        return Endpoint(BySize(overhead_s=(overhead_s,)), None, gap_s, BySize(rate=(throughput_Bps,)))


@dataclass(frozen=True, eq=False)
class System:
    """What a schedule can be simulated on.

    Attributes
    ----------
    name : str
        The spec it was made of, or the file.
    topology : Topology
    endpoint : Endpoint
    price_usd : float or None
        Of the whole system as described.
    assumed : mapping
        Figures without an opened source: parameter to what was assumed and when.
    notes : mapping
        Anything else worth printing (of a calibrated host: how it was measured).
    in_network : mapping
        Name of a tier ("node", …; "all" is everything) to what its switches do for messages inside one group of it:
        "reduce", "multicast".
    """

    name: str
    topology: Topology
    endpoint: Endpoint = Endpoint()
    price_usd: float | None = None
    assumed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    in_network: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def n_devices(self) -> int:
        """Ranks that fit."""
        return self.topology.n_devices

    @property
    def devices_per_node(self) -> int | None:
        """Devices in each node; None where the topology has no nodes."""
        nodes = self.topology.tiers.get("node")
        return None if nodes is None else int(np.bincount(nodes[: self.n_devices])[0])

    def ranks_per_node(self, n_ranks: int) -> int | None:
        """Ranks in each full node under packed placement; None where the topology has no nodes."""
        return None if self.devices_per_node is None else min(self.devices_per_node, n_ranks)

    def require(self, n_ranks: int) -> None:
        """Refuse more ranks than devices.

        Raises
        ------
        RefusedError
        """
        if n_ranks > self.n_devices:
            raise RefusedError(f"{self.name} has {self.n_devices} devices, too few for {n_ranks} ranks")

    def require_fabric(self, ability: str, src: Ints, dst: Ints, who: str) -> None:
        """Refuse what the switches between these ranks cannot do.

        Raises
        ------
        RefusedError
            Naming the ability and where it is missing.
        """
        places = [place for place, abilities in self.in_network.items() if ability in abilities]
        if "all" in places:
            return
        inside = np.zeros(len(src), dtype=bool)
        for place in places:
            groups = self.topology.tiers[place]
            inside |= (groups[src] == groups[dst]) & (groups[src] >= 0)
        if not inside.all():
            bad = int(np.argmin(inside))
            only = f"only inside a {' or '.join(places)}" if places else "nowhere"
            raise RefusedError(
                f"{who} needs switches that {ability} between rank {src[bad]} and rank {dst[bad]}: {self.name} has "
                f"them {only}; take a system whose switches do so, by the key in_network={ability} or in_network=both"
            )
