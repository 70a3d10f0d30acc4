"""No answer below what physics allows: the bounds themselves, and the refusal of an answer below one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import topologies
from collectives import registry
from commsim import algorithm, simulate
from commsim.bounds import bound_s
from commsim.collective import ALLREDUCE, BROADCAST
from commsim.errors import CommsimError, ImpossibleResultError, RefusedError
from tests.variants import PLAIN

MIB = 2**20
SPECS = [case for case in PLAIN if not registry.find(*case).collective.sizes_each]
STAR = topologies.star(8, 1e9, 1e-6)


@pytest.mark.parametrize(
    ("collective", "n_ranks", "n_bytes", "wanted_s"),
    [
        (ALLREDUCE, 1, MIB, 0.0),
        (ALLREDUCE, 8, 0, 2e-6),
        (ALLREDUCE, 2, 10**6, 1e-3),
        (ALLREDUCE, 8, 10**6, 2 * 7 / 8 * 1e-3),  # of the 8 ports together
        (BROADCAST, 1, MIB, 0.0),
        (BROADCAST, 8, 0, 2e-6),
        (BROADCAST, 8, 10**6, 1e-3),
    ],
)
def test_bounds_of_a_star(collective, n_ranks, n_bytes, wanted_s):
    assert bound_s(collective, STAR, n_ranks, n_bytes) == pytest.approx(wanted_s)


def test_overheads_raise_the_latency_bound():
    assert bound_s(BROADCAST, topologies.star(4, 1e9, 1e-6, overhead_s=3e-6), 4, 8) == pytest.approx(8e-6)


def test_a_tapered_leaf_and_a_node_are_bounds():
    tapered = topologies.find("xgft:down=8x2,up=1x1,bandwidth=1GB/s,latency=0s")
    assert bound_s(ALLREDUCE, tapered, 16, 10**6) == pytest.approx(2 * 15 / 16 * 1e-3)
    assert bound_s(BROADCAST, tapered, 16, 10**6, root=15) == pytest.approx(1e-3)
    dgx = topologies.find("dgx_h100:nodes=2,nic_bandwidth=1GB/s,nvlink_bandwidth=100GB/s,nvlink_latency=0s")
    assert bound_s(ALLREDUCE, dgx, 16, 8 * 10**6) == pytest.approx(1e-3)  # out of a node by 8 NICs
    assert bound_s(ALLREDUCE, dgx, 8, 8 * 10**6) < 2e-4  # one node: no NIC bounds it


def test_the_farthest_pair_may_be_reached_by_way_of_another_rank():
    """Rail-optimised: over NVLink to the rail of the destination is nearer than over a spine."""
    dgx = topologies.find("dgx_h100:nodes=2,nvlink_latency=100ns,pcie_latency=900ns,fabric_latency=700ns")
    assert bound_s(BROADCAST, dgx, 16, 8) == pytest.approx(2 * 0.1e-6 + 2 * 0.9e-6 + 2 * 0.7e-6)
    assert simulate(registry.find("broadcast", "binomial"), dgx, 8).time_s == pytest.approx(3.8e-6, rel=1e-3)


SYSTEMS = st.one_of(
    st.builds(
        "star:hosts=16,bandwidth={}MB/s,latency={}ns,overhead={}ns,gap={}ns".format,
        *(st.integers(1, 9999), st.integers(0, 3000), st.integers(0, 900), st.integers(0, 900)),
    ),
    st.builds(
        "xgft:down={0},up=1x{1},bandwidth={2}MB/s,latency={3}ns".format,
        *(st.sampled_from(["4x4", "2x8", "8x2"]), st.sampled_from([1, 2, 4, 8])),
        *(st.integers(1, 9999), st.integers(0, 3000)),
    ),
    st.builds(
        "dgx_h100:nodes={},nvlink_latency={}ns,pcie_latency={}ns,fabric_latency={}ns,overhead={}ns,nic_bandwidth={}GB/s".format,
        *(st.sampled_from([2, 3, 33]), st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000)),
        *(st.integers(0, 900), st.integers(1, 900)),
    ),
)


def outcome(*args, **options):
    """The result, or the error that refuses one."""
    try:
        return simulate(*args, **options)
    except (ImpossibleResultError, RefusedError) as error:
        return error


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    SYSTEMS,
    st.sampled_from(SPECS),
    st.integers(1, 16),
    st.integers(0, 10**6),
    st.sampled_from(["hockney", "loggp"]),
    st.integers(0, 15),
)
def test_no_result_is_under_its_bound(spec, case, n_ranks, n_elements, model, root):
    """What is refused is refused for a link that cannot carry it, and only where links are shared."""
    system = topologies.find(spec)
    chosen = registry.find(*case)
    root = root % n_ranks * chosen.collective.rooted
    n_elements = n_elements // n_ranks * n_ranks * (not chosen.collective.joins)  # whole blocks for alltoall, no data
    found = outcome(chosen, system, 4 * n_elements, n_ranks=n_ranks, model=model, root=root)
    if isinstance(found, RefusedError):
        return
    if isinstance(found, ImpossibleResultError):
        assert "must carry" in str(found)
        assert spec.startswith("xgft")
        return
    carried_s = found.link_bytes / system.topology.links.bandwidth_Bps
    slack_s = (carried_s - found.link_busy_s).max()  # LogGP counts m-1 bytes
    assert found.time_s + slack_s >= found.bound_s * (1 - 1e-9)
    assert found.link_busy_s.max() <= found.time_s * (1 + 1e-9)


def test_an_answer_that_ignores_a_shared_link_is_refused_by_its_name():
    tapered = topologies.find("xgft:down=8x2,up=1x1,bandwidth=1GB/s,latency=1us")
    with pytest.raises(ImpossibleResultError) as error:
        simulate(registry.find("allreduce", "recursive_doubling"), tapered, "1MiB", model="hockney")
    said = str(error.value)
    assert "recursive_doubling on xgft:down=8x2" in said
    assert "leaf0→spine0 must carry 8.389 MB, at least 8.389 ms, but hockney says 4.204 ms" in said
    assert isinstance(error.value, CommsimError)
    assert isinstance(error.value, ArithmeticError)
    assert simulate(registry.find("allreduce", "ring"), tapered, "1MiB").time_s > 0  # shares none


def test_an_answer_below_the_bound_is_refused():
    @algorithm("broadcast", chunks=1)
    def lazy(rank, n_ranks, *, root):
        yield []

    for model in ("hockney", "loggp"):
        with pytest.raises(ImpossibleResultError, match=f"lazy on star.*{model} says 0.000 ns, below the bound of"):
            simulate(lazy, STAR, "1MiB", model=model)


def test_the_bound_is_reached_by_a_ring_without_latency():
    result = simulate(registry.find("allreduce", "ring"), topologies.star(8, 1e9, 0.0), 8 * MIB)
    assert result.time_s == pytest.approx(result.bound_s)
    assert np.allclose(result.link_busy_s, result.time_s)
