"""Exact shortcuts of the model fluid, taken where it can be seen that they are exact.

*Clocks*: as long as every message has left a link before another one begins on it, nothing is shared, and the clocks of
ranks advance as in hockney. *Steps*: where all messages of a step begin together, and everything before has ended,
the step's max-min shares can be followed on their own. Messages are looked at in the order of the schedule; one that
begins on a link before the last one has left it may share it, and then the events decide (:mod:`commsim.models.fluid`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from commsim.models.contention_free import Batch, Hockney, both_entered
from commsim.models.patterns import Pattern
from commsim.schedule import Schedule
from commsim.selection import one_value
from commsim.system import Endpoint, System
from commsim.topology import Floats

TOGETHER = 1e-12  # relative: times so near each other are one


class SharedLinksError(Exception):
    """Two messages may share a link at times that depend on each other: no shortcut."""


class Shortcuts(Hockney):
    """Hockney while no link is shared; step by step where steps begin together; else :class:`SharedLinksError`."""

    name = "fluid"
    adds_up_ports = False

    def __init__(self, system: System) -> None:
        self._capacity = system.topology.links.bandwidth_Bps
        self._free_s = np.zeros(len(self._capacity))  # when the last message so far leaves each link
        self._all_free_s = 0.0
        self._last: Pattern | None = None  # whose links are not in `_free_s` yet
        self._last_end_s: Any = 0.0
        self.engine = "clocks"

    def refuse_lanes(self, schedule: Schedule) -> None:
        """Lanes are left to the events."""
        raise SharedLinksError

    def require(self, endpoint: Endpoint, n_bytes: Any) -> None:
        """What is eager is left to the events."""
        if endpoint.eager_limit_bytes and np.any(n_bytes <= endpoint.eager_limit_bytes):
            raise SharedLinksError

    def advances_rounds(self, pattern: Pattern, endpoint: Endpoint) -> bool:
        """Where hockney may, and no link is shared."""
        return pattern.is_private and super().advances_rounds(pattern, endpoint)

    def carried_rounds(self, pattern: Pattern, begin_s: Floats, end_s: Floats) -> None:
        """Between two rounds a message's ends are held, so its links are its own throughout."""
        self._carry(pattern, begin_s, end_s)

    def delivery(self, clock: Any, gate: Floats, batch: Batch, gap_s: float) -> tuple[Any, Any, Any]:
        """Start, release of the sender and delivery of each message.

        Raises
        ------
        SharedLinksError
        """
        pattern = batch.pattern
        start = both_entered(clock, pattern)
        begin = start + batch.overhead_s
        if pattern.is_private:
            wire = batch.wire_s
            self._carry(pattern, begin, begin + wire)
        elif pattern.copies is None and _at_once(begin) and self._all_free_s <= np.max(begin) * (1 + TOGETHER):
            wire = self._shared_s(batch)
            self._flush()
            self._note(pattern, begin + wire)
            self.engine = "steps"
        else:
            raise SharedLinksError
        delivered = start + batch.latency_s + (batch.overhead_s + batch.receive_overhead_s) + wire
        return start, delivered, delivered

    def _carry(self, pattern: Pattern, begin_s: Any, end_s: Any) -> None:
        """Messages that share no link with each other; their links must be free when they begin."""
        from commsim.hops import is_reached

        if pattern is self._last:  # the ends of each message were held by the one before it on the same links
            self._last_end_s = end_s
            self._all_free_s = max(self._all_free_s, float(np.max(end_s, initial=0.0)))
            return
        self._flush()
        carries = end_s > begin_s
        from_s = np.atleast_1d(np.where(carries, begin_s * (1 + TOGETHER), np.inf))
        if is_reached(pattern.media, from_s, self._free_s):
            raise SharedLinksError
        self._last, self._last_end_s = pattern, np.where(carries, end_s, 0.0)
        self._all_free_s = max(self._all_free_s, float(np.max(self._last_end_s, initial=0.0)))

    def _flush(self) -> None:
        if self._last is not None:
            self._note(self._last, self._last_end_s)
            self._last = None

    def _note(self, pattern: Pattern, end_s: Any) -> None:
        from commsim.hops import raise_to

        raise_to(pattern.media, np.atleast_1d(end_s), self._free_s)
        self._all_free_s = max(self._all_free_s, float(np.max(end_s, initial=0.0)))

    def _shared_s(self, batch: Batch) -> Any:
        """From the first byte to the last of each message, all beginning together."""
        pattern, n_bytes = batch.pattern, batch.n_bytes
        size = None if isinstance(n_bytes, np.ndarray) else int(n_bytes)
        if size is None or size not in pattern.taken_s:
            ceiling = n_bytes / np.where(batch.wire_s > 0, batch.wire_s, np.inf)  # at its share of its slowest link
            taken_s = self._followed(pattern, n_bytes, one_value(ceiling))
            if size is None:
                return taken_s
            pattern.taken_s[size] = taken_s
        return pattern.taken_s[size]

    def _followed(self, pattern: Pattern, n_bytes: Any, ceiling: Any) -> Any:
        from commsim.models.follow import follow

        taken_s = follow(pattern.media, self._capacity, n_bytes, ceiling)
        if taken_s is None:
            raise SharedLinksError
        return taken_s


def _at_once(begin_s: Any) -> bool:
    latest = float(np.max(begin_s, initial=0.0))
    return latest - float(np.min(begin_s, initial=latest)) <= latest * TOGETHER
