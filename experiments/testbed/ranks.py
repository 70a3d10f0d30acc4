"""Real MPI ranks in a testbed: one on each device, over its shaped links alone."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from commsim.errors import ExecutionError, InputError
from experiments.launch import end, launcher, reason, said
from experiments.testbed import network
from experiments.testbed.state import Record

ENVIRONMENT = {
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "30",  # ranks that wait leave the cores to others soon
    "MPIR_CVAR_NOLOCAL": "1",  # ranks on one kernel would find each other through its memory
    "UCX_TLS": "tcp",
    "UCX_NET_DEVICES": network.DATA,
    "UCX_RNDV_THRESH": "16384",  # without it all messages are eager, and end at the sender when the kernel has them
    "UCX_WARN_UNUSED_ENV_VARS": "n",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
SCRIPT = """#!/bin/sh
# Hydra calls this instead of ssh: [options] HOST COMMAND… (/sys shows the interfaces of the namespace that mounted it)
while [ "${{1#-}}" != "$1" ]; do shift; done
case "$1" in
{cases}
*) echo "no device $1" >&2; exit 1 ;;
esac
host=$1
shift
exec nsenter --net=/run/netns/$namespace unshare --uts --mount sh -c "hostname $host; mount -t sysfs sysfs /sys; $*"
"""


def command(record: Record, n_ranks: int, words: Sequence[str]) -> list[str]:
    """What starts a program on so many ranks: the first devices, one each; ``commsim`` is this installation's.

    Raises
    ------
    InputError
        If there are fewer devices, or no program was given.
    """
    if not words:
        raise InputError("there is nothing to run; write the program after --")
    if not 1 <= n_ranks <= len(record.devices):
        raise InputError(f"-n {n_ranks}: {record.name} has {len(record.devices)} devices")
    program = [sys.executable, "-m", "experiments.cli", *words[1:]] if words[0] == "commsim" else list(words)
    script = record.folder / "launch"
    names = [host_name(device) for device in record.devices]
    cases = "\n".join(f"{name}) namespace={hosts} ;;" for name, hosts in zip(names, record.hosts, strict=True))
    script.write_text(SCRIPT.format(cases=cases))
    script.chmod(0o755)
    hydra = ["-launcher", "ssh", "-launcher-exec", str(script), "-iface", network.MANAGEMENT]
    ranks = ["-hosts", ",".join(names[:n_ranks]), "-ppn", "1", "-n", str(n_ranks)]
    return ["nsenter", f"--net={network.path_of(record.fabric)}", launcher(), *hydra, *ranks, *program]


def host_name(device: str) -> str:
    """A device's name as a host's."""
    return "".join(c if c.isalnum() else "-" for c in device)


def run(record: Record, n_ranks: int, words: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run a program on real ranks, its output passed on as it comes; its exit code. Ends all of it when interrupted."""
    given = {**os.environ, **ENVIRONMENT, **(environment or {})}
    with subprocess.Popen(command(record, n_ranks, words), env=given, start_new_session=True, text=True) as process:
        try:
            return process.wait()
        except BaseException:
            end(process)
            raise


def output_of(record: Record, n_ranks: int, words: Sequence[str], timeout_s: float) -> str:
    """Run a program on real ranks and return what it prints.

    Raises
    ------
    ExecutionError
        If it fails, or does not end in time.
    """
    line = command(record, n_ranks, words)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(line, env={**os.environ, **ENVIRONMENT}, start_new_session=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            printed, errors = process.communicate(timeout=timeout_s)
        except BaseException as error:
            end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                shown = shlex.join(words)
                raise ExecutionError(f"`{shown}` did not end within {timeout_s:g} s and was stopped") from None
            raise
    if process.returncode:
        why = reason(list(said(errors.splitlines())), printed)
        raise ExecutionError(f"`{shlex.join(words)}` failed with exit {process.returncode}: {why}")
    return str(printed)


def end_by_signal(number: int, _frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP as an exception, so that what is open is closed."""
    raise SystemExit(128 + number)


def raise_on_signals() -> None:
    """From now on an ordinary end by signal takes everything down first."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_by_signal)
