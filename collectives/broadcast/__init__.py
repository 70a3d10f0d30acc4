"""Broadcast: every rank ends with the root's vector."""

from collectives.broadcast.binomial import binomial
from collectives.broadcast.chain import chain
from collectives.broadcast.scatter_allgather import scatter_allgather

__all__ = ["binomial", "chain", "scatter_allgather"]
