"""Placement: which device each rank sits on. A placed system numbers its devices so that rank r is on device r."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from commsim.errors import InputError, RefusedError, unknown_name
from commsim.hashing import mixed
from commsim.selection import Ints
from commsim.system import System
from commsim.topology import Topology

PLACEMENTS = ("packed", "round_robin", "by_rail", "random", "file:PATH")


def placed(system: System, placement: str, *, seed: int | None = None) -> System:
    """The system with its devices numbered for the ranks.

    Parameters
    ----------
    system : System
        Its own order is ``packed``: node by node.
    placement : str
        ``packed``; ``round_robin``: one rank on each node in turn (``round_robin:TIER``: on each group of another
        tier); ``by_rail``: all devices of the first rail, then of the second (the tier "rail", else a device's place
        in its node); ``random``; ``file:PATH``: a line for each rank, with the name or the number of its device.
    seed : int, optional
        Of ``random``, 0 by default.

    Raises
    ------
    InputError
        For an unknown placement, a seed that it does not take, or a file that is wrong: names file and line.
    RefusedError
        If the system has no such tier.

    Examples
    --------
    >>> import topologies
    >>> from commsim import placed
    >>> system = placed(topologies.dgx_h100(nodes=2), "round_robin")
    >>> [system.topology.vertex_name(rank) for rank in range(3)]
    ['node0.gpu0', 'node1.gpu0', 'node0.gpu1']
    """
    word, _, rest = placement.partition(":")
    known = {"packed", "round_robin", "by_rail", "random", "file"}
    if word not in known or (rest and word not in ("round_robin", "file")) or placement == "file:":
        raise unknown_name("placement", placement, PLACEMENTS)
    if seed is not None and word != "random":
        raise InputError(f"seed={seed} does nothing with placement {placement}; leave it out or use placement random")
    topology = system.topology
    if word == "random":
        seed = 0 if seed is None else seed
        order = np.argsort(mixed(seed, np.arange(system.n_devices)), kind="stable")
    elif word == "file":
        listed = _listed(Path(rest), topology)
        order = np.concatenate([listed, np.setdiff1d(np.arange(system.n_devices), listed)])
    elif word == "packed":
        order = np.arange(system.n_devices)
    else:
        order = _dealt(system, rest or "node") if word == "round_robin" else _by_rail(system)
    n_listed = len(listed) if word == "file" else None
    topology = topology if word == "packed" else topology.renumbered(order)
    return replace(system, topology=topology, placement=placement, seed=seed, n_listed=n_listed)


def _group(system: System, tier: str, why: str) -> Ints:
    """Which group of a tier each device lies in."""
    if tier not in system.topology.tiers:
        have = ", ".join(system.topology.tiers) or "none"
        raise RefusedError(f"placement {why}: {system.name} has no tier {tier!r}; its tiers: {have}")
    group = system.topology.tiers[tier][: system.n_devices]
    if group.min() < 0:
        lost = system.topology.vertex_name(int(np.argmin(group)))
        raise RefusedError(f"placement {why}: {lost} of {system.name} lies in no {tier}")
    return group


def _place_in(group: Ints) -> Ints:
    """The how-manieth device of its group each one is."""
    order = np.argsort(group, kind="stable")
    place = np.empty_like(order)
    first = np.searchsorted(group[order], group[order])
    place[order] = np.arange(len(group)) - first
    return place


def _dealt(system: System, tier: str) -> Ints:
    group = _group(system, tier, "round_robin")
    return np.lexsort((group, _place_in(group)))


def _by_rail(system: System) -> Ints:
    node = _group(system, "node", "by_rail")
    rail = _group(system, "rail", "by_rail") if "rail" in system.topology.tiers else _place_in(node)
    return np.lexsort((_place_in(node), node, rail))


def _listed(path: Path, topology: Topology) -> Ints:
    """Devices of a file, one for each rank."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"placement file {path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    number = {topology.vertex_name(device): device for device in range(topology.n_devices)}
    found: dict[int, int] = {}
    for at, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        device = number.get(text)
        if device is None and text.isdecimal() and int(text) < topology.n_devices:
            device = int(text)
        if device is None:
            raise InputError(f"placement file {path}:{at}: {unknown_name('device', text, number)}")
        if device in found:
            raise InputError(f"placement file {path}:{at}: {text} holds a rank already, by line {found[device]}")
        found[device] = at
    if not found:
        raise InputError(f"placement file {path}: no rank has a device; write one device a line")
    return np.array(list(found))
