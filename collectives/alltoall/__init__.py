"""Alltoall: block s of rank r's output is block r of rank s's vector, all blocks equally large."""

from collectives.alltoall.bruck import bruck
from collectives.alltoall.linear import linear
from collectives.alltoall.linear_windowed import linear_windowed
from collectives.alltoall.node_aggregated import node_aggregated
from collectives.alltoall.pairwise import pairwise
from collectives.alltoall.rail_aligned import rail_aligned

__all__ = ["bruck", "linear", "linear_windowed", "node_aggregated", "pairwise", "rail_aligned"]
