"""The matrix that ``nvidia-smi topo -m`` prints: NVLinks between GPUs, and how near PCIe devices are to each other.

``NV#`` is that many NVLinks; PIX at most one PCIe bridge between the two, PXB several, PHB a host bridge, NODE the
links inside a NUMA node, SYS those between (its own legend). The PCIe tree is the one that has those distances.
"""

from __future__ import annotations

import re
from itertools import combinations

from commsim.errors import InputError, unknown_name
from topologies.importers import figures
from topologies.importers.description import Description

LEVELS = {"PIX": "pcie", "PXB": "bridges", "PHB": "host", "NODE": "numa"}
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NVLINKS = re.compile(r"NV(\d+)")


def read(text: str) -> Description:
    """The node that the text describes.

    Raises
    ------
    InputError
        Beginning with the line.
    """
    lines = [_ANSI.sub("", line) for line in text.splitlines()]
    at = next((i for i, line in enumerate(lines) if re.match(r"\s*GPU0\s", line + " ")), None)
    if at is None:
        raise InputError("1: no line of columns GPU0 GPU1 …: is it the output of nvidia-smi topo -m?")
    head = re.split(r"\s(?:CPU|NUMA|GPU NUMA)\s", lines[at] + " ")[0].split()
    if twice := next((name for name in head if head.count(name) > 1), None):
        raise InputError(f"{at + 1}: {twice} is a column twice")
    rows = _rows(lines, at, head)
    _symmetric(rows, head)
    return _description(rows, head, _nic_names(lines), _affinity(lines, rows, head))


def _rows(lines: list[str], at: int, head: list[str]) -> dict[str, tuple[int, list[str]]]:
    """Of each device its line number and its cells."""
    rows: dict[str, tuple[int, list[str]]] = {}
    for number, line in enumerate(lines[at + 1 :], at + 2):
        words = line.split()
        if not words or words[0] not in head:
            if rows and not words:
                break
            continue
        if words[0] in rows:
            raise InputError(f"{number}: {words[0]} has a line already, {rows[words[0]][0]}")
        cells = words[1 : 1 + len(head)]
        if len(cells) < len(head):
            raise InputError(f"{number}: {words[0]} has {len(cells)} columns, and there are {len(head)} devices")
        for name, cell in zip(head, cells, strict=True):
            if (cell == "X") != (name == words[0]) or not (cell in ("X", "SYS", *LEVELS) or _NVLINKS.fullmatch(cell)):
                known = ["X"] if name == words[0] else ["SYS", *LEVELS, "NV18"]
                raise InputError(f"{number}: {words[0]} to {name}: {unknown_name('connection', cell, known)}")
        rows[words[0]] = number, cells
    missing = [name for name in head if name not in rows]
    if missing:
        raise InputError(f"{at + 1}: {missing[0]} is a column, but has no line: is the file complete?")
    return rows


def _symmetric(rows: dict[str, tuple[int, list[str]]], head: list[str]) -> None:
    for (i, a), (j, b) in combinations(enumerate(head), 2):
        (line, there), (other, back) = rows[a], rows[b]
        if there[j] != back[i]:
            raise InputError(f"{other}: {b} to {a} is {back[i]}, but by line {line} {a} to {b} is {there[j]}")


def _nic_names(lines: list[str]) -> dict[str, str]:
    """The legend of the NICs: ``NIC0: mlx5_0``."""
    return {m[1]: m[2] for line in lines if (m := re.match(r"\s*(NIC\d+):\s*(\S+)", line))}


def _affinity(lines: list[str], rows: dict[str, tuple[int, list[str]]], head: list[str]) -> dict[str, str]:
    """What stands behind the matrix for each GPU: the same for GPUs of one NUMA node."""
    found = {name: " ".join(lines[number - 1].split()[1 + len(head) :]) for name, (number, _) in rows.items()}
    return {name: text for name, text in found.items() if name.startswith("GPU") and text}


def _description(
    rows: dict[str, tuple[int, list[str]]], head: list[str], nics: dict[str, str], affinity: dict[str, str]
) -> Description:
    made = Description("nvidia-smi topo -m")
    name_of: dict[str, str] = {}
    for word in head:
        is_gpu = re.fullmatch(r"GPU\d+", word) is not None
        own = name_of[word] = word.lower() if is_gpu else f"nic{len(made.nics)}"
        made.lines[own] = rows[word][0]
        (made.devices if is_gpu else made.switches)[own] = {"node": "node0"}
        if not is_gpu:
            made.nics[own] = None
            made.comments[own] = nics.get(word, word)
    near = {}
    for (i, a), (j, b) in combinations(enumerate(head), 2):
        cell = rows[a][1][j]
        if _NVLINKS.fullmatch(cell):  # it hides how near they are on PCIe; GPUs of one NUMA node have one affinity
            cell = "NODE" if a in affinity and affinity.get(a) == affinity.get(b) else "SYS"
        near[i, j] = cell
    _tree(made, [name_of[word] for word in head], near)
    _nvlinks(made, rows, head, name_of)
    return made


def _tree(made: Description, names: list[str], near: dict[tuple[int, int], str]) -> None:
    """Level by level, a switch over what is that near to each other; at the top all NUMA nodes are linked."""
    tops = dict(enumerate(names))  # of each device the uppermost vertex so far
    group = list(range(len(names)))
    for at, (level, word) in enumerate(LEVELS.items()):
        joined = tuple(LEVELS)[: at + 1]
        for i, j in combinations(range(len(names)), 2):
            if near[i, j] in joined and group[i] != group[j]:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if own == old else own for own in group]
        n = 0
        for first in sorted(set(group)):
            below = list(dict.fromkeys(tops[i] for i in range(len(names)) if group[i] == first))
            if len(below) > 1 or level == "NODE":
                switch = f"{word}{n}"
                n += 1
                made.switches[switch] = {"node": "node0"}
                for vertex in below:
                    made.cable(vertex, switch, "pcie", figures.pcie(None, ""))
                tops |= {i: switch for i in range(len(names)) if group[i] == first}
    for a, b in combinations(dict.fromkeys(tops.values()), 2):
        made.cable(a, b, "cpus", figures.between_cpus(None, ""))


def _nvlinks(
    made: Description, rows: dict[str, tuple[int, list[str]]], head: list[str], name_of: dict[str, str]
) -> None:
    """Over NVSwitches where a GPU has not links enough to reach all others itself."""
    counts = {}
    for (i, a), (j, b) in combinations(enumerate(head), 2):
        if found := _NVLINKS.fullmatch(rows[a][1][j]):
            counts[i, j] = int(found[1])
            if counts[i, j] < 1:
                raise InputError(f"{rows[a][0]}: {a} to {b}: NV0 are no links")
    gpus = sorted({i for pair in counts for i in pair})
    most = {i: sum(count for pair, count in counts.items() if i in pair) for i in gpus}
    if gpus and max(most.values()) > figures.MOST_NVLINKS and len(set(counts.values())) == 1:
        made.switches["nvswitch"] = {"node": "node0"}
        count = next(iter(counts.values()))
        if count >= figures.MOST_NVLINKS:
            made.in_network["node"] = "both"
        for i in gpus:
            made.cable(name_of[head[i]], "nvswitch", "nvlink", figures.nvlink(None, count, to_switch=True))
        return
    for (i, j), count in counts.items():
        made.cable(name_of[head[i]], name_of[head[j]], "nvlink", figures.nvlink(None, count, to_switch=False))
