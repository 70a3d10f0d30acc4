"""Plans of all ranks on messages that nobody buffers: a message moves when both ends have begun it, and not before.

An MPI library buffers small messages only: large ones wait for their receiver, on any network. All ranks are here,
and no MPI is needed.
"""

from collections import defaultdict, deque

import numpy as np
import pytest

from collectives import compiled, drafts, plan
from collectives.mpi import Place, result_view
from collectives.plan import Plan
from commsim import algorithm, chunk, exchange
from commsim.errors import RefusedError
from tests.variants import SPECS, find, name_of

REDUCING = ("allreduce", "reduce", "reduce_scatter")  # others have no segments
SEGMENT, COUNT = 2, 42  # elements of 8 B
RANKS = ((8, 1), (8, 4), (12, 1))  # and how many of them share a host
QUIET = 10  # rounds without a new request, after which there will be none


class Request:
    """A persistent request, with what plans use of mpi4py's."""

    def __init__(self, channel, area, is_send):
        self.channel, self.area, self.is_send, self.is_active = channel, area, is_send, False

    def Start(self):
        assert not self.is_active
        self.is_active, MPI.n_started = True, MPI.n_started + 1
        mine, theirs = self.channel if self.is_send else reversed(self.channel)
        if not theirs:
            mine.append(self)
            return
        other = theirs.popleft()
        source, target = (self, other) if self.is_send else (other, self)
        assert len(source.area) == len(target.area)
        target.area[:] = source.area
        self.is_active = other.is_active = False

    @staticmethod
    def Startall(requests):
        for request in requests:
            request.Start()

    @staticmethod
    def Testall(requests):
        return not any(request.is_active for request in requests)


class MPI:
    """What plans use of mpi4py's module."""

    Prequest, Request, BYTE, n_started = Request, Request, None, 0


class Comm:
    """A communicator on one rank. A channel holds the sends, and the receives, that wait for their other end."""

    def __init__(self, rank, size, channels):
        self.rank, self.size, self.channels = rank, size, channels

    def Send_init(self, buffer, peer, tag):
        return Request(self.channels[self.rank, peer, tag], buffer[0], is_send=True)

    def Recv_init(self, buffer, peer, tag):
        return Request(self.channels[peer, self.rank, tag], buffer[0], is_send=False)


@pytest.fixture(autouse=True)
def unbuffered(monkeypatch):
    for module in (compiled, plan):
        monkeypatch.setattr(module, "load_mpi", lambda: MPI)
    monkeypatch.setattr(drafts, "SEGMENT_BYTES", 8 * SEGMENT)


def executed(one, n_ranks, ranks_per_node=1, *, apart=()):
    """Run all ranks as far as they come: their plans, and who waits for ever. Some read from a buffer apart."""
    channels = defaultdict(lambda: (deque(), deque()))
    plans = []
    for rank in range(n_ranks):
        vector = np.arange(COUNT) * (rank + 1)
        buffers = {"buffer": np.empty_like(vector), "source": vector} if rank in apart else {"buffer": vector}
        plans.append(Plan(one, Place(Comm(rank, n_ranks, channels), ranks_per_node, in_fabric=False), **buffers))
    running, quiet = {rank: mine.begun() for rank, mine in enumerate(plans)}, 0
    while running and quiet < QUIET:
        before = MPI.n_started
        ended = [rank for rank, steps in running.items() if next(steps, "ended") == "ended"]
        for rank in ended:
            del running[rank]
        quiet = 0 if ended or MPI.n_started > before else quiet + 1
    return plans, list(running)


def ranks_for(one):
    """The first of RANKS that an algorithm takes; None where it takes none."""
    for n_ranks, ranks_per_node in RANKS:
        try:
            one.resolved(n_ranks, 8 * COUNT, ranks_per_node)
        except RefusedError:
            continue
        return n_ranks, ranks_per_node
    return None


@pytest.mark.parametrize("case", [case for case in SPECS if case[0] in REDUCING], ids=name_of)
def test_every_plan_ends_without_buffers(case):
    one = find(case)
    n_ranks, ranks_per_node = ranks_for(one)
    plans, waiting = executed(one, n_ranks, ranks_per_node, apart=range(1, n_ranks, 2))
    assert waiting == []
    total = np.arange(COUNT) * (n_ranks * (n_ranks + 1) // 2)
    for rank, mine in enumerate(plans):
        np.testing.assert_array_equal(mine.result, result_view(one.collective, rank, n_ranks, 0, total, None))


@algorithm("allreduce", chunks=2)
def answers(rank, n_ranks):
    """Each rank reduces into what it sends, and then into what it does not; it sums nothing up."""
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    yield [
        exchange(right, left, send=chunk(0), receive=chunk(0), reduce=True),
        exchange(left, right, send=chunk(0), receive=chunk(1), reduce=True),
    ]


def test_who_waits_for_a_receiver_is_waited_for_by_no_sender():
    assert executed(answers, 3)[1] == []
