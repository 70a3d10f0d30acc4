"""Ends the job when this rank waits too long for others: a rank that has died or hangs would be waited for for ever.

A thread looks a few times a second at what its rank says that it waits for, and whether the next rank of its host was
stopped; in the timed path there is nothing of it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collectives.mpi import load_mpi
from collectives.plan import peers_waited_for

if TYPE_CHECKING:
    from mpi4py import MPI

STATES = Path("/proc")  # of processes
VARIABLE = "COMMSIM_HANG_LIMIT"  # seconds, for calls in mpi4py's form
LOOKS = 16  # within the limit
ABORT_S = 1.0  # that MPI has to end the job
APART_S = 0.05  # between ranks, so that one of them speaks
LIMIT_S = 7.0  # of commands, where nothing else is said: with looking and ending, under 10 s
MANY = 10  # times the longest iteration so far are waited for
ROUNDS = 3  # the same of rounds, which are longer
FIRST_S, REST_S = 60.0, 10.0  # beside the limit, for a round before which there was none, and for the rest of one


class Watchdog:
    """What a rank waits for, and the thread that ends the job when it has waited too long.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    limit_s : float
        0: never.
    remedy : str
        What finds out more of a rank that is waited for.
    """

    def __init__(self, comm: MPI.Comm, limit_s: float, remedy: str = "") -> None:
        self._remedy = remedy
        self._rank, self._n_ranks, self._limit_s = comm.rank, comm.size, limit_s
        self._what: str | None = None
        self._beats, self._patience_s = 0, 0.0
        self._round, self._began, self._longest_s = "", 0.0, 0.0
        self._ended = threading.Event()
        self._watched = threading.get_ident()
        self._next: tuple[int, int] | None = None
        if limit_s > 0:
            threading.Thread(target=self._watch, name="commsim watchdog", daemon=True).start()

    def meets(self, comm: MPI.Comm) -> None:
        """All ranks call this: from now on each also looks whether the next rank of its host was stopped."""
        local = comm.Split_type(load_mpi().COMM_TYPE_SHARED)
        own = os.stat("/proc/self/ns/pid").st_ino if STATES.exists() else None  # a number means something within it
        found = local.allgather((own, comm.rank, os.getpid()))
        space, rank, number = found[(local.rank + 1) % local.size]
        local.Free()
        if own is not None and space == own and number != os.getpid():
            self._next = rank, number

    def waits(self, what: str, patience_s: float = 0.0) -> None:
        """From now on this rank waits for something that takes a time of its own besides."""
        self._what, self._patience_s, self._watched = what, patience_s, threading.get_ident()
        self._beats += 1

    @contextmanager
    def waiting(self, what: str, patience_s: float = 0.0) -> Iterator[None]:
        """Wait for something, and then for nobody; where it fails, it is still waited for."""
        self.waits(what, patience_s)
        yield
        self.works()

    def begins(self, what: str) -> None:
        """A round of something begins, after which another one does: it may take :data:`ROUNDS` times the longest."""
        now = time.monotonic()
        if what == self._round:
            self._longest_s = max(self._longest_s, now - self._began)
            self.waits(what, ROUNDS * self._longest_s)
        else:
            self._round, self._longest_s = what, 0.0
            self.waits(what, FIRST_S)
        self._began = now

    def goes_on(self) -> None:
        """The round goes on after something in it that was watched by itself."""
        if self._round:
            self.waits(self._round, REST_S)
        else:
            self.works()

    def works(self) -> None:
        """From now on this rank waits for nobody."""
        self._what, self._round = None, ""

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _watch(self) -> None:
        look_s = self._limit_s / LOOKS
        seen, waited_s, stopped_s, before = -1, 0.0, 0.0, time.monotonic()
        while not self._ended.wait(look_s):
            now = time.monotonic()
            passed_s, before = min(now - before, 2 * look_s), now  # not the time that the whole job was stopped for
            waited_s = waited_s + passed_s if self._beats == seen and self._what is not None else 0.0
            seen = self._beats
            allowed_s = self._limit_s + self._patience_s + APART_S * min(self._rank, LOOKS)
            if waited_s > allowed_s and self._what is not None:
                self._end_job(f"{self._waiting(waited_s)} in {self._what}: a rank has died or hangs{self._remedy}")
            stopped_s = stopped_s + passed_s if self._next is not None and is_stopped(self._next[1]) else 0.0
            if stopped_s > self._limit_s and self._next is not None:
                self._end_job(f"sees that rank {self._next[0]} was stopped {stopped_s:.1f} s ago")

    def _waiting(self, waited_s: float) -> str:
        """For whom, where that is known."""
        peers = peers_waited_for(sys._current_frames().get(self._watched))
        named = ", ".join(map(str, peers[:8])) + (" …" if len(peers) > 8 else "")
        return f"has waited {waited_s:.1f} s" + (f" for rank {named}" if peers else "")

    def _end_job(self, why: str) -> None:
        """Say why, and end all."""
        os.write(2, f"commsim: rank {self._rank} of {self._n_ranks} {why}; ending the job\n".encode())
        threading.Timer(ABORT_S, os._exit, (1,)).start()
        MPI = load_mpi()
        if MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            MPI.COMM_WORLD.Abort(1)
        os._exit(1)


def is_stopped(process: int) -> bool:
    """Whether a process of this host was stopped by a signal; False where nobody can tell."""
    try:
        return (STATES / str(process) / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def age_s() -> float:
    """How long this process has lived; 0 where nobody can tell."""
    try:
        began = int((STATES / "self" / "stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, AttributeError, IndexError, ValueError):
        return 0.0


_current: list[Watchdog] = []


@contextmanager
def watching(comm: MPI.Comm, limit_s: float) -> Iterator[Watchdog]:
    """A watchdog that :func:`current` finds, for as long as this lasts."""
    watchdog = Watchdog(comm, limit_s)
    _current.append(watchdog)
    try:
        yield watchdog
    finally:
        _current.remove(watchdog)
        watchdog.end()


def current() -> Watchdog | None:
    """The watchdog of what this process does; None where nobody watches."""
    return _current[-1] if _current else None


def limit_from_environment() -> float:
    """Seconds that ``COMMSIM_HANG_LIMIT`` allows a call; 0 where it is not set."""
    try:
        return float(os.environ.get(VARIABLE, "0").removesuffix("s"))
    except ValueError:
        return 0.0


class Watched:
    """A run that says what it waits for while it runs."""

    def __init__(self, watchdog: Watchdog, what: str, run: Any) -> None:
        self._watchdog, self._what, self._run = watchdog, what, run

    def __call__(self) -> None:
        """Run it."""
        self._watchdog.waits(self._what)
        self._run()
        self._watchdog.works()
