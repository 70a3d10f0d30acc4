"""Whether all ranks make the same call: compared before each one, where ``COMMSIM_CHECK=1`` asks for it.

Not by default: a rank may reuse a plan where another, whose buffer came to lie elsewhere, has to make one, so that only
a comparison in every call is one that all ranks take part in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectives.binding import Arguments, Call, operation_of
from collectives.mpi import load_mpi
from collectives.watchdog import Watchdog
from commsim.collective import collective_named
from commsim.errors import CommsimError, ExecutionError, InputError

if TYPE_CHECKING:
    from mpi4py import MPI

VARIABLE = "COMMSIM_CHECK"
MOST_SHOWN = 3  # different calls


def is_asked_for() -> bool:
    """Whether the environment says so."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


@dataclass(frozen=True)
class Said:
    """What a rank tells the others of its call.

    Attributes
    ----------
    words : str
        What must be the same on all ranks.
    sends, receives : tuple of int
        Of an alltoallv: elements to and from each rank.
    failure : str, optional
        Why there is no call.
    """

    words: str
    sends: tuple[int, ...] = ()
    receives: tuple[int, ...] = ()
    failure: str | None = None

    @staticmethod
    def of(asked: Arguments, call: Call, rank: int) -> Said:
        """Of a call that was made; the MPI library's own has no lengths."""
        if call.said is None:
            call.said = Said._made(asked, call, rank)
        said: Said = call.said
        return said

    @staticmethod
    def _made(asked: Arguments, call: Call, rank: int) -> Said:
        kind, vector, counts = collective_named(asked.collective), call.bound.vector, call.bound.counts
        words = kind.name
        if vector is not None and not kind.joins:
            words += f" of {vector.dtype}" if kind.sizes_each else f" of {len(vector)} {vector.dtype}"
        if kind.reduces:
            words += f", {operation_of(asked).name}"
        if kind.rooted:
            words += f", root {asked.root}"
        words += f", by {call.algorithm}"
        if counts is None:
            return Said(words)
        return Said(words, tuple(counts[rank].tolist()), tuple(counts[:, rank].tolist()))


class Check:
    """Compares the calls of a communicator's ranks.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        For nothing else; freed with this.
    watchdog : Watchdog, optional
        Told that others are waited for.
    """

    def __init__(self, comm: MPI.Comm, watchdog: Watchdog | None = None) -> None:
        self._comm, self._watchdog = comm, watchdog

    def made(self, asked: Arguments, make: Callable[[], Call]) -> Call:
        """The call of this rank, if it is that of all ranks.

        Raises
        ------
        CommsimError
            This rank's own, if its call cannot be made.
        ExecutionError
            If another's cannot.
        InputError
            If they differ, saying who calls what.
        """
        try:
            call, failure = make(), None
        except CommsimError as error:
            failure = error
        said = Said.of(asked, call, self._comm.rank) if failure is None else Said("", failure=str(failure))
        what = f"comparing calls, this one {said.words or said.failure}"
        with nullcontext() if self._watchdog is None else self._watchdog.waiting(what):
            everyone = self._comm.allgather(said)
        if failure is not None:
            raise failure
        _require_none_failed(asked.collective, everyone)
        _require_one(everyone)
        _require_matching(everyone)
        return call

    def free(self) -> None:
        """Free the communicator; all ranks do it together."""
        self._comm.Free()


def _require_none_failed(name: str, everyone: list[Said]) -> None:
    for rank, said in enumerate(everyone):
        if said.failure is not None:
            raise ExecutionError(f"{name}: the call of rank {rank} failed: {said.failure}")


def _require_one(everyone: list[Said]) -> None:
    by_words: dict[str, list[int]] = {}
    for rank, said in enumerate(everyone):
        by_words.setdefault(said.words, []).append(rank)
    if len(by_words) > 1:
        shown = [f"{words} (rank {_few(ranks)})" for words, ranks in list(by_words.items())[:MOST_SHOWN]]
        more = " …" if len(by_words) > MOST_SHOWN else ""
        raise InputError(f"ranks make different calls: {'; '.join(shown)}{more}")


def _few(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks[:4])) + (f" and {len(ranks) - 4} more" if len(ranks) > 4 else "")


def _require_matching(everyone: list[Said]) -> None:
    for src, one in enumerate(everyone):
        for dst, n in enumerate(one.sends):
            if everyone[dst].receives[src] != n:
                wanted = everyone[dst].receives[src]
                raise InputError(f"alltoallv: rank {src} sends {n} elements to rank {dst}, which expects {wanted}")


def raise_if_messages_differ(error: Exception) -> None:
    """Say what it means that MPI could not take a message.

    Raises
    ------
    ExecutionError
        If `error` is MPI's of one that is too long.
    """
    MPI = load_mpi()
    if isinstance(error, MPI.Exception) and error.Get_error_class() in (MPI.ERR_TRUNCATE, MPI.ERR_IN_STATUS):
        remedy = "" if is_asked_for() else f"; if ranks make different calls, {VARIABLE}=1 tells"
        raise ExecutionError(f"MPI could not take a message ({str(error).splitlines()[0]}){remedy}") from None
