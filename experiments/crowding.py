"""Whether ranks share cores."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from commsim.units import format_count

BOOT = Path("/proc/sys/kernel/random/boot_id")


def kernel_here() -> str:
    """The same for processes that share a machine, whatever they are told that its name is: when its kernel started."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return platform.node()


def crowded_machines(places: Sequence[tuple[str, Sequence[int]]]) -> list[str]:
    """Machines with more ranks than cores, in words; of each rank its machine and the cores that it may run on."""
    found = []
    for machine in dict.fromkeys(machine for machine, _ in places):
        here = [cores for other, cores in places if other == machine]
        n_cores = len(set().union(*here))
        if len(here) > n_cores:
            found.append(f"{len(here)} ranks on {format_count(n_cores, 'core')}")
    return list(dict.fromkeys(found))
