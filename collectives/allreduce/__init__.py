"""Allreduce: every rank ends with the reduction over all ranks."""

from collectives.allreduce.all_pairs import all_pairs
from collectives.allreduce.allgather_reduce import allgather_reduce
from collectives.allreduce.bine import bine
from collectives.allreduce.circulant import circulant
from collectives.allreduce.collnet_chain import collnet_chain
from collectives.allreduce.collnet_direct import collnet_direct
from collectives.allreduce.double_binary_tree import double_binary_tree
from collectives.allreduce.hierarchical import hierarchical
from collectives.allreduce.kary_tree import kary_tree
from collectives.allreduce.knomial_rabenseifner import knomial_rabenseifner
from collectives.allreduce.knomial_tree import knomial_tree
from collectives.allreduce.linear import linear
from collectives.allreduce.multi_leader import multi_leader
from collectives.allreduce.multi_ring import multi_ring
from collectives.allreduce.nccl_tree import nccl_tree
from collectives.allreduce.node_split import node_split
from collectives.allreduce.node_ways import node_ways
from collectives.allreduce.nvls import nvls
from collectives.allreduce.nvls_tree import nvls_tree
from collectives.allreduce.rabenseifner import rabenseifner
from collectives.allreduce.recursive_doubling import recursive_doubling
from collectives.allreduce.recursive_multiplying import recursive_multiplying
from collectives.allreduce.reduce_broadcast import reduce_broadcast
from collectives.allreduce.ring import ring
from collectives.allreduce.ring_segmented import ring_segmented
from collectives.allreduce.sharp import sharp
from collectives.allreduce.swing import swing
from collectives.allreduce.torus_bucket import torus_bucket
from collectives.allreduce.trivance import trivance

__all__ = [
    "all_pairs",
    "allgather_reduce",
    "bine",
    "circulant",
    "collnet_chain",
    "collnet_direct",
    "double_binary_tree",
    "hierarchical",
    "kary_tree",
    "knomial_rabenseifner",
    "knomial_tree",
    "linear",
    "multi_leader",
    "multi_ring",
    "nccl_tree",
    "node_split",
    "node_ways",
    "nvls",
    "nvls_tree",
    "rabenseifner",
    "recursive_doubling",
    "recursive_multiplying",
    "reduce_broadcast",
    "ring",
    "ring_segmented",
    "sharp",
    "swing",
    "torus_bucket",
    "trivance",
]
