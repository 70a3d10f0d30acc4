"""Barrier: nobody goes on before everyone has come."""

from collectives.barrier.dissemination import dissemination
from collectives.barrier.kary_tree import kary_tree
from collectives.barrier.recursive_doubling import recursive_doubling

__all__ = ["dissemination", "kary_tree", "recursive_doubling"]
