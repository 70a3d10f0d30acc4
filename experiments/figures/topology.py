"""A machine's network: levels where switches lead to switches, a circle where all of them have devices.

Link classes have a colour, and a width by bandwidth; half-duplex cables are dashed. What is too many to be told apart
is drawn together, with its number.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from commsim import System, Topology
from commsim.link_changes import without
from commsim.selection import Ints
from commsim.topology import Floats
from experiments.figures.style import INK, styled
from experiments.figures.topology_circle import circle
from experiments.figures.topology_marks import HALO, Drawing, bundles, draw_lines, finish, numbers
from experiments.topology import empty_ports, levels

PER_INCH = 12  # marks in a row
NAMED_PER_INCH = 3.2


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
        return circle(system, topology, most, width_inches)
    return _in_levels(system, topology, row, most, width_inches)


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


def _in_levels(system: System, topology: Topology, row: Ints, most: int, width: float) -> Figure:
    drawing = bundles(topology, row, most)
    own_row = np.array([row[members[0]] for members in drawing.members])
    n_rows = len(np.unique(own_row))
    x = _columns(topology, drawing, own_row)
    place = np.searchsorted(np.unique(own_row), own_row)
    figure = Figure(figsize=(width, 0.9 + 0.8 * n_rows), layout="constrained")
    axes = figure.subplots()
    xy = np.stack([x, place + _apart(drawing, own_row)], axis=1)
    handles = draw_lines(axes, topology, drawing, xy, curved=False)
    _marks(axes, topology, drawing, xy, width, own_row)
    axes.set_xlim(-0.13 - 0.22 / width, 1.03)
    axes.set_ylim(-0.5, n_rows - 1 + 0.5)
    finish(figure, axes, system, topology, handles, width)
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
    room = 13 * width / max(n, 1)
    short = name if len(name) <= room else ".".join(part for part in numbers(name) if part)
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
