"""Alltoallv: as alltoall, and every pair of ranks has a size of its own."""

from collectives.alltoallv.linear import linear
from collectives.alltoallv.linear_windowed import linear_windowed
from collectives.alltoallv.pairwise import pairwise

__all__ = ["linear", "linear_windowed", "pairwise"]
