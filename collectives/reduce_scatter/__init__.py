"""Reduce-scatter: rank r ends with the reduction of block r."""

from collectives.reduce_scatter.bine import bine
from collectives.reduce_scatter.butterfly import butterfly
from collectives.reduce_scatter.circulant import circulant
from collectives.reduce_scatter.line import line
from collectives.reduce_scatter.linear import linear
from collectives.reduce_scatter.nvls import nvls
from collectives.reduce_scatter.pairwise import pairwise
from collectives.reduce_scatter.pat import pat
from collectives.reduce_scatter.recursive_doubling import recursive_doubling
from collectives.reduce_scatter.recursive_halving import recursive_halving
from collectives.reduce_scatter.ring import ring

__all__ = [
    "bine",
    "butterfly",
    "circulant",
    "line",
    "linear",
    "nvls",
    "pairwise",
    "pat",
    "recursive_doubling",
    "recursive_halving",
    "ring",
]
