"""Patterns: who sends to whom in a step, over which links, whatever the sizes; and what all links have carried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from commsim.messages import Messages, keep
from commsim.selection import Ints, of_rows, one_value
from commsim.system import Endpoint
from commsim.topology import NO_LINK, Floats, Hops, Path, Topology


@dataclass(eq=False)
class Pairs:
    """Who sends to whom in a step. Arrays (n,), in exchange order."""

    src: Ints
    dst: Ints
    copies: Ints | None  # of messages that switches copy from one, or reduce to one: which set each belongs to, or -1

    @cached_property
    def remote(self) -> Any:
        """Array of bool, or True where no message is to oneself."""
        here = self.src == self.dst
        return ~here if here.any() else True

    @cached_property
    def both_ways(self) -> Any:
        """Array of bool: one of its ends sends and receives."""
        away = self.src != self.dst
        n = int(max(self.src.max(initial=0), self.dst.max(initial=0))) + 1
        sends, receives = (np.bincount(end[away], minlength=n) > 0 for end in (self.src, self.dst))
        both = sends & receives
        return both[self.src] | both[self.dst]

    @cached_property
    def crossed(self) -> Any:
        """Array of bool: another message goes the other way between the same two ranks; no fabric operation has it."""
        n = int(max(self.src.max(initial=0), self.dst.max(initial=0))) + 1
        alone = self.src != self.dst
        if self.copies is not None:
            alone &= self.copies < 0
        src, dst = self.src[alone], self.dst[alone]
        found = np.zeros(len(self.src), dtype=np.bool_)
        found[alone] = np.isin(dst * n + src, src * n + dst)
        return found

    def costs(self, n_bytes: Any, endpoint: Endpoint, tiers: Mapping[str, Ints]) -> tuple[Any, Any]:
        """Of each message the overhead at its ends, and the share of the bandwidth that it reaches.

        `tiers`: of the topology, where the endpoint has costs of their own for messages inside a group.
        """
        overhead_s, share = self._costs(n_bytes, endpoint)
        for tier in reversed(tuple(endpoint.inside)):  # the innermost last, over what the others say
            here = (tiers[tier][self.src] == tiers[tier][self.dst]) & (tiers[tier][self.src] >= 0)
            inner_overhead_s, inner_share = self._costs(n_bytes, endpoint.inside[tier])
            overhead_s = np.where(here, inner_overhead_s, overhead_s)
            share = np.where(here, inner_share, share)
        return overhead_s * self.remote, share

    def _costs(self, n_bytes: Any, endpoint: Endpoint) -> tuple[Any, Any]:
        overhead_s, share = endpoint.message.at(n_bytes)
        if endpoint.both_ways is not None:
            overhead_both_s, share_both = endpoint.both_ways.at(n_bytes)
            overhead_s = np.where(self.both_ways, overhead_both_s, overhead_s)
            share = np.where(self.both_ways, share_both, share)
        if endpoint.pair_efficiency < 1:
            share = np.where(self.crossed, share * endpoint.pair_efficiency, share)
        return overhead_s, share


@dataclass(eq=False)
class Pattern(Pairs):
    """Pairs and their ways: everything about a step that does not depend on sizes.

    What is said to be of each message is one value where it is the same for all: a step may have millions.
    """

    topology: Topology
    out_weight: Any  # share of a message's bytes that its first link carries for it
    in_weight: Any  # the same of its last link
    path: Path = field(init=False)
    n_bytes: Any = 0.0  # of each: carried so far
    charged: Any = None  # the same as the model counts them, where that is different
    taken_s: dict[int, Any] = field(default_factory=dict)  # by size, of each: of equal messages that begin together

    def __post_init__(self) -> None:
        path = self.topology.path(self.src, self.dst)
        self.path = Path(path.hops, one_value(path.latency_s), one_value(path.bandwidth_Bps))

    @cached_property
    def ranks(self) -> Ints:
        """Who takes part."""
        return np.union1d(self.src, self.dst)

    @cached_property
    def media(self) -> Hops:
        """Of the links on its way, those that have the capacity: (n, n_hops)."""
        return self.topology.links.on_medium(self.path.hops)

    @cached_property
    def ports(self) -> Hops:
        """What its first and its last link share with other messages: (n, 2)."""
        return _ports(self.path, self.topology)

    @cached_property
    def shared(self) -> bool:
        """Whether some port carries more than one message."""
        from commsim.hops import is_any_twice

        return bool(is_any_twice(self.ports, 2 * self.topology.n_links))

    @cached_property
    def is_private(self) -> bool:
        """Whether no link carries two of the messages; those that switches make one of count once."""
        from commsim.hops import is_any_twice

        if self.copies is None:
            return not is_any_twice(self.media, self.topology.n_links)
        _, link, each = self.crossings(self.media)
        return int(np.bincount(np.unique(np.stack([each, link]), axis=1)[1]).max(initial=0)) <= 1

    def crossings(self, hops: Hops) -> tuple[Ints, Hops, Ints]:
        """Every hop of all messages: the message, the link, and a number that is the same throughout a set."""
        row, hop = (hops != NO_LINK).nonzero()
        own = len(self.src) + row
        each = own if self.copies is None else np.where(self.copies[row] >= 0, self.copies[row], own)
        return row, hops[row, hop], each


class Traffic:
    """Patterns seen lately, and what all links carried."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._patterns: dict[bytes, Pattern] = {}
        self._bytes, self._charged = np.zeros(topology.n_links), np.zeros(topology.n_links)

    def pattern(self, key: bytes, src: Ints, dst: Ints, parts: list[Messages]) -> Pattern:
        """The pattern of a step whose pairs have this key; known for a while."""
        found = self._patterns.get(key)
        if found is None:
            for old in keep(self._patterns, len(src), lambda pattern: len(pattern.src)):
                self._flush(old)
            copies, *weights = copies_of(parts)
            found = self._patterns[key] = Pattern(src, dst, copies, self._topology, *weights)
        return found

    def add(self, pattern: Pattern, n_bytes: Any, charged: Any) -> None:
        """A step of a pattern has been carried."""
        if pattern.charged is None and charged is not n_bytes:
            pattern.charged = pattern.n_bytes
        pattern.n_bytes = pattern.n_bytes + n_bytes
        if pattern.charged is not None:
            pattern.charged = pattern.charged + charged

    def _flush(self, pattern: Pattern) -> None:
        carried = self._on_links(pattern, pattern.n_bytes)
        self._bytes += carried
        self._charged += carried if pattern.charged is None else self._on_links(pattern, pattern.charged)

    def _on_links(self, pattern: Pattern, n_bytes: Any) -> Floats:
        """What the messages put on each link: what switches copy or reduce, once."""
        from commsim.hops import add_up

        hops, total = pattern.path.hops, np.zeros(self._topology.n_links)
        if pattern.copies is None:
            add_up(hops, np.atleast_1d(n_bytes), total)
            return total
        row, link, each = pattern.crossings(hops)
        _, which, count = np.unique(each * self._topology.n_links + link, return_inverse=True, return_counts=True)
        total += np.bincount(link, of_rows(n_bytes, row) / count[which], self._topology.n_links)
        return total

    def totals(self) -> tuple[Floats, Floats]:
        """Bytes of each link, and the time that they take at its full bandwidth."""
        while self._patterns:
            self._flush(self._patterns.popitem()[1])
        return self._bytes, self._topology.links.busy_s(self._charged)


def copies_of(parts: list[Messages]) -> tuple[Ints | None, Any, Any]:
    """Which messages the switches make of one, or make one of; and what their first and last links carry of each."""
    if not any(part.fabric for part in parts):
        return None, 1.0, 1.0
    sets, out_weights, in_weights, n_sets = [], [], [], 0
    for part in parts:
        n = len(part.src)
        weight = np.ones(n)
        if part.fabric is None or n == 0:
            sets.append(np.full(n, -1))
        else:
            end = part.src if part.fabric == "multicast" else part.dst
            _, which, count = np.unique(end, return_inverse=True, return_counts=True)
            sets.append(n_sets + which)
            n_sets += len(count)
            weight = 1 / count[which]
        out_weights.append(weight if part.fabric == "multicast" else np.ones(n))
        in_weights.append(weight if part.fabric == "reduce" else np.ones(n))
    return np.concatenate(sets), np.concatenate(out_weights), np.concatenate(in_weights)


def _ports(path: Path, topology: Topology) -> Hops:
    """Numbers of the ports at both ends of each route (n, 2): a first link and a last one, never the same.

    A half-duplex cable is one port for both; a message that it alone carries stands there once.
    """
    first, last = (topology.links.on_medium(port) for port in (path.first, path.last))
    if topology.links.medium is None:
        return np.stack([first, np.where(last == NO_LINK, NO_LINK, last + topology.n_links)], axis=1)
    is_shared = np.bincount(topology.links.medium, minlength=topology.n_links) > 1
    last = np.where((last == NO_LINK) | is_shared[last], last, last + topology.n_links)
    return np.stack([first, np.where(last == first, NO_LINK, last)], axis=1)
