"""Broadcast: every rank ends with the root's vector."""

from collectives.broadcast.bine import bine
from collectives.broadcast.binomial import binomial
from collectives.broadcast.chain import chain
from collectives.broadcast.circulant import circulant
from collectives.broadcast.double_binary_tree import double_binary_tree
from collectives.broadcast.hierarchical import hierarchical
from collectives.broadcast.kary_tree import kary_tree
from collectives.broadcast.knomial import knomial
from collectives.broadcast.linear import linear
from collectives.broadcast.multicast import multicast
from collectives.broadcast.scatter_allgather import scatter_allgather
from collectives.broadcast.scatter_recursive_doubling import scatter_recursive_doubling
from collectives.broadcast.split_binary import split_binary

__all__ = [
    "bine",
    "binomial",
    "chain",
    "circulant",
    "double_binary_tree",
    "hierarchical",
    "kary_tree",
    "knomial",
    "linear",
    "multicast",
    "scatter_allgather",
    "scatter_recursive_doubling",
    "split_binary",
]
