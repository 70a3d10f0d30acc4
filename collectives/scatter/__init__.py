"""Scatter: rank r ends with block r of the root's vector."""

from collectives.scatter.binomial import binomial
from collectives.scatter.linear import linear

__all__ = ["binomial", "linear"]
