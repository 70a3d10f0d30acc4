"""Networks whose switches all hold devices, or that have none: round a circle."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from commsim import System, Topology
from commsim.selection import Ints
from commsim.topology import Floats
from experiments.figures.style import GREY, INK
from experiments.figures.topology_marks import EDGE_COLOURS, Drawing, bundles, draw_lines, finish, numbers, together
from experiments.topology import kind_of, link_classes


def circle(system: System, topology: Topology, most: int, width: float) -> Figure:
    """Switches, or devices where there are none, round a circle; devices of a switch outside."""
    has_switches = topology.n_vertices > topology.n_devices
    row = np.where(np.arange(topology.n_vertices) < topology.n_devices, 0, 1)
    drawing = bundles(topology, row, 1 << 30)
    inner = [m for m, members in enumerate(drawing.members) if (members[0] >= topology.n_devices) == has_switches]
    vertices = np.array([drawing.members[m][0] for m in inner])
    groups = together(topology, vertices, 2 * most)
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
    handles = draw_lines(axes, topology, drawing, xy, curved=True)
    size = max(2.4, min(7.0, 220 * width / 6 / len(groups)))
    marker, face = ("s", "white") if has_switches else ("o", INK)
    axes.plot(*xy.T, marker, color=INK, markerfacecolor=face, markersize=size, markeredgewidth=0.8, zorder=3)
    each = _round_about(axes, topology, drawing, xy, angle, held, width)
    axes.set_xlim(-1.28, 1.28)
    axes.set_ylim(-1.28, 1.28)
    axes.set_aspect("equal")
    finish(figure, axes, system, topology, handles, width, each)
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
    return name if len(name) <= 9 else ".".join(part for part in numbers(name) if part) or name[:9]


def _inside(topology: Topology, drawing: Drawing) -> str:
    """Cables between switches of one mark, which are not drawn."""
    links = topology.links
    switches = (links.src >= topology.n_devices) & (links.dst >= topology.n_devices)
    same = switches & (drawing.mark_of[links.src] == drawing.mark_of[links.dst])
    count = int(same.sum()) // 2 // max(len(drawing.members), 1)
    return f", {count} cables inside" if count else ""
