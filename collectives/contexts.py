"""What is kept for each communicator: a private duplicate, who shares a host, plans, memory, a thread for progress."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Hashable, Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from collectives.checks import VARIABLE, Check, is_asked_for
from collectives.compiled import PLAN_TAGS
from collectives.memory import Memory
from collectives.mpi import Place, load_mpi
from collectives.requests import Progress
from collectives.watchdog import Watchdog, limit_from_environment
from commsim.errors import InputError, RefusedError

if TYPE_CHECKING:
    from mpi4py import MPI

MOST_CALLS = 128  # plans kept for each communicator and kind of call
LEVELS = ("MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED", "MPI_THREAD_MULTIPLE")


class Freed(Protocol):
    """Something that holds requests of MPI."""

    def free(self) -> None:
        """Give them back."""


class Calls:
    """Plans of calls that run one after the other; the one made first is freed where there are too many.

    Attributes
    ----------
    place : Place
    kept : dict
        By where buffers lie and what they hold, and the other arguments.
    known : dict
        The last ones with some buffers, algorithm and root, by identity; each ends with a buffer of its, which nothing
        here keeps alive.
    watchdog : Watchdog, optional
        What is told that a call waits.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.kept: dict[Hashable, Any] = {}
        self.known: dict[Hashable, Any] = {}
        self.watchdog: Watchdog | None = None

    def keep(self, key: Hashable, call: Any) -> None:
        """Keep a call."""
        if len(self.kept) >= MOST_CALLS:
            oldest = next((old for old, one in self.kept.items() if not one.n_running), None)
            if oldest is not None:
                self._free(self.kept.pop(oldest))
        self.kept[key] = call

    def know(self, key: Hashable, call: Any, buffers: Iterable[Any]) -> None:
        """Know a call by its arguments, those of the last one with other objects in the same place no longer."""
        self.known.pop(call.known_as, None)
        call.known_as = key
        call.known_by = [weakref.ref(one, lambda _: self.known.pop(key, None)) for one in buffers]
        self.known[key] = call

    def _free(self, call: Any) -> None:
        self.known.pop(call.known_as, None)
        call.free()

    def free(self) -> None:
        """Free all."""
        if self.watchdog is not None:
            self.watchdog.end()
        while self.kept:
            self._free(self.kept.popitem()[1])


class Context:
    """What the calls on one communicator share. Made by its ranks together, at the first call.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm
        The private duplicate.
    calls, deferred, polled : Calls
        Plans of blocking calls, of those that the thread runs, of those that their caller polls.
    check : Check, optional
        Asked before each call.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        MPI = load_mpi()
        if comm == MPI.COMM_NULL or comm.Is_inter():
            raise InputError("a collective needs an intracommunicator")
        limit_s = limit_from_environment()
        remedy = "" if is_asked_for() else f", or makes another call ({VARIABLE}=1 tells)"
        watchdogs = [Watchdog(comm, limit_s, remedy) for _ in range(2)] if limit_s else []
        for watchdog in watchdogs:
            watchdog.waits("the first call on a communicator")
        self.comm, self.handle = comm.Dup(), comm.handle
        self.memory_of, self.in_place = MPI.buffer, MPI.IN_PLACE
        self._own = Place.of(self.comm)
        largest_tag: Any = MPI.COMM_WORLD.Get_attr(MPI.TAG_UB)  # Open MPI has it there only
        self._n_places, self._most_tags = 0, largest_tag + 1
        self._before: list[Place] = []
        self.calls, self.deferred, self.polled = (Calls(self.place(Memory())) for _ in range(3))
        self.progress = Progress()
        first = watchdogs[0] if watchdogs else None
        self.check = Check(self.comm.Dup(), first) if is_asked_for() else None
        for calls, watchdog in zip((self.calls, self.deferred), watchdogs, strict=False):
            watchdog.meets(self.comm)
            watchdog.works()
            calls.watchdog = watchdog
        self.handles: set[Freed] = set()

    def place(self, memory: Memory | None = None, *, in_fabric: bool = False) -> Place:
        """Where the next plan lives, with tags of its own: ranks must ask in the same order."""
        if (self._n_places + 1) * PLAN_TAGS > self._most_tags:
            self._before.append(self._own)
            self._own, self._n_places = Place.of(self.comm.Dup()), 0
        self._n_places += 1
        return replace(self._own, first_tag=(self._n_places - 1) * PLAN_TAGS, memory=memory, in_fabric=in_fabric)

    def free(self, *, at_exit: bool) -> None:
        """Free plans; and the duplicate, which all ranks do together, unless the process ends."""
        self.progress.end()
        for one in (self.calls, self.deferred, self.polled, *self.handles):
            one.free()
        self.handles = set()
        if not at_exit:
            if self.check is not None:
                self.check.free()
            for place in (*self._before, self._own):
                place.free()
                place.comm.Free()


_contexts: dict[int, Context] = {}
ready: dict[int, Context] = {}
"""By a communicator's handle, where any thread may call MPI: nothing else is to be asked."""


def context_of(comm: MPI.Comm) -> Context:
    """The context of a communicator; all its ranks make it together.

    Raises
    ------
    RefusedError
        In a thread that may not call MPI.
    """
    _require_thread()
    found = _contexts.get(comm.handle)
    if found is None:
        found = _contexts[comm.handle] = Context(comm)
        comm.Set_attr(_keyval(), found)
    if _any_thread() and found.check is None:
        ready[comm.handle] = found
    return found


def _forget(handle: int) -> Context | None:
    ready.pop(handle, None)
    return _contexts.pop(handle, None)


def _any_thread() -> bool:
    return bool(load_mpi().Query_thread() >= load_mpi().THREAD_SERIALIZED)


def _require_thread() -> None:
    MPI = load_mpi()
    if not _any_thread() and not MPI.Is_thread_main():
        raise RefusedError(
            f"{threading.current_thread().name} may not call MPI, which was started with {LEVELS[MPI.Query_thread()]}: "
            "call from the thread that started it, or start it with MPI_THREAD_MULTIPLE (mpi4py.rc.thread_level)"
        )


def require_multiple() -> None:
    """A thread of ours may call MPI beside the caller's.

    Raises
    ------
    RefusedError
        Naming what was provided and what to do.
    """
    MPI = load_mpi()
    if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
        raise RefusedError(
            f"progress by a thread needs MPI_THREAD_MULTIPLE, and MPI was started with {LEVELS[MPI.Query_thread()]}: "
            "set mpi4py.rc.thread_level = 'multiple' before mpi4py.MPI is imported, or use progress='test' and Test"
        )


@cache
def _keyval() -> int:
    """The attribute under which a communicator keeps its context: who frees the one frees the other."""
    MPI = load_mpi()
    atexit.register(_free_all)
    keyval: int = MPI.Comm.Create_keyval(delete_fn=_freed)
    MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=lambda *_: _free_all()), True)  # MPI.Finalize deletes it
    return keyval


def _freed(comm: MPI.Comm, keyval: int, context: Context) -> None:
    if _forget(context.handle) is not None:
        context.free(at_exit=False)


def _free_all() -> None:
    """Before MPI ends: whatever requests there are."""
    for handle in [] if load_mpi().Is_finalized() else list(_contexts):
        context = _forget(handle)
        if context is not None:
            context.free(at_exit=True)
