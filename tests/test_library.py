"""Every algorithm, on every number of ranks that it claims: counted, executed, one text, and the cost it states."""

import numpy as np
import pytest

import topologies
from commsim import ROUNDS_APART, Schedule, execute_in_process, same_program, simulate, verify
from commsim.states import MIXED
from tests.variants import LANES, PLAIN, SPECS, find, name_of, roots, takes

FEW = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 24, 31, 32, 33)


def ranks_of(case, *more):
    """Numbers of ranks to try: 1 to 40 of every algorithm as it stands, fewer of its variants."""
    return [*(range(1, 41) if case in PLAIN else FEW), *more]


def taken_by(algorithm, ranks):
    taken = [n_ranks for n_ranks in ranks if takes(algorithm, n_ranks)]
    assert taken, f"{algorithm.spec} takes no number of ranks"
    return taken


@pytest.mark.parametrize("case", SPECS, ids=name_of)
def test_counting(case):
    algorithm = find(case)
    for n_ranks in taken_by(algorithm, ranks_of(case)):
        for root in roots(algorithm, n_ranks):
            proof = verify(algorithm, n_ranks, root=root)
            assert (proof.n_ranks, proof.root, proof.collective) == (n_ranks, root, case[0])
            assert proof.means.startswith("counting")


@pytest.mark.parametrize("case", SPECS, ids=name_of)
def test_fingerprints_agree(case):
    algorithm = find(case)
    if algorithm.collective.joins:
        return
    for n_ranks in taken_by(algorithm, (1, 2, 3, 5, 8, 12, 17)):
        for root in roots(algorithm, n_ranks):
            assert verify(algorithm, n_ranks, root=root, means="fingerprints").means.startswith("fingerprints")


def words(n_ranks, n_elements):
    """Vectors of texts: adding them is putting one behind the other, which does not commute."""
    return np.array([[f"{rank}." for _ in range(n_elements)] for rank in range(n_ranks)], dtype=object).reshape(
        n_ranks, -1
    )


def wanted_of(collective, buffers, op, root):
    """What each rank must end with, by plain numpy, and where: a list of (rank, slice, values)."""
    n_ranks, n_elements = buffers.shape
    share, rest = divmod(n_elements, n_ranks)
    ends = np.cumsum([share + (rank < rest) for rank in range(n_ranks)])
    block = [slice(end - share - (rank < rest), end) for rank, end in enumerate(ends)]
    total = buffers[0].copy()
    for row in buffers[1:]:
        total = op(total, row)
    everything, every = slice(0, n_elements), range(n_ranks)
    gathered = np.concatenate([buffers[rank][block[rank]] for rank in every])
    return {
        "allreduce": [(rank, everything, total) for rank in every],
        "reduce": [(root, everything, total)],
        "broadcast": [(rank, everything, buffers[root]) for rank in every],
        "reduce_scatter": [(rank, block[rank], total[block[rank]]) for rank in every],
        "allgather": [(rank, everything, gathered) for rank in every],
        "gather": [(root, everything, gathered)],
        "scatter": [(rank, block[rank], buffers[root][block[rank]]) for rank in every],
        "alltoall": [(r, everything, np.concatenate([buffers[s][block[r]] for s in every])) for r in every],
        "barrier": [],
    }[collective]


def executed(algorithm, buffers, root=0, op=np.add):
    before = buffers.copy()
    found = execute_in_process(algorithm, buffers, root=root, op=op)
    assert (buffers == before).all()
    for rank, part, values in wanted_of(algorithm.collective.name, buffers, op, root):
        np.testing.assert_array_equal(found[rank, part], values, err_msg=f"{algorithm.spec} rank {rank}")


@pytest.mark.parametrize("case", SPECS, ids=name_of)
def test_numpy_executor(case):
    algorithm = find(case)
    name = algorithm.collective.name
    if name == "alltoallv":
        return
    rng = np.random.default_rng(1)
    for n_ranks in taken_by(algorithm, ranks_of(case)):
        counts = {0, 1, n_ranks - 1, n_ranks, n_ranks + 1, 97} if n_ranks in FEW else {n_ranks + 1}
        for count in sorted(counts):
            n_elements = count * n_ranks if algorithm.collective.has_output else count
            buffers = rng.integers(-1000, 1000, (n_ranks, n_elements))
            executed(algorithm, buffers, root=(n_ranks - 1) * algorithm.collective.rooted)


@pytest.mark.parametrize("case", [case for case in SPECS if find(case).collective.reduces], ids=name_of)
def test_numpy_executor_with_other_operations(case):
    algorithm = find(case)
    rng = np.random.default_rng(2)
    for n_ranks in taken_by(algorithm, (1, 2, 3, 6, 8, 13, 16)):
        for op in (np.maximum, np.minimum, np.multiply, lambda a, b: np.gcd(a, b)):
            executed(
                algorithm, rng.integers(0, 3, (n_ranks, 37)), op=op, root=(n_ranks // 2) * algorithm.collective.rooted
            )
        if Schedule(algorithm.resolved(n_ranks), n_ranks).keeps_order:
            executed(algorithm, words(n_ranks, n_ranks + 2), root=(n_ranks // 2) * algorithm.collective.rooted)


@pytest.mark.parametrize("case", [case for case in SPECS if case[0] == "allreduce"], ids=name_of)
def test_ranks_round_apart_exactly_where_it_is_declared(case):
    """Elsewhere all ranks end with the same bits."""
    algorithm = find(case)
    rng = np.random.default_rng(3)
    for n_ranks in taken_by(algorithm, (1, 2, 3, 4, 5, 8, 9, 12, 16)):
        resolved = algorithm.resolved(n_ranks)
        found = execute_in_process(resolved, rng.standard_normal((n_ranks, 97)).astype(np.float32))
        same = (found.view(np.uint32) == found[0].view(np.uint32)).all()
        assert same != (ROUNDS_APART in resolved.constraints), (resolved.spec, n_ranks)


@pytest.mark.parametrize("case", [case for case in SPECS if case[0] == "alltoallv"], ids=name_of)
def test_numpy_executor_with_a_size_for_each_pair(case):
    algorithm = find(case)
    for n_ranks in taken_by(algorithm, FEW):
        counts = np.random.default_rng(n_ranks).integers(0, 4, (n_ranks, n_ranks))
        buffers = np.arange(n_ranks * counts.sum(axis=1).max()).reshape(n_ranks, -1) + 1
        found = execute_in_process(algorithm, buffers, counts=counts)
        begin = np.cumsum(counts, axis=1) - counts
        for rank in range(n_ranks):
            parts = [buffers[s, begin[s, rank] : begin[s, rank] + counts[s, rank]] for s in range(n_ranks)]
            wanted = np.concatenate(parts)
            np.testing.assert_array_equal(found[rank, : len(wanted)], wanted)
            assert not found[rank, len(wanted) :].any()


@pytest.mark.parametrize("case", SPECS, ids=name_of)
def test_one_rank_is_its_row_of_all_ranks(case):
    algorithm = find(case)
    for n_ranks in taken_by(algorithm, (1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 17, 31)):
        for root in {0, n_ranks - 1} if algorithm.collective.rooted else {0}:
            for rank in sorted({0, 1 % n_ranks, n_ranks // 2, n_ranks - 1}):
                same_program(algorithm, n_ranks, rank, root=root)


@pytest.mark.parametrize("case", [case for case in SPECS if case not in LANES], ids=name_of)
def test_hockney_is_the_stated_cost(case):
    latency_s, overhead_s, bandwidth_Bps, gamma = 3e-7, 2e-7, 8e9, 5e-11
    alpha = 2 * latency_s + 2 * overhead_s
    algorithm = find(case)
    for n_ranks in taken_by(algorithm, ranks_of(case, 64, 100, 128)):
        system = topologies.star(n_ranks, bandwidth_Bps, latency_s, overhead_s, gamma_s_per_byte=gamma)
        system = with_everything(system)
        chosen = algorithm.resolved(n_ranks, 2**17)
        n_bytes = 4 * Schedule(chosen, n_ranks).n_chunks * 24 * (not chosen.collective.joins)
        counts = np.full((n_ranks, n_ranks), 24) if chosen.collective.sizes_each else None
        for root in {0, n_ranks // 2} if chosen.collective.rooted else {0}:
            result = simulate(chosen, system, n_bytes, root=root, counts=counts, model="hockney")
            cost_s = chosen.cost_s(n_ranks, n_bytes, alpha, 1 / bandwidth_Bps, gamma, root)
            assert result.time_s == pytest.approx(cost_s, rel=1e-9, abs=1e-18), (n_ranks, root)


def with_everything(system):
    """The same system whose switches reduce and multicast."""
    from dataclasses import replace

    return replace(system, in_network={"all": frozenset({"reduce", "multicast"})})


def test_mixed_is_no_chunk():
    assert MIXED < 0
