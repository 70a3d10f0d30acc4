"""Cliques: vertices in groups, each with a cable to every other one of its group. Ports are numbered by peer."""

from __future__ import annotations

import numpy as np

from commsim.selection import Ints
from commsim.topology import Links
from topologies.cables import Cable
from topologies.routes import where


def peer_of(own: Ints, port: Ints) -> Ints:
    """The member of the group that is behind a port; oneself is left out."""
    return port + (port >= own)


def port_to(own: Ints, peer: Ints) -> Ints:
    """The inverse of :func:`peer_of`."""
    return peer - (peer > own)


def clique_links(n_vertices: int, size: int, cable: Cable, stride: int = 1) -> Links:
    """Links from each vertex to all that differ from it in one coordinate, ``v // stride % size``."""
    vertex, port = np.divmod(np.arange(n_vertices * (size - 1)), max(size - 1, 1))
    own = vertex // stride % size
    return cable.one_way(vertex, vertex + (peer_of(own, port) - own) * stride)


def clique_route(src: Ints, dst: Ints, size: int, stride: int = 1) -> Ints:
    """The number of the link between two vertices that differ in that coordinate at most; NO_LINK where they do not."""
    return where(src != dst, src * (size - 1) + port_to(src // stride % size, dst // stride % size))
