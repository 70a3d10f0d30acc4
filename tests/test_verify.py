"""Every algorithm on 1 to 40 ranks, by counting and on numpy buffers; and every wrong mutant is refused."""

import sys
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from collectives import registry
from commsim import algorithm, chunk, exchange, execute_in_process, verify, where
from commsim.algorithm import Algorithm
from commsim.errors import CommsimError, InputError, RefusedError, ScheduleError, VerificationError
from commsim.program import Exchange, Selection
from commsim.schedule import Schedule

RANKS = range(1, 41)
SPECS = [(a.collective.name, a.name) for a in registry.all_algorithms()]
CHAINS = [("broadcast", f"chain:segments={s}") for s in (2, 7)]
INTERS = ("linear", "rabenseifner", "recursive_doubling", "ring")
SPLITS = [("allreduce", f"node_split:ranks_per_node={n},inter={i}") for n in (1, 2, 3, 4, 8) for i in INTERS]
SPLITS += [("allreduce", "node_split:inter=node_split")]


def takes(algorithm: Algorithm, n_ranks: int) -> bool:
    try:
        algorithm.resolved(n_ranks)
    except RefusedError:
        return False
    return True


@pytest.mark.parametrize(("collective", "spec"), SPECS + CHAINS + SPLITS)
def test_counting(collective, spec):
    algorithm = registry.find(collective, spec)
    taken = [n_ranks for n_ranks in RANKS if takes(algorithm, n_ranks)]
    assert len(taken) >= (5 if "ranks_per_node" in spec else 40)
    for n_ranks in taken:
        roots = {0, n_ranks // 2, n_ranks - 1} if algorithm.collective.rooted else {0}
        for root in roots:
            proof = verify(algorithm, n_ranks, root=root)
            assert (proof.n_ranks, proof.root, proof.collective) == (n_ranks, root, collective)


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


def executed(algorithm, n_ranks, n_elements, root=0, op=np.add, high=1000):
    buffers = np.random.default_rng(n_ranks * 1000 + n_elements).integers(-high, high, (n_ranks, n_elements))
    before = buffers.copy()
    found = execute_in_process(algorithm, buffers, root=root, op=op)
    assert (buffers == before).all()
    wanted = op.reduce(buffers, axis=0) if algorithm.collective.reduces else buffers[root]
    np.testing.assert_array_equal(found, np.broadcast_to(wanted, buffers.shape))


@pytest.mark.parametrize(("collective", "spec"), [*SPECS, ("broadcast", "chain:segments=5")])
def test_numpy_executor(collective, spec):
    algorithm = registry.find(collective, spec)
    for n_ranks in RANKS:
        few = {0, 1, n_ranks} if n_ranks <= 16 or n_ranks in (31, 32, 40) else set()
        for n_elements in sorted({n_ranks - 1, n_ranks + 1, 97} | few):
            executed(algorithm, n_ranks, n_elements, root=(n_ranks - 1) * algorithm.collective.rooted)


@pytest.mark.parametrize("op", [np.maximum, np.minimum, np.multiply], ids=lambda op: op.__name__)
@pytest.mark.parametrize(("collective", "spec"), [spec for spec in SPECS if spec[0] == "allreduce"])
def test_numpy_executor_with_other_operations(collective, spec, op):
    for n_ranks in (1, 2, 3, 6, 8, 13, 16, 31):
        executed(registry.find(collective, spec), n_ranks, 37, op=op, high=3)


@pytest.mark.parametrize(("collective", "spec"), [SPLITS[9], SPLITS[13], SPLITS[-1]])
def test_numpy_executor_of_node_splits(collective, spec):
    for n_ranks in (12, 24, 36):
        executed(registry.find(collective, spec), n_ranks, 97)


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
    with pytest.raises(VerificationError, match=r"ring on 4 ranks is no allreduce: rank \d ends .* times .* chunk \d"):
        verify(twice, 4)
    nothing = mutant(ring, lambda k, step: [])
    with pytest.raises(VerificationError, match=r"rank 1 0 times instead of 1 in chunk 0 \(never written\)"):
        verify(nothing, 2)


def test_elements_that_do_not_fit_are_refused_by_the_executor():
    """Chunks of different sizes: counting cannot see it, execution does."""
    ring = registry.find("allreduce", "ring")

    def into_next_chunk(rank, n_ranks):
        for step in ring.program(rank, n_ranks):
            for e in step:
                moved = replace(e.receives.selection, start=(e.receives.selection.start + 1) % n_ranks)
                yield [replace(e, receives=replace(e.receives, selection=moved))]

    with pytest.raises(ScheduleError, match=r"elements arrive at rank \d in chunk \d"):
        execute_in_process(replace(ring, program=into_next_chunk), np.ones((4, 5)))


# ---------------------------------------------------------------------------------------------------------------------
# Mutants. A readable machine of its own (one message at a time) says which are wrong. It keeps a multiset of ranks as
# one int: 16 bits for the count of each rank, so that reducing is adding.


class MisfitError(Exception):
    """The steps have no defined result."""


def ends(side, n_ranks, n_chunks, key):
    """The messages of one side: (src, dst) to the list of chunks."""
    found = {}
    selection = zip(*(np.broadcast_to(v, len(side.row)).tolist() for v in side.selection.values()), strict=True)
    for row, peer, values in zip(side.row.tolist(), side.peer.tolist(), selection, strict=True):
        start, length, first, size = values
        size = size or n_chunks
        legal = 0 <= start < size and 0 <= length <= size and first >= 0 and first + size <= n_chunks
        if not legal or not 0 <= peer < n_ranks or key(row, peer) in found:
            raise MisfitError
        found[key(row, peer)] = [first + (start + i) % size for i in range(length)]
    return found


def final_state(algorithm, n_ranks, root):
    """state[rank][chunk]: whose value is in it how often. MisfitError where it is not defined."""
    schedule = Schedule(algorithm.resolved(n_ranks), n_ranks, root)
    state = [[1 << 16 * rank] * schedule.n_chunks for rank in range(n_ranks)]
    for step in schedule:
        before = [chunks.copy() for chunks in state]
        writes = defaultdict(list)
        for part in step:
            sends = ends(part.sends, n_ranks, schedule.n_chunks, lambda row, peer: (row, peer))
            receives = ends(part.receives, n_ranks, schedule.n_chunks, lambda row, peer: (peer, row))
            if sends.keys() != receives.keys():
                raise MisfitError
            for (src, dst), sent in sends.items():
                if len(sent) != len(receives[src, dst]):
                    raise MisfitError
                for source, target in zip(sent, receives[src, dst], strict=True):
                    writes[dst, target].append((part.reduce, before[src][source]))
        for (dst, target), values in writes.items():
            if len(values) > 1 and not all(reduce for reduce, _ in values):
                raise MisfitError
            for reduce, value in values:
                state[dst][target] = value + state[dst][target] * reduce
    return state


def is_right(algorithm, n_ranks, root):
    wanted = sum(1 << 16 * rank for rank in (range(n_ranks) if algorithm.collective.reduces else [root]))
    try:
        return all(value == wanted for chunks in final_state(algorithm, n_ranks, root) for value in chunks)
    except MisfitError:
        return False


def mutant(algorithm, change) -> Algorithm:
    """`change(index, step)` gives the steps that stand instead of one."""

    def program(rank, n_ranks, **options):
        for index, step in enumerate(algorithm.program(rank, n_ranks, **options)):
            yield from change(index, step)

    return replace(algorithm, program=program)


def at(k, change):
    return lambda index, step: change(step) if index == k else [step]


def shifted(side, row, start=0, length=0):
    """The side with one row's range moved, or made longer."""
    values = [np.broadcast_to(np.asarray(v), len(side.row)).copy() for v in side.selection.values()]
    values[0][row] += start
    values[1][row] += length
    return replace(side, selection=Selection(*values))


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


def mutants_of(algorithm, n_ranks, root):
    """(kind, mutant) for every step and exchange of the algorithm."""
    resolved = algorithm.resolved(n_ranks)
    steps = list(Schedule(resolved, n_ranks, root))
    for k, step in enumerate(steps):
        yield "dropped", mutant(resolved, at(k, lambda step: []))
        yield "doubled", mutant(resolved, at(k, lambda step: [step, step]))
        yield "merged twice", mutant(resolved, at(k, lambda step: [step + step]))
        if k:
            yield (
                "order",
                mutant(resolved, lambda i, s, k=k: [] if i == k - 1 else [s, steps[k - 1]] if i == k else [s]),
            )
        for j, e in enumerate(step):
            if len(e.sends.row):
                for kind, other in exchange_mutants(e, n_ranks):
                    yield kind, mutant(resolved, at(k, lambda s, j=j, other=other: [[*s[:j], other, *s[j + 1 :]]]))


def is_refused(algorithm, n_ranks, root):
    try:
        verify(algorithm, n_ranks, root=root)
    except ScheduleError:
        return True
    return False


MUTATED = [*SPECS, ("broadcast", "chain:segments=3"), ("allreduce", "node_split:inter=rabenseifner")]


def test_every_wrong_mutant_is_refused():
    refused, equivalent = Counter(), Counter()
    for collective, spec in MUTATED:
        algorithm = registry.find(collective, spec)
        for n_ranks, root in ((2, 0), (4, 1), (7, 6)):
            root *= algorithm.collective.rooted
            assert is_right(algorithm, n_ranks, root)
            for kind, changed in mutants_of(algorithm, n_ranks, root):
                right = is_right(changed, n_ranks, root)
                assert is_refused(changed, n_ranks, root) is not right, (spec, n_ranks, kind)
                (equivalent if right else refused)[kind] += 1
    sys.stdout.write(f"mutants refused {refused.total()} {dict(refused)}\n")
    sys.stdout.write(f"equivalent {equivalent.total()} {dict(equivalent)}\n")
    assert refused.total() > 1500
    assert refused.total() > 5 * equivalent.total()
    assert min(refused[kind] for kind in ("op", "peer", "range", "order", "dropped", "doubled")) >= 30


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
