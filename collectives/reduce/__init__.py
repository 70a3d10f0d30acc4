"""Reduce: the root ends with the reduction over all ranks."""

from collectives.reduce.bine import bine
from collectives.reduce.binomial import binomial
from collectives.reduce.chain import chain
from collectives.reduce.circulant import circulant
from collectives.reduce.double_binary_tree import double_binary_tree
from collectives.reduce.hierarchical import hierarchical
from collectives.reduce.in_order_binary import in_order_binary
from collectives.reduce.kary_tree import kary_tree
from collectives.reduce.knomial import knomial
from collectives.reduce.linear import linear
from collectives.reduce.scatter_gather import scatter_gather
from collectives.reduce.sharp import sharp

__all__ = [
    "bine",
    "binomial",
    "chain",
    "circulant",
    "double_binary_tree",
    "hierarchical",
    "in_order_binary",
    "kary_tree",
    "knomial",
    "linear",
    "scatter_gather",
    "sharp",
]
