"""Node split: reduce-scatter in the node, an allreduce of each piece across nodes, allgather in the node.

A node may have levels: 8x4 are 4 groups of 8 neighbouring ranks, the reduce-scatter in the groups comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm, prod
from typing import Any

from collectives.grids import Shape, inside, lines, near_square, nearest_shape, there_and_back, written
from collectives.helpers import largest_power_of_two
from collectives.registry import find
from commsim import COMMUTATIVE, Algorithm, Constraint, Groups, Rank, Step, algorithm
from commsim.errors import RefusedError

INVERSE = {  # allgathers of another name than the reduce_scatter
    "butterfly": "recursive_doubling",
    "pairwise": "ring",
    "recursive_halving": "recursive_doubling",
}


def _halves(intra: str) -> tuple[Algorithm, Algorithm]:
    """The reduce_scatter of that name, and the allgather that takes its result back."""
    name, colon, params = intra.partition(":")
    return find("reduce_scatter", intra), find("allgather", INVERSE.get(name, name) + colon + params)


def _stages(n_ranks: int, ranks_per_node: Shape, intra: str, inter: str) -> list[tuple[int, list[Algorithm]]]:
    """For every level the size of its groups and what runs in them; the last one is across."""
    levels = [(size, [half.resolved(size) for half in _halves(intra)]) for size in ranks_per_node]
    n_nodes = n_ranks // prod(ranks_per_node)
    return [*levels, (n_nodes, [find("allreduce", inter).resolved(n_nodes)])]


def _n_chunks(n_ranks: int, *, ranks_per_node: tuple[int, ...], intra: str, inter: str) -> int:
    stages = _stages(n_ranks, ranks_per_node, intra, inter)
    each = [one.chunks(size, **one.params) for size, used in stages for one in used]  # of what a level leaves a rank
    return prod(ranks_per_node) * lcm(*each)


def _n_copies(n_ranks: int, *, ranks_per_node: tuple[int, ...], intra: str, inter: str) -> int:
    stages = _stages(n_ranks, ranks_per_node, intra, inter)
    return max(one.space(size).n_scratch for size, used in stages for one in used)


def cost(
    n_ranks: int,
    n_bytes: int,
    alpha: float,
    beta: float,
    gamma: float,
    *,
    ranks_per_node: tuple[int, ...],
    intra: str,
    inter: str,
) -> float:
    """Σ T_intra(l_i, n/(l_1…l_(i-1))) + T_inter(p/l, n/l), l = Πl_i; ring: 2(l-1)α + (l-1)/l·n(2β + γ); one α and β"""
    total_s = 0.0
    for size, used in _stages(n_ranks, ranks_per_node, intra, inter):
        total_s += sum(one.cost_s(size, n_bytes, alpha, beta, gamma) for one in used)
        n_bytes //= size
    return total_s


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Nodes as the machine has them, else about as many as ranks in each; across, the fewest steps without folding."""
    square, _ = near_square(n_ranks)
    ranks_per_node = given.get("ranks_per_node") or ((min(groups, n_ranks) if groups else square),)
    n_nodes = max(n_ranks // max(prod(ranks_per_node), 1), 1)
    inter = "rabenseifner" if n_nodes == largest_power_of_two(n_nodes) else "ring"
    return {"ranks_per_node": ranks_per_node, "inter": inter}


def _unequal(n_ranks: int, *, ranks_per_node: tuple[int, ...], intra: str, inter: str) -> str | None:
    if min(ranks_per_node) < 1 or n_ranks % prod(ranks_per_node):
        said, near = written(ranks_per_node), written(nearest_shape(n_ranks, ranks_per_node))
        return f"they are not a multiple of ranks_per_node={said}; try ranks_per_node={near}"
    return None


def _level_refuses(n_ranks: int, *, ranks_per_node: tuple[int, ...], intra: str, inter: str) -> str | None:
    try:
        _stages(n_ranks, ranks_per_node, intra, inter)
    except RefusedError as error:
        return str(error)
    return None


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    scratch=_n_copies,
    cost=cost,
    defaults=defaults,
    constraints=(COMMUTATIVE, Constraint("equal nodes", _unequal), Constraint("levels", _level_refuses)),
    source="Cho et al.: BlueConnect, MLSys 2019; Mikami et al.: Massively distributed SGD, arXiv 1811.05233, 2018",
    names={"Horovod": "NCCLHierarchical, NCCLTorus", "UCC": "cl/hier rab"},
)
def node_split(
    rank: Rank, n_ranks: int, *, ranks_per_node: tuple[int, ...], intra: str = "ring", inter: str
) -> Iterator[Step]:
    shape = (*ranks_per_node, n_ranks // prod(ranks_per_node))
    levels = range(len(ranks_per_node))

    def across(first: Rank, n_chunks: int) -> Iterator[Step]:
        yield from inside(lines(n_ranks, shape, len(levels)), rank, find("allreduce", inter), first, n_chunks)

    n_chunks = _n_chunks(n_ranks, ranks_per_node=ranks_per_node, intra=intra, inter=inter)
    yield from there_and_back(rank, shape, levels, _halves(intra), across, 0, n_chunks)
