"""System: a topology, the endpoints' own costs, and its price. Rank r sits on device r: placing renumbers devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from commsim.algorithm import SCATTERED
from commsim.errors import InputError, RefusedError, unknown_name
from commsim.selection import Ints
from commsim.topology import Topology
from commsim.units import format_count


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

    def time_s(self, n_bytes: Any) -> Any:
        """The cost itself, where ``rate`` is in bytes per second."""
        overhead_s, rate_Bps = self.at(n_bytes)
        return overhead_s + n_bytes / rate_Bps


IN_NETWORK = {
    "none": frozenset[str](),
    "reduce": frozenset({"reduce"}),
    "multicast": frozenset({"multicast"}),
    "both": frozenset({"reduce", "multicast"}),
}
"""What people write for what the switches of a tier do."""
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
    pair_efficiency : float
        Of two messages of one step that cross between the same two ranks: the share of their bandwidth that is left.
    eager_limit_bytes : int
        Messages of at most so many bytes are eager, where the model knows both kinds: the sender goes on at its last
        byte, whether or not the receiver is there. 0: none is.
    message_rate_per_s : float
        So many messages can begin on one port (the first or the last link of a route) in a second. 0: any number.
    burst_bytes : int
        What a link that has rested carries at once, before its bandwidth counts: the depth of the token buckets that
        shape a network. It earns them back, at its bandwidth, while it carries less. 0: nothing.
    gap_s : float
        LogGP's g: least time between two messages of one rank.
    reduction : BySize
        Overhead and throughput (B/s) of a reduction.
    inside : mapping
        Name of a tier ("socket", "node", …; the innermost first) to the costs of messages inside one group of it: of
        that Endpoint `message`, `both_ways` and `pair_efficiency` count.
    """

    message: BySize = BySize()
    both_ways: BySize | None = None
    gap_s: float = 0.0
    reduction: BySize = NO_REDUCTION_COST
    pair_efficiency: float = 1.0
    eager_limit_bytes: int = 0
    message_rate_per_s: float = 0.0
    burst_bytes: int = 0
    inside: Mapping[str, Endpoint] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not 0 <= self.message_rate_per_s < float("inf"):
            raise InputError(f"message_rate_per_s={self.message_rate_per_s} must be a finite number, zero or more")
        if not 0 <= self.burst_bytes < float("inf"):
            raise InputError(f"burst_bytes={self.burst_bytes} must be a finite number, zero or more")
        if not 0 < self.pair_efficiency <= 1:
            raise InputError(f"pair_efficiency={self.pair_efficiency} must be above 0 and at most 1")
        if self.eager_limit_bytes < 0:
            raise InputError(f"eager_limit_bytes={self.eager_limit_bytes} must be zero or more")
        if not 0 <= self.gap_s < float("inf"):
            raise InputError(f"gap_s={self.gap_s} must be a finite number, zero or more")

    @property
    def needs_events(self) -> bool:
        """Whether what a message takes depends on what its links and ports did before."""
        return self.gap_s > 0 or self.message_rate_per_s > 0 or self.burst_bytes > 0

    @property
    def spacing_s(self) -> float:
        """Least time between two messages that begin on one port."""
        return 1 / self.message_rate_per_s if self.message_rate_per_s else 0.0

    @property
    def least_gap_s(self) -> float:
        """LogGP's g, whose reciprocal is the rate of messages that a rank may begin: the larger of both figures."""
        return max(self.gap_s, self.spacing_s)

    @property
    def kinds(self) -> list[Endpoint]:
        """Its own costs and those of the tiers: all that a message can have."""
        return [self, *self.inside.values()]

    @property
    def one_way(self) -> Endpoint:
        """The costs of messages whose ends do nothing else in their step."""
        inner = {tier: endpoint.one_way for tier, endpoint in self.inside.items()}
        return replace(self, both_ways=None, pair_efficiency=1.0, inside=inner)

    @staticmethod
    def uniform(
        overhead_s: float = 0.0,
        gap_s: float = 0.0,
        gamma_s_per_byte: float = 0.0,
        eager_limit_bytes: int = 0,
        pair_efficiency: float = 1.0,
        message_rate_per_s: float = 0.0,
    ) -> Endpoint:
        """One figure each for all sizes: LogGP's o and g, and gamma."""
        throughput_Bps = 1 / gamma_s_per_byte if gamma_s_per_byte else float("inf")
        message, reduction = BySize(overhead_s=(overhead_s,)), BySize(rate=(throughput_Bps,))
        return Endpoint(message, None, gap_s, reduction, pair_efficiency, eager_limit_bytes, message_rate_per_s)


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
    placement : str
        How devices were numbered for the ranks: :func:`commsim.placement.placed`.
    seed : int or None
        Of a random placement.
    n_listed : int or None
        Ranks that a placement file gives a device, where there is one.
    """

    name: str
    topology: Topology
    endpoint: Endpoint = Endpoint()
    price_usd: float | None = None
    assumed: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    in_network: Mapping[str, frozenset[str]] = field(default_factory=dict)
    placement: str = "packed"
    seed: int | None = None
    n_listed: int | None = None

    def __post_init__(self) -> None:
        for tier in self.endpoint.inside:
            if tier not in self.topology.tiers:
                raise unknown_name("tier", tier, self.topology.tiers)

    @property
    def n_devices(self) -> int:
        """Devices that can hold a rank."""
        return self.topology.n_devices

    @property
    def n_places(self) -> int:
        """Ranks that have a device: all devices, or those that a placement file lists."""
        return self.n_devices if self.n_listed is None else self.n_listed

    @property
    def devices_per_node(self) -> int | None:
        """Devices in the first node; None where the topology has no nodes."""
        nodes = self.topology.tiers.get("node")
        return None if nodes is None else int((nodes[: self.n_devices] == nodes[0]).sum())

    def ranks_per_node(self, n_ranks: int) -> int | None:
        """Ranks in each node; None where the topology has no nodes.

        ``SCATTERED`` where the ranks of a node do not follow each other, or nodes have unequally many (but for the
        last, which may have fewer).
        """
        nodes = self.topology.tiers.get("node")
        if nodes is None:
            return None
        held = nodes[: min(n_ranks, self.n_devices)]
        first = np.flatnonzero(np.append(True, held[1:] != held[:-1]))
        sizes = np.diff(np.append(first, len(held)))
        in_runs = len(np.unique(held)) == len(first) and held.min() >= 0
        equal = (sizes[:-1] == sizes[0]).all() and sizes[-1] <= sizes[0]
        return int(sizes[0]) if in_runs and equal else SCATTERED

    def require(self, n_ranks: int) -> None:
        """Refuse more ranks than devices.

        Raises
        ------
        RefusedError
        """
        if n_ranks > self.n_devices:
            raise RefusedError(
                f"{self.name} has {format_count(self.n_devices, 'device')}, too few for {format_count(n_ranks, 'rank')}"
            )
        if n_ranks > self.n_places:
            listed = f"placement {self.placement} lists {self.n_places}, and there are {n_ranks} ranks"
            raise RefusedError(f"rank {self.n_places} has no device: {listed}")

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
