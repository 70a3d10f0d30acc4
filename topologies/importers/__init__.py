"""Machines from what tools say about them: NCCL's topology XML, ``nvidia-smi topo -m``, ``ibnetdiscover``, hwloc's XML.

Each reader makes a :class:`Description`, which is written as a system file. What a source does not say is filled in and
marked ASSUMED there.
"""

from topologies.importers.combined import imported
from topologies.importers.description import Cable, Description, LinkClass

__all__ = ["Cable", "Description", "LinkClass", "imported"]
