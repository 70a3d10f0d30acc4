"""One recorded step out of the files of all its ranks: ``trace.rank*.json``, the star standing for the rank."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from commsim.errors import InputError
from commsim.units import format_count
from experiments.workloads.importers.trace_events import parsed
from experiments.workloads.workload import Layer, Recorded, Workload

STAR = "*"
Reader = Callable[..., Workload]


def for_all_ranks(pattern: str, reader_of: Callable[[Path], Reader]) -> Reader:
    """A reader of all files of a pattern: what each rank did must be alike, and the last rank to be ready counts.

    Raises
    ------
    InputError
        If a rank's file is missing, or ranks recorded different collectives; names file and rank.
    """
    paths = _paths(pattern)
    read = reader_of(paths[0])

    @wraps(read)
    def read_all(**keys: Any) -> Workload:
        return _slowest([read(path, **keys) for path in paths], paths, pattern)

    own = inspect.signature(read)
    read_all.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])  # type: ignore[attr-defined]
    return read_all


def _paths(pattern: str) -> list[Path]:
    """The files by rank, none missing."""
    path = Path(pattern)
    if path.name.count(STAR) != 1 or STAR in str(path.parent):
        raise InputError(f"{pattern}: one {STAR!r} in the name of the files stands for the rank")
    form = re.compile(re.escape(path.name).replace(re.escape(STAR), r"(\d+)"))
    every = path.parent.iterdir() if path.parent.is_dir() else ()
    found = {int(match[1]): one for one in every if (match := form.fullmatch(one.name))}
    if not found:
        raise InputError(f"{pattern}: no file is called so, with a number for the {STAR!r}")
    n_ranks = max(max(found) + 1, _world_size(found[min(found)]))
    missing = [rank for rank in range(n_ranks) if rank not in found]
    if missing:
        shown = pattern.replace(STAR, str(missing[0]))
        raise InputError(f"{shown} is missing: of {format_count(n_ranks, 'rank')}, {len(missing)} without a file")
    return [found[rank] for rank in range(n_ranks)]


def _world_size(path: Path) -> int:
    """What a file says of the number of ranks; 0 where it does not."""
    values = parsed(path) if ".json" in path.name else {}
    if not isinstance(values, dict):
        return 0
    of = values.get("distributedInfo", values)
    said = of.get("world_size") if isinstance(of, dict) else None
    return said if type(said) is int else 0


def _slowest(read: Sequence[Workload], paths: Sequence[Path], pattern: str) -> Workload:
    first = read[0]
    if not first.recorded:
        raise InputError(f"{pattern}: {paths[0].name} describes a network, which all ranks have alike: give one file")
    for rank, one in enumerate(read):
        said, wanted = ([(r.collective, r.n_bytes) for r in of.recorded] for of in (one, first))
        if said != wanted:
            place = next((k for k, pair in enumerate(zip(said, wanted, strict=False)) if pair[0] != pair[1]), len(said))
            raise InputError(
                f"{paths[rank]}: rank {rank} has {format_count(len(said), 'collective')}, rank 0 {len(wanted)}; they "
                f"differ from number {place} on"
            )
    layers = tuple(_slowest_layer(same) for same in zip(*(one.layers for one in read), strict=True))
    recorded = tuple(_last(same) for same in zip(*(one.recorded for one in read), strict=True))
    source = f"{first.source}; the last of {format_count(len(read), 'rank')} each time"
    return replace(first, name=pattern, layers=layers, recorded=recorded, source=source)


def _slowest_layer(same: Sequence[Layer]) -> Layer:
    forward, backward = ([getattr(one, key) or 0.0 for one in same] for key in ("forward_s", "backward_s"))
    return replace(same[0], forward_s=max(forward), backward_s=max(backward))


def _last(same: Sequence[Recorded]) -> Recorded:
    starts, ends = ([getattr(one, key) for one in same] for key in ("start_s", "end_s"))
    return replace(
        same[0],
        ready_s=max(one.ready_s for one in same),
        start_s=None if None in starts else max(starts),
        end_s=None if None in ends else max(ends),
    )
