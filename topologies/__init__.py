"""Systems by name: generators and named machines. ``topologies.find("star:hosts=4,…")`` reads a spec."""

from topologies.dgx import dgx_h100
from topologies.dragonfly import dragonfly
from topologies.dragonfly_plus import dragonfly_plus
from topologies.fat_tree import xgft
from topologies.fully_connected import fully_connected
from topologies.hybrid_cube_mesh import hybrid_cube_mesh
from topologies.hyperx import hyperx
from topologies.leaf_spine import leaf_spine
from topologies.nvswitch_domain import nvswitch_domain
from topologies.pcie_tree import pcie_tree
from topologies.rail_only import rail_only
from topologies.rail_optimised import rail_optimised
from topologies.registry import SYSTEMS, find
from topologies.slim_fly import slim_fly
from topologies.star import star
from topologies.torus import mesh, torus

__all__ = [
    "SYSTEMS",
    "dgx_h100",
    "dragonfly",
    "dragonfly_plus",
    "find",
    "fully_connected",
    "hybrid_cube_mesh",
    "hyperx",
    "leaf_spine",
    "mesh",
    "nvswitch_domain",
    "pcie_tree",
    "rail_only",
    "rail_optimised",
    "slim_fly",
    "star",
    "torus",
    "xgft",
]
