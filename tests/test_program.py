"""One text, two readings: the program of one int rank is that rank's row of the array program. And the errors."""

from dataclasses import replace

import numpy as np
import pytest

from collectives import registry
from commsim import (
    COMMUTATIVE,
    PROC_NULL,
    SCRATCH,
    CommsimError,
    Constraint,
    Exchange,
    Schedule,
    Selection,
    Window,
    algorithm,
    chunk,
    chunks,
    direct,
    exchange,
    fan_in,
    fan_out,
    lanes,
    listed,
    repeat,
    same_program,
    verify,
    where,
    within,
)
from commsim.errors import ScheduleError
from commsim.program import NOBODY, Side, unrolled


def side(side, n_chunks):
    """(row, peer, chunks) of each message, in order."""
    row, chunk = side.selection.within_window(n_chunks).expand(len(side.row))
    taken = np.split(chunk, np.searchsorted(row, np.arange(1, len(side.row))))
    return [(r, p, c.tolist()) for r, p, c in zip(side.row.tolist(), side.peer.tolist(), taken, strict=False)]


def steps_of(schedule):
    """For each rank that the schedule covers (one, or all): its steps, each a list of (sends, receives, reduce)."""
    n = 1 if schedule.rank is not None else schedule.n_ranks
    found = [[] for _ in range(n)]
    for step in schedule:
        mine = [[([], [], []) for _ in step] for _ in range(n)]
        for index, e in enumerate(step):
            for end, messages in enumerate((e.sends, e.receives)):
                for row, peer, taken in side(messages, schedule.n_chunks):
                    exchange = mine[row if n > 1 else 0][index]
                    exchange[end].append((peer, taken))
                    exchange[2][:] = [e.reduce]
        for rank in range(n):
            found[rank].append(mine[rank])
    return found


def test_a_schedule_can_be_iterated_again():
    schedule = Schedule(registry.find("allreduce", "ring").resolved(5), 5)
    assert steps_of(schedule) == steps_of(schedule)


def test_where_keeps_ints():
    assert where(True, 3, PROC_NULL) == 3
    assert type(where(np.bool_(False), 3, 4)) is int
    assert where(np.array([True, False]), 3, PROC_NULL).tolist() == [3, -1]


def test_fan_in_and_out_pair_everyone_with_the_root():
    for make, inward in ((fan_in, True), (fan_out, False)):
        all_ranks = make(np.arange(4), 4, 1, send=chunk(0), receive=chunk(0))
        pairs = sorted(zip(all_ranks.sends.row.tolist(), all_ranks.sends.peer.tolist(), strict=True))
        assert pairs == ([(0, 1), (2, 1), (3, 1)] if inward else [(1, 0), (1, 2), (1, 3)])
        root = make(1, 4, 1, send=chunk(0), receive=chunk(0))
        assert [len(root.sends.row), len(root.receives.row)] == ([0, 3] if inward else [3, 0])


def test_within_maps_ranks_and_chunks():
    """Two groups of two in a buffer of 2 windows x 2 inner chunks x 3: local (0, 1) of group g are ranks g and g+2."""

    def swap(rank, n_ranks):
        yield [exchange(1 - rank, 1 - rank, send=chunk(rank), receive=chunk(1 - rank))]

    window = Window(np.array([0, 6, 0, 6]), 2, scale=3)
    [[both]] = within([[0, 2], [1, 3]], np.arange(4), swap, window)
    sent = sorted(side(both.sends, 12))
    assert sent == [(0, 2, [0, 1, 2]), (1, 3, [6, 7, 8]), (2, 0, [3, 4, 5]), (3, 1, [9, 10, 11])]


def test_within_runs_groups_of_different_sizes_side_by_side():
    def ring(rank, n_ranks):
        for _ in range(n_ranks):
            yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=chunk(0), receive=chunk(0))]

    steps = list(within([[4, 0, 2], [3, 1]], np.arange(6), ring))
    assert [sorted(step[0].sends.row.tolist()) for step in steps] == [[0, 1, 2, 3, 4]] * 2 + [[0, 2, 4]]
    assert [len(step[0].sends.row) for step in within([[4, 0, 2], [3, 1]], 1, ring)] == [1, 1, 0]
    assert [len(step[0].sends.row) for step in within([[4, 0, 2], [3, 1]], 5, ring)] == [0, 0, 0]


def test_expand_wraps_inside_its_window():
    row, found = Selection(np.array([3, 0]), np.array([3, 1]), 10, 4).expand(2)
    assert (row.tolist(), found.tolist()) == ([0, 0, 0, 1], [13, 10, 11, 10])


def program_of(step):
    """An algorithm of one step on 4 chunks."""

    @algorithm("broadcast", chunks=4, scratch=2)
    def mine(rank, n_ranks, *, root):
        yield step(rank, n_ranks)

    return mine


def shift(**kind):
    return lambda rank, n: [exchange((rank + 1) % n, (rank - 1) % n, **kind)]


def in_a_window(window, send=None, receive=None):
    """A program of one step that runs a program of one step in a window."""
    chosen = {"send": send or chunk(0), "receive": receive or chunk(0)}
    return lambda rank, n: within([list(range(n))], rank, lambda r, n: iter([shift(**chosen)(r, n)]), window)


BAD_STEPS = {
    "nobody receives": (
        lambda r, n: [exchange((r + 1) % n, PROC_NULL, send=chunk(0), receive=chunk(0))],
        r"mine, step 0: rank 0 sends to 1, but 1 receives from nobody",
    ),
    "nobody sends": (
        lambda r, n: [exchange(PROC_NULL, (r + 1) % n, send=chunk(0), receive=chunk(0))],
        r"step 0: rank 3 receives from 0, but 0 sends to nobody",
    ),
    "another receives": (
        lambda r, n: [exchange((r + 1) % n, (r + 1) % n, send=chunk(0), receive=chunk(0))],
        r"step 0: rank 0 sends to 1, but 1 receives from \[2\]",
    ),
    "all to one in an exchange": (
        lambda r, n: [exchange(where(r > 0, 0, PROC_NULL), where(r == 0, 1, PROC_NULL), send=chunk(0))],
        r"step 0: rank 2 sends to 0, but 0 receives from \[1\]",
    ),
    "no such rank": (
        lambda r, n: [exchange(r + 1, r - 1, send=chunk(0), receive=chunk(0))],
        r"step 0: rank 3 sends to 4, which is not a rank of 4",
    ),
    "rows beyond the ranks": (
        lambda r, n: [exchange(np.arange(9) % n, np.arange(9) % n, send=chunk(0), receive=chunk(0))],
        r"step 0: row 4 sends to somebody, but there are 4 ranks",
    ),
    "a peer that is no int": (lambda r, n: [exchange(0.5, 1, send=chunk(0))], r"must be a rank .* not 0.5"),
    "lengths disagree": (shift(send=chunks(0, 2), receive=chunks(0, 3)), r"rank 3 sends 2 chunks to 0, .* receives 3"),
    "written twice": (
        lambda r, n: 2 * shift(send=chunk(0), receive=chunk(2))(r, n),
        r"step 0: chunk 2 of rank 0 is written twice",
    ),
    "copied and reduced into": (
        lambda r, n: [
            *shift(send=chunk(0), receive=chunk(2))(r, n),
            *shift(send=chunk(0), receive=chunks(1, 1), reduce=True)(r, n),
            *shift(send=chunk(0), receive=chunk(1))(r, n),
        ],
        r"chunk 1 of rank 0 is written twice",
    ),
    "chunk beyond the buffer": (
        lambda r, n: [exchange((r + 1) % n, (r - 1) % n, send=chunk(0), receive=chunk(2 * r))],
        r"step 0: rank 2 selects 1 chunks from 4 on, of a window of 4",
    ),
    "negative chunk": (shift(send=chunk(-1), receive=chunk(0)), r"rank 0 selects 1 chunks from -1 on"),
    "more chunks than there are": (shift(send=chunks(0, 5), receive=chunks(0, 5)), r"selects 5 chunks from 0 on"),
    "negative length": (shift(send=chunks(0, -1), receive=chunks(0, -1)), r"selects -1 chunks"),
    "a window beyond the buffer": (
        lambda r, n: next(
            within([[0, 1]], r, lambda r, n: iter([shift(send=chunk(0), receive=chunk(1))(r, n)]), Window(3, 2))
        ),
        r"of a window of 2 at 3 \(the buffer has 4 chunks\)",
    ),
    "a rank in two groups": (
        lambda r, n: next(
            within([[0, 1], [2, 1]], r, lambda r, n: iter([shift(send=chunk(0), receive=chunk(0))(r, n)]))
        ),
        r"rank 1 is in several",
    ),
    "a fan with a selection for each rank": (
        lambda r, n: [fan_in(r, n, 0, send=chunk(r), receive=chunk(0))],
        r"one selection for all pairs",
    ),
    "a window that begins in one copy and ends in another": (
        lambda r, n: next(in_a_window(Window(3, 2), chunk(0, buffer=SCRATCH), chunk(1, buffer=SCRATCH))(r, n)),
        r"of a window of 2 at 3 \(the buffer has 4 chunks\)",
    ),
    "a window beyond that around it": (
        lambda r, n: next(within([[0, 1, 2, 3]], r, in_a_window(Window(1, 2)), Window(0, 2))),
        "does not fit in a window of 2 chunks",
    ),
    "an array for fewer ranks": (shift(send=chunk(np.arange(3)), receive=chunk(0)), "one for each of 4 messages, not"),
    "an array for more ranks": (
        lambda r, n: [exchange(where(r, 0, -1), where(r, -1, 1), send=chunk(np.arange(5) % 4))],
        "one for each of 4 messages, not",
    ),
    "lengths for fewer ranks": (shift(send=chunks(0, np.ones(2, int)), receive=chunk(0)), "one for each of 4 messages"),
    "a buffer for fewer ranks": (shift(send=chunk(0, buffer=np.zeros(3, int)), receive=chunk(0)), "one for each of 4"),
    "a number instead of chunks": (shift(send=0, receive=chunk(0)), r"0 is no selection; write chunk\(…\)"),
    "a number from a chooser": (
        lambda r, n: [direct(r, n, send=lambda me, peer: 0, receive=lambda me, peer: chunk(0))],
        r"0 is no selection; write chunk\(…\)",
    ),
    "a number in a fan": (
        lambda r, n: [fan_in(r, n, 0, send=0, receive=chunk(0))],
        r"0 is no selection; write chunk\(…\)",
    ),
    "half a chunk by hand": (shift(send=Selection(0.5), receive=chunk(0)), "takes a whole number, .* not 0.5"),
    "a list by hand": (shift(send=Selection(index=[0, 1]), receive=chunk(0)), "a list of chunks is an array"),
    "received_first for fewer ranks": (
        shift(send=chunk(0), receive=chunk(0), reduce=True, received_first=np.array([True, False])),
        r"one for each rank, not of shape \(2,\)",
    ),
    "received_first by hand": (
        lambda r, n: [replace(shift()(r, n)[0], received_first=np.array([True, False]))],
        r"one for each of 4 messages received, not of shape \(2,\)",
    ),
    "a root that is none": (
        lambda r, n: [fan_out(r, n, 4, send=chunk(0), receive=chunk(0))],
        "root=4 is not a rank of 4",
    ),
    "sides of two lengths": (
        lambda r, n: [Exchange(Side(np.arange(4), np.arange(3), chunk(0)), NOBODY, reduce=False)],
        "two equally long arrays",
    ),
    "sides that are none": (lambda r, n: [Exchange(1, 2, False)], r"made by exchange\(…\)"),
    "a stagger that is none": (lambda r, n: lanes(iter([]), stagger=0.5), "a stagger of whole steps, not 0.5"),
    "groups of halves": (
        lambda r, n: next(within([[0, 0.5]], r, in_a_window(None))),
        r"groups hold ranks, not \[0.0, 0.5\]",
    ),
    "no list": (lambda r, n: exchange(r, r), r"mine, step 0: a step is a list of exchanges"),
    "no exchange": (lambda r, n: [3], r"a step is a list of exchanges, not list"),
}


@pytest.mark.parametrize("name", BAD_STEPS)
def test_a_step_that_does_not_fit_is_refused_by_name(name):
    step, said = BAD_STEPS[name]
    with pytest.raises(ScheduleError, match=said) as error:
        verify(program_of(step), 4)
    assert isinstance(error.value, CommsimError)


def test_groups_of_different_sizes_may_reduce_and_copy_side_by_side():
    def program(rank, n_ranks):
        yield shift(send=chunk(0), receive=chunk(0), reduce=n_ranks > 2)(rank, n_ranks)

    [step] = within([[0, 1, 2], [3, 4]], np.arange(5), program)
    assert sorted((e.reduce, e.sends.row.tolist()) for e in step) == [(False, [3, 4]), (True, [0, 1, 2])]
    assert [e.reduce for step in within([[0, 1, 2], [3, 4]], 1, program) for e in step if len(e.sends.row)] == [True]


@pytest.mark.parametrize("make", [lambda: Window(0, 0), lambda: Window(0, 2, 0), lambda: Window(0, 2.0)])
def test_a_window_of_nothing_is_refused(make):
    with pytest.raises(ScheduleError):
        make()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint64])
def test_ranks_and_chunks_may_be_small_or_unsigned_ints(kind):
    """Their products do not fit in them; the program says nothing of products."""

    @algorithm("allreduce", chunks=lambda n_ranks: n_ranks, constraints=(COMMUTATIVE,))
    def ring(rank, n_ranks):
        to, source = ((rank + by) % n_ranks for by in (1, -1))
        for step in range(2 * (n_ranks - 1)):
            send, receive = ((rank - step - by) % n_ranks for by in (0, 1))
            if isinstance(rank, np.ndarray):
                to, source, send, receive = (value.astype(kind) for value in (to, source, send, receive))
            else:
                send, receive = kind(send), kind(receive)
            yield [exchange(to, source, send=chunk(send), receive=chunk(receive), reduce=step < n_ranks - 1)]

    for means in ("counting", "fingerprints"):
        assert verify(ring, 100, means=means).means == means
    same_program(ring, 100, 99)


def test_a_list_may_be_empty_and_of_small_ints():
    @algorithm("broadcast", chunks=2)
    def mine(rank, n_ranks, *, root):
        yield [fan_out(rank, n_ranks, root, send=listed([]), receive=listed([]))]
        every = listed(np.array([1, 0], np.uint8))
        yield [fan_out(rank, n_ranks, root, send=every, receive=every)]

    verify(mine, 3)


def test_groups_of_different_sizes_may_select_by_list_and_by_range_that_wraps():
    """And groups of no rank do nothing."""

    def program(rank, n_ranks):
        every = listed([3, 0, 1, 2]) if n_ranks > 2 else chunks(3, 4)
        yield [fan_out(rank, n_ranks, 0, send=every, receive=every)]

    @algorithm("broadcast", chunks=4)
    def mine(rank, n_ranks, *, root):
        yield [fan_out(rank, n_ranks, 0, send=chunks(0, 4), receive=chunks(0, 4))]
        yield from within([[0, 1, 2], [], [3, 4]], rank, program)

    verify(mine, 5)
    same_program(mine, 5, 4)


def refusing(n_ranks, k):
    raise ZeroDivisionError("of mine")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"constraints": ("commutative",)}, r"write them like \(COMMUTATIVE, "),
        ({"constraints": (Constraint("odd", refusing),)}, r"mine: odd\(n_ranks, .* failed: ZeroDivisionError: of mine"),
        ({"defaults": lambda n_ranks, n_bytes, groups: None}, "defaults must return a mapping of parameters, not None"),
        ({"chunks": 2**40}, "has 1099511627776 chunks; at most"),
        ({"scratch": 2**40}, "chunks; at most"),
        ({"chunks": lambda n_ranks, k: exit(0)}, "failed: SystemExit: 0"),
    ],
)
def test_what_an_author_says_of_an_algorithm_wrong(options, said):
    def mine(rank, n_ranks, *, k):
        yield []

    def proof():
        made = algorithm("allreduce", **options)(mine)
        verify(made if "defaults" in options else made.with_params(k=1), 4)

    with pytest.raises(CommsimError, match=said):
        proof()


def test_an_author_s_cost_that_fails_is_said():
    @algorithm("allreduce", cost=lambda n_ranks, n_bytes: 0.0)
    def mine(rank, n_ranks):
        yield []

    with pytest.raises(ScheduleError, match=r"mine: cost\(n_ranks, n_bytes, alpha, beta, gamma, .* failed: TypeError"):
        mine.cost_s(2, 8, 1.0, 1.0, 1.0)


def test_a_program_may_not_end_the_process():
    """Exit 0 without an answer would look like one."""

    @algorithm("allreduce")
    def mine(rank, n_ranks):
        yield [exit(0)]

    with pytest.raises(ScheduleError, match="mine, step 0: SystemExit: 0"):
        verify(mine, 2)


def test_messages_of_several_lines_become_one():
    assert str(ScheduleError("one\n  two")) == "one two"


def test_an_alltoallv_has_whole_blocks_and_no_scratch():
    """No matrix of sizes could be given to another."""
    for options in ({"chunks": 2}, {"scratch": 1}):

        @algorithm("alltoallv", **options)
        def mine(rank, n_ranks):
            yield []

        with pytest.raises(ScheduleError, match="where every pair has a size of its own"):
            verify(mine, 2)


def peers_of_all(rank, n_ranks):
    yield [exchange(np.array([1, 0]), np.array([1, 0]), send=chunk(0), receive=chunk(0))]


def other_lanes(rank, n_ranks):
    yield lanes(iter([]), stagger=int(isinstance(rank, int)))


def senseless(rank, n_ranks):
    length = -3 if isinstance(rank, int) else 1
    yield [exchange(1 - rank, 1 - rank, send=chunks(0, length), receive=chunks(0, length))]


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (peers_of_all, "step 0: the program of rank 0 alone differs"),
        (other_lanes, "step 0: the program of rank 0 alone differs"),
        (senseless, "step 0: rank 0 selects -3 chunks"),
    ],
)
def test_the_program_of_one_rank_is_compared_in_everything(program, said):
    with pytest.raises(ScheduleError, match=said):
        same_program(algorithm("allreduce")(program), 2, 0)


def test_an_algorithm_of_no_chunks_is_refused():
    @algorithm("broadcast", chunks=lambda n_ranks: 0)
    def mine(rank, n_ranks, *, root):
        yield []

    with pytest.raises(ScheduleError, match="mine cuts the vector in 0 chunks"):
        verify(mine, 4)


def test_a_repetition_means_its_steps_one_by_one():
    """Moved selections wrap in their window; within groups, mirrored and beside others it is the same."""

    def turning(rank, n_ranks):
        send, receive = chunk(rank, size=n_ranks), chunk((rank - 1) % n_ranks, size=n_ranks)
        yield repeat(
            n_ranks - 1, [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=send, receive=receive)], shift=-1
        )

    steps = list(unrolled(turning(np.arange(4), 4)))
    assert [step[0].sends.selection.start.tolist() for step in steps] == [[0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]]
    (block,) = within([[0, 1, 2, 3], [7, 6, 5, 4]], np.arange(8), turning)
    assert block.times == 3
    assert len(list(unrolled(within([[0, 1, 2], [3, 4]], np.arange(5), turning)))) == 2


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda r: repeat(2, [exchange(r, r, send=chunk(0), receive=chunk(0))], shift=1), "range with a window"),
        (lambda r: repeat(2, [exchange(r, r, send=listed([0]), receive=listed([0]))], shift=1), "range with a window"),
        (lambda r: repeat(-1, []), "repeated -1 times"),
        (lambda r: repeat(2, [lanes(iter(()))]), "list of exchanges"),
    ],
)
def test_a_repetition_that_cannot_be_is_refused(wrong, text):
    with pytest.raises(ScheduleError, match=text):
        wrong(np.arange(3))
