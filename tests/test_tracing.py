"""Programs for one int rank: brought together, run like all others, and refused where they cannot be."""

import numpy as np
import pytest

import topologies
from commsim import (
    COMMUTATIVE,
    PROC_NULL,
    Schedule,
    algorithm,
    chunk,
    chunks,
    exchange,
    execute_in_process,
    fabric_multicast,
    fan_in,
    fan_out,
    lanes,
    listed,
    same_program,
    simulate,
    verify,
)
from commsim.errors import InputError, ScheduleError


@algorithm("broadcast", form="int")
def plain(rank, n_ranks, *, root):
    """The root sends to each in turn, as people write it first."""
    if rank == root:
        for peer in range(n_ranks):
            if peer != root:
                yield [exchange(peer, PROC_NULL, send=chunk(0))]
    else:
        yield [exchange(PROC_NULL, root, receive=chunk(0))]


@algorithm("allreduce", chunks=lambda n_ranks: n_ranks, constraints=(COMMUTATIVE,), form="int")
def int_ring(rank, n_ranks):
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    for step in range(2 * (n_ranks - 1)):
        send, receive = (rank - step) % n_ranks, (rank - step - 1) % n_ranks
        yield [exchange(right, left, send=chunk(send), receive=chunk(receive), reduce=step < n_ranks - 1)]


@algorithm("allreduce", form="int")
def int_linear(rank, n_ranks):
    """In the order of ranks, with a parameter that only some ranks use."""
    if n_ranks == 1:
        return
    yield [fan_in(rank, n_ranks, 0, send=chunk(0), receive=chunk(0), reduce=True)]
    if rank % 2 == 0:
        yield []  # idle steps of one rank alone do no harm
    yield [fan_out(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]


@algorithm("reduce", form="int", chunks=3)
def uneven(rank, n_ranks, *, root, twice: int = 1):
    """Receives in one step what was sent in different steps of the senders."""
    if rank == root:
        peers = [peer for peer in range(n_ranks) if peer != root]
        if peers:
            yield [
                exchange(PROC_NULL, p, receive=chunks(0, 3), reduce=True, received_first=p < root)
                for p in [*reversed([p for p in peers if p < root]), *[p for p in peers if p > root]]
            ]
    else:
        for _ in range(rank):
            yield []
        yield [exchange(root, PROC_NULL, send=chunks(0, 3))]


@pytest.mark.parametrize("one", [plain, int_ring, int_linear, uneven], ids=lambda one: one.name)
def test_they_are_proven_executed_and_one_text_like_all_others(one):
    for n_ranks in (1, 2, 3, 4, 7, 8, 13):
        for root in sorted({0, n_ranks - 1}) if one.collective.rooted else [0]:
            verify(one, n_ranks, root=root)
            for rank in range(n_ranks):
                same_program(one, n_ranks, rank, root=root)
            buffers = np.arange(n_ranks * 10).reshape(n_ranks, 10) ** 2
            found = execute_in_process(one, buffers, root=root)
            wanted = buffers.sum(axis=0) if one.collective.reduces else buffers[root]
            assert (found[root] == wanted).all()


def test_a_rank_waits_only_for_what_it_needs():
    """The root's sends are steps of their own: a star serves one after the other."""
    star = topologies.star(4, 1e9, 1e-6)
    result = simulate(plain, star, 1000)
    assert result.time_s == pytest.approx(3 * (2e-6 + 1e-6))
    np.testing.assert_allclose(result.finish_s, [9e-6, 3e-6, 6e-6, 9e-6])
    assert len(list(Schedule(plain, 4))) == 3


def test_the_order_of_ranks_is_kept():
    texts = np.array([[f"{rank}."] * 3 for rank in range(5)], dtype=object)
    for root in range(5):
        assert execute_in_process(uneven, texts, root=root)[root].tolist() == ["0.1.2.3.4."] * 3


def program(steps, n_ranks=2, **options):
    @algorithm("broadcast", form="int", **options)
    def mine(rank, n_ranks, *, root):
        yield from steps(rank)

    return lambda: verify(mine, n_ranks)


def send_first(rank):
    yield [exchange(1 - rank, PROC_NULL, send=chunk(0))]
    yield [exchange(PROC_NULL, 1 - rank, receive=chunk(0))]


def stray(rank):
    if rank == 0:
        yield []
        yield [exchange(1, PROC_NULL, send=chunk(0))]


def greedy(rank):
    if rank == 1:
        yield [exchange(PROC_NULL, 0, receive=chunk(0))]
    elif rank == 0:
        yield []


def forked(rank):
    yield lanes(iter([]))


def long_and_short(rank):
    if rank == 0:
        yield [exchange(1, PROC_NULL, send=chunks(0, 2))]
    else:
        yield [exchange(PROC_NULL, 0, receive=chunk(0))]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (send_first, r"deadlock: .*rank 0 step 0 .*rank 1 step 1.* → .*rank 0 step 0"),
        (stray, r"rank 0 sends to 1 in its step 1, but 1 receives from 0 only 0 times"),
        (greedy, r"rank 1 receives from 0 in its step 0, but 0 sends to 1 only 0 times"),
        (forked, r"has no lanes"),
        (long_and_short, r"step 0: rank 0 sends 2 chunks to 1, which receives 1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_brought_together_is_refused(steps, said):
    with pytest.raises(ScheduleError, match=said) as error:
        program(steps, chunks=2)()
    assert str(error.value).startswith("mine, step 0: ")


def test_a_ring_that_sends_first_is_a_deadlock_told_in_a_line_that_can_be_read():
    @algorithm("broadcast", form="int")
    def ring(rank, n_ranks, *, root):
        yield [exchange((rank + 1) % n_ranks, PROC_NULL, send=chunk(0))]
        yield [exchange(PROC_NULL, (rank - 1) % n_ranks, receive=chunk(0))]

    with pytest.raises(ScheduleError, match=r"rank 38 step 0 \+ rank 39 step 1 → .* → … \(33 more\) → ") as error:
        verify(ring, 40)
    assert len(str(error.value)) < 500


@algorithm("broadcast", form="int", chunks=4)
def mutable(rank, n_ranks, *, root):
    """Writes into its arrays, and selects by list at one end and by a range that wraps at the other."""
    index, peer = np.array([3]), np.array([0])
    for k in range(4):
        index[0] = (3 + k) % 4
        for other in range(n_ranks):
            peer[0] = other
            if rank == root != other:
                yield [exchange(peer, PROC_NULL, send=listed(index))]
            elif rank == other != root and rank % 2:
                peer[0] = root
                yield [exchange(PROC_NULL, peer, receive=chunk(index))]
            elif rank == other != root:
                yield [exchange(PROC_NULL, root, receive=chunks((3 + k) % 4, 1))]


def test_what_a_program_yields_may_change_afterwards():
    for n_ranks in (1, 2, 3, 5):
        for root in {0, n_ranks - 1}:
            verify(mutable, n_ranks, root=root)
            same_program(mutable, n_ranks, n_ranks // 2, root=root)


def test_lists_meet_ranges_that_wrap_in_one_step():
    @algorithm("broadcast", form="int", chunks=4)
    def mine(rank, n_ranks, *, root):
        if rank == root:
            others = [peer for peer in range(n_ranks) if peer != root]
            yield [
                exchange(peer, PROC_NULL, send=chunks(3, 4) if peer % 2 else listed([3, 0, 1, 2])) for peer in others
            ]
        else:
            yield [exchange(PROC_NULL, root, receive=listed([3, 0, 1, 2]) if rank % 3 else chunks(3, 4))]

    for n_ranks in (2, 5, 8):
        proof = verify(mine, n_ranks)
        assert (proof.n_steps, proof.n_messages) == (1, n_ranks - 1)


def test_an_operation_of_the_fabric_stays_one_and_needs_both_ends():
    def program(rank, n_ranks, mixed):
        yield [exchange(rank, rank, send=chunk(0), receive=chunk(0))]
        if mixed and rank == 1:
            yield [exchange(PROC_NULL, 0, receive=chunk(0))]
        else:
            yield [fabric_multicast(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]

    @algorithm("broadcast", form="int")
    def right(rank, n_ranks, *, root):
        yield from program(rank, n_ranks, False)

    @algorithm("broadcast", form="int")
    def wrong(rank, n_ranks, *, root):
        yield from program(rank, n_ranks, True)

    assert [[part.fabric for part in step] for step in Schedule(right, 3)] == [[None], ["multicast"]]
    verify(right, 3)
    with pytest.raises(ScheduleError, match="rank 0 step 1: only one end of its message to 1 is the fabric's"):
        verify(wrong, 3)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (3, "a step is a list of exchanges, not 3"),
        ([3], r"a step is a list of exchanges, not \[3\]"),
        (None, "not None"),
    ],
)
def test_steps_that_are_none_are_refused(step, said):
    @algorithm("broadcast", form="int")
    def mine(rank, n_ranks, *, root):
        yield step

    with pytest.raises(ScheduleError, match=said):
        verify(mine, 2)


def test_an_unknown_form_is_refused():
    with pytest.raises(InputError, match="unknown form 'integer'; did you mean 'int'"):
        algorithm("broadcast", form="integer")


def test_an_endless_program_is_refused(monkeypatch):
    @algorithm("allreduce", form="int")
    def endless(rank, n_ranks):
        while True:
            yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=chunk(0), receive=chunk(0))]

    monkeypatch.setattr("commsim.tracing.MOST_STEPS", 100)
    with pytest.raises(ScheduleError, match="endless, step 0: rank 0 has taken 100 steps and goes on"):
        verify(endless, 3)
