"""Allreduce: every rank ends with the reduction over all ranks."""

from collectives.allreduce.linear import linear
from collectives.allreduce.node_split import node_split
from collectives.allreduce.rabenseifner import rabenseifner
from collectives.allreduce.recursive_doubling import recursive_doubling
from collectives.allreduce.ring import ring

__all__ = ["linear", "node_split", "rabenseifner", "recursive_doubling", "ring"]
