"""Wrong schedules: mutants of every algorithm. What ends differently is refused, the rest is executed and shown equal.

A readable machine of its own (one message at a time, values are tuples of what they were made of) says which are wrong.
"""

import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from commsim import COMMUTATIVE, SCRATCH, Schedule, algorithm, chunk, exchange, execute_in_process, lanes, verify
from commsim.algorithm import Algorithm
from commsim.errors import ScheduleError
from commsim.program import Exchange, Lanes, unrolled
from tests.test_library import wanted_of, words
from tests.variants import PLAIN, SPECS, find, name_of, takes

PER_CASE = 30  # mutants of one algorithm on one number of ranks, drawn with a fixed seed
RANKS = (4, 5, 6, 8, 9)  # the first two that an algorithm takes


class MisfitError(Exception):
    """The steps have no defined result."""


BAD = "bad"  # made of nothing, or of different chunks


def joined(left, right):
    """A reduction: what it is made of, in order."""
    if BAD in (left, right) or left is None or right is None or left[1] != right[1]:
        return BAD
    return left[0] + right[0], left[1]


def ends(side, schedule, key):
    """The messages of one side, (src, dst) to (number, chunks)."""
    n_data, n_all = schedule.space.n_data, schedule.space.n_chunks
    found = {}
    for number, (row, peer) in enumerate(zip(side.row.tolist(), side.peer.tolist(), strict=True)):
        selection = side.selection.rows(np.array([number]))
        window = selection.within_window(n_data)
        start, length, first, size, scale = (
            np.asarray(v).ravel()[0] for v in (window.start, window.length, window.first, window.size, window.scale)
        )
        buffer = np.asarray(window.buffer).ravel()[0]
        copies = max(schedule.space.n_scratch - (buffer - SCRATCH), 0) if buffer >= SCRATCH else 1  # they may run on
        legal = first >= 0 and first + size * scale <= copies * n_data
        if selection.index is None:
            legal = legal and 0 <= start < size and 0 <= length <= size
        else:
            listed = [i for i in selection.index.ravel().tolist() if i >= 0]
            legal = legal and max(listed, default=0) < size and len(set(listed)) == len(listed)
        if not legal or not 0 <= peer < schedule.n_ranks or key(row, peer) in found:
            raise MisfitError
        taken = selection.placed(schedule.space).expand(1)[1].tolist()
        assert max(taken, default=0) < n_all
        found[key(row, peer)] = (number, taken)
    return found


def size_of(rank, chunk, schedule):
    """What only chunks share that have one size for any number of elements."""
    collective, n_data = schedule.algorithm.collective, schedule.space.n_data
    inner = chunk % n_data
    if collective.joins:
        return None  # of no elements
    if collective.sizes_each:
        return (rank, inner) if chunk < n_data else (inner, rank)
    return inner % (n_data // schedule.n_ranks) if collective.has_output else inner


def apply_step(step, state, schedule, used):
    """One step for all ranks; `used` collects what was read and written."""
    before = [dict(chunks) for chunks in state]
    writes = defaultdict(list)
    for part in step:
        sends = ends(part.sends, schedule, lambda row, peer: (row, peer))
        receives = ends(part.receives, schedule, lambda row, peer: (peer, row))
        if sends.keys() != receives.keys():
            raise MisfitError
        first = np.broadcast_to(part.received_first, len(part.receives.row))
        for (src, dst), (number, into) in sorted(receives.items(), key=lambda item: item[1][0]):
            if len(sends[src, dst][1]) != len(into):
                raise MisfitError
            for source, target in zip(sends[src, dst][1], into, strict=True):
                if size_of(src, source, schedule) != size_of(dst, target, schedule):
                    raise MisfitError
                writes[dst, target].append((part.reduce, first[number], before[src].get(source)))
                used[0].add((src, source))
                used[1].add((dst, target))
    for (dst, target), values in writes.items():
        if len(values) > 1 and not all(reduce for reduce, *_ in values):
            raise MisfitError
        for reduce, first, value in values:
            own = state[dst].get(target)
            state[dst][target] = value if not reduce else joined(value, own) if first else joined(own, value)


def walk(steps, state, schedule, used):
    for step in steps:
        if not isinstance(step, Lanes):
            apply_step(step, state, schedule, used)
            continue
        lanes_used = []
        for program in step.programs:
            mine = (set(), set())
            walk(program, state, schedule, mine)
            for reads, written in lanes_used:
                if mine[1] & (reads | written) or mine[0] & written:
                    raise MisfitError
            lanes_used.append(mine)
        for reads, written in lanes_used:
            used[0].update(reads)
            used[1].update(written)


def is_right(algorithm, n_ranks, root):
    """Whether the schedule ends as its collective promises, by the readable machine."""
    schedule = Schedule(algorithm.resolved(n_ranks), n_ranks, root)
    collective, n_data = algorithm.collective, schedule.space.n_data
    each = n_data // collective.n_blocks(n_ranks)
    state = [
        {c: ((rank,), c) for c in range(n_data) if collective.holds(rank, c // each, root)} for rank in range(n_ranks)
    ]
    try:
        walk(schedule, state, schedule, (set(), set()))
    except (MisfitError, ScheduleError):
        return False
    base = n_data if collective.has_output else 0
    for rank in range(n_ranks):
        for c in range(n_data):
            if not collective.needs(rank, c // each, root):
                continue
            value = state[rank].get(base + c)
            if value is None or value == BAD:
                return False
            made, home = value
            if collective.joins:
                if set(made) != set(range(n_ranks)):
                    return False
                continue
            if collective.origin is None:
                made = made if schedule.keeps_order else tuple(sorted(made))
                wanted = (tuple(range(n_ranks)), c)
            else:
                wanted_home = rank * each + c % each if collective.has_output else c
                wanted = ((int(collective.origin(rank, c // each, root)),), wanted_home)
            if (made, home) != wanted:
                return False
    return True


def equals_by_execution(algorithm, n_ranks, root):
    """Whether numpy buffers end right too: numbers, and texts where the order of ranks is to be kept."""
    schedule = Schedule(algorithm.resolved(n_ranks), n_ranks, root)
    name, n_elements = algorithm.collective.name, 2 * schedule.n_chunks
    numbers = np.random.default_rng(3).integers(-(10**9), 10**9, (n_ranks, n_elements))
    options = {"counts": np.full((n_ranks, n_ranks), 2)} if algorithm.collective.sizes_each else {}
    cases = [numbers, words(n_ranks, n_elements)] if schedule.keeps_order else [numbers]
    for buffers in cases:
        found = execute_in_process(algorithm, buffers, root=root, **options)
        for rank, part, values in wanted_of(name.removesuffix("v"), buffers, np.add, root):
            if not (found[rank, part] == values).all():
                return False
    return True


def mutant(algorithm, change) -> Algorithm:
    """`change(index, step)` gives the steps that stand instead of one."""

    def program(rank, n_ranks, **options):
        for index, step in enumerate(unrolled(algorithm.program(rank, n_ranks, **options))):
            yield from change(index, kept(step))

    return replace(algorithm, program=program)


def kept(step):
    """Lanes as lists, so that they can be run again."""
    return Lanes(tuple([kept(s) for s in p] for p in step.programs), step.stagger) if isinstance(step, Lanes) else step


def at(k, change):
    return lambda index, step: change(step) if index == k else [step]


def shifted(side, row, start=0, length=0):
    """The side with one row's range moved, or made longer."""
    selection = side.selection
    if selection.index is not None:
        index = np.broadcast_to(selection.index, (len(side.row), selection.index.shape[1])).copy()
        listed = np.flatnonzero(index[row] >= 0)
        if not len(listed):
            return side
        if length < 0:
            index[row, listed[-1]] = -1
        elif length > 0:
            index = np.concatenate([index, np.full((len(index), 1), -1)], axis=1)
            index[row, -1] = index[row].max() + 1
        else:
            index[row, listed[0]] += start
        return replace(side, selection=replace(selection, index=index))
    changed = {}
    for word, by in (("start", start), ("length", length)):
        value = np.broadcast_to(np.asarray(getattr(selection, word)), len(side.row)).copy()
        value[row] += by
        changed[word] = value
    return replace(side, selection=replace(selection, **changed))


def crossed(exchange):
    """Two messages swap their destinations, at both ends alike."""
    sends, receives = exchange.sends, exchange.receives
    swap = dict(zip(sends.peer[:2].tolist(), sends.peer[1::-1].tolist(), strict=True))
    by_dst = dict(zip(receives.row.tolist(), receives.peer.tolist(), strict=True))
    send_peer = [swap.get(peer, peer) for peer in sends.peer.tolist()]
    receive_peer = [by_dst[swap.get(row, row)] for row in receives.row.tolist()]
    return replace(
        exchange,
        sends=replace(sends, peer=np.array(send_peer)),
        receives=replace(receives, peer=np.array(receive_peer)),
    )


def exchange_mutants(e: Exchange, n_ranks: int):
    """Changes of one exchange: (kind, the exchange instead)."""
    yield "op", replace(e, reduce=not e.reduce)
    if e.reduce:
        yield "operand order", replace(e, received_first=~np.broadcast_to(e.received_first, len(e.receives.row)))
    for word in ("sends", "receives"):
        side = getattr(e, word)
        peer = side.peer.copy()
        peer[0] = (peer[0] + 1) % n_ranks
        yield "peer", replace(e, **{word: replace(side, peer=peer)})
        for change in ({"start": 1}, {"start": -1}, {"length": 1}, {"length": -1}):
            yield "range", replace(e, **{word: shifted(side, len(side.row) - 1, **change)})
    for change in ({"length": 1}, {"length": -1}, {"start": 1}):  # alike at all ends
        both = {w: getattr(e, w) for w in ("sends", "receives")}
        for row in range(len(e.sends.row)):
            both = {w: shifted(side, row, **change) for w, side in both.items()}
        yield "range", replace(e, **both)
    if e.one_each and len(e.sends.row) > 1:
        yield "peer", crossed(e)


def lane_mutants(fork):
    """Changes of a fork: steps that move to another lane, are left out, or stand twice."""
    for number, lane in enumerate(fork.programs):
        other = (number + 1) % len(fork.programs)
        for k, step in enumerate(lane):
            without = [*lane[:k], *lane[k + 1 :]]
            lists = list(fork.programs)
            yield "dropped", replace(fork, programs=(*lists[:number], without, *lists[number + 1 :]))
            yield "doubled", replace(fork, programs=(*lists[:number], [*lane, step], *lists[number + 1 :]))
            if len(lists) > 1:
                moved = list(lists)
                moved[number], moved[other] = without, [*lists[other][:k], step, *lists[other][k:]]
                yield "swapped lanes", replace(fork, programs=tuple(moved))


def mutants_of(algorithm, n_ranks, root):
    """(kind, mutant) for every step and exchange of the algorithm."""
    resolved = algorithm.resolved(n_ranks)
    steps = [kept(step) for step in Schedule(resolved, n_ranks, root)]
    for k, step in enumerate(steps):
        yield "dropped", mutant(resolved, at(k, lambda step: []))
        yield "doubled", mutant(resolved, at(k, lambda step: [step, step]))
        if k:
            yield (
                "order",
                mutant(resolved, lambda i, s, k=k: [] if i == k - 1 else [s, steps[k - 1]] if i == k else [s]),
            )
        if isinstance(step, Lanes):
            for kind, other in lane_mutants(step):
                yield kind, mutant(resolved, at(k, lambda s, other=other: [other]))
            continue
        yield "merged twice", mutant(resolved, at(k, lambda step: [step + step]))
        for j, e in enumerate(step):
            if len(e.sends.row):
                for kind, other in exchange_mutants(e, n_ranks):
                    yield kind, mutant(resolved, at(k, lambda s, j=j, other=other: [[*s[:j], other, *s[j + 1 :]]]))


def is_refused(algorithm, n_ranks, root, means="auto"):
    try:
        verify(algorithm, n_ranks, root=root, means=means)
    except ScheduleError:
        return True
    return False


def judge(algorithm, n_ranks, root, note, per_case=PER_CASE):
    """Every mutant (a sample of at most so many) must be refused, or end right by two other means; both are counted."""
    assert is_right(algorithm, n_ranks, root)
    found = list(mutants_of(algorithm, n_ranks, root))
    if len(found) > per_case:
        found = random.Random(f"{algorithm.spec} {n_ranks}").sample(found, per_case)
    refused, equivalent = Counter(), Counter()
    for kind, changed in found:
        right = is_right(changed, n_ranks, root)
        assert is_refused(changed, n_ranks, root) is not right, (algorithm.spec, n_ranks, kind)
        if right:
            assert equals_by_execution(changed, n_ranks, root), (algorithm.spec, n_ranks, kind)
        (equivalent if right else refused)[kind] += 1
    note("mutants refused", dict(refused))
    note("mutants equivalent", dict(equivalent))
    return refused


@pytest.mark.parametrize("case", SPECS, ids=name_of)
def test_every_wrong_mutant_is_refused(case, record_property):
    algorithm = find(case)
    for n_ranks in [n for n in RANKS if takes(algorithm, n)][: 2 if case in PLAIN else 1]:
        refused = judge(algorithm, n_ranks, (n_ranks - 2) * algorithm.collective.rooted, record_property)
        assert refused.total() >= 5


@pytest.mark.parametrize(
    "case",
    [
        ("allreduce", "ring"),
        ("allreduce", "rabenseifner"),
        ("allgather", "bruck"),
        ("alltoall", "bruck"),
        ("reduce", "chain:segments=3,chains=3"),
    ],
    ids=name_of,
)
def test_fingerprints_refuse_what_counting_refuses(case):
    algorithm = find(case)
    for _, changed in list(mutants_of(algorithm, 6, 0))[::3]:
        assert is_refused(changed, 6, 0, "fingerprints") == is_refused(changed, 6, 0, "counting")


@algorithm("allreduce", chunks=lambda n_ranks: 2 * n_ranks)
def two_rings(rank, n_ranks):
    """Two rings in opposite directions, each over its half of the chunks, on lanes of their own."""

    def ring(direction, first):
        to, source = (rank + direction) % n_ranks, (rank - direction) % n_ranks
        for step in range(2 * (n_ranks - 1)):
            send = (rank - direction * step) % n_ranks
            receive = (rank - direction * (step + 1)) % n_ranks
            reduce = step < n_ranks - 1
            yield [exchange(to, source, send=chunk(first + send), receive=chunk(first + receive), reduce=reduce)]

    yield lanes(ring(1, 0), ring(-1, n_ranks), stagger=1)


def test_lanes(record_property):
    commutes = replace(two_rings, constraints=(COMMUTATIVE,))
    for n_ranks in (3, 4):
        refused = judge(commutes, n_ranks, 0, record_property, per_case=200)
        assert refused["swapped lanes"] >= 5
