"""What verification says: of what was proven, and of what is wrong; counting, fingerprints, order."""

from dataclasses import replace

import numpy as np
import pytest

from collectives import registry
from commsim import (
    COMMUTATIVE,
    OUTPUT,
    SCRATCH,
    Exchange,
    algorithm,
    chunk,
    chunks,
    exchange,
    execute_in_process,
    fabric_multicast,
    fabric_reduce,
    fan_in,
    fan_out,
    lanes,
    listed,
    verify,
    where,
    within,
)
from commsim.errors import CommsimError, InputError, ScheduleError, VerificationError
from commsim.program import Side, unrolled
from tests.test_mutants import mutant


@pytest.mark.parametrize(
    ("collective", "spec", "n_ranks", "n_chunks", "n_steps", "n_messages"),
    [
        ("allreduce", "ring", 8, 8, 14, 14 * 8),
        ("allreduce", "linear", 8, 1, 2, 14),
        ("allreduce", "recursive_doubling", 8, 1, 3, 24),
        ("allreduce", "recursive_doubling", 9, 1, 5, 26),
        ("allreduce", "rabenseifner", 8, 8, 6, 48),
        ("allreduce", "node_split:ranks_per_node=4", 8, 8, 3 + 2 + 3, 64),
        ("broadcast", "binomial", 8, 1, 3, 7),
        ("broadcast", "chain:segments=5", 8, 5, 11, 35),
        ("broadcast", "scatter_allgather", 8, 8, 3 + 7, 7 + 56),
    ],
)
def test_what_was_proven_is_counted(collective, spec, n_ranks, n_chunks, n_steps, n_messages):
    proof = verify(registry.find(collective, spec), n_ranks)
    assert (proof.n_chunks, proof.n_steps, proof.n_messages) == (n_chunks, n_steps, n_messages)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 2, 2)])
def test_buffers_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="buffers must be"):
        execute_in_process(registry.find("allreduce", "ring"), np.zeros(shape))


@pytest.mark.parametrize("run", [verify, lambda a, p, root: execute_in_process(a, np.zeros((p, 2)), root=root)])
@pytest.mark.parametrize("root", [-1, 3])
def test_a_root_out_of_range_is_refused(run, root):
    with pytest.raises(InputError, match=f"root={root} is not a rank of 3; use 0 to 2"):
        run(registry.find("broadcast", "binomial"), 3, root=root)


def test_fewer_than_one_rank_is_refused():
    with pytest.raises(InputError, match="n_ranks=0"):
        verify(registry.find("allreduce", "ring"), 0)


def test_a_wrong_end_is_told_with_rank_chunk_step_and_peer():
    ring = registry.find("allreduce", "ring")
    twice = mutant(ring, lambda k, step: [step, step] if k == 1 else [step])
    with pytest.raises(
        VerificationError, match=r"ring on 4 ranks is not an allreduce: rank \d ends .* times .* chunk \d"
    ):
        verify(twice, 4)
    nothing = mutant(ring, lambda k, step: [])
    with pytest.raises(VerificationError, match=r"ends without the value of rank 1 in chunk 0 \(never written\)"):
        verify(nothing, 2)


def test_elements_that_do_not_fit_are_refused_by_the_executor():
    ring = registry.find("allreduce", "ring")

    def into_next_chunk(rank, n_ranks):
        for step in unrolled(ring.program(rank, n_ranks)):
            for e in step:
                moved = replace(e.receives.selection, start=(e.receives.selection.start + 1) % n_ranks)
                yield [replace(e, receives=replace(e.receives, selection=moved))]

    with pytest.raises(ScheduleError, match=r"elements arrive at rank \d in chunk \d"):
        execute_in_process(replace(ring, program=into_next_chunk), np.ones((4, 5)))


def test_nothing_but_commsim_errors_comes_from_a_wrong_schedule():
    wild = mutant(registry.find("allreduce", "ring"), lambda k, step: [[*step, chunk(0)]])
    with pytest.raises(CommsimError):
        verify(wild, 3)


def test_pairs_that_were_seen_do_not_hide_a_message_without_a_receiver():
    """Two steps whose ends are the same numbers in the same order, but not the same ends."""

    @algorithm("allreduce", chunks=1)
    def stray(rank, n_ranks):
        yield [exchange(where(rank == 0, 1, -1), where(rank == 1, 0, -1), send=chunk(0), receive=chunk(0), reduce=True)]
        yield [exchange(1 - rank, rank * 0 - 1, send=chunk(0))]

    with pytest.raises(ScheduleError, match="step 1: rank 0 sends to 1, but 1 receives from nobody"):
        verify(stray, 2)


def test_chunks_are_whole_numbers():
    @algorithm("allreduce", chunks=2)
    def halves(rank, n_ranks):
        yield [exchange(1 - rank, 1 - rank, send=chunk(n_ranks / 2), receive=chunk(0), reduce=True)]

    with pytest.raises(ScheduleError, match=r"whole numbers, not 1\.0; use // instead of /"):
        verify(halves, 2)


def pairwise_swap(send, receive, **more):
    """An allreduce of two chunks on two ranks, with these selections."""

    @algorithm("allreduce", chunks=2)
    def mine(rank, n_ranks):
        yield [exchange(1 - rank, 1 - rank, send=send, receive=receive, reduce=True, **more)]

    return mine


@pytest.mark.parametrize("means", ["counting", "fingerprints"])
def test_data_in_the_wrong_chunk_is_seen(means):
    with pytest.raises(
        ScheduleError, match="step 0: rank 1 sends chunk 1 of a buffer into chunk 0 of a buffer of rank 0"
    ):
        verify(pairwise_swap(listed([1, 0]), chunks(0, 2), received_first=np.array([False, True])), 2, means=means)


@pytest.mark.parametrize("means", ["counting", "fingerprints"])
def test_data_in_the_wrong_block_is_seen(means):
    """Blocks of an alltoall have one size: any may take the place of any."""

    @algorithm("alltoall")
    def turned(rank, n_ranks):
        for k in range(n_ranks):
            to, source = (rank + k) % n_ranks, (rank - k) % n_ranks
            yield [exchange(to, source, send=chunk(to), receive=chunk((source + 1) % n_ranks, buffer=OUTPUT))]

    with pytest.raises(VerificationError, match=r"turned on 3 ranks is not an alltoall: rank \d .* chunk \d"):
        verify(turned, 3, means=means)


def test_both_ends_of_a_message_have_one_size_for_any_number_of_elements():
    """Of 1 element in 2 chunks, the first has it: a real rank would cut the message off, or send what it never got."""

    @algorithm("broadcast", chunks=2, scratch=1)
    def around(rank, n_ranks, *, root):
        yield [exchange(rank, rank, send=chunks(0, 2), receive=listed([1, 0], buffer=SCRATCH))]
        yield [fan_out(rank, n_ranks, root, send=listed([1, 0], buffer=SCRATCH), receive=chunks(0, 2))]

    with pytest.raises(ScheduleError, match=r"step 0: rank 0 sends chunk 0 of a buffer into chunk 1 .* differ in size"):
        verify(around, 3)

    @algorithm("alltoallv")
    def through_others(rank, n_ranks):
        right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
        yield [exchange(right, left, send=chunk(left), receive=chunk(left))]

    with pytest.raises(ScheduleError, match="differ in size"):
        verify(through_others, 3)


@pytest.mark.parametrize("n_ranks", [5, 100])
def test_a_barrier_may_hear_of_a_rank_very_often(n_ranks):
    """Each step doubles what is counted: more than 64 bits hold."""

    @algorithm("barrier")
    def around(rank, n_ranks):
        for _ in range(n_ranks - 1):
            right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
            yield [exchange(right, left, send=chunk(0), receive=chunk(0), reduce=True)]

    assert verify(around, n_ranks).means == "counting"
    with pytest.raises(InputError, match="a barrier is proven by counting alone"):
        verify(around, n_ranks, means="fingerprints")


def test_more_contributions_than_64_bits_hold_are_not_none():
    """2^64 times is 0 times, if one counts in 64 bits; the last step adds the one that seems to be missing."""

    @algorithm("allreduce", scratch=1)
    def doubled(rank, n_ranks):
        yield [exchange(rank, rank, send=chunk(0), receive=chunk(0, buffer=SCRATCH))]
        for _ in range(64):
            yield [exchange(rank, rank, send=chunk(0), receive=chunk(0), reduce=True)]
        yield [exchange(rank, rank, send=chunk(0, buffer=SCRATCH), receive=chunk(0), reduce=True)]

    with pytest.raises(
        VerificationError, match=r"rank 0 ends with the value of rank 0 [1-9][0-9]* times instead of once"
    ):
        verify(replace(doubled, constraints=(COMMUTATIVE,)), 1)


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("n_ranks", [4, 2000])
def test_a_program_may_write_into_its_arrays(n_ranks, read_only):
    """Pairs that were matched are matched again when the same array holds others, even one that looks constant."""

    @algorithm("broadcast")
    def forgetful(rank, n_ranks, *, root):
        to, source = np.empty_like(rank), np.empty_like(rank)
        views = [array.view() for array in (to, source)]
        for view in views:
            view.flags.writeable = not read_only
        for k in (1, 2):
            to[:], source[:] = (rank + k) % n_ranks, (rank - 1) % n_ranks  # wrong in the second step
            yield [exchange(*views, send=chunk(0), receive=chunk(0))]

    with pytest.raises(ScheduleError, match=r"step 1: rank 0 sends to 2, but 2 receives from \[1\]"):
        verify(forgetful, n_ranks)


def test_ranks_below_zero_are_no_ranks():
    """Arrays would take them from the end; on real ranks -1 is nobody."""

    @algorithm("allreduce")
    def last(rank, n_ranks):
        yield [fan_in(rank, n_ranks, n_ranks - 1, send=chunk(0), receive=chunk(0), reduce=True)]
        yield [fan_out(rank, n_ranks, -1, send=chunk(0), receive=chunk(0))]

    @algorithm("allreduce")
    def pair(rank, n_ranks):
        yield from within([[-1, 0]], rank, swap)

    def swap(rank, n_ranks):
        first = rank == 0
        yield [exchange(1 - rank, 1 - rank, send=chunk(0), receive=chunk(0), reduce=True, received_first=first)]

    @algorithm("allreduce")
    def by_hand(rank, n_ranks):
        both = Side(np.array([-1, 0]), np.array([0, -1]), chunk(0))
        yield [Exchange(both, both, reduce=True, received_first=np.array([True, False]))]

    for wrong, said in (
        (last, "step 1: root=-1 is not a rank of 2"),
        (pair, r"step 0: groups hold ranks, not \[-1, 0\]"),
        (by_hand, "step 0: row -1 sends to somebody, but there are 2 ranks"),
    ):
        with pytest.raises(ScheduleError, match=said):
            verify(wrong, 2)


def test_an_exchange_made_by_hand_may_write_twice():
    """Only what `exchange` makes is known to send and receive at most once."""

    @algorithm("broadcast")
    def by_hand(rank, n_ranks, *, root):
        sends = Side(np.array([0, 1]), np.array([2, 2]), chunk(0))
        receives = Side(np.array([2, 2]), np.array([1, 0]), chunk(0))
        yield [Exchange(sends, receives, reduce=False)]

    with pytest.raises(ScheduleError, match="step 0: chunk 0 of rank 2 is written twice"):
        verify(by_hand, 3)


def test_what_the_fabric_copies_or_reduces_is_one_thing():
    """A multicast sends once, and a reduction arrives once: on real ranks it is one operation of the group."""

    def mine(operation, buffer):
        @algorithm("alltoall", scratch=2)
        def many(rank, n_ranks):
            pick = {"send": lambda me, peer: chunk(peer), "receive": lambda me, peer: chunk(peer, buffer=buffer)}
            yield [operation(rank, n_ranks, None, **pick)]

        return many

    with pytest.raises(ScheduleError, match="rank 0 sends chunks of their own to several ranks in one multicast"):
        verify(mine(fabric_multicast, OUTPUT), 3)
    with pytest.raises(ScheduleError, match="rank 0 receives into several places in one reduce of the fabric"):
        verify(mine(fabric_reduce, OUTPUT), 3)


def test_what_takes_more_memory_than_there_is_is_refused():
    with pytest.raises(InputError, match="proving 1000000 ranks of 1000000 chunks takes at least 4 TB"):
        verify(registry.find("allreduce", "ring"), 10**6)
    with pytest.raises(InputError, match="this host has"):
        verify(registry.find("barrier", "dissemination"), 10**6)


@pytest.mark.parametrize("means", ["counting", "fingerprints"])
def test_a_contribution_twice_is_seen(means):
    ring = registry.find("allreduce", "ring")
    with pytest.raises(VerificationError):
        verify(mutant(ring, lambda k, step: [step, step] if k == 1 else [step]), 5, means=means)


def test_what_comes_of_an_empty_buffer_is_no_result():
    @algorithm("allgather", scratch=1)
    def lazy(rank, n_ranks):
        yield [exchange(rank, rank, send=chunk((rank + 1) % n_ranks), receive=chunk((rank + 1) % n_ranks))]

    with pytest.raises(VerificationError, match="lazy on 3 ranks is not an allgather"):
        verify(lazy, 3)


def test_the_order_of_ranks_is_proven():
    def swap(rank, n_ranks, first):
        yield [exchange(1 - rank, 1 - rank, send=chunk(0), receive=chunk(0), reduce=True, received_first=first)]

    @algorithm("allreduce")
    def right(rank, n_ranks):
        yield from swap(rank, n_ranks, rank == 1)

    @algorithm("allreduce")
    def wrong(rank, n_ranks):
        yield from swap(rank, n_ranks, False)

    assert verify(right, 2).means == "counting and order"
    with pytest.raises(VerificationError, match="rank 1 does not combine the ranks in their order in chunk 0"):
        verify(wrong, 2)


def test_an_unknown_way_of_proving_is_refused():
    with pytest.raises(InputError, match="did you mean 'counting'"):
        verify(registry.find("allreduce", "ring"), 2, means="count")


def test_thousands_of_ranks_are_proven_by_fingerprints():
    proof = verify(registry.find("allreduce", "rabenseifner"), 1500)
    assert (proof.means, proof.n_chunks) == ("fingerprints", 1024)


def test_fingerprints_say_how_to_learn_more():
    ring = registry.find("allreduce", "ring")
    with pytest.raises(VerificationError, match=r"rank 0 does not end with .* in chunk \d+; try fewer ranks"):
        verify(mutant(ring, lambda k, step: [] if k == 7 else [step]), 400)


def test_lanes_must_keep_to_their_chunks():
    def shift(rank, n_ranks, send, receive):
        yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=send, receive=receive)]

    @algorithm("broadcast", chunks=3, scratch=1)
    def crossing(rank, n_ranks, *, root):
        yield lanes(shift(rank, n_ranks, chunk(1), chunk(1)), shift(rank, n_ranks, chunk(1), chunk(1, buffer=SCRATCH)))

    with pytest.raises(ScheduleError, match="lanes 0 and 1 both use chunk 1 of rank 0, and one of them writes it"):
        verify(crossing, 3)


def test_what_is_wrong_in_a_lane_is_named_with_the_lane():
    def bad(rank, n_ranks):
        yield []
        yield [exchange(rank + 0.5, rank)]

    @algorithm("broadcast", chunks=3)
    def broken(rank, n_ranks, *, root):
        yield lanes(iter([]), bad(rank, n_ranks))

    with pytest.raises(ScheduleError, match="broken, lane 1 step 1: a peer must be a rank"):
        verify(broken, 3)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ([0, 2], "each must lie in it"),
        ([1, 1], "none twice"),
        ([[0], [1], [0]], "a list of chunks for 3 ranks, not for 2"),
        ([0.5], "whole numbers"),
    ],
)
def test_a_list_of_chunks_that_cannot_be_is_refused(index, said):
    with pytest.raises(ScheduleError, match=said):
        verify(pairwise_swap(listed(index), chunks(0, 2)), 2)


@pytest.mark.parametrize("buffer", [1, 2, 7, -1])
def test_a_buffer_that_is_not_there_is_refused(buffer):
    with pytest.raises(ScheduleError, match="there is no buffer"):
        verify(pairwise_swap(chunk(0, buffer=buffer), chunk(0)), 2)
