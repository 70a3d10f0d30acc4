"""Every algorithm as it stands, and with the parameters that are worth testing beside the defaults."""

from collectives import registry
from commsim.errors import RefusedError

PLAIN = [(one.collective.name, one.name) for one in registry.all_algorithms()]

VARIANTS = [  # (collective, spec)
    ("allgather", "bruck:radix=1000"),
    ("allgather", "bruck:radix=3"),
    ("allgather", "bruck:radix=5"),
    ("allgather", "pat:aggregation=1"),
    ("allgather", "pat:aggregation=3"),
    ("allgather", "pat:aggregation=4"),
    ("allreduce", "bine:variant=latency"),
    ("allreduce", "collnet_chain:ranks_per_node=4,segments=3"),
    ("allreduce", "collnet_direct:ranks_per_node=2,segments=2"),
    ("allreduce", "collnet_direct:segments=5"),
    ("allreduce", "double_binary_tree:segments=2"),
    ("allreduce", "double_binary_tree:segments=7"),
    ("allreduce", "hierarchical:ranks_per_node=3,inter=linear,intra_reduce=linear,intra_broadcast=chain"),
    ("allreduce", "hierarchical:ranks_per_node=2,inter=recursive_multiplying"),
    ("allreduce", "hierarchical:ranks_per_node=4,inter=ring"),
    ("allreduce", "hierarchical:ranks_per_node=4,segments=3,inter=rabenseifner"),
    ("allreduce", "kary_tree:arity=1,segments=3"),
    ("allreduce", "kary_tree:arity=3,segments=2"),
    ("allreduce", "kary_tree:segments=6"),
    ("allreduce", "knomial_rabenseifner:radix=1000"),
    ("allreduce", "knomial_rabenseifner:radix=2"),
    ("allreduce", "knomial_rabenseifner:radix=3"),
    ("allreduce", "knomial_rabenseifner:radix=7"),
    ("allreduce", "knomial_tree:radix=4,segments=2"),
    ("allreduce", "knomial_tree:segments=5"),
    ("allreduce", "multi_leader:ranks_per_node=2,inter=trivance:variant=latency"),
    ("allreduce", "multi_leader:ranks_per_node=4,leaders=2"),
    ("allreduce", "multi_leader:ranks_per_node=4,leaders=4,inter=rabenseifner"),
    ("allreduce", "nccl_tree:ranks_per_node=4,segments=3"),
    ("allreduce", "nccl_tree:ranks_per_node=8,segments=1"),
    ("allreduce", "multi_ring:rings=0.1.2.3/0.2.1.3"),
    ("allreduce", "multi_ring:rings=0.1*2,inter=circulant,segments=2"),
    ("allreduce", "multi_ring:rings=0.1,inter=recursive_multiplying"),
    ("allreduce", "node_split:inter=linear"),
    ("allreduce", "node_split:ranks_per_node=4,intra=linear,segments=3"),
    ("allreduce", "node_split:inter=node_split"),
    ("allreduce", "node_split:inter=rabenseifner"),
    ("allreduce", "node_split:ranks_per_node=2,inter=recursive_doubling"),
    ("allreduce", "node_split:ranks_per_node=2,inter=recursive_multiplying:radix=3"),
    ("allreduce", "node_split:ranks_per_node=4,intra=butterfly,inter=linear"),
    ("allreduce", "node_split:ranks_per_node=2x2,intra=circulant,inter=all_pairs"),
    ("allreduce", "node_split:ranks_per_node=3x2,intra=pat,inter=ring_segmented:segments=3"),
    ("allreduce", "node_split:ranks_per_node=4,inter=ring"),
    ("allreduce", "node_split:ranks_per_node=4,intra=recursive_halving,inter=circulant"),
    ("allreduce", "node_ways:ways=0~1+2~3-0.2*3/1~0+3~2-1.3*2,segments=2"),
    ("allreduce", "node_ways:ways=0.1,across=2,segments=3,in_step=1"),
    ("allreduce", "node_ways:ways=0.1+2.3-0.2+1.3/3.2.1.0,in_step=1"),
    ("allreduce", "nvls:segments=2"),
    ("allreduce", "nvls:segments=5"),
    ("allreduce", "nvls_tree:inter=sharp"),
    ("allreduce", "nvls_tree:ranks_per_node=4,inter=recursive_doubling"),
    ("allreduce", "recursive_multiplying:radix=1000"),
    ("allreduce", "recursive_multiplying:radix=2"),
    ("allreduce", "recursive_multiplying:radix=3"),
    ("allreduce", "recursive_multiplying:radix=7"),
    ("allreduce", "reduce_broadcast:reduce=chain:segments=2,broadcast=kary_tree:segments=3"),
    ("allreduce", "reduce_broadcast:reduce=linear,broadcast=scatter_allgather"),
    ("allreduce", "ring_segmented:segments=5"),
    ("allreduce", "sharp:segments=4"),
    ("allreduce", "swing:variant=latency"),
    ("allreduce", "torus_bucket:parts=2"),
    ("allreduce", "torus_bucket:parts=4"),
    ("allreduce", "torus_bucket:parts=2,segments=2"),
    ("allreduce", "torus_bucket:shape=2x2x2,parts=6"),
    ("allreduce", "torus_bucket:shape=2x4,parts=4"),
    ("allreduce", "torus_bucket:shape=2x4,wrap=1x0,parts=4"),
    ("allreduce", "torus_bucket:shape=4x2,wrap=0x0,parts=2,segments=3"),
    ("allreduce", "trivance:variant=latency"),
    ("alltoall", "bruck:radix=1000"),
    ("alltoall", "bruck:radix=3"),
    ("alltoall", "bruck:radix=4"),
    ("alltoall", "linear_windowed:window=1"),
    ("alltoall", "linear_windowed:window=4"),
    ("alltoall", "node_aggregated:ranks_per_node=2"),
    ("alltoall", "node_aggregated:ranks_per_node=4"),
    ("alltoall", "rail_aligned:ranks_per_node=2"),
    ("alltoall", "rail_aligned:ranks_per_node=4"),
    ("alltoallv", "linear_windowed:window=3"),
    ("barrier", "dissemination:radix=1000"),
    ("barrier", "dissemination:radix=3"),
    ("barrier", "kary_tree:arity=3"),
    ("broadcast", "chain:segments=2"),
    ("broadcast", "chain:segments=3,chains=3"),
    ("broadcast", "chain:segments=7"),
    ("broadcast", "circulant:segments=4"),
    ("broadcast", "circulant:segments=9"),
    ("broadcast", "double_binary_tree:segments=2"),
    ("broadcast", "double_binary_tree:segments=5"),
    ("broadcast", "hierarchical:ranks_per_node=3,segments=2,inter=chain:segments=2,intra=scatter_allgather"),
    ("broadcast", "hierarchical:ranks_per_node=4,inter=scatter_allgather,intra=kary_tree"),
    ("broadcast", "hierarchical:ranks_per_node=4,segments=3"),
    ("broadcast", "kary_tree:arity=1,segments=3"),
    ("broadcast", "kary_tree:arity=1000"),
    ("broadcast", "kary_tree:arity=3,segments=4"),
    ("broadcast", "knomial:radix=1000"),
    ("broadcast", "knomial:radix=2"),
    ("broadcast", "knomial:radix=3"),
    ("broadcast", "scatter_recursive_doubling:radix=3"),
    ("broadcast", "scatter_recursive_doubling:radix=4"),
    ("broadcast", "split_binary:segments=3"),
    ("reduce", "chain:segments=3,chains=3"),
    ("reduce", "circulant:segments=7"),
    ("reduce", "double_binary_tree:segments=4"),
    ("reduce", "hierarchical:ranks_per_node=3,segments=3,inter=double_binary_tree,intra=linear"),
    ("reduce", "hierarchical:ranks_per_node=4,inter=chain,intra=kary_tree"),
    ("reduce", "in_order_binary:segments=4"),
    ("reduce", "kary_tree:arity=3,segments=4"),
    ("reduce", "knomial:radix=3"),
    ("reduce", "scatter_gather:radix=3"),
    ("reduce", "scatter_gather:radix=4"),
    ("reduce_scatter", "pat:aggregation=2"),
    ("reduce_scatter", "pat:aggregation=5"),
]

SPECS = PLAIN + VARIANTS


LANES = {  # (collective, name or spec) that fork lanes, which hockney does not time
    ("allreduce", "multi_ring"),
    ("allreduce", "multi_ring:rings=0.1.2.3/0.2.1.3"),
    ("allreduce", "multi_ring:rings=0.1*2,inter=circulant,segments=2"),
    ("allreduce", "multi_ring:rings=0.1,inter=recursive_multiplying"),
    ("allreduce", "node_split:ranks_per_node=4,intra=linear,segments=3"),
    ("allreduce", "node_ways"),
    ("allreduce", "node_ways:ways=0~1+2~3-0.2*3/1~0+3~2-1.3*2,segments=2"),
    ("allreduce", "torus_bucket:parts=2,segments=2"),
    ("allreduce", "torus_bucket:shape=4x2,wrap=0x0,parts=2,segments=3"),
}


def takes(algorithm, n_ranks):
    """Whether the algorithm takes so many ranks."""
    try:
        algorithm.resolved(n_ranks)
    except RefusedError:
        return False
    return True


def find(case):
    """The algorithm of (collective, spec)."""
    return registry.find(*case)


def roots(algorithm, n_ranks):
    """The first, the middle and the last rank of a rooted collective."""
    return sorted({0, n_ranks // 2, n_ranks - 1}) if algorithm.collective.rooted else [0]


def name_of(case):
    """For pytest's ids."""
    return "-".join(case)
