"""Machines that are tori: the K computer (Tofu) and pods of TPU v2, v3 and v4."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod

from commsim.topology import Topology
from topologies import devices
from topologies.cables import Cable
from topologies.grids import written
from topologies.links import LINKS, LinkClass
from topologies.machines import Device, Machine
from topologies.torus import Torus

Shape = tuple[int, ...]


def near_cube(n: int, most: Shape) -> Shape:
    """`n` places as a box, as near to a cube as can be inside the box `most`; beyond it in the last dimension."""
    shape = []
    for dimension, limit in enumerate(most[:-1]):
        edge = round(n ** (1 / (len(most) - dimension)))
        size = max(d for d in range(1, min(max(edge, 1), limit) + 1) if n % d == 0)
        shape.append(size)
        n //= size
    return (*shape, n)


# ---------------------------------------------------------------------------------------------------------------------
# K computer

TOFU = (24, 18, 17, 2, 3, 2)


def tofu_shape(nodes: int) -> Shape:
    """Whole units of 2 x 3 x 2 nodes in a box of units, else a box without units, as jobs are given."""
    if nodes == prod(TOFU):
        return TOFU
    return (*near_cube(nodes // 12, TOFU[:3]), 2, 3, 2) if nodes % 12 == 0 else near_cube(nodes, TOFU[:3])


def _tofu(nodes: int, cables: Mapping[str, Cable]) -> Topology:
    shape = tofu_shape(nodes)
    return Torus(shape, (1,) * len(shape)).topology(cables["tofu"], 1, cables["tni"])


k_computer = Machine(
    name="k_computer",
    what="K computer: one SPARC64 VIIIfx a node on Tofu, a six-dimensional torus",
    device=devices.SPARC64_VIIIFX,
    devices_per_node=1,
    nics="4 Tofu network interfaces a node, 10 links a router",
    most_nodes=prod(TOFU),
    links={
        "tofu": LINKS["tofu"],
        "tni": LINKS["tofu"].times(4).but("500ns", "ASSUMED: a node's interface; 1.2 us between neighbours (2026-11)"),
    },
    build=_tofu,
    sources=("Torus fusion (Wikipedia): 6D mesh/torus, 5 GB/s a link and direction, 4 Tofu interfaces",),
    own_assumed={
        "shape": "24x18x17 units of 2x3x2: 88,128 nodes (some say 88,192); all dimensions wrap (2026-11)",
        "jobs": "other numbers of nodes are boxes near to a cube that wrap, as jobs' virtual tori (2026-11)",
    },
    hints=lambda nodes: {"shape": written(tofu_shape(nodes))},
)

# ---------------------------------------------------------------------------------------------------------------------
# TPU pods


def tpu_shape(nodes: int, most: Shape) -> Shape:
    """Of the slice with so many hosts of 4 chips: near to a square or a cube, the longer sides last."""
    return near_cube(4 * nodes, most)


def _tpu(nodes: int, cables: Mapping[str, Cable], most: Shape, wraps: Callable[[Shape], Shape]) -> Topology:
    shape = tpu_shape(nodes, most)
    return Torus(shape, wraps(shape)).topology(cables["ici"], None, cables["ici"])


def _at_full_length(most: Shape) -> Callable[[Shape], Shape]:
    """Copper cables close a ring where a slice spans the pod."""
    return lambda shape: tuple(int(size == limit) for size, limit in zip(shape, most, strict=True))


def _of_whole_cubes(shape: Shape) -> Shape:
    """Optical switches close rings of slices that are made of cubes 4x4x4."""
    return (int(all(size % 4 == 0 for size in shape)),) * len(shape)


def _pod(
    name: str, device: Device, link: LinkClass, most: Shape, wraps: Callable[[Shape], Shape], source: str, wrap: str
) -> Machine:
    box = "x".join(map(str, most))
    return Machine(
        name=name,
        what=f"{device.name.removesuffix(' chip')} pod: hosts of 4 chips, a {len(most)}D torus of up to {box} chips",
        device=device,
        devices_per_node=4,
        nics=f"{2 * len(most)} ICI links a chip",
        most_nodes=prod(most) // 4,
        links={"ici": link},
        build=partial(_tpu, most=most, wraps=wraps),
        sources=(source,),
        own_assumed={
            "wrap": wrap,
            "slices": "a slice is as near to a cube as can be (2026-11)",
        },
        hints=lambda nodes: {
            "shape": written(tpu_shape(nodes, most)),
            "wrap": written(wraps(tpu_shape(nodes, most))),
        },
    )


COPPER = "a dimension wraps only where the slice spans the pod, from memory (2026-11)"
OPTICAL = "slices of whole cubes 4x4x4 wrap, smaller ones do not, from memory (2026-11)"
tpu_v2 = _pod(
    "tpu_v2",
    devices.TPU_V2,
    LINKS["tpu_ici_v2"],
    (16, 16),
    _at_full_length((16, 16)),
    "256 chips (quoted from Google); ASSUMED: 16x16, from memory (2026-11)",
    COPPER,
)
tpu_v3 = _pod(
    "tpu_v3",
    devices.TPU_V3,
    LINKS["tpu_ici_v3"],
    (32, 32),
    _at_full_length((32, 32)),
    "ASSUMED: 1024 chips, 32x32, from memory (2026-11)",
    COPPER,
)
tpu_v4 = _pod(
    "tpu_v4",
    devices.TPU_V4,
    LINKS["tpu_ici_v4"],
    (16, 16, 16),
    _of_whole_cubes,
    "glennklockwood.com, TPUv4: 4096 chips in 64 cubes of 4x4x4, 3D torus, 6 links a chip",
    OPTICAL,
)
