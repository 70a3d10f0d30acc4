"""Predict the time of an algorithm on a system."""

from __future__ import annotations

import time

import numpy as np

from commsim.algorithm import Algorithm
from commsim.bounds import bound_s, burst_s
from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import ImpossibleResultError, InputError, unknown_name
from commsim.layout import Layout, MatrixLayout
from commsim.models import MODELS
from commsim.models.contention_free import Run
from commsim.result import Result
from commsim.schedule import Schedule
from commsim.selection import Ints
from commsim.system import System
from commsim.units import format_count, format_time, format_volume, parse_bytes

TOLERANCE = 1e-9


def item_bytes(dtype: str) -> int:
    """Bytes of one element.

    Raises
    ------
    InputError
        If numpy knows no such type.
    """
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        found = None
    if found is None or dtype is None or found.kind not in "biufc":
        raise InputError(f"unknown dtype {dtype!r}; write it like float32, int64 or uint8")
    return found.itemsize


def n_elements(n_bytes: int, dtype: str) -> int:
    """Whole elements in a vector of `n_bytes`.

    Raises
    ------
    InputError
        If it is not a whole number of them; names the nearest sizes.
    """
    item = item_bytes(dtype)
    count, rest = divmod(n_bytes, item)
    if rest:
        near = f"{n_bytes - rest} or {n_bytes - rest + item}"
        raise InputError(f"{n_bytes} B is not a whole number of {dtype} elements ({item} B each); use {near}")
    return count


def simulate(
    algorithm: Algorithm,
    system: System,
    n_bytes: int | str,
    *,
    n_ranks: int | None = None,
    model: str = "fluid",
    root: int = 0,
    dtype: str = "float32",
    counts: Ints | None = None,
    timeline: bool | Ints = False,
    disturbance: Disturbance = NO_DISTURBANCE,
) -> Result:
    """Predict how long `algorithm` takes on `system`.

    Parameters
    ----------
    algorithm : Algorithm
        Open parameters take their defaults for this size and this system's nodes.
    system : System
    n_bytes : int or str
        Size of the vector: ``2**20`` or ``"1MiB"``.
    n_ranks : int, optional
        All devices of the system by default; ranks fill it in order: see :func:`commsim.placed` for others.
    model : {"fluid", "hockney", "loggp"}
    root : int
    dtype : str
        Chunks are whole elements of it.
    counts : array (n_ranks, n_ranks), optional
        For alltoallv: elements that each rank sends to each. `n_bytes` must then be what the busiest rank sends.
    timeline : bool or array of int
        Record every message (of these ranks); at most 5 million.
    disturbance : Disturbance, optional
        Late starts, slow ranks, jitter. Time counts from the earliest moment at which a rank may start.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        For a case that does not exist or that algorithm or system refuse.
    ImpossibleResultError
        If the model's answer is below a physical bound (it ignores contention); names the link.

    Examples
    --------
    >>> import collectives, topologies
    >>> from commsim import simulate
    >>> star = topologies.star(hosts=8, bandwidth_Bps=25e9, latency_s=500e-9)
    >>> result = simulate(collectives.allreduce.ring, star, "1MiB")
    >>> print(f"{result.time_s * 1e6:.3f} us, {result.bottleneck}")
    87.400 us, host0→switch 84 % busy
    """
    started = time.perf_counter()
    if model not in MODELS:
        raise unknown_name("model", model, MODELS)
    schedule, layout = prepared(algorithm, system, n_bytes, n_ranks=n_ranks, root=root, dtype=dtype, counts=counts)
    resolved, ranks, size = schedule.algorithm, schedule.n_ranks, parse_bytes(n_bytes)
    wanted = np.arange(ranks) if timeline is True else None if timeline is False else np.asarray(timeline)
    done = MODELS[model].run(schedule, system, layout, wanted, disturbance)
    collective = resolved.collective
    between = None if counts is None else np.asarray(counts) * item_bytes(dtype)
    bound = bound_s(collective, system, ranks, size, root, in_network=done.in_network, between=between)
    time_s = float(done.finish_s.max())
    _refuse_impossible(resolved.spec, system, model, time_s, bound, done)
    return Result(
        collective=collective.name,
        algorithm=resolved.name,
        params=resolved.params,
        root=root if collective.rooted else None,
        op="sum" if collective.reduces else None,
        dtype=dtype,
        system=system.name,
        placement=system.placement,
        seed=disturbance.seed if disturbance.is_drawn else system.seed,
        model=model,
        engine=done.engine,
        n_ranks=ranks,
        n_bytes=size,
        time_s=time_s,
        bound_s=bound,
        in_network=done.in_network,
        bottleneck=_bottleneck(system, time_s, done),
        n_messages=done.n_messages,
        wall_s=time.perf_counter() - started,
        disturbance=None if disturbance.is_none else str(disturbance),
        finish_s=done.finish_s,
        link_bytes=done.link_bytes,
        link_busy_s=done.link_busy_s,
        timeline=done.timeline,
    )


def prepared(
    algorithm: Algorithm,
    system: System,
    n_bytes: int | str,
    *,
    n_ranks: int | None = None,
    root: int = 0,
    dtype: str = "float32",
    counts: Ints | None = None,
) -> tuple[Schedule, Layout]:
    """What :func:`simulate` hands to a model. Parameters and errors as it has them."""
    size = parse_bytes(n_bytes)
    ranks = system.n_places if n_ranks is None else n_ranks
    resolved = algorithm.resolved(ranks, size, system.ranks_per_node(ranks))
    system.require(ranks)
    schedule = Schedule(resolved, ranks, root)
    return schedule, _layout(schedule, size, dtype, counts)


def unbound_s(
    algorithm: Algorithm,
    system: System,
    n_bytes: int | str,
    *,
    n_ranks: int | None = None,
    dtype: str = "float32",
    model: str = "fluid",
) -> float:
    """The time of what is no collective of all ranks: no bound of one binds it. Parameters as :func:`simulate`'s."""
    schedule, layout = prepared(algorithm, system, n_bytes, n_ranks=n_ranks, dtype=dtype)
    return float(MODELS[model].run(schedule, system, layout, None, NO_DISTURBANCE).finish_s.max())


def _layout(schedule: Schedule, n_bytes: int, dtype: str, counts: Ints | None) -> Layout:
    collective, n_ranks = schedule.algorithm.collective, schedule.n_ranks
    item, count = item_bytes(dtype), n_elements(n_bytes, dtype)
    if collective.joins and n_bytes:
        raise InputError(f"{collective.name} moves no data: its size is 0 B, not {n_bytes} B")
    if not collective.sizes_each:
        if counts is not None:
            raise InputError(f"{collective.name} has one size for all ranks; counts are alltoallv's")
        return Layout.of(schedule.space, collective, n_ranks, count, item)
    if counts is None or np.shape(counts) != (n_ranks, n_ranks):
        shape = "none" if counts is None else f"an array of shape {np.shape(counts)}"
        raise InputError(
            f"{collective.name} needs counts ({n_ranks}, {n_ranks}), elements from each rank to each; got {shape}"
        )
    layout = MatrixLayout.of_counts(schedule.space, np.asarray(counts), item)
    if layout.n_bytes != n_bytes:
        raise InputError(f"n_bytes={n_bytes} must be what the busiest rank sends by counts: {layout.n_bytes}")
    return layout


def _refuse_impossible(spec: str, system: System, model: str, time_s: float, bound: float, done: Run) -> None:
    """Below a bound, the model's answer would be a lie."""
    if not system.topology.n_links:
        return  # one device
    links, busiest = system.topology.links, int(np.argmax(done.link_busy_s))
    busy_s = done.link_busy_s[busiest]
    if busy_s - burst_s(system) > time_s * (1 + TOLERANCE):
        carried = f"{system.topology.link_name(busiest)} must carry {format_volume(done.link_bytes[busiest])}"
        raise ImpossibleResultError(
            f"{spec} on {system.name}: link {carried}, at least {format_time(busy_s)}, but {model} says "
            f"{format_time(time_s)} because it does not model contention; use a system or algorithm that shares no link"
        )
    slack_s = float((links.busy_s(done.link_bytes) - done.link_busy_s).max())  # LogGP counts n-1 bytes
    if time_s + slack_s < bound * (1 - TOLERANCE):
        raise ImpossibleResultError(
            f"{spec} on {system.name}: {model} says {format_time(time_s)}, below the bound of {format_time(bound)}"
        )


def _busiest_link(system: System, time_s: float, done: Run) -> list[tuple[float, str]]:
    """Its share and a text; nothing where there are no links."""
    if not system.topology.n_links:
        return []
    link = int(np.argmax(done.link_busy_s))
    share = min(float(done.link_busy_s[link]) / time_s, 1.0)  # more, where a burst was ahead of its bandwidth
    return [(share, f"{system.topology.link_name(link)} {{}} busy")]


def _bottleneck(system: System, time_s: float, done: Run) -> str:
    """What takes the largest share of the time: a link, a reduction unit, or the latencies of the steps."""
    if time_s == 0:
        return "nothing to do"
    rank = int(np.argmax(done.reduction_s))
    shares = [
        *_busiest_link(system, time_s, done),
        (float(done.reduction_s[rank]) / time_s, f"reduction on rank {rank} {{}} busy"),
        (min(done.latency_s / time_s, 1.0), f"latency of {format_count(done.n_steps, 'step')} {{}}"),
    ]
    share, text = max(shares, key=lambda pair: pair[0])
    return text.format(f"{100 * share:.0f} %")
