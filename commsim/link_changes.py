"""Links that are not as built: degraded, of another rate or latency, half duplex, failed.

Routes stay as they are; only pairs whose route took a link that failed get another one, a shortest path over the rest.
Switches that reduced and copied for them on their way no longer do, for all of that tier.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commsim.errors import InputError, unknown_name
from commsim.routing import Router, require_connected, spliced
from commsim.selection import Ints
from commsim.system import System
from commsim.topology import NO_LINK, Hops, Links, Topology
from commsim.units import parse_bandwidth

DUPLEX = ("full", "half", "simplex")
_ARROW = re.compile(r"\s*(<->|->|↔|→)\s*")
_LOST = -2


@dataclass(frozen=True)
class LinkChange:
    """What is other about some links. What is None stays.

    Attributes
    ----------
    links : str
        ``"gpu3→nvswitch*"``: those from a vertex to a vertex (``->`` is as good); ``"leaf0↔spine1"`` (``<->``): both
        directions; ``"leaf0"``: all links of a vertex, in both directions. ``*`` and ``?`` stand for anything.
        ``"class nvlink"``: all links of a class. ``"tier node"``: all links inside the groups of a tier.
    failed : bool
    factor : float or None
        Of the bandwidth.
    bandwidth_Bps, latency_s : float or None
    duplex : {"full", "half"} or None
    """

    links: str
    failed: bool = False
    factor: float | None = None
    bandwidth_Bps: float | None = None
    latency_s: float | None = None
    duplex: str | None = None

    def __post_init__(self) -> None:
        if self.factor is not None and not 1e-9 <= self.factor <= 1e9:
            raise InputError(
                f"{self.links}: factor {self.factor} must be above 0 (1e-9 to 1e9), or the link has failed"
            )
        if self.duplex not in (None, "full", "half"):
            raise unknown_name("duplex", str(self.duplex), ("full", "half"))
        values = (self.factor, self.bandwidth_Bps, self.latency_s, self.duplex)
        if self.failed == any(value is not None for value in values):
            raise InputError(
                f"{self.links}: say what is other about these links: a factor, bandwidth, latency or duplex"
            )

    def __str__(self) -> str:
        """As the command line takes it, shortly."""
        figures = (self.factor, self.bandwidth_Bps, self.latency_s, self.duplex)
        words = [f"{value:g}" if isinstance(value, float) else str(value) for value in figures if value is not None]
        return f"{self.links} failed" if self.failed else f"{self.links}={'/'.join(words)}"


def degradation(text: str) -> LinkChange:
    """``"leaf0→spine1=0.5"``: a share of the bandwidth, or a bandwidth with its unit.

    Raises
    ------
    InputError
    """
    links, equals, value = text.rpartition("=")
    if not equals or not links.strip() or not value.strip():
        raise InputError(f"{text!r}: write it like leaf0→spine1=0.5, a share of the bandwidth, or leaf0→spine1=10GB/s")
    try:
        factor = float(value)
    except ValueError:
        try:
            return LinkChange(links.strip(), bandwidth_Bps=parse_bandwidth(value.strip()))
        except InputError as error:
            raise InputError(f"{text!r}: {error}") from None
    return LinkChange(links.strip(), factor=factor)


def changed(system: System, changes: Sequence[LinkChange]) -> System:
    """The system with some links changed, one change after the other; its name and notes say so.

    Raises
    ------
    InputError
        If a change meets no link (names the nearest), or contradicts what a link is.
    RefusedError
        If what failed leaves devices apart; names a pair.

    Examples
    --------
    >>> import topologies
    >>> from commsim import LinkChange, changed
    >>> ring = topologies.torus(shape=(6,), bandwidth_Bps=25e9, latency_s=5e-7)
    >>> broken = changed(ring, [LinkChange("host0<->host1", failed=True), LinkChange("host2", factor=0.5)])
    >>> broken.topology.n_links
    10
    """
    topology = system.topology
    lost = np.zeros(topology.n_links, dtype=bool)
    for change in changes:
        found = matching(topology, change.links)
        if change.failed:
            lost |= found
        else:
            topology = _with_figures(topology, found, change)
    abilities = system.in_network
    if lost.any():
        abilities = {place: what for place, what in abilities.items() if not _is_cut(topology, lost, place)}
        topology = without(topology, lost)
    said = [str(change) for change in changes]
    name = f"{system.name} ({', '.join(said)})" if said else system.name
    return replace(system, topology=topology, name=name, in_network=abilities)


def _is_cut(topology: Topology, lost: NDArray[np.bool_], place: str) -> bool:
    """Whether devices have lost their way through the switches that reduce and copy there.

    They find another one, over other devices or sockets, and those do nothing of the kind. Other switches of a fabric
    do: where all switches of a system can ("all"), only a device's own links count.
    """
    links = topology.links
    if place == "all":
        return bool((lost & (np.minimum(links.src, links.dst) < topology.n_devices)).any())
    group = topology.tiers[place]
    inside = lost & (group[links.src] == group[links.dst]) & (group[links.src] >= 0)
    for number in np.unique(group[links.src[inside]]):
        members = np.flatnonzero(group[: topology.n_devices] == number)
        src, dst = (end.ravel() for end in np.meshgrid(members, members))
        hops = topology.route(src, dst)
        if lost[hops[hops != NO_LINK]].any():
            return True
    return False


def matching(topology: Topology, pattern: str) -> NDArray[np.bool_]:
    """Which links a pattern means (n_links,); see :class:`LinkChange`.

    Raises
    ------
    InputError
        If there is none; proposes the nearest name.
    """
    word, _, rest = pattern.strip().partition(" ")
    if word in ("class", "tier") and rest:
        return _of_class(topology, rest.strip()) if word == "class" else _of_tier(topology, rest.strip())
    parts = _ARROW.split(pattern.strip())
    if len(parts) not in (1, 3) or not all(parts):
        raise InputError(f"{pattern!r} is no pattern of links; write it like leaf0→spine1, leaf0<->spine* or leaf0")
    src, dst = topology.links.src, topology.links.dst
    ends = [_vertices(topology, part) for part in parts[::2]]
    if len(ends) == 1:
        found: NDArray[np.bool_] = ends[0][src] | ends[0][dst]
    else:
        found = ends[0][src] & ends[1][dst]
        if parts[1] in ("<->", "↔"):
            found = found | (ends[1][src] & ends[0][dst])
    if not found.any():
        raise InputError(f"no link is {pattern!r}: {_beside(topology, ends)}")
    return found


def _vertices(topology: Topology, pattern: str) -> NDArray[np.bool_]:
    names = [topology.vertex_name(vertex) for vertex in range(topology.n_vertices)]
    match = re.compile(fnmatch.translate(pattern)).match
    found = np.array([match(name) is not None for name in names])
    if not found.any():
        raise unknown_name("device or switch", pattern, names)
    return found


def _beside(topology: Topology, ends: list[NDArray[np.bool_]]) -> str:
    """What the first end is linked to."""
    touched = np.flatnonzero(ends[0][topology.links.src] | ends[0][topology.links.dst])
    if not len(touched):
        return f"{topology.vertex_name(int(np.argmax(ends[0])))} has no link"
    return (
        f"there is {', '.join(topology.link_name(int(link)) for link in touched[:4])}{' …' if len(touched) > 4 else ''}"
    )


def _of_class(topology: Topology, name: str) -> NDArray[np.bool_]:
    if not topology.classes:
        raise InputError(f"class {name}: this system's links have no classes; write a pattern such as leaf*<->spine*")
    if name not in topology.classes:
        raise unknown_name("class of links", name, topology.classes)
    found = np.zeros(topology.n_links, dtype=bool)
    found[topology.classes[name]] = True
    return found


def _of_tier(topology: Topology, name: str) -> NDArray[np.bool_]:
    if name not in topology.tiers:
        raise unknown_name("tier", name, topology.tiers)
    group = topology.tiers[name]
    src, dst = group[topology.links.src], group[topology.links.dst]
    inside: NDArray[np.bool_] = (src == dst) & (src >= 0)
    return inside


def _with_figures(topology: Topology, found: NDArray[np.bool_], change: LinkChange) -> Topology:
    links = topology.links
    bandwidth = (
        links.bandwidth_Bps
        if change.bandwidth_Bps is None
        else np.where(found, change.bandwidth_Bps, links.bandwidth_Bps)
    )
    if change.factor is not None:
        bandwidth = np.where(found, bandwidth * change.factor, bandwidth)
    latency = links.latency_s if change.latency_s is None else np.where(found, change.latency_s, links.latency_s)
    links = replace(links, bandwidth_Bps=bandwidth, latency_s=latency)
    if change.duplex is not None:
        links = replace(links, medium=_media(topology, found, change))
    try:
        return replace(topology, links=links)
    except InputError as error:
        raise InputError(f"{change.links}: {error}") from None


def reverse_of(links: Links) -> Ints:
    """The number of the link that runs the other way in the same cable, or NO_LINK (n_links,).

    Of parallel cables the k-th link there belongs to the k-th back.
    """
    low, high = np.minimum(links.src, links.dst), np.maximum(links.src, links.dst)
    backwards = (links.src > links.dst).astype(np.int64)
    order = np.lexsort((np.arange(len(low)), backwards, high, low))
    key = np.stack([low, high, backwards])[:, order]
    begins = np.append(True, (key[:, 1:] != key[:, :-1]).any(axis=0))[: len(order)]
    start = np.flatnonzero(begins)
    place = np.arange(len(order)) - start[np.cumsum(begins) - 1] if len(order) else order
    number = {(*row, at): link for *row, at, link in zip(*key.tolist(), place.tolist(), order.tolist(), strict=True)}
    reverse = np.full(len(low), NO_LINK)
    for (a, b, way, at), link in number.items():
        reverse[link] = number.get((a, b, 1 - way, at), NO_LINK)
    return reverse


def _media(topology: Topology, found: NDArray[np.bool_], change: LinkChange) -> Ints | None:
    links = topology.links
    mine, media = np.flatnonzero(found), links.media.copy()
    other = reverse_of(links)[mine]
    if change.duplex == "full":
        partners = np.flatnonzero(np.isin(links.media, links.media[mine]))
        media[partners] = partners
    else:
        if (other == NO_LINK).any():
            alone = topology.link_name(int(mine[np.argmax(other == NO_LINK)]))
            raise InputError(f"{change.links}: {alone} has no link back, so it cannot be half duplex")
        media[mine] = media[other] = np.minimum(mine, other)
    return None if (media == np.arange(len(media))).all() else media


def without(topology: Topology, lost: NDArray[np.bool_]) -> Topology:
    """The topology without some links; pairs whose route took one of them get a shortest path over the others.

    Raises
    ------
    RefusedError
        If that leaves devices apart; names a pair.
    """
    links, n = topology.links, topology.n_links
    half = links.medium is not None and lost != np.bincount(links.media, lost, n)[links.media].astype(bool)
    if np.any(half):
        one = topology.link_name(int(np.argmax(half)))
        raise InputError(f"{one} is half of a half-duplex cable whose other direction failed: fail both, with <->")
    number = np.where(lost, _LOST, np.cumsum(~lost) - 1)
    columns: dict[str, Any] = {
        word: getattr(links, word)[~lost] for word in ("src", "dst", "latency_s", "bandwidth_Bps")
    }
    left = Links(**columns, medium=None if links.medium is None else number[links.medium[~lost]])
    router, before = Router(topology.n_devices, left, vertex_name=topology.vertex_name), topology.route

    def route(src: Ints, dst: Ints) -> Hops:
        hops = before(src, dst)
        hops = np.where(hops == NO_LINK, NO_LINK, number[hops])
        broken = (hops == _LOST).any(axis=1)
        return spliced(hops, broken, router(src[broken], dst[broken])) if broken.any() else hops

    classes = {name: number[own][number[own] >= 0] for name, own in topology.classes.items()}
    found = replace(topology, links=left, route=route, classes=classes, routed=None)
    require_connected(found)
    return found
