"""Named machines beside their bounds and published measurements: ``python -m experiments.systems`` writes the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from math import exp, log
from pathlib import Path
from statistics import median

from jinja2 import Environment, StrictUndefined

from collectives.grids import near_square
from collectives.helpers import largest_power_of_two
from collectives.registry import find
from commsim import Algorithm, Result, System, simulate
from experiments.published import nccl_tests
from topologies import MACHINES
from topologies import find as find_system

PAGE = Path(__file__).parents[1] / "docs" / "systems.md"
GIB = 2**30
LEVELS = ("module", "switch", "socket", "node")
MANY_NODES = 16
MANY_RING_NODES = 80
MOST_IN_A_RING = 130
LARGE_PLANE = 16  # of more devices not all send to all

MISSES: Mapping[str, str] = {
    "frontera": "the two sockets of a node share a NIC over a link that is slower than it, and both send their halves; "
    "a schedule in which one socket alone speaks would come nearer",
    "frontier": "one node: no set of rings fills links of one, two and four strands at once, and the bound counts all; "
    "64 nodes: few segments, for speed",
    "tpu_v2": "a slice that does not span the pod is a mesh: its rings come back over the links that they went, and "
    "its corners have fewer links than the average that the bound counts",
    "tpu_v3": "as tpu_v2",
    "tpu_v4": "as tpu_v2, in slices that are no whole cubes 4x4x4",
}
"""Machines whose best algorithm is not always within 1.3 of the bound, with the cause."""

# ---------------------------------------------------------------------------------------------------------------------
# Algorithms that suit a machine


def levels(system: System) -> list[int]:
    """Devices in the groups of a node, from the smallest to the node: ``[3, 6]`` for Summit."""
    sizes = []
    for tier in LEVELS:
        groups = system.topology.tiers.get(tier)
        if groups is not None:
            sizes.append(int((groups[: system.n_devices] == groups[0]).sum()))
    return sorted({size for size in sizes if size > 1})


def candidates(system: System) -> list[Algorithm]:
    """Allreduces of large vectors that suit the machine, a few of them."""
    return [find("allreduce", spec) for spec in _specs(system)]


def best(system: System, n_bytes: int) -> Result:
    """The fastest of them."""
    results = [simulate(one, system, n_bytes, model="fluid") for one in candidates(system)]
    return min(results, key=lambda result: result.time_s)


def _specs(system: System) -> list[str]:
    notes, sizes = system.notes, levels(system)
    if "shape" in notes:
        return [_on_a_torus(notes["shape"], system.n_devices)]
    per_node = sizes[-1] if sizes else 1
    nodes = system.n_devices // per_node
    if nodes == 1:
        return _in_a_node(system, sizes)
    few = nodes < MANY_NODES
    across = "rabenseifner" if few or _halves_meet(system, per_node) else "ring"
    if per_node == 1:
        return [across if few else "ring"]
    if nodes > MOST_IN_A_RING:
        return [_split([*sizes, per_node * _neighbours(system, per_node)], "ring", 4)]
    if "rings" in notes:
        return [f"multi_ring:rings={notes['rings']},inter={across},segments={6 if few else 4}"]
    return [_split(sizes, across, 32 if few else 8 if nodes < MANY_RING_NODES else 4)]


def _neighbours(system: System, per_node: int) -> int:
    """Nodes of one leaf or router, where they divide all; else about as many as there are such groups."""
    tiers = [groups for tier, groups in system.topology.tiers.items() if tier not in LEVELS]
    nodes = system.n_devices // per_node
    sizes = [int((groups[: system.n_devices] == groups[0]).sum()) // per_node for groups in tiers]
    fitting = [size for size in sizes if 1 < size < nodes and nodes % size == 0]
    return min(fitting, default=near_square(nodes)[0])


def _halves_meet(system: System, per_node: int) -> bool:
    """Whether nodes at a distance of a power of two share no cable: a tree whose groups are powers of two."""
    tiers = {tier: groups for tier, groups in system.topology.tiers.items() if tier not in LEVELS}
    if {"group", "router"} & set(tiers):
        return False
    sizes = [int((groups[: system.n_devices] == groups[0]).sum()) // per_node for groups in tiers.values()]
    nodes = system.n_devices // per_node
    return all(size == largest_power_of_two(size) for size in [*sizes, nodes])


def _on_a_torus(shape: str, n_devices: int) -> str:
    lines = [size for size in shape.split("x") if size != "1"]
    segments = 4 if n_devices < 256 else 2
    return f"torus_bucket:shape={'x'.join(lines)},parts={2 * len(lines)},segments={segments}"


def _in_a_node(system: System, sizes: list[int]) -> list[str]:
    specs = ["ring_segmented:segments=8", "all_pairs"]
    if "rings" in system.notes:
        specs.append(f"multi_ring:rings={system.notes['rings']}")
    return specs + ([_split(sizes[:-1], "ring", 16)] if len(sizes) > 1 else [])


def _split(sizes: list[int], across: str, segments: int) -> str:
    """Level by level; large planes in two."""
    factors, intra = [size // below for below, size in zip([1, *sizes], sizes, strict=False)], "linear"
    if len(factors) == 1 and factors[0] > LARGE_PLANE:
        factors, intra, segments = list(near_square(factors[0])), "ring", 8
    shape = "x".join(map(str, factors))
    return f"node_split:ranks_per_node={shape},intra={intra},inter={across},segments={segments}"


# ---------------------------------------------------------------------------------------------------------------------
# Published measurements

IN_A_NODE = ("ring", "nvls")
ACROSS = ("node_split:intra=linear", "node_split:intra=linear,segments=8", "nvls_tree:inter=rabenseifner")
MEASURED = {  # an allreduce: the system, and what a library may choose of
    "nccltests_dgxh100_1n8": ("dgx_h100", IN_A_NODE),
    "nccltests_xe9680_h100_2n16": ("dgx_h100:nodes=2", ACROSS),
    "nccltests_nebius_h100_2n16": ("dgx_h100:nodes=2", ACROSS),
    "nccltests_xe9680_h100_4n32": ("dgx_h100:nodes=4", ACROSS),
    "nccltests_cw_h100_sharp_8n64": ("dgx_h100:nodes=8,in_network=both", ("collnet_direct",)),
    "nccltests_awsp5_2n16": ("aws_p5:nodes=2", ACROSS),
    "nccltests_cw_gb200_1rack72": ("gb200_nvl72", IN_A_NODE),
    "nccltests_alps_gh200_2n8": ("alps_gh200:nodes=2", ACROSS[:2]),
    "nccltests_mi300x_1n8": ("mi300x", ("ring", "all_pairs")),
}
CLASSES = ((0, 2**16), (2**16, 2**23 + 1), (2**23 + 1, 2**60))
"""Sizes that are scored apart: below 64 KiB, to 8 MiB, above."""


def compared(name: str) -> list[tuple[int, float, float]]:
    """Bytes, measured seconds and predicted ones, of a shipped measurement: of every fourth size, up to 1 GiB."""
    spec, algorithms = MEASURED[name]
    system = find_system(spec)
    chosen = [find("allreduce", one) for one in algorithms]
    rows = []
    for n_bytes, measured_s in nccl_tests(name).points:
        if 0 < n_bytes <= GIB and n_bytes.bit_length() % 2:
            predicted_s = min(simulate(one, system, n_bytes, model="fluid").time_s for one in chosen)
            rows.append((n_bytes, measured_s, predicted_s))
    return rows


def _score(rows: list[tuple[int, float, float]], least: int, most: int) -> str:
    """``"× 0.61 (1.8)"``: median of predicted over measured, and of the factor between them, whichever is larger."""
    ratios = [predicted / measured for n_bytes, measured, predicted in rows if least <= n_bytes < most]
    if not ratios:
        return "–"
    return f"{median(ratios):.2f}, off by {exp(median(abs(log(ratio)) for ratio in ratios)):.2f}x"


# ---------------------------------------------------------------------------------------------------------------------
# The page

TEXT = """\
# Machines

Made by `python -m experiments.systems`. Each is a name (`-s summit:nodes=16`) with its figures as keys; `commsim list
systems` tells their sources and what is ASSUMED. The inside of a node is part of the graph: `commsim topology show
summit:nodes=2 -o summit.svg`. A link carries its specified rate times an efficiency, both in `topologies/links.py` with
their sources; the names there stand for values: `dgx_h100:nodes=4,nic_bandwidth=infiniband_xdr`.

| name | devices a node | NICs | nodes | 1 GiB allreduce over its bound on 1, 2, 8 nodes | figures assumed |
|---|---|---|---|---|---|
{% for row in machines -%}
| {{ row | join(" | ") }} |
{% endfor %}
The algorithm is the fastest of a few that suit the machine (`experiments/systems.py`), in the model `fluid`; the bound
is that of `commsim simulate`, without in-network reduction. `make bench` does the same at up to 4,096 ranks.

Not within 1.3 of the bound:

| machine | cause |
|---|---|
{% for name, cause in misses -%}
| `{{ name }}` | {{ cause }} |
{% endfor %}
## Against published measurements

Predicted over measured time, median over sizes, and by which factor it is off in the median. The prediction is the
fastest of the named algorithms in `fluid`, on the machine's figures as they stand: nothing is fitted, no library's
overheads are in it. So small sizes come out too fast: the launch of a kernel and a library's protocols are missing.

| measurement | system | of | below 64 KiB | 64 KiB to 8 MiB | above 8 MiB |
|---|---|---|---|---|---|
{% for row in measured -%}
| {{ row | join(" | ") }} |
{% endfor %}
NVLS passes a rank's own share through the switch too, and NCCL counts 0.85 of NVLink's rate for it; neither is counted.
`nvls_tree` is not overlapped as NCCL's is. What a cloud's network does beyond its NICs is not modelled.
"""


def machine_rows() -> Iterator[tuple[str, ...]]:
    """Of every machine what the page tells."""
    for name, machine in MACHINES.items():
        nodes = [n for n in (1, 2, 8) if n <= machine.most_nodes and n * machine.devices_per_node > 1]
        results = [best(machine(n), GIB) for n in nodes]
        ratios = ", ".join(f"{result.time_s / (result.bound_s or 1):.2f}" for result in results)
        device = f"{machine.devices_per_node} {machine.device.name}"
        yield f"`{name}`", device, machine.nics, str(machine.most_nodes), ratios, str(len(machine.assumed))


def measured_rows() -> Iterator[tuple[str, ...]]:
    """Of every measurement how far off the predictions are."""
    for file, (system, algorithms) in MEASURED.items():
        rows, link = compared(file), f"[{file.removeprefix('nccltests_')}](../experiments/data/{file}.csv)"
        names = dict.fromkeys(one.partition(":")[0] for one in algorithms)
        yield link, f"`{system}`", ", ".join(names), *(_score(rows, *sizes) for sizes in CLASSES)


def main() -> None:
    """Write the page."""
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(TEXT)
    text = page.render(machines=machine_rows(), misses=MISSES.items(), measured=measured_rows())
    PAGE.write_text(text)
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
