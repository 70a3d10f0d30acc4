"""Systems by name: generators and named machines. ``topologies.find("star:hosts=4,…")`` reads a spec."""

from topologies.abci import abci_a, abci_v
from topologies.clouds import (
    aws_p3dn,
    aws_p4d,
    aws_p5,
    aws_p5en,
    aws_p6_b200,
    azure_nd_a100,
    azure_nd_h100,
    azure_ndv2,
    gcp_a3_high,
    gcp_a3_mega,
)
from topologies.dgx import dgx1_p100, dgx1_v100, dgx2, dgx_a100, dgx_b200, dgx_h100, gb200_nvl72
from topologies.dragonfly import dragonfly
from topologies.dragonfly_plus import dragonfly_plus
from topologies.fat_tree import xgft
from topologies.fully_connected import fully_connected
from topologies.hybrid_cube_mesh import hybrid_cube_mesh
from topologies.hyperx import hyperx
from topologies.leaf_spine import leaf_spine
from topologies.links import LINKS
from topologies.nvswitch_domain import nvswitch_domain
from topologies.other_nodes import frontera, mi300x, pcie_a100, sunway_taihulight
from topologies.pcie_tree import pcie_tree
from topologies.power9 import sierra, summit
from topologies.rail_only import rail_only
from topologies.rail_optimised import rail_optimised
from topologies.registry import MACHINES, SYSTEMS, find
from topologies.slim_fly import slim_fly
from topologies.slingshot import alps_gh200, frontier
from topologies.star import star
from topologies.tori import k_computer, tpu_v2, tpu_v3, tpu_v4
from topologies.torus import mesh, torus

__all__ = [
    "LINKS",
    "MACHINES",
    "SYSTEMS",
    "abci_a",
    "abci_v",
    "alps_gh200",
    "aws_p3dn",
    "aws_p4d",
    "aws_p5",
    "aws_p5en",
    "aws_p6_b200",
    "azure_nd_a100",
    "azure_nd_h100",
    "azure_ndv2",
    "dgx1_p100",
    "dgx1_v100",
    "dgx2",
    "dgx_a100",
    "dgx_b200",
    "dgx_h100",
    "dragonfly",
    "dragonfly_plus",
    "find",
    "frontera",
    "frontier",
    "fully_connected",
    "gb200_nvl72",
    "gcp_a3_high",
    "gcp_a3_mega",
    "hybrid_cube_mesh",
    "hyperx",
    "k_computer",
    "leaf_spine",
    "mesh",
    "mi300x",
    "nvswitch_domain",
    "pcie_a100",
    "pcie_tree",
    "rail_only",
    "rail_optimised",
    "sierra",
    "slim_fly",
    "star",
    "summit",
    "sunway_taihulight",
    "torus",
    "tpu_v2",
    "tpu_v3",
    "tpu_v4",
    "xgft",
]
