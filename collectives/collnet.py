"""What NCCL's two CollNet algorithms share: every rank of a node is the head of its rail, on which SHARP reduces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.allreduce.sharp import sharp
from collectives.fabric import pipelined, segments_by_root
from collectives.grids import inside, there_and_back
from collectives.nodes import node_ranks, rails_of
from commsim import Algorithm, Groups, Rank, Step


def n_chunks(n_ranks: int, *, ranks_per_node: int, segments: int) -> int:
    """A piece for each head, of every segment."""
    return ranks_per_node * segments


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Nodes and segments as in the other algorithms that have them."""
    return {**node_ranks(n_ranks, n_bytes, groups), **segments_by_root(n_ranks, n_bytes, groups)}


def collnet(
    rank: Rank, n_ranks: int, halves: tuple[Algorithm, Algorithm], *, ranks_per_node: int, segments: int
) -> Iterator[Step]:
    """By halves (a reduce_scatter and an allgather) in the node, by SHARP across nodes, segment behind segment."""
    shape, rails = (ranks_per_node, n_ranks // ranks_per_node), rails_of(n_ranks, ranks_per_node)

    def across(piece: Rank, n_chunks: int) -> Iterator[Step]:
        yield from inside(rails, rank, sharp.with_params(segments=1), piece, n_chunks)

    def segment(number: int) -> Iterator[Step]:
        yield from there_and_back(rank, shape, [0], halves, across, number * ranks_per_node, ranks_per_node)

    yield from pipelined(segment, segments)


def collnet_cost_s(
    hops: int,
    n_ranks: int,
    n_bytes: int,
    alpha: float,
    beta: float,
    gamma: float,
    *,
    ranks_per_node: int,
    segments: int,
) -> float:
    """The time with halves of so many steps; of all steps only reduction and multicast in the switches overlap."""
    node, several = ranks_per_node, n_ranks > ranks_per_node
    steps = 2 * hops + 2 * several
    pieces = 2 * (node - 1) * segments + (segments + 1) * several
    latency = (steps + segments - 1) * alpha if steps else 0.0
    return latency + pieces * n_bytes / (node * segments) * beta + (node - 1) / node * n_bytes * gamma
