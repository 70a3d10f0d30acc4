"""Systems by name: generators and named machines. ``topologies.find("star:hosts=4,…")`` reads a spec."""

from topologies.dgx import dgx_h100
from topologies.fat_tree import xgft
from topologies.registry import SYSTEMS, find
from topologies.star import star

__all__ = ["SYSTEMS", "dgx_h100", "find", "star", "xgft"]
