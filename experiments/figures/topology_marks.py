"""What pictures of machines are made of: marks for vertices, lines for cables, a legend."""

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
from commsim.selection import Ints
from commsim.topology import Floats
from commsim.units import format_bandwidth
from experiments.figures.style import COLOURS, handle
from experiments.topology import kind_of, link_classes

NARROWEST, WIDEST = 0.5, 3.2  # lines, in points
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


def bundles(topology: Topology, row: Ints, most: int) -> Drawing:
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
            for members in together(topology, alike, share):
                made.mark_of[members] = len(made.members)
                made.members.append(members)
                made.kind.append(kind)
    return made


def together(topology: Topology, alike: Ints, most: int) -> list[list[int]]:
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


def draw_lines(axes: Axes, topology: Topology, drawing: Drawing, xy: Floats, *, curved: bool) -> list[object]:
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


def numbers(name: str) -> list[str]:
    """Those in a name, of each of its parts: ``["3", "2"]`` of ``"node3.gpu2"``."""
    return ["".join(c for c in part if c.isdigit()) for part in name.split(".")]


def finish(
    figure: Figure,
    axes: Axes,
    system: System,
    topology: Topology,
    handles: Sequence[object],
    width: float,
    each: str = "",
) -> None:
    """Title, what it counts (and `each`, what a mark is), and the legend."""
    axes.set_axis_off()
    n_switches = len(np.unique(np.concatenate([topology.links.src, topology.links.dst]))) - topology.n_devices
    counts = f"{topology.n_devices} devices" + (f", {n_switches} switches" if n_switches > 1 else "")
    counts += each if len(counts + each) <= 11 * width else each.replace("; ", "\n", 1)
    room = int(11.5 * width)
    name = system.name if len(system.name) <= room else f"{system.name[: room - 1]}…"
    figure.suptitle(f"{name}\n{counts}", x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    columns = max(1, min(len(handles), int(width / 2.4)))
    figure.legend(handles=list(handles), loc="outside lower left", ncols=columns, fontsize=7.5)
