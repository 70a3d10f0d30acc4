"""One text, two readings: the program of one int rank is that rank's row of the array program. And the errors."""

import numpy as np
import pytest

from collectives import registry
from commsim import (
    PROC_NULL,
    CommsimError,
    Schedule,
    Selection,
    Window,
    algorithm,
    chunk,
    chunks,
    exchange,
    fan_in,
    fan_out,
    verify,
    where,
    within,
)
from commsim.errors import ScheduleError


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

    @algorithm("broadcast", chunks=4)
    def mine(rank, n_ranks, *, root):
        yield step(rank, n_ranks)

    return mine


def shift(**kind):
    return lambda rank, n: [exchange((rank + 1) % n, (rank - 1) % n, **kind)]


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
        r"step 0: row 8 sends to somebody, but there are 4 ranks",
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


def test_an_algorithm_of_no_chunks_is_refused():
    @algorithm("broadcast", chunks=lambda n_ranks: 0)
    def mine(rank, n_ranks, *, root):
        yield []

    with pytest.raises(ScheduleError, match="mine cuts the vector in 0 chunks"):
        verify(mine, 4)
