"""Finds systems by spec (``"dgx_h100:nodes=4"``) or file (``"my_cluster.toml"``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from commsim.errors import unknown_name
from commsim.spec import build, split_spec
from commsim.system import System
from commsim.system_file import read_system
from topologies.dgx import dgx_h100
from topologies.fat_tree import xgft
from topologies.star import star

SYSTEMS: dict[str, Callable[..., System]] = {"dgx_h100": dgx_h100, "star": star, "xgft": xgft}


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
        return read_system(Path(spec), SYSTEMS)
    name, values = split_spec(spec)
    if name not in SYSTEMS:
        raise unknown_name("system", name, SYSTEMS)
    system: System = build("system", name, SYSTEMS[name], values)
    return replace(system, name=spec)
