"""A machine's network: levels where switches lead to switches, a circle where all of them have devices.

Link classes have a colour, and a width by bandwidth; half-duplex cables are dashed. What is too many to be told apart
is drawn together, with its number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from commsim import System, Topology
from commsim.link_changes import without
from commsim.selection import Ints
from commsim.topology import Floats
from commsim.units import format_bandwidth
from experiments.figures.style import COLOURS, GREY, INK, handle, styled
from experiments.topology import empty_ports, kind_of, levels, link_classes

PER_INCH = 12  # marks in a row
NAMED_PER_INCH = 3.2
NARROWEST, WIDEST = 0.5, 3.2
HALO = [withStroke(linewidth=1.8, foreground="white")]
EDGE_COLOURS = (*COLOURS, "#999999", "#333333")


@dataclass
class Drawing:
    """What is drawn: marks, each of one vertex or several, and lines between them.

    Attributes
    ----------
    mark_of : array (n_vertices,)
        The mark of each vertex; -1: none.
    members : list of list of int
        Vertices of each mark.
    kind : list of str
    """

    mark_of: Ints
    members: list[list[int]]
    kind: list[str]

    def label(self, topology: Topology, mark: int) -> str:
        """Its name, or how many it stands for."""
        own = self.members[mark]
        return topology.vertex_name(own[0]) if len(own) == 1 else f"{len(own)} {self.kind[mark]}"


@styled
def network(system: System, width_inches: float = 6.0) -> Figure:
    """The network of a system.

    Parameters
    ----------
    system : System
        From 2 devices to about a thousand each mark is one vertex or a few; beyond, many.
    width_inches : float
    """
    topology = system.topology
    empty = empty_ports(topology)
    if len(empty):
        lost = np.isin(topology.links.src, empty) | np.isin(topology.links.dst, empty)
        topology = without(topology, lost)
    row = rows(topology)
    most = max(8, int(PER_INCH * width_inches))
    if row is None:
        return _circle(system, topology, most, width_inches)
    return _levels(system, topology, row, most, width_inches)


def rows(topology: Topology) -> Ints | None:
    """The row of each vertex, devices in row 0; None where a circle shows more: all switches, if any, hold devices.

    What leads no further, beside what does, stands below the devices: the switches of an NVLink domain.
    """
    level, links, n = levels(topology), topology.links, topology.n_vertices
    level = np.minimum(level, level[np.unique(np.concatenate([links.src, links.dst, [0]]))].max())
    between = (links.src >= topology.n_devices) & (links.dst >= topology.n_devices)
    has_devices = np.zeros(n, dtype=bool)
    has_devices[links.src[links.dst < topology.n_devices]] = True
    used = np.unique(np.concatenate([links.src, links.dst]))
    switches = used[used >= topology.n_devices]
    among_devices = bool(((links.src < topology.n_devices) & (links.dst < topology.n_devices)).any())
    if topology.n_devices > 2 and (
        (not len(switches) and among_devices) or (len(switches) > 2 and between.any() and has_devices[switches].all())
    ):
        return None
    leads_up = np.zeros(n, dtype=bool)
    leads_up[links.src[level[links.dst] == level[links.src] + 1]] = True
    row: Ints = level.copy()
    beside_devices = switches[level[switches] == 1]
    if leads_up[beside_devices].any():
        row[beside_devices[~leads_up[beside_devices]]] = -1
    return row


def _bundles(topology: Topology, row: Ints, most: int) -> Drawing:
    """Vertices of one row and kind together where there are more than fit."""
    links = topology.links
    used = np.zeros(topology.n_vertices, dtype=bool)
    used[links.src] = used[links.dst] = used[: topology.n_devices] = True
    kinds = [kind_of(topology.vertex_name(vertex)) for vertex in range(topology.n_vertices)]
    made = Drawing(np.full(topology.n_vertices, -1), [], [])
    for at in sorted(set(row[used].tolist())):
        own = np.flatnonzero(used & (row == at))
        for kind in dict.fromkeys(kinds[vertex] for vertex in own.tolist()):
            alike = np.array([vertex for vertex in own.tolist() if kinds[vertex] == kind])
            share = max(2, most * len(alike) // len(own))
            for members in _together(topology, alike, share):
                made.mark_of[members] = len(made.members)
                made.members.append(members)
                made.kind.append(kind)
    return made


def _together(topology: Topology, alike: Ints, most: int) -> list[list[int]]:
    """Groups of a tier, of the finest that leaves few enough; else runs of equal length."""
    if len(alike) <= most:
        return [[vertex] for vertex in alike.tolist()]
    counted = [
        (len(np.unique(own)), own) for own in (groups[alike] for groups in topology.tiers.values()) if own.min() >= 0
    ]
    fits = [(count, own) for count, own in counted if most / 4 <= count <= most]
    if fits:
        own = max(fits, key=lambda pair: pair[0])[1]
    else:  # runs of the coarsest groups that are too many
        own = min(
            [pair for pair in counted if pair[0] > most] or [(0, np.arange(len(alike)))], key=lambda pair: pair[0]
        )[1]
        number = np.unique(own, return_inverse=True)[1]
        own = number // (-(-(int(number.max()) + 1) // most))
    return [alike[own == group].tolist() for group in dict.fromkeys(own.tolist())]


def _levels(system: System, topology: Topology, row: Ints, most: int, width: float) -> Figure:
    drawing = _bundles(topology, row, most)
    own_row = np.array([row[members[0]] for members in drawing.members])
    n_rows = len(np.unique(own_row))
    x = _columns(topology, drawing, own_row)
    place = np.searchsorted(np.unique(own_row), own_row)
    figure = Figure(figsize=(width, 0.9 + 0.8 * n_rows), layout="constrained")
    axes = figure.subplots()
    xy = np.stack([x, place + _apart(drawing, own_row)], axis=1)
    handles = _lines(axes, topology, drawing, xy, curved=False)
    _marks(axes, topology, drawing, xy, width, own_row)
    axes.set_xlim(-0.13 - 0.22 / width, 1.03)
    axes.set_ylim(-0.5, n_rows - 1 + 0.5)
    _finish(figure, axes, system, topology, handles, width)
    return figure


def _apart(drawing: Drawing, own_row: Ints) -> Floats:
    """A little up or down for each mark of a row that has several kinds."""
    up = np.zeros(len(own_row))
    for at in np.unique(own_row):
        own = np.flatnonzero(own_row == at)
        kinds = list(dict.fromkeys(drawing.kind[mark] for mark in own.tolist()))
        for mark in own.tolist():
            up[mark] = 0.26 * ((len(kinds) - 1) / 2 - kinds.index(drawing.kind[mark]))
    return up


def _columns(topology: Topology, drawing: Drawing, own_row: Ints) -> Floats:
    """Devices side by side; every other mark over the middle of what it is linked to, as far as they leave room."""
    x = np.full(len(own_row), 0.5)
    ends = drawing.mark_of[topology.links.src], drawing.mark_of[topology.links.dst]
    order = sorted(set(own_row.tolist()), key=abs)
    done = np.zeros(len(own_row), dtype=bool)
    for at in order:
        own = np.flatnonzero(own_row == at)
        middle = np.full(len(own), 0.5)
        for i, mark in enumerate(own.tolist()):
            beside = np.unique(ends[1][(ends[0] == mark) & done[ends[1]]])
            if len(beside):
                middle[i] = x[beside].mean()
        if at == 0:
            middle = np.arange(len(own), dtype=float)
        x[own] = _spread(middle, own)
        done[own] = True
    return x


def _spread(middle: Floats, own: Ints) -> Floats:
    """Where they would like to be if all have room there, else evenly, in that order."""
    n = len(own)
    order = np.lexsort((own, np.round(middle, 9)))
    even = np.empty(n)
    even[order] = (np.arange(n) + 0.5) / n
    wished = np.sort(middle)
    if n > 1 and middle.max() <= 1 and np.diff(wished).min() > 0.6 / n:
        return middle
    return even


def _marks(axes: Axes, topology: Topology, drawing: Drawing, xy: Floats, width: float, own_row: Ints) -> None:
    size = max(2.6, min(7.0, 60 * width / 6 / max(np.bincount(own_row - own_row.min()).max(), 1)))
    is_device = np.array([members[0] < topology.n_devices for members in drawing.members])
    for shown, marker, face in ((is_device, "o", INK), (~is_device, "s", "white")):
        axes.plot(*xy[shown].T, marker, color=INK, markerfacecolor=face, markersize=size, markeredgewidth=0.8, zorder=3)
    named = NAMED_PER_INCH * width
    for at in np.unique(own_row):
        own = np.flatnonzero(own_row == at)
        kinds = list(dict.fromkeys(drawing.kind[mark] for mark in own.tolist()))
        counts = [sum(len(drawing.members[m]) for m in own.tolist() if drawing.kind[m] == kind) for kind in kinds]
        y = xy[own, 1].mean()
        text = "\n".join(f"{count} {kind}" for count, kind in zip(counts, kinds, strict=True))
        axes.text(-0.03, y, text, ha="right", va="center", fontsize=7.5, color=INK)
        sizes = {len(drawing.members[mark]) for mark in own.tolist()}
        if max(sizes) > 1:
            each = f"{min(sizes)}" if len(sizes) == 1 else f"{min(sizes)}–{max(sizes)}"
            axes.text(
                *(1.0, y + 0.13, f"each mark: {each}"),
                ha="right",
                va="bottom",
                fontsize=6.5,
                color=INK,
                path_effects=HALO,
            )
        elif len(own) <= named:
            for mark in own.tolist():
                _name(axes, topology.vertex_name(drawing.members[mark][0]), xy[mark], len(own), width)


def _name(axes: Axes, name: str, place: Floats, n: int, width: float) -> None:
    """The whole name where there is room, else its numbers."""
    room = 16 * width / max(n, 1)
    short = name if len(name) <= room else ".".join(part for part in _numbers(name) if part)
    if 0 < len(short) <= 1.6 * room:
        axes.annotate(
            short,
            (float(place[0]), float(place[1])),
            (0, -5.5),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=5.8,
            color=INK,
            path_effects=HALO,
        )


def _numbers(name: str) -> list[str]:
    return ["".join(c for c in part if c.isdigit()) for part in name.split(".")]


def _lines(axes: Axes, topology: Topology, drawing: Drawing, xy: Floats, *, curved: bool) -> list[object]:
    """Cables between marks, each pair of marks and class once; the legend's handles."""
    classes = link_classes(topology)
    names = list(dict.fromkeys((one.name, one.bandwidth_Bps, one.duplex) for one in classes))
    rates = np.log([one.bandwidth_Bps for one in classes] or [1.0])
    low, high = rates.min(), max(rates.max(), rates.min() + math.log(4))
    handles: list[object] = []
    many = topology.n_links > 1500
    for key in names[: len(EDGE_COLOURS)]:
        alike = [one for one in classes if (one.name, one.bandwidth_Bps, one.duplex) == key]
        links = np.concatenate([one.links for one in alike])
        a, b = (drawing.mark_of[end[links]] for end in (topology.links.src, topology.links.dst))
        pairs = np.unique(np.sort(np.stack([a, b], axis=1)[(a != b) & (a >= 0) & (b >= 0)], axis=1), axis=0)
        colour = EDGE_COLOURS[len(handles) % len(EDGE_COLOURS)]
        thick = NARROWEST + (WIDEST - NARROWEST) * (math.log(key[1]) - low) / (high - low)
        style = "--" if key[2] == "half" else "-"
        alpha = 0.85 if not many else max(0.25, min(0.8, 260 / max(len(pairs), 1)))
        shape = _curve if curved else partial(_straight, lowest=float(xy[:, 1].min()) + 0.3)
        lines = [shape(xy[i], xy[j]) for i, j in pairs.tolist()]
        thin = thick * (0.55 if many else 1.0)
        axes.add_collection(
            LineCollection(lines, colors=colour, linewidths=thin, linestyles=style, alpha=alpha, zorder=1)
        )
        cables = sum(one.n_cables for one in alike)
        half = ", half duplex" if key[2] == "half" else ", one way" if key[2] == "simplex" else ""
        label = f"{cables} x {key[0]}, {format_bandwidth(key[1])}{half}"
        handles.append(handle(label, color=colour, linewidth=thick, linestyle=style))
    return handles


def _straight(a: Floats, b: Floats, lowest: float) -> Floats:
    """From a to b; inside a row an arc over it, in the lowest one under it, as high as it is wide."""
    if abs(a[1] - b[1]) > 0.05:
        return np.stack([a, b])
    t = np.linspace(0, np.pi, 24)
    high = min(0.12 + 0.5 * abs(a[0] - b[0]), 0.42) * (-1 if a[1] < lowest else 1)
    return np.stack([(a[0] + b[0]) / 2 - (b[0] - a[0]) / 2 * np.cos(t), a[1] + high * np.sin(t)], axis=1)


def _curve(a: Floats, b: Floats) -> Floats:
    """From a to b, bent towards the middle of the circle."""
    t = np.linspace(0, 1, 24)[:, None]
    bend = (1 - 0.35 * float(np.hypot(*(a - b)))) * (a + b) / 2
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b


def _circle(system: System, topology: Topology, most: int, width: float) -> Figure:
    """Switches, or devices where there are none, round a circle; devices of a switch outside."""
    has_switches = topology.n_vertices > topology.n_devices
    row = np.where(np.arange(topology.n_vertices) < topology.n_devices, 0, 1)
    drawing = _bundles(topology, row, 1 << 30)
    inner = [m for m, members in enumerate(drawing.members) if (members[0] >= topology.n_devices) == has_switches]
    vertices = np.array([drawing.members[m][0] for m in inner])
    groups = _together(topology, vertices, 2 * most)
    home = np.full(topology.n_vertices, -1)
    for at, members in enumerate(groups):
        home[members] = at
    held = np.zeros(len(groups), dtype=np.int64)
    if has_switches:
        links = topology.links
        up = (links.src < topology.n_devices) & (links.dst >= topology.n_devices)
        home[links.src[up]] = home[links.dst[up]]
        held += np.bincount(home[: topology.n_devices], minlength=len(groups))
    kinds = [kind_of(topology.vertex_name(members[0])) for members in groups]
    drawing = Drawing(home, groups, kinds)
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(groups)) / len(groups)
    xy = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    figure = Figure(figsize=(width, width + 0.7), layout="constrained")
    axes = figure.subplots()
    handles = _lines(axes, topology, drawing, xy, curved=True)
    size = max(2.4, min(7.0, 220 * width / 6 / len(groups)))
    marker, face = ("s", "white") if has_switches else ("o", INK)
    axes.plot(*xy.T, marker, color=INK, markerfacecolor=face, markersize=size, markeredgewidth=0.8, zorder=3)
    each = _round_about(axes, topology, drawing, xy, angle, held, width)
    axes.set_xlim(-1.28, 1.28)
    axes.set_ylim(-1.28, 1.28)
    axes.set_aspect("equal")
    _finish(figure, axes, system, topology, handles, width, each)
    return figure


def _round_about(
    axes: Axes, topology: Topology, drawing: Drawing, xy: Floats, angle: Floats, held: Ints, width: float
) -> str:
    """Names outside, as many as have room, and the devices of each switch as dots; what a mark is, where it is more."""
    n = len(xy)
    step = max(1, math.ceil(n / (9 * width)))
    most = int(held.max(initial=0))
    dots = 0 < most <= 4 and n * most <= 60 * width
    first = [one.name for one in link_classes(topology) if topology.links.src[one.links].min() < topology.n_devices]
    order = list(dict.fromkeys(one.name for one in link_classes(topology)))
    spokes = EDGE_COLOURS[order.index(first[0]) % len(EDGE_COLOURS)] if first else GREY
    if dots:
        for mark, own in enumerate(held.tolist()):
            turns = angle[mark] + (np.arange(own) - (own - 1) / 2) * 2 * np.pi / n / (most + 1)
            for turn in turns:
                out = 1.1 * np.array([math.cos(turn), math.sin(turn)])
                axes.plot(*np.stack([xy[mark], out]).T, color=spokes, linewidth=0.6, zorder=1)
                axes.plot(*out, "o", color=INK, markersize=1.8)
    for mark in range(0, n, step):
        degrees = math.degrees(angle[mark])
        flip = math.cos(angle[mark]) < -1e-9
        name = _short(drawing.label(topology, mark)) if len(drawing.members[mark]) == 1 else f"{mark}"
        axes.text(
            (1.15 if dots else 1.06) * xy[mark][0],
            (1.15 if dots else 1.06) * xy[mark][1],
            name,
            fontsize=6.2,
            color=GREY,
            ha="right" if flip else "left",
            va="center",
            rotation=degrees + 180 if flip else degrees,
            rotation_mode="anchor",
        )
    largest = max(len(members) for members in drawing.members)
    if largest == 1 and (not most or dots):
        return ""
    each = f"{largest} {drawing.kind[0]}" + ("s" if largest > 1 else "") + (f" with {most} devices" if most else "")
    return f"; each mark: {each}{_inside(topology, drawing)}"


def _short(name: str) -> str:
    """A name of a few letters, else its numbers."""
    return name if len(name) <= 9 else ".".join(part for part in _numbers(name) if part) or name[:9]


def _inside(topology: Topology, drawing: Drawing) -> str:
    """Cables between switches of one mark, which are not drawn."""
    links = topology.links
    switches = (links.src >= topology.n_devices) & (links.dst >= topology.n_devices)
    same = switches & (drawing.mark_of[links.src] == drawing.mark_of[links.dst])
    count = int(same.sum()) // 2 // max(len(drawing.members), 1)
    return f", {count} cables inside" if count else ""


def _finish(
    figure: Figure,
    axes: Axes,
    system: System,
    topology: Topology,
    handles: Sequence[object],
    width: float,
    each: str = "",
) -> None:
    axes.set_axis_off()
    n_switches = len(np.unique(np.concatenate([topology.links.src, topology.links.dst]))) - topology.n_devices
    counts = f"{topology.n_devices} devices" + (f", {n_switches} switches" if n_switches > 1 else "")
    counts += each if len(counts + each) <= 11 * width else each.replace("; ", "\n", 1)
    room = int(11.5 * width)
    name = system.name if len(system.name) <= room else f"{system.name[: room - 1]}…"
    figure.suptitle(f"{name}\n{counts}", x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    columns = max(1, min(len(handles), int(width / 2.4)))
    figure.legend(handles=list(handles), loc="outside lower left", ncols=columns, fontsize=7.5)
