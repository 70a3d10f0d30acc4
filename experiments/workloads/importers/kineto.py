"""Traces of PyTorch's profiler (Kineto): ``prof.export_chrome_trace("trace.json")``, packed by gzip or not.

A collective is asked for on the CPU (``c10d::allreduce_`` or, with NCCL, ``record_param_comms``) and runs elsewhere: on
a gloo thread (``gloo:all_reduce``) or as a kernel (``ncclDevKernel_AllReduce_…``). Names and arguments as PyTorch 2.13
writes them with gloo; ASSUMED with NCCL: those of its source (torch/csrc/distributed/c10d/ParamCommsUtils.hpp).
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from commsim.errors import InputError, unknown_name
from experiments.workloads.importers.recording import collective_of, recorded_workload
from experiments.workloads.importers.trace_events import Event, events_of, parsed
from experiments.workloads.workload import BITS_OF_DTYPE, Recorded, Workload

DTYPES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "c10::half": "float16",
    "bfloat16": "bfloat16",
    "c10::bfloat16": "bfloat16",
    "long int": "int64",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "char": "int8",
    "signed char": "int8",
    "byte": "uint8",
    "unsigned char": "uint8",
    "bool": "bool",
}
STEP = re.compile(r"ProfilerStep#(\d+)$")
KERNEL = re.compile(r"nccl(?:Dev)?Kernel_(AllReduce|Broadcast|ReduceScatter|AllGather|Reduce|AllToAll)")
BACKWARD = "autograd::engine::evaluate_function"
NCCL_NAME, NCCL_COUNTS = "Collective name", ("In msg nelems", "Out msg nelems")


def is_kineto(values: Any) -> bool:
    """Whether a JSON value is such a trace."""
    return isinstance(values, dict) and "traceEvents" in values


def read_kineto(path: Path, step: int | None = None) -> Workload:
    """The collectives of one step, when each was ready and when it ran, and the passes between which they fell.

    `step` is the number of a ``ProfilerStep#``, by default the last; without such marks the whole trace is one step.

    Raises
    ------
    InputError
        Naming the file and what is wrong: no such step, a collective without a size, no gradient.
    """
    values = parsed(path)
    if not is_kineto(values):
        raise InputError(f"{path}: no 'traceEvents': no trace of the profiler")
    events = events_of(values["traceEvents"], path)
    number, begin_s, end_s = _window(events, step, path)
    inside = [one for one in events if one.phase == "X" and begin_s <= one.start_s < end_s]
    recorded = list(_recorded(inside, events, begin_s, path))
    if not recorded:
        raise InputError(f"{path}: {number} has no collective (c10d::, record_param_comms, gloo: or nccl:)")
    backward = [one for one in inside if one.name.startswith(BACKWARD)]
    passes: dict[str, float] = {}
    if backward:
        passes["backward_begin_s"] = passes["forward_s"] = min(one.start_s for one in backward) - begin_s
        passes["backward_end_s"] = max(one.end_s for one in backward) - begin_s
    of = values.get("distributedInfo")
    where = f", rank {of.get('rank')} of {of.get('world_size')}, {of.get('backend')}" if isinstance(of, dict) else ""
    return recorded_workload(str(path), recorded, f"{path.name}, Kineto trace, {number}{where}", **passes)


def _window(events: Sequence[Event], step: int | None, path: Path) -> tuple[str, float, float]:
    marks = {int(found[1]): one for one in events if (found := STEP.search(one.name)) and one.phase == "X"}
    if not marks:
        if step is not None:
            raise InputError(f"{path}: step={step}: it has no ProfilerStep#; call prof.step() after each iteration")
        timed = [one for one in events if one.phase == "X"]
        if not timed:
            raise InputError(f"{path}: none of its {len(events)} events has a duration")
        return "the whole trace", min(one.start_s for one in timed), float("inf")
    chosen = max(marks) if step is None else step
    if chosen not in marks:
        raise unknown_name(f"step in {path}:", str(chosen), map(str, marks))
    return f"ProfilerStep#{chosen}", marks[chosen].start_s, marks[chosen].end_s


def _recorded(inside: Sequence[Event], events: Sequence[Event], begin_s: float, path: Path) -> Iterator[Recorded]:
    """Each request with the run that belongs to it: of one collective and size they keep their order."""
    runs: dict[tuple[str, int], deque[Event]] = defaultdict(deque)
    for one in sorted((one for one in events if one.start_s >= begin_s), key=lambda one: one.start_s):
        if (ran := _run(one)) is not None:
            runs[ran].append(one)
    for asked, collective in _requests(inside):
        n_elements = _n_elements(asked, path)
        ran = (collective, n_elements)
        run = runs[ran].popleft() if runs[ran] else None
        dtype = _dtype(asked, run, path)
        yield Recorded(
            collective,
            n_elements * BITS_OF_DTYPE[dtype] // 8,
            asked.start_s - begin_s,
            dtype,
            None if run is None else run.start_s - begin_s,
            None if run is None else run.end_s - begin_s,
        )


def _requests(inside: Iterable[Event]) -> list[tuple[Event, str]]:
    """Where collectives are asked for: NCCL's records, else c10d's calls, else what ran on a thread."""
    ordered = sorted(inside, key=lambda one: (one.start_s, one.place))
    for word_of in (_nccl_word, _c10d_word, _annotation_word):
        found = [(one, kind) for one in ordered if (word := word_of(one)) and (kind := collective_of(word))]
        if found:
            return found
    return []


def _nccl_word(one: Event) -> str | None:
    word = one.args.get(NCCL_NAME) if one.name == "record_param_comms" else None
    return str(word) if word else None


def _c10d_word(one: Event) -> str | None:
    return one.name.removeprefix("c10d::").rstrip("_") if one.name.startswith("c10d::") else None


def _annotation_word(one: Event) -> str | None:
    backend, colon, word = one.name.partition(":")
    return word if colon and backend in ("gloo", "nccl", "mpi", "ucc") else None


def _run(one: Event) -> tuple[str, int] | None:
    """The collective and the elements of an event in which one ran."""
    kernel = KERNEL.match(one.name)
    word = kernel[1] if kernel else _annotation_word(one) if one.name.startswith("gloo:") else None
    collective = collective_of(word) if word else None
    counts = _counts(one.args)
    return None if collective is None or counts is None else (collective, counts)


def _counts(args: Mapping[str, Any]) -> int | None:
    """Elements of the whole vector: of what goes in and what comes out, the larger."""
    counts: list[int] = [args[key] for key in NCCL_COUNTS if type(args.get(key)) is int]
    if counts:
        return max(counts)
    dims = args.get("Input Dims")
    found = [_elements(one) for one in dims[:2]] if isinstance(dims, list) and dims else []
    return max(found, default=0) or None


def _elements(dims: Any) -> int:
    """Elements of a shape, or of a list of shapes."""
    if not isinstance(dims, list) or not dims:
        return 0
    if all(type(extent) is int for extent in dims):
        return prod(dims)
    return sum(_elements(one) for one in dims)


def _n_elements(one: Event, path: Path) -> int:
    counts = _counts(one.args)
    if counts is None:
        if collective_of(str(one.args.get(NCCL_NAME))) == "barrier" or "barrier" in one.name:
            return 0
        raise InputError(
            f"{path}: event {one.place} ({one.name}) does not say how much it moves; record with record_shapes=True"
        )
    return counts


def _dtype(asked: Event, run: Event | None, path: Path) -> str:
    """Its type where the request or the run says so; else float32 (ASSUMED)."""
    for one in (asked, run):
        types = one.args.get("Input type") if one is not None else None
        named = (one.args.get("dtype") if one is not None else None) or (types[0] if isinstance(types, list) else None)
        if named and str(named).lower() not in ("tensorlist", ""):
            if str(named).lower() not in DTYPES:
                raise unknown_name(f"type of event {asked.place} in {path}:", str(named).lower(), DTYPES)
            return DTYPES[str(named).lower()]
    return "float32"
