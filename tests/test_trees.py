"""Trees as their papers draw them, and algorithms made of stages: who talks to whom, and what is refused."""

import numpy as np
import pytest

import topologies
from collectives import registry
from collectives.grids import led_nodes
from collectives.trees import (
    binary_halves,
    btree,
    chains_below,
    double_tree,
    double_tree_of_root,
    in_order_tree,
    k_chains,
    kary_heap,
    kary_levels,
    knomial_heap,
)
from commsim import Schedule, simulate, verify
from commsim.errors import InputError, RefusedError

RANKS = range(1, 70)


def interior(tree):
    return set(tree.parent[tree.parent >= 0].tolist())


def edges(tree):
    return {(parent, child) for child, parent in enumerate(tree.parent.tolist()) if parent >= 0}


def drawn(below):
    return {(parent, child) for parent, children in below.items() for child in children}


def test_nccl_draws_its_trees_so():
    """The drawings of src/graph/trees.cc: one tree, and the second one mirrored for 12 ranks, shifted for 13."""
    first = {0: [8], 8: [4, 12], 4: [2, 6], 12: [10, 13], 2: [1, 3], 6: [5, 7], 10: [9, 11]}
    mirrored = {11: [3], 3: [1, 7], 1: [0, 2], 7: [5, 9], 5: [4, 6], 9: [8, 10]}
    shifted = {1: [9], 9: [5, 0], 5: [3, 7], 0: [11], 3: [2, 4], 7: [6, 8], 11: [10, 12]}
    assert edges(btree(14)) == drawn(first)
    assert edges(double_tree(12)[1]) == drawn(mirrored)
    assert edges(double_tree(13)[1]) == drawn(shifted)


@pytest.mark.parametrize("n_ranks", RANKS)
def test_a_rank_works_in_one_of_two_trees(n_ranks):
    for trees, both in ((double_tree(n_ranks), {0} if n_ranks % 2 else set()), (double_tree_of_root(n_ranks), {0})):
        assert interior(trees[0]) & interior(trees[1]) <= both
        n_children = [np.bincount(tree.parent[tree.parent >= 0], minlength=n_ranks) for tree in trees]
        assert max(sum(n_children)) <= 2
        assert all(len(edges(tree)) == n_ranks - 1 for tree in trees)
    odd, even = binary_halves(n_ranks)
    assert interior(odd) & interior(even) <= {0}
    assert len(edges(odd)) + len(edges(even)) == n_ranks - 1


@pytest.mark.parametrize("n_ranks", RANKS)
def test_every_tree_has_one_root_and_the_height_it_should(n_ranks):
    for k in (1, 2, 3, 8):
        assert kary_heap(n_ranks, k).height == kary_levels(n_ranks, k)[0]
        chains = k_chains(n_ranks, k)
        assert chains.height == -(-(n_ranks - 1) // k)
        assert len(chains.children) == min(k, n_ranks - 1)
    for radix in (2, 3, 5):
        digits = [np.base_repr(rank, radix) for rank in range(n_ranks)]
        assert knomial_heap(n_ranks, radix).depth.tolist() == [len(d) - d.count("0") for d in digits]


def spans(tree, rank):
    """The ranks below and with a rank; those of each child stand on its side."""
    below = {rank}
    for child in tree.children[:, rank]:
        if child >= 0:
            mine = spans(tree, int(child))
            assert max(mine) < rank or min(mine) > rank
            below |= mine
    assert below == set(range(min(below), max(below) + 1))
    return below


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 7, 8, 20])
def test_in_order_trees_stand_in_order_under_any_root(n_ranks):
    for root in range(n_ranks):
        tree = in_order_tree(n_ranks, root)
        assert spans(tree, root) == set(range(n_ranks))
        assert tree.height <= (n_ranks - 1).bit_length() + 1


def test_a_renamed_tree_is_the_same_tree():
    tree = kary_heap(7, 2).rooted(3)
    assert tree.parent.tolist() == [4, 5, 5, -1, 3, 3, 4]
    for rank in range(7):
        for slot, child in enumerate(tree.children[:, rank]):
            if child >= 0:
                assert (tree.parent[child], tree.slot[child]) == (rank, slot)
                assert tree.depth[child] == tree.depth[rank] + 1


def test_nodes_hang_in_the_tree_by_their_first_rank():
    tree = chains_below(btree(3), 8, 3)
    assert edges(tree) == {(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (0, 6), (6, 3)}


def test_two_trees_use_the_whole_bandwidth():
    """n*beta for a broadcast, 2n*beta for an allreduce, where one binary tree needs twice, or 1.5 times, as much."""
    star, n_bytes = topologies.star(64, 1e9, 1e-9), 2**26
    for collective, spec, factor in (
        ("broadcast", "double_binary_tree:segments=512", 1),
        ("broadcast", "kary_tree:segments=512", 2),
        ("allreduce", "double_binary_tree:segments=512", 2),
        ("allreduce", "kary_tree:segments=512", 3),
    ):
        time_s = simulate(registry.find(collective, spec), star, n_bytes).time_s
        assert time_s == pytest.approx(factor * n_bytes / 1e9, rel=0.03)


def messages_of(algorithm, n_ranks, root=0):
    for step in Schedule(algorithm.resolved(n_ranks), n_ranks, root):
        yield [pair for e in step for pair in zip(e.sends.row.tolist(), e.sends.peer.tolist(), strict=True)]


@pytest.mark.parametrize("root", [0, 6, 10])
@pytest.mark.parametrize("collective", ["broadcast", "reduce"])
def test_only_leaders_talk_across_nodes(collective, root):
    algorithm = registry.find(collective, "hierarchical:ranks_per_node=4,segments=3")
    leaders = {node[0] for node in led_nodes(11, 4, root)}
    assert root in leaders
    across = [pair for step in messages_of(algorithm, 11, root) for pair in step if pair[0] // 4 != pair[1] // 4]
    assert len(across) == 2 * 3  # a message to each other node, for each segment
    assert {rank for pair in across for rank in pair} <= leaders


def test_stages_of_neighbouring_segments_share_their_steps():
    algorithm = registry.find("broadcast", "hierarchical:ranks_per_node=4,segments=3")
    kinds = [
        {"across" if src // 4 != dst // 4 else "inside" for src, dst in step} for step in messages_of(algorithm, 16)
    ]
    assert kinds == [{"across"}] * 2 + [{"across", "inside"}] * 4 + [{"inside"}] * 2


def test_a_hierarchy_may_have_three_levels():
    spec = "hierarchical:ranks_per_node=2,inter=hierarchical:ranks_per_node=3"
    for n_ranks in (1, 5, 12, 13):
        verify(registry.find("broadcast", spec), n_ranks, root=n_ranks - 1)


@pytest.mark.parametrize(
    ("collective", "spec", "n_ranks", "said"),
    [
        ("broadcast", "kary_tree:arity=0", 4, "arity=0 must be at least 1"),
        ("broadcast", "chain:chains=0", 4, "chains=0 must be at least 1"),
        ("broadcast", "knomial:radix=1", 4, "radix=1"),
        ("broadcast", "double_binary_tree:segments=0", 4, "segments=0 must be 1 to 1048576"),
        ("broadcast", "hierarchical:ranks_per_node=0", 4, "ranks_per_node=0 must be 1 to 1048576"),
        ("broadcast", "hierarchical:inter=kary_tree:arity=0", 4, "arity=0 must be at least 1"),
        ("allreduce", "reduce_broadcast:reduce=knomial:radix=0", 4, "radix=0"),
        (
            "allreduce",
            "multi_leader:ranks_per_node=4,leaders=3",
            9,
            "leaders=3, and the smallest node has 1 ranks; use 1 to 1",
        ),
        ("allreduce", "multi_leader:ranks_per_node=-1", 9, "ranks_per_node=-1 must be 1 to 1048576"),
        ("allreduce", "nccl_tree:ranks_per_node=0", 9, "ranks_per_node=0 must be 1 to 1048576"),
        ("barrier", "kary_tree:arity=-2", 9, "arity=-2 must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(collective, spec, n_ranks, said):
    with pytest.raises(RefusedError, match=said):
        registry.find(collective, spec).resolved(n_ranks)


def test_a_stage_of_an_unknown_algorithm_is_named():
    with pytest.raises(InputError, match="unknown broadcast algorithm 'binomal'; did you mean 'binomial'"):
        registry.find("broadcast", "hierarchical:intra=binomal").resolved(8)
