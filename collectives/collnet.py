"""What NCCL's two CollNet algorithms share: every rank of a node is the head of its rail, on which SHARP reduces."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.hierarchy import node_stages, stepped
from collectives.parameters import equal_nodes_by_machine, segments_in_fabric, together
from commsim import Rank, Step

defaults = together(equal_nodes_by_machine, segments_in_fabric)


def n_chunks(n_ranks: int, *, ranks_per_node: int, segments: int) -> int:
    """A piece for each head, of every segment."""
    return ranks_per_node * segments


def collnet(rank: Rank, n_ranks: int, intra: str, *, ranks_per_node: int, segments: int) -> Iterator[Step]:
    """By `intra` (a reduce_scatter) in the node and back, by SHARP across nodes, segment behind segment."""
    stages = node_stages(n_ranks, ranks_per_node=(ranks_per_node,), intra=intra, inter="sharp:segments=1")
    yield from stepped(rank, stages, segments)


def cost_s(
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
    latency_s = (steps + segments - 1) * alpha if steps else 0.0
    return latency_s + pieces * n_bytes / (node * segments) * beta + (node - 1) / node * n_bytes * gamma
