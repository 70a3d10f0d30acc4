"""Horovod's timeline (``HOROVOD_TIMELINE=file.json``): of each tensor when it was ready, and when its allreduce ran.

Each tensor is a process of the trace. ``NEGOTIATE_ALLREDUCE`` begins when it is ready on the rank that writes (rank 0),
``ALLREDUCE`` is its exchange; the event that ends it has type and shape in newer versions (horovod/common/timeline.cc).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from commsim.errors import InputError
from experiments.workloads.importers.recording import collective_of, recorded_workload
from experiments.workloads.importers.trace_events import Event, events_of, parsed
from experiments.workloads.workload import BITS_OF_DTYPE, Recorded, Workload

NEGOTIATION = "NEGOTIATE_"


@dataclass
class _Pass:
    """One exchange of a tensor."""

    ready_s: float
    start_s: float | None = None
    end_s: float | None = None
    args: Mapping[str, Any] = field(default_factory=dict)


def is_horovod(values: Any) -> bool:
    """Whether a JSON value is such a timeline: a bare list of events."""
    return isinstance(values, list) and bool(values) and isinstance(values[0], dict)


def read_horovod(path: Path, step: int | None = None, tensors: str | None = None) -> Workload:
    """The gradients in the order in which they were ready, and when each was exchanged.

    `step` counts from 0 how often a tensor was exchanged, by default the last time; `tensors` is the workload that
    knows their sizes, where the file does not. Times count from the first tensor of the step on.

    Raises
    ------
    InputError
        Naming the file and the tensor: no size, another number of steps than the others.
    """
    values = parsed(path)
    if not is_horovod(values):
        raise InputError(f"{path}: no list of events: no timeline of Horovod")
    passes = _passes(events_of(values, path), path)
    n_steps = min((len(found) for found in passes.values()), default=0)
    if not n_steps:
        raise InputError(f"{path}: no {NEGOTIATION}ALLREDUCE: no tensor was exchanged")
    chosen = n_steps - 1 if step is None else step
    if not 0 <= chosen < n_steps:
        raise InputError(f"{path}: step={chosen}: it has the steps 0 to {n_steps - 1}")
    sizes = _sizes(tensors)
    of_step = {key: found[chosen] for key, found in passes.items()}
    begin_s = min(one.ready_s for one in of_step.values())
    recorded = [
        _recorded(collective, name, one, begin_s, sizes, path)
        for (collective, name), one in sorted(of_step.items(), key=lambda item: item[1].ready_s)
    ]
    return recorded_workload(
        str(path), recorded, f"{path.name}, Horovod timeline, step {chosen}; no forward pass in it"
    )


def _passes(events: list[Event], path: Path) -> dict[tuple[str, str], list[_Pass]]:
    """The exchanges of each tensor, by its collective and name."""
    names = {one.track[0]: str(one.args.get("name")) for one in events if one.name == "process_name"}
    found: dict[tuple[str, str], list[_Pass]] = defaultdict(list)
    opened: dict[Any, list[str]] = defaultdict(list)
    for one in events:
        track = one.track[0]
        name, stack = names.get(track, f"tensor {track}"), opened[track]
        if one.phase == "B":
            stack.append(one.name)
            kind = collective_of(one.name.removeprefix(NEGOTIATION))
            if kind and one.name.startswith(NEGOTIATION):
                found[kind, name].append(_Pass(one.start_s))
            elif kind and found.get((kind, name)) and len(stack) == 1:
                found[kind, name][-1].start_s = one.start_s
        elif one.phase == "E":
            if not stack:
                raise InputError(f"{path}: event {one.place} ends what did not begin, of {name}; is the file cut?")
            kind = collective_of(stack.pop())
            if kind and not stack and found.get((kind, name)):
                found[kind, name][-1].end_s, found[kind, name][-1].args = one.start_s, one.args
    return {key: whole for key, every in found.items() if (whole := [one for one in every if one.end_s is not None])}


def _sizes(spec: str | None) -> dict[str, tuple[int, str]]:
    """Bytes and type of every tensor of a workload."""
    if spec is None:
        return {}
    from experiments.workloads.registry import find

    return {one.name: (one.n_bytes, one.dtype) for one in find(spec).gradients}


def _recorded(
    collective: str, name: str, one: _Pass, begin_s: float, sizes: Mapping[str, tuple[int, str]], path: Path
) -> Recorded:
    n_bytes, dtype = _size(name, one.args, sizes, path)
    start_s = None if one.start_s is None else one.start_s - begin_s
    end_s = None if one.end_s is None else one.end_s - begin_s
    return Recorded(collective, n_bytes, one.ready_s - begin_s, dtype, start_s, end_s, name)


def _size(name: str, args: Mapping[str, Any], sizes: Mapping[str, tuple[int, str]], path: Path) -> tuple[int, str]:
    extents, dtype = re.findall(r"\d+", str(args.get("shape", ""))), str(args.get("dtype", "")).lower()
    if "shape" in args and dtype in BITS_OF_DTYPE:
        return prod(map(int, extents)) * BITS_OF_DTYPE[dtype] // 8, dtype
    parts = re.split(r"[./]", name)  # allreduce.layer1.0.conv1.weight, DistributedOptimizer/layer1.0.conv1.weight
    for first in range(len(parts)):
        known = sizes.get(".".join(parts[first:]))
        if known is not None:
            return known
    remedy = "is not in that workload" if sizes else "say which network it is: FILE.json:tensors=resnet50"
    raise InputError(f"{path}: the size of tensor {name!r} is not in it; {remedy}")
