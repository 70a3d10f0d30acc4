"""The compiled loop of :mod:`commsim.models.rounds`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LOOK_EVERY = 8  # rounds between two looks at whether all clocks advance alike
ALIKE = 8 * 2.0**-52  # relative to the clock: a few roundings


@njit(cache=True)
def advance(
    times: int,
    clock: Any,
    reduced: Any,
    ranks: Any,
    src: Any,
    dst: Any,
    latency_s: Any,
    s_per_byte: Any,
    n_bytes: Any,
    place: Any,
    shift: int,
    overhead_s: Any,
    wire_bytes: Any,
    reduction_s: Any,
    carried: Any,
    end_s: Any,
) -> tuple[float, int]:
    """Advance all clocks by `times` rounds.

    Parameters
    ----------
    times : int
    clock, reduced : array (n_ranks,)
        Changed in place; so are `place`, `carried` and `end_s` (n_messages,): bytes of each message in all rounds, and
        when the last byte of its last one has passed.
    ranks : array
        Those that take part.
    src, dst, latency_s, s_per_byte : array (n_messages,)
        No rank stands twice in one of the first two.
    n_bytes, overhead_s, wire_bytes, reduction_s : array (n_sizes,)
        Message m has those of ``place[m]``, and ``shift`` places further on in the next round.

    Returns
    -------
    float
        The longest latency of each round with its overheads, added up.
    int
        Rounds that were gone through; the rest is extrapolated.
    """
    n, n_sizes = len(src), len(n_bytes)
    now, before, delivered = np.empty(len(clock)), np.empty(len(clock)), np.empty(n)
    for rank in range(len(clock)):
        now[rank] = before[rank] = clock[rank]
    latencies_s = 0.0
    done = 0
    while done < times:
        now, before = before, now
        longest = 0.0
        for m in range(n):
            at = place[m]
            ends = latency_s[m] + 2 * overhead_s[at]
            longest = max(longest, ends)
            delivered[m] = max(before[src[m]], before[dst[m]]) + ends + wire_bytes[at] * s_per_byte[m]
            now[src[m]] = delivered[m]
            carried[m] += n_bytes[at]
        for m in range(n):  # what stands there is older, or when its own send was delivered
            at = place[m]
            now[dst[m]] = max(now[dst[m]], delivered[m] + reduction_s[at])
            reduced[dst[m]] += reduction_s[at]
            if n_sizes > 1:
                place[m] = (at + shift) % n_sizes
        latencies_s += longest
        done += 1
        if n_sizes == 1 and done % LOOK_EVERY == 0:
            least, most, latest = np.inf, 0.0, 0.0
            for rank in ranks:
                least, most = min(least, now[rank] - before[rank]), max(most, now[rank] - before[rank])
                latest = max(latest, now[rank])
            if most - least <= ALIKE * latest:
                left = times - done
                for rank in ranks:
                    now[rank] += left * most
                for m in range(n):
                    delivered[m] += left * most
                    carried[m] += left * n_bytes[0]
                    reduced[dst[m]] += left * reduction_s[0]
                latencies_s += left * longest
                break
    for rank in range(len(clock)):
        clock[rank] = now[rank]
    for m in range(n):
        end_s[m] = delivered[m] - latency_s[m] - overhead_s[(place[m] - shift) % n_sizes if n_sizes > 1 else 0]
    return latencies_s, done
