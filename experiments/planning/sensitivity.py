"""What a change of a machine would be worth: the same training on it with one thing other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from commsim import LinkChange, System, changed
from commsim.errors import CommsimError
from experiments.planning.options import Option, Question

MOST_PATTERNS = 64


@dataclass(frozen=True)
class Change:
    """One thing other.

    Attributes
    ----------
    what : str
    time_s : float or None
        To train then; None where it cannot be.
    speedup : float or None
        Against the machine as it is.
    reason : str
        Why it cannot be.
    """

    what: str
    time_s: float | None
    speedup: float | None
    reason: str = ""


def changes(question: Question, option: Option) -> Iterator[Change]:
    """Each change as soon as it is known: network, taper, a rail, a link, compute, half the bytes, stragglers."""
    system = option.system
    machines: dict[str, Callable[[], System | None]] = {
        "network 2x faster": lambda: _fabric(system, factor=2.0),
        "network tapered 2:1": lambda: _fabric(system, factor=0.5, switches_alone=True),
        "one rail less": lambda: _fabric(system, factor=1 - 1 / _rails(system)),
        "one link lost": lambda: _one_lost(system),
    }
    for what, make in machines.items():
        yield _change(what, question, option, make)
    training = question.training
    half = "float16" if "float32" in training.workload.gradient_bytes_by_dtype and not training.policy.wire else None
    others = {
        "devices 2x faster": replace(
            training, conditions=replace(training.conditions, speed=2 * training.conditions.speed)
        ),
        "gradients in 16 bits": replace(training, policy=replace(training.policy, wire=half)) if half else None,
        "slowest rank 10% slower": replace(training, conditions=replace(training.conditions, straggler=1.1)),
    }
    for what, other in others.items():
        if other is not None:
            yield _change(what, replace(question, training=other), option, lambda: system)


def _change(what: str, question: Question, option: Option, make: Callable[[], System | None]) -> Change:
    try:
        system = make()
        if system is None:
            return Change(what, None, None, "it has none")
        step = question.on(system, option.step.parallel.n_ranks)
    except CommsimError as error:
        return Change(what, None, None, str(error))
    time_s = question.samples / step.samples_per_s
    return Change(what, time_s, option.time_s / time_s)


def _outside(system: System) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which vertices stand in no node and are no device: switches of the fabric."""
    topology = system.topology
    nodes = topology.tiers.get("node")
    devices = np.arange(topology.n_vertices) < topology.n_devices
    return ~devices if nodes is None else (np.asarray(nodes) < 0) & ~devices


def _patterns(system: System, *, switches_alone: bool) -> list[str]:
    """The fabric's links as names with stars for numbers."""
    topology, outside = system.topology, _outside(system)
    src, dst = outside[topology.links.src], outside[topology.links.dst]
    wanted = np.flatnonzero(src & dst if switches_alone else src | dst)
    names = {re.sub(r"\d+", "*", topology.link_name(int(link))) for link in wanted}
    return sorted(names)[:MOST_PATTERNS]


def _fabric(system: System, factor: float, *, switches_alone: bool = False) -> System | None:
    patterns = _patterns(system, switches_alone=switches_alone)
    if not patterns or factor <= 0:
        return None
    return changed(system, [LinkChange(pattern, factor=factor) for pattern in patterns])


def _rails(system: System) -> int:
    """NICs of a node."""
    topology = system.topology
    names = [topology.vertex_name(vertex) for vertex in range(topology.n_vertices)]
    return max(1, sum(name.startswith("node0.nic") for name in names))


def _one_lost(system: System) -> System | None:
    """The first cable between two switches."""
    topology, outside = system.topology, _outside(system)
    both = np.flatnonzero(outside[topology.links.src] & outside[topology.links.dst])
    if not len(both):
        return None
    name = topology.link_name(int(both[0])).replace("→", "<->")
    return changed(system, [LinkChange(name, failed=True)])
