"""Put a testbed up, use it, take it down."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import topologies
from commsim.errors import CommsimError, ExecutionError, InputError
from experiments.testbed import guard, network, state
from experiments.testbed.state import Record
from experiments.testbed.wiring import Wiring


def unable() -> str | None:
    """Why this machine, or this user, cannot have a testbed; None where it can."""
    if not Path("/proc/self/ns/net").exists():
        return "network namespaces are Linux's, and this system has none"
    for program in ("nsenter", "unshare"):
        if shutil.which(program) is None:
            return f"the program {program} (util-linux) is missing"
    try:
        import pyroute2  # noqa: F401
    except ImportError:
        return "pyroute2 is missing: pip install 'commsim[testbed]'"
    if os.geteuid() != 0:
        return (
            "it needs root, or a user namespace: unshare --user --map-root-user --net --mount sh -c "
            "'mount -t tmpfs none /run && commsim testbed run …'"
        )
    return _refused_by_kernel()


def _refused_by_kernel() -> str | None:
    """Try what is needed in a namespace that is gone at once."""
    name = f"commsim-try-{os.getpid()}"
    try:
        network.create(name)
    except Exception as error:
        return f"a network namespace cannot be made ({_said(error)})"
    try:
        network.try_out(name)
    except Exception as error:
        return f"the kernel has no veth, bridge, htb or u32, or does not let this user make them ({_said(error)})"
    finally:
        network.remove(name)
    return None


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def require_able() -> None:
    """Refuse where there can be no testbed.

    Raises
    ------
    ExecutionError
        With the reason.
    """
    reason = unable()
    if reason is not None:
        raise ExecutionError(f"testbed: {reason}")


def up(system: str, name: str | None = None) -> Record:
    """Build a system, which stays until :func:`down`. What a dead process left is cleared away before.

    Parameters
    ----------
    system : str
        A file, or a spec.
    name : str, optional
        Of this testbed, where one system is built several times.

    Raises
    ------
    InputError
        If it is up already.
    RefusedError
        If the system cannot be built.
    ExecutionError
        If the kernel refuses; nothing is left.
    """
    with _guarded():
        record = replace(_built(system, name), owner=(0, 0))
        record.write()
    return record


@contextmanager
def _guarded() -> Iterator[None]:
    """A process beside this block, which clears away what belongs to this one if it is killed."""
    words = [sys.executable, "-m", guard.__name__, *(str(number) for number in state.me())]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        words, bufsize=0, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    ) as process:
        try:
            yield
        finally:
            if process.stdin is not None:
                with suppress(OSError):  # it is no more
                    process.stdin.write(guard.ALL_IS_WELL)


def _built(system: str, name: str | None) -> Record:
    """A testbed that belongs to this process."""
    wiring = Wiring.of(topologies.find(system))
    require_able()
    record = Record(state.name_of(system, name), state.source(system), wiring.devices, state.me())
    with state.alone():
        state.clear_abandoned()
        if any(other.name == record.name for other in state.records()):
            raise InputError(f"testbed {record.name} is up already; take it down, or give another --name")
        record.write()
        try:
            for namespace in (record.fabric, *record.hosts):
                network.create(namespace)
            network.Builder(wiring, record.fabric, record.hosts).build()
        except BaseException as error:
            state.clear(record)
            if isinstance(error, Exception) and not isinstance(error, CommsimError):
                raise ExecutionError(f"testbed {record.name} cannot be built: {_said(error)}") from error
            raise
    return record


def find(system: str, name: str | None = None) -> Record | None:
    """The testbed of a system, if it is up."""
    wanted = state.name_of(system, name)
    return next((one for one in state.records() if one.name == wanted and not one.abandoned), None)


def down(system: str | None, name: str | None = None) -> list[str]:
    """Take a system's testbed away, or all; and what dead processes left. The names of those that went.

    Raises
    ------
    InputError
        If the system has none.
    """
    with state.alone():
        gone = state.clear_abandoned()
        wanted = None if system is None and name is None else state.name_of(system or "", name)
        found = [one for one in state.records() if wanted in (None, one.name)]
        if wanted is not None and not found and wanted not in gone:
            raise InputError(f"testbed {wanted} is not up; `commsim testbed status` shows those that are")
        for record in found:
            state.clear(record)
    return gone + [record.name for record in found]


@contextmanager
def standing(system: str, name: str | None = None) -> Iterator[Record]:
    """The testbed of a system: the one that is up, or one that lasts as long as this block."""
    record = find(system, name)
    if record is not None:
        yield record
        return
    with _guarded():
        record = _built(system, name)
        try:
            yield record
        finally:
            with state.alone():
                state.clear(record)
