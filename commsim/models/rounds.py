"""Rounds: one step between the same peers many times over, in a compiled loop, ended early where it repeats itself.

Every rank sends at most one message and receives at most one in a round, and no port carries two. Both ends of a
message are held until it is delivered, as in hockney. Once all clocks advance alike from one round to the next, all
rounds that follow do the same: what a round adds depends on the differences between clocks only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from commsim.layout import Layout
from commsim.models.patterns import Pattern
from commsim.program import Repeat
from commsim.selection import Ints, Selection, spread
from commsim.system import BySize
from commsim.topology import Floats


@dataclass(frozen=True)
class Sizes:
    """Bytes of the messages: in round i, message m has ``n_bytes[(place[m] + i*shift) % len(n_bytes)]``."""

    n_bytes: Ints
    place: Ints  # (n_messages,)
    shift: int


def round_sizes(receive: Selection, block: Repeat, layout: Layout) -> Sizes | None:
    """The sizes of a repetition, from what its first round receives; None where a table would not hold them."""
    n = len(block.step[0].receives.row)
    nothing = np.zeros(n, dtype=np.int64)
    if layout.is_uniform:
        sizes = np.unique(np.broadcast_to(layout.bytes_of(receive), n))
        return Sizes(sizes, nothing, 0) if len(sizes) == 1 else None
    window = (receive.length, receive.first, receive.size, receive.scale)
    if not receive.is_range or layout.depends_on_rank or not all(isinstance(value, int) for value in window):
        return None
    length, first, size, scale = window
    every = Selection(np.arange(size), length, first, size, scale=scale)
    return Sizes(np.asarray(layout.bytes_of(every)), nothing + receive.start, block.shift)


@dataclass(eq=False)
class Rounds:
    """A repetition ready to be advanced; afterwards what it did."""

    sizes: Sizes
    times: int
    pattern: Pattern
    overhead_s: Floats  # like sizes.n_bytes
    wire_bytes: Floats  # of a link's full bandwidth
    reduction_s: Floats
    carried: Floats = field(init=False)  # bytes of each message in all rounds
    latency_s: float = 0.0  # of the longest message of every round, with its overheads, added up
    extrapolated: bool = False

    @staticmethod
    def of(sizes: Sizes, times: int, pattern: Pattern, message: BySize, reduction: BySize | None) -> Rounds:
        """What the rounds cost their ends."""
        like = np.zeros(len(sizes.n_bytes))
        overhead, share = message.at(sizes.n_bytes)
        reduced = like if reduction is None else reduction.time_s(sizes.n_bytes) + like
        return Rounds(sizes, times, pattern, overhead + like, sizes.n_bytes / share + like, reduced)

    def advance(self, clock: Floats, reduction: Floats) -> Floats:
        """Move the clocks and the sums of reductions (n_ranks,); when each last message's last byte has passed."""
        from commsim.models.round_loop import advance

        pattern = self.pattern
        self.carried, end_s = np.zeros(len(pattern.src)), np.zeros(len(pattern.src))
        path, n = pattern.path, len(pattern.src)
        ends = pattern.src, pattern.dst, spread(path.latency_s, n), spread(1 / path.bandwidth_Bps, n)
        sizes = self.sizes.n_bytes.astype(np.float64), self.sizes.place.copy(), self.sizes.shift
        costs = self.overhead_s, self.wire_bytes, self.reduction_s
        self.latency_s, done = advance(
            self.times, clock, reduction, pattern.ranks, *ends, *sizes, *costs, self.carried, end_s
        )
        self.extrapolated = done < self.times
        return end_s
