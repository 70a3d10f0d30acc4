"""Trees of any shape, and what is sent along them: down them, up them, or up and down, in segments.

A pipelined tree is a wavefront: segments are one level apart, so that in one step every level works on a segment of
its own. Several trees over the same ranks share the steps, each with its own part of the vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from commsim import PROC_NULL, Exchange, Rank, Step, chunk, exchange, where
from commsim.selection import Ints


@dataclass(frozen=True, eq=False)
class Tree:
    """Who is whose parent. A rank with neither parent nor children takes no part, unless it is the root.

    Attributes
    ----------
    parent : array (n_ranks,)
        ``PROC_NULL`` for the root.
    slot : array (n_ranks,)
        Which child of its parent a rank is; -1 for the root.
    children : array (n_slots, n_ranks)
        Of each rank, slot by slot; ``PROC_NULL`` where it has fewer.
    depth : array (n_ranks,)
        Edges up to the root.
    height : int
        The largest depth.
    """

    parent: Ints
    slot: Ints
    children: Ints
    depth: Ints
    height: int

    @staticmethod
    def of(parent: Ints) -> Tree:
        """The tree in which each rank has this parent; children of one rank in ascending order."""
        child = np.flatnonzero(parent >= 0)
        child = child[np.argsort(parent[child], kind="stable")]
        above = parent[child]
        slot = np.full(len(parent), -1)
        slot[child] = np.arange(len(child)) - np.searchsorted(above, above)
        children = np.full((int(slot.max()) + 1, len(parent)), PROC_NULL)
        children[slot[child], above] = child
        depth = _depth(parent)
        return Tree(parent, slot, children, depth, int(depth.max()))

    def renamed(self, ranks: Ints) -> Tree:
        """The same tree with rank ``ranks[v]`` in the place of v."""
        node = np.empty_like(ranks)
        node[ranks] = np.arange(len(ranks))
        parent, children = _renamed(self.parent, ranks)[node], _renamed(self.children, ranks)[:, node]
        return Tree(parent, self.slot[node], children, self.depth[node], self.height)

    def rooted(self, root: int) -> Tree:
        """The same tree with ranks counted from `root` on."""
        n_ranks = len(self.parent)
        return self.renamed((np.arange(n_ranks) + root) % n_ranks) if root else self


def _renamed(peers: Ints, ranks: Ints) -> Ints:
    return np.where(peers >= 0, ranks[peers], PROC_NULL)


def _depth(parent: Ints) -> Ints:
    """Edges up to the root, by leaps that double."""
    depth, above = (parent >= 0).astype(np.int64), parent
    while (above >= 0).any():
        depth = depth + np.where(above >= 0, depth[above], 0)
        above = _renamed(above, above)
    return depth


def broadcast_down(rank: Rank, trees: Sequence[Tree], segments: int) -> Iterator[Step]:
    """From the roots to all: tree i brings the chunks ``i*segments`` to ``(i+1)*segments - 1``, one a segment."""
    for step in range(max(n_steps(tree, segments) for tree in trees)):
        yield [e for i, tree in enumerate(trees) for e in _wave(rank, tree, i, segments, step, up=False)]


def reduce_up(rank: Rank, trees: Sequence[Tree], segments: int) -> Iterator[Step]:
    """From all to the roots; chunks as for :func:`broadcast_down`. An in-order tree keeps the order of ranks."""
    for step in range(max(n_steps(tree, segments) for tree in trees)):
        yield [e for i, tree in enumerate(trees) for e in _wave(rank, tree, i, segments, step, up=True)]


def up_and_down(rank: Rank, trees: Sequence[Tree], segments: int) -> Iterator[Step]:
    """To the roots and back to all: a segment goes down in the step after it has come up."""
    for step in range(max(n_steps(tree, segments) + tree.height for tree in trees)):
        ups = [e for i, tree in enumerate(trees) for e in _wave(rank, tree, i, segments, step, up=True)]
        late = [(i, tree, step - tree.height) for i, tree in enumerate(trees)]
        yield ups + [e for i, tree, now in late for e in _wave(rank, tree, i, segments, now, up=False)]


def n_steps(tree: Tree, segments: int) -> int:
    """Of one direction of a tree."""
    return segments + tree.height - 1 if tree.height else 0


def _wave(rank: Rank, tree: Tree, number: int, segments: int, step: int, *, up: bool) -> Iterator[Exchange]:
    """One step of the tree of this number in one direction: an exchange for each slot of children."""
    if not 0 <= step < n_steps(tree, segments):
        return
    depth, slot = tree.depth[rank], tree.slot[rank]
    above = step - tree.height + depth if up else step - depth + 1  # the segment between me and my parent
    below = above + 1 if up else above - 1  # the one between me and my children
    has_above, has_below = (above >= 0) & (above < segments), (below >= 0) & (below < segments)
    to_parent, to_children = (chunk(number * segments + segment) for segment in (above, below))
    for place, children in enumerate(tree.children):
        child = where(has_below, children[rank], PROC_NULL)
        parent = where(has_above & (slot == place), tree.parent[rank], PROC_NULL)
        if up:
            left = children[rank] < rank
            yield exchange(parent, child, send=to_parent, receive=to_children, reduce=True, received_first=left)
        else:
            yield exchange(child, parent, send=to_children, receive=to_parent)


def kary_heap(n_ranks: int, arity: int) -> Tree:
    """The heap: rank v has the children ``arity*v + 1 … arity*v + arity``."""
    return Tree.of((np.arange(n_ranks) - 1) // min(arity, n_ranks))


def kary_levels(n_ranks: int, arity: int) -> tuple[int, int]:
    """Height of the heap, and how many ranks its last level has."""
    height, before, level = 0, 0, 1
    while before + level < n_ranks:
        height, before, level = height + 1, before + level, level * arity
    return height, n_ranks - before


def k_chains(n_ranks: int, n_chains: int) -> Tree:
    """The root with so many chains of neighbouring ranks, their lengths differing by one at most."""
    n_chains = min(n_chains, n_ranks - 1)
    parent = np.arange(-1, n_ranks - 1)
    parent[[1 - (-chain * (n_ranks - 1) // n_chains) for chain in range(n_chains)]] = 0
    return Tree.of(parent)


def knomial_heap(n_ranks: int, radix: int) -> Tree:
    """The parent of a rank is the rank with its lowest digit that is not 0, in base `radix`, set to 0."""
    rank, radix = np.arange(n_ranks), min(radix, max(n_ranks, 2))
    parent, span = np.full(n_ranks, PROC_NULL), 1
    while span < n_ranks:
        lowest = (rank % span == 0) & (rank // span % radix > 0)
        parent = np.where(lowest, rank - rank // span % radix * span, parent)
        span *= radix
    return Tree.of(parent)


def btree(n_ranks: int) -> Tree:
    """NCCL's: rank 0 above an in-order binary tree of the others, whose odd ranks are its leaves."""
    rank = np.arange(n_ranks)
    bit = rank & -rank
    parent = (rank ^ bit) | (bit << 1)
    parent = np.where(parent < n_ranks, parent, rank ^ bit)
    return Tree.of(np.where(rank > 0, parent, PROC_NULL))


def double_tree(n_ranks: int) -> tuple[Tree, Tree]:
    """NCCL's: two roots, the second tree mirrored, or shifted by one rank where p is odd.

    No rank has children in both, but rank 0 where p is odd: one in each.
    """
    rank, first = np.arange(n_ranks), btree(n_ranks)
    return first, first.renamed((rank + 1) % n_ranks if n_ranks % 2 else n_ranks - 1 - rank)


def double_tree_of_root(n_ranks: int) -> tuple[Tree, Tree]:
    """Rank 0 above two binary trees of the others, each of which has children in one of them at most."""
    rank, first = np.arange(n_ranks), btree(n_ranks)
    second = -rank % n_ranks if n_ranks % 2 else rank % max(n_ranks - 1, 1) + 1
    return first, first.renamed(np.where(rank > 0, second, 0))


def in_order_tree(n_ranks: int, root: int) -> Tree:
    """A binary tree whose ranks stand in order: below the root on its left those before it, on its right the others."""
    right, left = btree(n_ranks - root).parent, btree(root + 1).parent[::-1]
    parent = np.concatenate([root - left, root + right[1:]])
    parent[root] = PROC_NULL
    return Tree.of(parent)


def binary_halves(n_ranks: int) -> tuple[Tree, Tree]:
    """Rank 0 above two binary heaps: one of the odd ranks, one of the even ones."""
    rank = np.arange(n_ranks)
    parent = np.maximum((rank - 3) // 4 * 2 + 2 - rank % 2, 0)
    odd, even = rank % 2 == 1, (rank % 2 == 0) & (rank > 0)
    return Tree.of(np.where(odd, parent, PROC_NULL)), Tree.of(np.where(even, parent, PROC_NULL))


def chains_below(tree: Tree, n_ranks: int, ranks_per_node: int) -> Tree:
    """A tree of nodes, and the ranks of each node in a chain below its first one."""
    parent = np.arange(-1, n_ranks - 1)
    parent[::ranks_per_node] = np.where(tree.parent >= 0, tree.parent * ranks_per_node, PROC_NULL)
    return Tree.of(parent)
