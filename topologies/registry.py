"""Finds systems by spec (``"dgx_h100:nodes=4"``) or file (``"my_cluster.toml"``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from commsim.errors import unknown_name
from commsim.spec import build, split_spec
from commsim.system import System
from commsim.system_file import read_system
from topologies import abci, clouds, dgx, other_nodes, power9, slingshot, tori
from topologies.dragonfly import dragonfly
from topologies.dragonfly_plus import dragonfly_plus
from topologies.fat_tree import xgft
from topologies.fully_connected import fully_connected
from topologies.hybrid_cube_mesh import hybrid_cube_mesh
from topologies.hyperx import hyperx
from topologies.leaf_spine import leaf_spine
from topologies.links import with_link_classes
from topologies.machines import Machine
from topologies.nvswitch_domain import nvswitch_domain
from topologies.pcie_tree import pcie_tree
from topologies.rail_only import rail_only
from topologies.rail_optimised import rail_optimised
from topologies.slim_fly import slim_fly
from topologies.star import star
from topologies.torus import mesh, torus

FAMILIES = (abci, clouds, dgx, other_nodes, power9, slingshot, tori)
MACHINES: dict[str, Machine] = {
    machine.name: machine for family in FAMILIES for machine in vars(family).values() if isinstance(machine, Machine)
}
"""Machines that exist, or did, by name: each with its sources and what is assumed."""

GENERATORS: dict[str, Callable[..., System]] = {
    factory.__name__: factory
    for factory in (
        dragonfly,
        dragonfly_plus,
        fully_connected,
        hybrid_cube_mesh,
        hyperx,
        leaf_spine,
        mesh,
        nvswitch_domain,
        pcie_tree,
        rail_only,
        rail_optimised,
        slim_fly,
        star,
        torus,
        xgft,
    )
}

_ALL: dict[str, Callable[..., System]] = {**GENERATORS, **MACHINES}
SYSTEMS = {name: _ALL[name] for name in sorted(_ALL)}
"""Every system by name."""


def find(spec: str) -> System:
    """The system that a spec or a TOML file describes.

    Raises
    ------
    UnknownNameError
        For an unknown system or key; names the nearest.
    InputError
        For a value that is none, or a file that cannot be read.
    """
    if spec.endswith(".toml"):
        return read_system(Path(spec), SYSTEMS, named=with_link_classes)
    name, values = split_spec(spec)
    if name not in SYSTEMS:
        raise unknown_name("system", name, SYSTEMS)
    system: System = build("system", name, SYSTEMS[name], with_link_classes(values))
    return replace(system, name=spec)
