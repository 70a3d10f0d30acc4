"""The time along trees for which there is no formula: the clock of every rank, step by step, by Hockney's rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from collectives.trees import Tree, n_steps
from commsim.selection import Ints


def tree_cost_s(
    trees: Sequence[Tree],
    segments: int,
    n_bytes: float,
    alpha: float,
    beta: float,
    gamma: float,
    *,
    up: bool = True,
    down: bool = True,
) -> float:
    """Time of ``reduce_up``, ``broadcast_down`` or ``up_and_down`` with a vector of `n_bytes`."""
    segment_bytes = n_bytes / (len(trees) * segments)
    waves = [_Wave(tree, segments, 0, up=True) for tree in trees if up]
    waves += [_Wave(tree, segments, up * tree.height, up=False) for tree in trees if down]
    clock = np.zeros(len(trees[0].parent))
    active: list[tuple[int, int]] = []
    for step in range(max(wave.end for wave in waves)):
        now = [wave.active(step) for wave in waves]
        if now != active:  # as long as the same edges are at work they have the same load
            active, messages = now, _messages(waves, now)
        src, dst, load, reductions = messages
        delivered = np.maximum(clock[src], clock[dst]) + alpha + load * segment_bytes * beta
        np.maximum.at(clock, src, delivered)
        np.maximum.at(clock, dst, delivered + reductions * segment_bytes * gamma)
    return float(clock.max())


class _Wave:
    """The edges of a tree in one direction, level by level."""

    def __init__(self, tree: Tree, segments: int, delay: int, *, up: bool) -> None:
        child = np.lexsort((tree.slot, tree.depth))
        child = child[tree.parent[child] >= 0]
        parent = tree.parent[child]
        self.src, self.dst = (child, parent) if up else (parent, child)
        self.up, self.end = up, delay + n_steps(tree, segments)
        self._depth, self._height, self._segments, self._delay = tree.depth[child], tree.height, segments, delay

    def active(self, step: int) -> tuple[int, int]:
        """First of the edges that carry a segment, and the one after the last."""
        done = step - self._delay
        depth = self._height - done if self.up else done - self._segments + 2
        first, end = np.searchsorted(self._depth, (depth, depth + self._segments))
        return int(first), int(end)


class _Messages(NamedTuple):
    src: Ints
    dst: Ints
    load: Ints  # messages on the fuller one of its two ports
    reductions: Ints  # of the receiver, from this message's on; 0 where it is copied


def _messages(waves: Sequence[_Wave], active: Sequence[tuple[int, int]]) -> _Messages:
    parts = [(wave.src[first:end], wave.dst[first:end]) for wave, (first, end) in zip(waves, active, strict=True)]
    src, dst = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    reducer = dst[: sum(end - first for wave, (first, end) in zip(waves, active, strict=True) if wave.up)]
    order = np.argsort(reducer, kind="stable")
    reductions = np.zeros_like(dst)
    reductions[order] = np.searchsorted(reducer[order], reducer[order], side="right") - np.arange(len(order))
    return _Messages(src, dst, np.maximum(np.bincount(src)[src], np.bincount(dst)[dst]), reductions)
