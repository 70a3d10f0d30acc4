"""Start real ranks from a program: mpiexec with a time limit, nothing left running, errors in one line."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from commsim.errors import ExecutionError
from experiments.progress import say

GRACE_S = 5.0  # between asking mpiexec to end and killing it

# Open MPI refuses root and more ranks than cores unless told; other launchers ignore these.
ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def launcher() -> str:
    """Path of ``mpiexec``: the one beside this Python (an MPI wheel's), else the site's.

    Raises
    ------
    ExecutionError
        If there is none.
    """
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise ExecutionError("no mpiexec found; pip install '.[mpich]' brings one, or load the site's MPI module")
    return found


def on_ranks(n_ranks: int, arguments: Sequence[str], timeout_s: float) -> str:
    """Run ``commsim`` on real ranks and return what it prints.

    Parameters
    ----------
    n_ranks : int
    arguments : sequence of str
        Of ``commsim``.
    timeout_s : float
        After it everything is killed.

    Raises
    ------
    ExecutionError
        If it fails, or does not end in time; with the command and its last line.
    """
    shown = f"mpiexec -n {n_ranks} commsim {shlex.join(arguments)}"
    command = [launcher(), "-n", str(n_ranks), sys.executable, "-m", "experiments.cli", *arguments]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
    )
    lines: list[str] = []
    echo = threading.Thread(target=_echo, args=(process, lines), daemon=True)
    echo.start()
    timer = threading.Timer(timeout_s, end, [process])
    timer.start()
    try:
        assert process.stdout is not None  # piped above
        printed = process.stdout.read()
        code = process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        in_time = timer.is_alive()
        timer.cancel()
        echo.join(GRACE_S)
    if not in_time:
        raise ExecutionError(f"`{shown}` did not end within {timeout_s:g} s and was stopped")
    if code:
        reason = next((line for line in lines if line.startswith("commsim:")), lines[-1] if lines else "no message")
        raise ExecutionError(f"`{shown}` failed with exit {code}: {reason.removeprefix('commsim: ')}")
    return printed


def _echo(process: subprocess.Popen[str], lines: list[str]) -> None:
    """Pass on the ranks' progress as it comes, and keep every line."""
    assert process.stderr is not None  # piped above
    for line in process.stderr:
        if line.strip():
            lines.append(line.strip())
            say(f"  {line.strip()}")


def end(process: subprocess.Popen[str]) -> None:
    """Ask the launcher to end, which ends its ranks; then kill all that it started."""
    for sign, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
