"""Progress: silent for two seconds, then how far and of how many, from the first rank alone."""

import itertools

import pytest

from collectives.registry import find
from commsim import algorithm, chunk, exchange, verify
from experiments import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever it is looked at."""
    ticks = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(progress, "COUNTED_S", 1000.0)
    monkeypatch.setattr(progress, "_display", progress._Display())  # other tests' errors may keep theirs under way
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False)


def test_what_is_quick_is_not_told(capsys):
    assert list(progress.track(range(5), "counting", 5)) == [0, 1, 2, 3, 4]
    verify(progress.watched(find("allreduce", "ring")), 8)
    assert capsys.readouterr().err == ""


def test_items_and_the_steps_of_one_are_told_with_their_totals(clock, capsys):
    for n_ranks in progress.track((8, 9), "verifying ring", 2):
        verify(progress.watched(find("alltoall", "pairwise")), n_ranks)
    lines = capsys.readouterr().err.splitlines()
    assert "verifying ring 0 of 2; pairwise: step 5 of 8" in lines
    assert lines[-1].startswith("verifying ring 1 of 2; pairwise: step ")
    assert lines[-1].endswith(" of 9")


def test_a_program_without_end_is_told_without_a_total(clock, capsys, monkeypatch):
    @algorithm("allreduce")
    def endless(rank, n_ranks):
        for step in itertools.count():
            if step == 2000:
                raise RuntimeError("enough")
            yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=chunk(0), receive=chunk(0))]

    monkeypatch.setattr(progress, "COUNTED_S", 2.0)
    with pytest.raises(Exception, match="enough"):
        verify(progress.watched(endless), 3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 5
    assert all(line.startswith("endless: step ") and " of " not in line for line in lines)
    assert len(lines) < 100  # rarer with time


def test_only_the_first_rank_tells(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress, "launched_rank", lambda: 1)
    assert list(progress.track(range(9), "counting", 9))
    assert capsys.readouterr().err == ""
