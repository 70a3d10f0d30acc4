"""The fit: what was measured as latencies, bandwidths and costs of the ends, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from commsim.system import BySize, Endpoint
from commsim.topology import Floats
from experiments.calibrate.lines import Line, Points, bootstrap, intervals, size_classes
from experiments.calibrate.measure import Key, Measured
from experiments.calibrate.patterns import (
    BOTH_WAYS,
    CROWD,
    CROWD_PAIR,
    IN_A_ROW,
    ONE_WAY,
    PAIR,
    REDUCTION,
    ROW_BOTH,
    ROW_BYTES,
    ROWS,
)
from experiments.calibrate.places import ACROSS
from experiments.comparison import Score, score_of

DRAWS, SEED = 200, 0  # of the bootstrap
CONTENDED = 1.1  # several pairs that take so much longer than one share something
EXACT = 1e-9
MESSAGE_RATE = "message rate"
LEAST_SPACING_S = 1e-9  # between two messages: beyond a thousand million a second nothing bounds them


@dataclass(frozen=True)
class Way:
    """Of the path between two ranks of a class: latency, the bandwidth of its slowest link, what all share there.

    ``shared_Bps`` is infinite where nothing was seen to be shared; ``burst_bytes`` is what links that rested carry at
    once.
    """

    latency_s: float
    bandwidth_Bps: float
    shared_Bps: float = float("inf")
    burst_bytes: int = 0


@dataclass(frozen=True)
class Calibration:
    """What was measured and what was fitted.

    Attributes
    ----------
    measured : Measured
    ways : dict
        Link class to its path; the innermost first.
    endpoint : Endpoint
        The costs of the outermost class, those of the others inside.
    held_out : Score
        Of a fit on every second size alone, judged on the sizes between.
    facts : dict
        What the ranks ran on.
    bands : list of dict
        Of every size class of every cost the figures with their 95 % intervals.
    shares : dict
        Of a structure that was given: of their rate what classes of cables keep on which several pairs are at once.
    """

    measured: Measured
    ways: dict[str, Way]
    endpoint: Endpoint
    held_out: Score
    facts: dict[str, Any] = field(default_factory=dict)
    bands: list[dict[str, Any]] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)

    def costs_of(self, link_class: str) -> Endpoint:
        """What messages of a class cost."""
        return self.endpoint.inside.get(link_class, self.endpoint)

    def fitted_s(self, key: Key, n_bytes: int) -> float:
        """What the fit says of one message, or of a reduction."""
        name, what, n_pairs = key
        if what == REDUCTION:
            return float(self.endpoint.reduction.time_s(n_bytes))
        if what in ROWS:
            return row_s(self.costs_of(name), self.ways[name], what, self.endpoint.spacing_s)
        return message_s(self.costs_of(name), self.ways[name], what, n_bytes, n_pairs)

    def rows(self) -> list[dict[str, Any]]:
        """Every measured point: its cost, class, pairs, bytes, median seconds and the fit's error."""
        every = {**self.measured.seconds, (ALL, REDUCTION, 1): self.measured.reduction_s}
        found = []
        for key, by_size in every.items():
            name, what, n_pairs = key
            for n_bytes, own in by_size.items():
                seconds = float(np.median(own))
                error = self.fitted_s(key, n_bytes) / seconds - 1
                row = {"what": what, "class": name, "pairs": n_pairs, "n_bytes": n_bytes}
                found.append({**row, "measured_s": seconds, "residual": round(error, 4)})
        return found


ALL = "all ranks"  # the class of a reduction


def message_s(endpoint: Endpoint, way: Way, what: str, n_bytes: int, n_pairs: int = 1) -> float:
    """Seconds of a message in one of the patterns, as the model fluid has them."""
    alone = what in (ONE_WAY, CROWD)
    overhead_s, share = ((not alone and endpoint.both_ways) or endpoint.message).at(n_bytes)
    if what in (PAIR, CROWD_PAIR):
        share = share * endpoint.pair_efficiency
    own_s = (n_bytes - way.burst_bytes) / (way.bandwidth_Bps * share)
    shared_s = (n_pairs * n_bytes - way.burst_bytes) / way.shared_Bps
    return float(way.latency_s + 2 * overhead_s + max(own_s, shared_s, 0.0))


def row_s(endpoint: Endpoint, way: Way, what: str, spacing_s: float) -> float:
    """Seconds of one of the small messages that a rank has in a row, as the model fluid has them.

    The overheads of all run at once, and the ports take one after the other.
    """
    return (_first_s(endpoint, way, what) + (IN_A_ROW - 1) * spacing_s) / IN_A_ROW


def _first_s(endpoint: Endpoint, way: Way, what: str) -> float:
    return message_s(endpoint, way, PAIR if what == ROW_BOTH else ONE_WAY, ROW_BYTES)


def fit(
    measured: Measured, given: Mapping[str, Way] | None, facts: Mapping[str, Any], most_on_a_node: int = 1
) -> Calibration:
    """Latency, bandwidth and costs of every class of links.

    Parameters
    ----------
    measured : Measured
    given : mapping, optional
        The paths of the classes where the structure of the network is known: they stay. Else: a path's latency is what
        the smallest message takes beyond its two ends, its bandwidth the best of all sizes.
    facts : mapping
        Kept.
    most_on_a_node : int
        Ranks, where the structure is not known.
    """
    ways, endpoint = _fitted(measured, given, most_on_a_node)
    even, odd = (_part(measured, first) for first in (0, 1))
    kept_ways, kept = _fitted(even, given, most_on_a_node)
    held_out = _judged(Calibration(odd, kept_ways, kept, Score(0, 0.0, 0.0)))
    outermost = next(reversed(ways))
    bands = [*_bands(measured, ways), *_rate_band(measured, outermost, ways[outermost], endpoint)]
    return Calibration(measured, ways, endpoint, held_out, dict(facts), bands)


def _part(measured: Measured, first: int) -> Measured:
    """Every second size of each cost."""

    def half(by_size: Mapping[int, Floats]) -> dict[int, Floats]:
        return dict(list(by_size.items())[first::2])

    return replace(
        measured,
        seconds={key: half(by_size) for key, by_size in measured.seconds.items()},
        reduction_s=half(measured.reduction_s),
    )


def _judged(calibration: Calibration) -> Score:
    return score_of([abs(float(np.log1p(row["residual"]))) for row in calibration.rows()])


def points_of(by_size: Mapping[int, Floats]) -> Points:
    """Medians over the repetitions."""
    return [(n_bytes, float(np.median(own))) for n_bytes, own in sorted(by_size.items())]


def _fitted(measured: Measured, given: Mapping[str, Way] | None, most: int) -> tuple[dict[str, Way], Endpoint]:
    names = list(dict.fromkeys(name for name, _, _ in measured.seconds))
    ways = _found_ways(measured, names) if given is None else {name: given[name] for name in names}
    costs = {name: _costs(measured, name, ways[name]) for name in names}
    if given is None:
        for name, way in ways.items():
            ways[name] = replace(way, shared_Bps=_shared_Bps(measured, name, way, costs[name]))
        ways = _with_nic(ways, most)
        costs = {name: _costs(measured, name, ways[name]) for name in names}
    first, fixed, slope = zip(*size_classes(points_of(measured.reduction_s)), strict=True)
    spaced = {key: np.median(own) for key, own in _in_rows(measured, names[-1]).items()}
    spacing_s = float(_spacing_s(spaced, costs[names[-1]], ways[names[-1]]))
    endpoint = replace(
        costs[names[-1]],
        reduction=BySize(first, fixed, tuple(1 / b for b in slope)),
        inside={name: costs[name] for name in names[:-1]},
        eager_limit_bytes=min(measured.ends[name].eager_bytes for name in names),
        message_rate_per_s=1 / spacing_s if spacing_s > LEAST_SPACING_S * (1 + EXACT) else 0.0,
    )
    return ways, endpoint


def _lines(measured: Measured, name: str, what: str, latency_s: float, burst_bytes: int = 0) -> list[Line]:
    return size_classes(points_of(measured.seconds[name, what, 1]), latency_s, burst_bytes)


def _found_ways(measured: Measured, names: list[str]) -> dict[str, Way]:
    """Paths as the messages show them; all classes inside a node share one, which no way out of it is better than."""
    found = {}
    for name in names:
        ends = measured.ends[name]
        least_s = min(seconds for _, seconds in points_of(measured.seconds[name, ONE_WAY, 1]))
        latency_s = max(0.0, least_s - ends.send_s - ends.receive_s)
        lines = [line for what in (ONE_WAY, BOTH_WAYS) for line in _lines(measured, name, what, latency_s)]
        found[name] = Way(latency_s, max(1 / slope for _, _, slope in lines))
    port = Way(min(way.latency_s for way in found.values()), max(way.bandwidth_Bps for way in found.values()))
    return {name: found[ACROSS] if name == ACROSS and len(names) > 1 else port for name in names}


def _with_nic(ways: dict[str, Way], most: int) -> dict[str, Way]:
    """The way out of a node as the file will have it: through a port and the NIC, which up to `most` ranks share."""
    if ACROSS not in ways or len(ways) == 1:
        return ways
    across, port = ways[ACROSS], next(iter(ways.values()))
    nic_Bps = across.shared_Bps if np.isfinite(across.shared_Bps) else most * across.bandwidth_Bps
    nic_Bps = max(nic_Bps, across.bandwidth_Bps)
    return {**ways, ACROSS: Way(across.latency_s, min(port.bandwidth_Bps, nic_Bps), nic_Bps)}


def _costs(measured: Measured, name: str, way: Way) -> Endpoint:
    def by_size(what: str) -> BySize:
        first, fixed, slope = zip(*_lines(measured, name, what, way.latency_s, way.burst_bytes), strict=True)
        overhead_s = tuple(max((a - way.latency_s) / 2, 0.0) for a in fixed)
        return BySize(first, overhead_s, tuple(_share(b, way) for b in slope))

    endpoint = Endpoint(by_size(ONE_WAY), by_size(BOTH_WAYS))
    pairs = points_of(measured.seconds.get((name, PAIR, 1), {}))
    return replace(endpoint, pair_efficiency=_pair_efficiency(pairs, endpoint, way))


def _share(s_per_byte: float, way: Way) -> float:
    """Of the bandwidth; all of it where no byte took any time."""
    return min(1 / s_per_byte / way.bandwidth_Bps, 1.0) if s_per_byte > 0 else 1.0


def _pair_efficiency(points: Points, endpoint: Endpoint, way: Way) -> float:
    """What two ranks keep of their bandwidth: the median over sizes whose bytes take longer than all else."""
    kept = []
    for n_bytes, seconds in points:
        fixed_s = way.latency_s + 2 * (endpoint.both_ways or endpoint.message).at(n_bytes)[0]
        wire_s = message_s(endpoint, way, BOTH_WAYS, n_bytes) - fixed_s
        if wire_s > fixed_s:
            kept.append(wire_s / max(seconds - fixed_s, wire_s))
    efficiency = float(np.median(kept)) if kept else 1.0
    return 1.0 if efficiency > 1 - EXACT else efficiency


def _shared_Bps(measured: Measured, name: str, way: Way, endpoint: Endpoint) -> float:
    """What several pairs at once get together, where they take longer than one: the median over large sizes."""
    several = [key for key in measured.seconds if key[:2] == (name, CROWD)]
    if not several:
        return float("inf")
    key = max(several, key=lambda one: one[2])
    rates = []
    for n_bytes, seconds in points_of(measured.seconds[key]):
        alone_s = message_s(endpoint, replace(way, shared_Bps=float("inf")), ONE_WAY, n_bytes)
        fixed_s = way.latency_s + 2 * endpoint.message.at(n_bytes)[0]
        if alone_s > 2 * fixed_s and seconds > CONTENDED * alone_s:
            rates.append(key[2] * n_bytes / (seconds - fixed_s))
    return float(np.median(rates)) if rates else float("inf")


def _in_rows(measured: Measured, name: str) -> dict[Key, Floats]:
    """What messages of a class took that ranks had in a row: the repetitions of each pattern."""
    return {
        key: by_size[ROW_BYTES]
        for key, by_size in measured.seconds.items()
        if key[0] == name and key[1] in ROWS and ROW_BYTES in by_size
    }


def _spacing_s(rows: Mapping[Key, Any], endpoint: Endpoint, way: Way) -> Any:
    """Time between two messages on one port: the median of the logarithms of what each pattern needs to fit.

    Overheads are not in it: the model has those of all messages of a step at once. `rows`: seconds a message, of shape
    (…); 0 where nothing is left beyond the first message.
    """
    needed = [
        (IN_A_ROW * np.asarray(seconds) - _first_s(endpoint, way, what)) / (IN_A_ROW - 1)
        for (_, what, _), seconds in rows.items()
    ]
    return np.exp(np.median(np.log(np.maximum(needed, LEAST_SPACING_S)), axis=0)) if needed else 0.0


def _rate_band(measured: Measured, name: str, way: Way, endpoint: Endpoint) -> list[dict[str, Any]]:
    """The message rate with its 95 % interval."""
    rows = _in_rows(measured, name)
    if not rows:
        return []
    draws = bootstrap(list(rows.values()), DRAWS, SEED).T
    low, high = np.quantile(1 / _spacing_s(dict(zip(rows, draws, strict=True)), endpoint, way), (0.025, 0.975))
    row = {"what": MESSAGE_RATE, "class": name, "per_s": endpoint.message_rate_per_s}
    return [{**row, "per_s_95": (float(low), float(high))}]


def _bands(measured: Measured, ways: Mapping[str, Way]) -> list[dict[str, Any]]:
    """Every size class with the 95 % intervals of its figures."""
    every: dict[Key, Mapping[int, Floats]] = {
        key: own for key, own in measured.seconds.items() if key[2] == 1 and key[1] not in ROWS
    }
    every[ALL, REDUCTION, 1] = measured.reduction_s
    rows = []
    for (name, what, _), by_size in every.items():
        way = ways.get(name, Way(0.0, 0.0))
        limits = way.latency_s, way.burst_bytes
        lines, sizes = size_classes(points_of(by_size), *limits), sorted(by_size)
        draws = bootstrap([by_size[n_bytes] for n_bytes in sizes], DRAWS, SEED)
        for (first, a, b), (of_a, of_b) in zip(lines, intervals(lines, sizes, draws, *limits), strict=True):
            row: dict[str, Any] = {"what": what, "class": name, "from_bytes": first, "fixed_s": a, "fixed_95": of_a}
            rows.append({**row, "s_per_byte": b, "s_per_byte_95": of_b})
    return rows
