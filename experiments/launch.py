"""Start real ranks from a program: mpiexec with a time limit, nothing left running, errors in one line."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
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

RANK_FAILED = "prterun detected that one or more processes exited with non-zero status"  # between two rules
RANKS_GONE = ("PMIX ERROR: PMIX_ERR_UNREACH", "[warn] Epoll")  # its daemon, of ranks that have ended
RANK_KILLED = re.compile(r"(exited on signal \d+ \(|EXIT STRING: )(?P<name>[^()]*)")  # Open MPI's launcher, Hydra


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


def commsim_on_ranks(n_ranks: int, arguments: Sequence[str], timeout_s: float) -> str:
    """Run ``commsim`` on real ranks and return what it prints; see :func:`python_on_ranks`."""
    shown = f"commsim {shlex.join(arguments)}"
    return python_on_ranks(n_ranks, ["-m", "experiments.cli", *arguments], timeout_s, shown=shown)


def python_on_ranks(n_ranks: int, arguments: Sequence[str], timeout_s: float, *, shown: str = "") -> str:
    """Run this Python on real ranks and return what they print.

    Parameters
    ----------
    n_ranks : int
    arguments : sequence of str
        Of the interpreter.
    timeout_s : float
        After it everything is killed.
    shown : str, optional
        The command, for messages.

    Raises
    ------
    ExecutionError
        If it fails, or does not end in time; with the command, and the line that says why.
    """
    shown = f"mpiexec -n {n_ranks} {shown or shlex.join(['python', *arguments])}"
    lines: list[str] = []
    too_late = threading.Event()
    with subprocess.Popen(
        [launcher(), "-n", str(n_ranks), sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
    ) as process:
        echo = threading.Thread(target=_echo, args=(process, lines), daemon=True)
        timer = threading.Timer(timeout_s, _stop, (process, too_late))
        echo.start()
        timer.start()
        try:
            printed = process.stdout.read() if process.stdout else ""
            code = process.wait()
        except BaseException:
            end(process)
            raise
        finally:
            timer.cancel()
            echo.join(GRACE_S)
    if too_late.is_set():
        raise ExecutionError(f"`{shown}` did not end within {timeout_s:g} s and was stopped")
    if code:
        error = ExecutionError(f"`{shown}` failed with exit {code}: {reason(lines, printed)}")
        error.add_note(printed)
        raise error
    return printed


def _echo(process: subprocess.Popen[str], lines: list[str]) -> None:
    """Pass on the ranks' progress as it comes, and keep every line."""
    for line in said(process.stderr or ()):
        lines.append(line)
        say(f"  {line}")


def said(stderr: Iterable[str]) -> Iterator[str]:
    """Lines of ranks and of their launcher, without what Open MPI's says of ranks that ended by themselves."""
    rule, is_echo = "", False
    for text in stderr:
        line = text.strip(" \0\t\r\n")  # Open MPI's launcher puts NULs between what ranks print
        if not line or any(mark in line for mark in RANKS_GONE):
            continue
        if rule:
            is_echo = line.startswith(RANK_FAILED)
            if not is_echo:
                yield rule
        rule = ""
        if is_echo:
            is_echo = not _is_rule(line)
        elif _is_rule(line):
            rule = line
        else:
            yield line


def _is_rule(line: str) -> bool:
    return not line.strip("-=")


def reason(lines: Sequence[str], printed: str = "") -> str:
    """Why ranks failed: a rank's own line, else by what signal one ended, as the launcher says, else the last line."""
    own = next((line.removeprefix("commsim: ") for line in lines if line.startswith("commsim:")), None)
    killed = RANK_KILLED.search(" ".join([*lines, printed]))
    if own is None and killed:
        return f"a rank ended by signal: {killed['name']}"
    words = [line for line in lines if not _is_rule(line)]
    return own or (words[-1] if words else "no message")


def _stop(process: subprocess.Popen[str], too_late: threading.Event) -> None:
    too_late.set()
    end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask the launcher to end, which ends its ranks; then kill all that it started."""
    for sign, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
