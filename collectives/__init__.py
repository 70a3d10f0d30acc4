"""The algorithms, one a file: ``collectives.allreduce.ring``. Found by name through :mod:`collectives.registry`."""

from collectives import allreduce, broadcast

__all__ = ["allreduce", "broadcast"]
