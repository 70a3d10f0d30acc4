"""Gather: the root ends with every rank's block."""

from collectives.gather.binomial import binomial
from collectives.gather.linear import linear

__all__ = ["binomial", "linear"]
