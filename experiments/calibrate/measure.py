"""What the patterns take on real ranks, and what one message costs its ends by itself."""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.memory import paged
from collectives.mpi import load_mpi
from collectives.plan import Plan
from commsim.topology import Floats
from experiments.calibrate.patterns import (
    CROWD,
    CROWD_PAIR,
    IN_A_ROW,
    ONE_WAY,
    ROW_BYTES,
    ROWS,
    Pattern,
    among,
)
from experiments.calibrate.places import Pair, Place, place_here
from experiments.measure import repeats, slowest_times
from experiments.progress import track

if TYPE_CHECKING:
    from mpi4py import MPI

LARGEST = 32 * 2**20
COLD_BYTES = 64 * 2**20  # written over, they are more than a rank's share of the caches of most hosts: ASSUMED
CROWD_BYTES = 4096  # several pairs at once: from here on, every second size
PASSES = 4  # over all sizes: a shared machine has times when all is slower, and every size shall see several
BUDGET_S = 1.0  # of all patterns at one size: fewer iterations on slow links
LEAST_ITERATIONS = 1  # in each pass
LATE_S, LATEST_S = 0.5e-3, 0.5  # so much later than the sender comes the receiver that tells eager from rendezvous
TAG = 7

Key = tuple[str, str, int]


@dataclass
class Measured:
    """Seconds of one message, or of one reduction.

    Attributes
    ----------
    seconds : dict
        (link class, what, pairs) to bytes to an array (iterations,), of the slowest rank.
    reduction_s : dict
        Bytes to an array (iterations,).
    ends : dict
        Link class to what messages cost the ends: :class:`Ends`.
    """

    seconds: dict[Key, dict[int, Floats]] = field(default_factory=dict)
    reduction_s: dict[int, Floats] = field(default_factory=dict)
    ends: dict[str, Ends] = field(default_factory=dict)


@dataclass(frozen=True)
class Ends:
    """What 8-byte messages cost the two ends of a pair, and from which size on a sender waits for its receiver.

    Attributes
    ----------
    send_s, receive_s : float
        CPU time of a send, and of a receive whose message is there.
    eager_bytes : int
        The largest size that frees its sender without the receiver; 0: none does.
    """

    send_s: float
    receive_s: float
    eager_bytes: int


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Powers of two from 8 B on, ascending."""
    return tuple(8 * 2**k for k in range(60) if 8 * 2**k <= largest)


def places(comm: MPI.Comm) -> list[Place]:
    """Where all ranks sit; collective over `comm`. Ranks that share memory, as MPI says, are of one host."""
    local = comm.Split_type(load_mpi().COMM_TYPE_SHARED)
    first = local.bcast(f"{platform.node()}.{comm.rank}" if local.rank == 0 else None)
    local.Free()
    found: list[Place] = comm.allgather(place_here(first))
    return found


def measure(
    comm: MPI.Comm,
    patterns: Sequence[Pattern],
    largest: int,
    iterations: int,
    warmup: int,
    rest_s: float = 0.0,
    cold: bool = False,
) -> Measured:
    """Time all patterns, size by size, in turn; every rank of `comm` calls this and gets the same.

    `rest_s`: so long all links rest before everything that is timed. `cold`: caches are written over before it.
    """
    found = Measured({pattern.key: {} for pattern in patterns})
    sizes = sizes_up_to(largest)
    passes = min(PASSES, iterations)
    turns = list(itertools.product(range(passes), enumerate(sizes)))
    for turn, (index, n_bytes) in track(turns, "calibrating", len(turns), shown=comm.rank == 0):
        at_once = n_bytes >= CROWD_BYTES and (len(sizes) - 1 - index) % 2 == 0
        crowds, rows = (CROWD, CROWD_PAIR) if not at_once else (), ROWS if n_bytes != ROW_BYTES else ()
        chosen = [one for one in patterns if one.what not in (*crowds, *rows)]
        own, own_warmup = iterations // passes + (turn < iterations % passes), -(-warmup // passes)
        times = (own, own_warmup) if cold else repeats(n_bytes, own, own_warmup)
        _size(comm, chosen, n_bytes, times, found, rest_s, cold)
    for name in dict.fromkeys(pattern.link_class for pattern in patterns):
        found.ends[name] = _ends(comm, [one for one in patterns if one.link_class == name], found)
    return found


def _size(
    comm: MPI.Comm,
    patterns: Sequence[Pattern],
    n_bytes: int,
    times: tuple[int, int],
    found: Measured,
    rest_s: float,
    cold: bool,
) -> None:
    count = n_bytes // 4
    fresh = np.ones(count, dtype=np.float32)
    buffer = paged(max(one.n_chunks for one in patterns) * fresh.nbytes).view(np.float32)
    buffer.fill(1)
    other = np.ones(COLD_BYTES if cold else 0, dtype=np.uint8)

    def reset() -> None:
        if rest_s:
            time.sleep(rest_s)
        other.fill(0)
        np.copyto(buffer[:count], fresh)  # what is sent; where it arrives is as cold as in a collective

    around = {rank: (rank + 1) % comm.size for rank in range(comm.size)}
    plans = [Plan(one.program, comm, buffer[: one.n_chunks * count]) for one in patterns]
    vector = buffer[: 2 * count]
    reduction = _Reduction(Plan(among([around]), comm, vector), vector[:count], vector[count:])
    iterations, warmup = _within_budget(comm, [*plans, reduction], reset, *times)
    seconds = slowest_times([*plans, reduction], comm, reset, iterations, warmup)
    for plan in plans:
        plan.free()
    reduction.free()
    for pattern, row in zip(patterns, seconds, strict=False):
        _add(found.seconds[pattern.key], n_bytes, row / len(pattern.steps))
    reduced = np.array(reduction.seconds[-iterations:])
    comm.Allreduce(load_mpi().IN_PLACE, reduced, load_mpi().MAX)
    _add(found.reduction_s, n_bytes, reduced)


def _add(by_size: dict[int, Floats], n_bytes: int, seconds: Floats) -> None:
    by_size[n_bytes] = np.concatenate([by_size.get(n_bytes, seconds[:0]), seconds])


def _within_budget(comm: MPI.Comm, plans: Sequence[Any], reset: Any, iterations: int, warmup: int) -> tuple[int, int]:
    """Iterations and warm-up, fewer where one round of all takes long."""
    once_s = float(slowest_times(plans, comm, reset, 1, 1).sum())
    most = max(int(BUDGET_S / PASSES / max(once_s, 1e-9)), LEAST_ITERATIONS)
    return min(iterations, most), min(warmup, most // 4)


class _Reduction:
    """Adds what has just arrived to what has just been sent, and keeps the time of that alone."""

    def __init__(self, arrival: Plan, target: Any, arrived: Any) -> None:
        self._arrival, self._target, self._arrived = arrival, target, arrived
        self.seconds: list[float] = []

    def run(self) -> None:
        clock = load_mpi().Wtime
        self._arrival.run()
        begin = clock()
        np.add(self._target, self._arrived, out=self._target)
        self.seconds.append(clock() - begin)

    def free(self) -> None:
        self._arrival.free()


def _ends(comm: MPI.Comm, patterns: Sequence[Pattern], found: Measured) -> Ends:
    """Measured on the first pair of the class."""
    first: Pair = next(iter(patterns[0].steps[0].items()))
    row = _Row(comm, first)
    send_s, receive_s = row.send_s(), row.receive_s()
    row.free()
    alone = found.seconds[patterns[0].link_class, ONE_WAY, 1]
    return Ends(send_s, receive_s, _eager_bytes(comm, first, alone))


class _Row:
    """Messages in a row from one rank to another, whose ends are timed alone. Times are medians of the slowest rank."""

    def __init__(self, comm: MPI.Comm, pair: Pair, repetitions: int = 9) -> None:
        self._comm, self._repetitions = comm, repetitions
        inbox, outbox = np.zeros((IN_A_ROW, ROW_BYTES), dtype=np.uint8), np.zeros(ROW_BYTES, dtype=np.uint8)
        sender, receiver = pair
        self._receives = [comm.Recv_init(row, sender, TAG) for row in inbox] if comm.rank == receiver else []
        self._sends = [comm.Send_init(outbox, receiver, TAG) for _ in inbox] if comm.rank == sender else []

    def send_s(self) -> float:
        """That a message takes its sender, whose receiver is ready."""
        return self._median_s(lambda: self._done(self._sends), before=self._receives) / IN_A_ROW

    def receive_s(self) -> float:
        """That a message takes its receiver, when it is there."""
        return self._median_s(lambda: self._done(self._receives), before=self._sends) / IN_A_ROW

    def _median_s(self, timed: Callable[[], None], before: list[Any]) -> float:
        """`before`: requests that are started, and some time passes, before what is timed."""
        MPI, spent = load_mpi(), np.zeros(self._repetitions)
        for repetition in range(self._repetitions):
            self._comm.Barrier()
            if before:
                MPI.Prequest.Startall(before)
            self._comm.Barrier()
            begin = MPI.Wtime()
            timed()
            spent[repetition] = MPI.Wtime() - begin
            if before:
                MPI.Request.Waitall(before)
        self._comm.Allreduce(MPI.IN_PLACE, spent, MPI.MAX)
        return float(np.median(spent))

    def _done(self, requests: list[Any]) -> None:
        if requests:
            load_mpi().Prequest.Startall(requests)
            load_mpi().Request.Waitall(requests)

    def free(self) -> None:
        for request in self._receives + self._sends:
            request.Free()


def _eager_bytes(comm: MPI.Comm, pair: Pair, alone: Mapping[int, Floats]) -> int:
    """The largest size whose sender goes on long before its receiver comes; `alone`: seconds of messages one way."""
    eager = 0
    for n_bytes, seconds in sorted(alone.items()):
        late_s = max(LATE_S, 4 * float(np.median(seconds)))
        if late_s > LATEST_S or _held_s(comm, pair, n_bytes, late_s) > late_s / 2:
            break
        eager = n_bytes
    return eager


def _held_s(comm: MPI.Comm, pair: Pair, n_bytes: int, late_s: float, repetitions: int = 5) -> float:
    """For how long a send holds its sender whose receiver comes late; median."""
    MPI = load_mpi()
    buffer, spent = np.zeros(n_bytes, dtype=np.uint8), []
    for _ in range(repetitions):
        comm.Barrier()
        begin = MPI.Wtime()
        if comm.rank == pair[0]:
            comm.Send(buffer, pair[1], TAG)
            spent.append(MPI.Wtime() - begin)
        elif comm.rank == pair[1]:
            while MPI.Wtime() < begin + late_s:
                pass
            comm.Recv(buffer, pair[0], TAG)
    return float(comm.bcast(float(np.median(spent)) if spent else 0.0, pair[0]))
