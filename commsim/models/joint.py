"""Joint messages: what switches copy from one message, or reduce to one. A set of them is one flow on all their links.

It starts when all members have posted, has the rate of its worst link, and ends for all with the largest latency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from commsim.selection import Ints
from commsim.topology import NO_LINK, Floats, Hops, Path, Topology


@dataclass(frozen=True, eq=False)
class Joint:
    """The messages of all sets, arrays (n_members,); in a table each set is one row.

    Attributes
    ----------
    row : array
        Of the table; the members of a set stand together.
    src, dst : array
    number : array
        Of the message in the schedule.
    stretch : array or None
        Of its latency.
    """

    row: Ints
    src: Ints
    dst: Ints
    number: Ints
    stretch: Floats | None = None

    def ways(self, path: Path, pair: Ints, topology: Topology) -> tuple[Path, Ints]:
        """Routes with one more for each set: the union of its members' links, their latency, their bandwidth.

        Parameters
        ----------
        path : Path
            Of the other rows.
        pair : array (n_rows,)
            Which route of `path` each row takes.
        topology : Topology
        """
        rows, which = np.unique(self.row, return_inverse=True)
        own = topology.path(self.src, self.dst)
        hops = _unions(own.hops, which, len(rows), path.hops.shape[1])
        latency_s, bandwidth_Bps = np.zeros(len(rows)), np.full(len(rows), np.inf)
        np.maximum.at(latency_s, which, own.latency_s * (1.0 if self.stretch is None else self.stretch))
        np.minimum.at(bandwidth_Bps, which, own.bandwidth_Bps)
        pair = pair.copy()
        pair[rows] = len(path.hops) + np.arange(len(rows))
        wide = np.full((len(path.hops), hops.shape[1]), NO_LINK)
        wide[:, : path.hops.shape[1]] = path.hops
        return (
            replace(
                path,
                hops=np.concatenate([wide, hops]),
                latency_s=np.concatenate([path.latency_s, latency_s]),
                bandwidth_Bps=np.concatenate([path.bandwidth_Bps, bandwidth_Bps]),
            ),
            pair,
        )


def _unions(hops: Hops, which: Ints, n_sets: int, least: int) -> Ints:
    """All links of each set once, (n_sets, at least `least`), padded."""
    used = hops != NO_LINK
    owner, link = np.unique(np.stack([which[used.nonzero()[0]], hops[used]]), axis=1)
    counts = np.bincount(owner, minlength=n_sets)
    unions = np.full((n_sets, max(least, int(counts.max(initial=0)))), NO_LINK)
    unions[owner, np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]] = link
    return unions


def together(sets: Ints | None, values: Floats) -> Floats:
    """The largest value of each set, for all of its members; others keep theirs."""
    if sets is None:
        return values
    values = np.array(np.broadcast_to(values, len(sets)), dtype=np.float64)
    mine = sets >= 0
    most = np.full(int(sets.max()) + 1, -np.inf)
    np.maximum.at(most, sets[mine], values[mine])
    values[mine] = most[sets[mine]]
    return values
