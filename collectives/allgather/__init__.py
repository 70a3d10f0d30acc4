"""Allgather: every rank ends with every rank's block."""

from collectives.allgather.bine import bine
from collectives.allgather.bruck import bruck
from collectives.allgather.circulant import circulant
from collectives.allgather.line import line
from collectives.allgather.linear import linear
from collectives.allgather.neighbor_exchange import neighbor_exchange
from collectives.allgather.nvls import nvls
from collectives.allgather.pat import pat
from collectives.allgather.recursive_doubling import recursive_doubling
from collectives.allgather.ring import ring
from collectives.allgather.sparbit import sparbit

__all__ = [
    "bine",
    "bruck",
    "circulant",
    "line",
    "linear",
    "neighbor_exchange",
    "nvls",
    "pat",
    "recursive_doubling",
    "ring",
    "sparbit",
]
