"""Named machines beside their bounds and published measurements: ``python -m experiments.systems`` writes the page."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import exp, gcd, log, prod
from pathlib import Path
from statistics import median

from jinja2 import Environment, StrictUndefined

from collectives.registry import find
from commsim import Algorithm, Result, System, simulate
from experiments.published import nccl_tests
from topologies import MACHINES
from topologies import find as find_system

PAGE = Path(__file__).parents[1] / "docs" / "systems.md"
GIB = 2**30
LEVELS = ("module", "switch", "socket", "node")
GROUPS = ("unit", "group")  # of nodes, on a fabric
FEW_NODES, MANY_NODES = 16, 32
LARGE_PLANE = 16  # of more devices not all send to all
MESSAGES = 2**16  # so many are soon simulated: segments are as many as they allow, within limits
MANY_MESSAGES = 3 * 2**19  # the same where few segments are no choice

MISSES: Mapping[str, str] = {
    "tpu_v3": "512 chips, 16x32 that wrap one way, 1.46: a reduce-scatter along a line loads each of its links in one "
    "direction only as far as the other does not, and an allgather the rest; the bound is reached where the two of "
    "different segments always overlap. With 8 segments instead of 4 it is 1.36, with twice the messages to simulate",
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
        return [_on_a_torus(notes["shape"], notes.get("wrap", ""), system.n_devices)]
    per_node = sizes[-1] if sizes else 1
    nodes = system.n_devices // per_node
    by_ways = [_by_ways(notes["ways"], system, nodes)] if "ways" in notes else []
    if nodes == 1:
        return _in_a_node(system, sizes) + by_ways
    if "rings" not in notes:
        return [_level_by_level(sizes, nodes), *by_ways]
    return by_ways if by_ways and nodes > MANY_NODES else [_in_rings(notes["rings"], nodes), *by_ways]


def _factors(n: int) -> list[int]:
    """Prime factors, the smallest first."""
    found, least = [], 2
    while n > 1:
        while n % least:
            least += 1
        found.append(least)
        n //= least
    return found


def _segments(per_segment: int, least: int, most: int = 32) -> int:
    """As many as bring so many messages each, up to `most` of them."""
    return max(least, min(most, MESSAGES // per_segment))


def _level_by_level(sizes: list[int], nodes: int) -> str:
    """Reduce-scatters from the smallest groups of a node to its whole, then among nodes, in steps of prime factors.

    Nodes next to each other come first: the farther the way, the less has to go there, so tapers do not matter.
    """
    inside = [size // below for below, size in zip([1, *sizes], sizes, strict=False)]
    inside = [part for one in inside for part in (_factors(one) if one > LARGE_PLANE else [one])]
    *shape, last = [*inside, *_factors(nodes)]
    per_segment = prod([*shape, last]) * 2 * (sum(shape) + last - len(shape) - 1)
    segments = _segments(per_segment, 8)
    return f"node_split:ranks_per_node={_written(shape or [1])},intra=linear,inter=ring,segments={segments}"


def _in_rings(rings: str, nodes: int) -> str:
    """The rings of a node, and nodes as above. Of many only the first ring, where its links are double."""
    first = rings.partition("/")[0]
    rings = first.partition("*")[0] if nodes > MANY_NODES and "*" in first else rings
    factors = _factors(nodes)
    segments = 4 if nodes > FEW_NODES and "/" in rings else 6  # each is a lane of every ring, twice
    across = f"torus_bucket:shape={_written(factors)}" if len(factors) > 1 else "ring"
    return f"multi_ring:rings={rings},inter={across},segments={segments}"


def _by_ways(ways: str, system: System, nodes: int) -> str:
    """The ways of a node, and nodes as the fabric groups them: the smallest groups in steps, the others all to all.

    In common steps where many nodes are in several groups: there ways between groups differ in length, and with clocks
    of their own no two ranks would do the same at the same time.
    """
    tiers = [system.topology.tiers[tier][: system.n_devices] for tier in GROUPS if tier in system.topology.tiers]
    held = [int((groups == groups[0]).sum()) * nodes // system.n_devices for groups in tiers]
    units = sorted({gcd(nodes, size) for size in held} - {1, nodes})
    ratios = [above // below for below, above in pairwise([1, *units, nodes]) if above % below == 0]
    inner, *outer = ratios if prod(ratios) == nodes else [nodes]
    across = [*_factors(inner), *outer]
    in_step = int(bool(outer) and nodes > MANY_NODES)
    per_segment = system.n_devices * 2 * (ways.count("/") + 1) * max(sum(across) - len(across), 1)
    segments = _segments(per_segment, 8, 128)
    if in_step:
        segments = max(segments, min(16, MANY_MESSAGES // per_segment))
    shape = _written(across[:-1] or [1])  # the last is what is left
    return f"node_ways:ways={ways},across={shape},segments={segments},in_step={in_step}"


def _on_a_torus(shape: str, wrap: str, n_devices: int) -> str:
    """Along rings both ways; lines need more segments, since two of them fill their links together."""
    lines = shape.split("x")
    sides = zip(lines, wrap.split("x") if wrap else ["1"] * len(lines), strict=True)
    sizes, wraps = zip(*((size, "1" if size == "2" else one) for size, one in sides if size != "1"), strict=True)
    parts = len(sizes) * (1 + ("1" in wraps))
    per_segment = parts * n_devices * 2 * sum(int(size) - 1 for size in sizes)
    segments = min(_segments(per_segment, 2), 4)
    if "0" in wraps:
        segments = max(_segments(per_segment, 2), min(4, MANY_MESSAGES // per_segment))
    return f"torus_bucket:shape={'x'.join(sizes)},wrap={'x'.join(wraps)},parts={parts},segments={segments}"


def _in_a_node(system: System, sizes: list[int]) -> list[str]:
    specs = ["ring_segmented:segments=8", "all_pairs"]
    if "rings" in system.notes:
        specs.append(f"multi_ring:rings={system.notes['rings']}")
    shape = [size // below for below, size in zip([1, *sizes], sizes[:-1], strict=False)]
    return specs + ([f"node_split:ranks_per_node={_written(shape)},intra=linear,inter=ring,segments=16"] * bool(shape))


def _written(shape: list[int]) -> str:
    return "x".join(map(str, shape))


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
    "nccltests_azure_nd_a100_1n8": ("azure_nd_a100", ("ring",)),
    "nccltests_azure_nd_h100_1n8": ("azure_nd_h100", IN_A_NODE),
    "nccltests_abci_a_1n8": ("abci_a", ("ring",)),
    "nccltests_abci_v_1n4": ("abci_v", ("ring", "all_pairs")),
    "nccltests_abci_v_2n8": ("abci_v:nodes=2", ACROSS[:2]),
    "nccltests_abci_v_16n64": ("abci_v:nodes=16", ACROSS[:2]),
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
