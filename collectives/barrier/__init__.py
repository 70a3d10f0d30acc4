"""Barrier: nobody goes on before everyone has come."""

from collectives.barrier.dissemination import dissemination
from collectives.barrier.recursive_doubling import recursive_doubling
from collectives.barrier.tree import tree

__all__ = ["dissemination", "recursive_doubling", "tree"]
