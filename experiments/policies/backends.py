"""What carries a collective call: MPI from host memory, CUDA-aware MPI, NCCL, Gloo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from commsim.errors import unknown_name


@dataclass(frozen=True)
class Backend:
    """A communication library under a framework.

    Attributes
    ----------
    name : str
    overhead_s : float
        What a call takes before its first message leaves.
    staging_Bps : float or None
        Rate of the copies between device and host memory, once each way for each call; None: it reads device memory.
    algorithms : mapping
        Collective to the algorithms that it chooses from.
    source : str
    """

    name: str
    overhead_s: float
    staging_Bps: float | None
    algorithms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""

    def extra_s(self, n_bytes: int) -> float:
        """What a call takes beside its messages."""
        return self.overhead_s + (0.0 if self.staging_Bps is None else 2 * n_bytes / self.staging_Bps)


_TREES = {"reduce": ("binomial", "chain", "scatter_gather"), "broadcast": ("binomial", "chain", "scatter_allgather")}
_MPI = {
    "allreduce": ("recursive_doubling", "rabenseifner", "ring"),
    "reduce_scatter": ("recursive_halving", "pairwise", "ring"),
    "allgather": ("recursive_doubling", "bruck", "ring"),
    "alltoall": ("bruck", "pairwise"),
    **_TREES,
}
TWO_LEVELS = "two_levels"
"""A reduce_scatter in each node, then one of each share across nodes; an allgather the other way round."""

_NCCL = {
    "allreduce": ("ring", "multi_ring", "node_split", "nvls", "nvls_tree"),
    "reduce_scatter": ("ring", TWO_LEVELS, "nvls"),
    "allgather": ("ring", TWO_LEVELS, "nvls"),
    "broadcast": ("chain",),
    "reduce": ("chain",),
    "alltoall": ("pairwise",),
}
_GLOO = {
    "allreduce": ("ring_segmented", "rabenseifner"),
    "reduce_scatter": ("recursive_halving", "ring"),
    "allgather": ("ring",),
    "broadcast": ("binomial",),
    "reduce": ("binomial",),
    "alltoall": ("pairwise",),
}

PCIE3_BPS = 12e9  # NCCL's topo.h: what PCIe 3 x16 reaches

BACKENDS: Mapping[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("mpi", 0.0, PCIE3_BPS, _MPI, "host buffers; PCIe 3 x16 as NCCL's topo.h counts it"),
        Backend("cuda_mpi", 0.0, None, _MPI, "GPUDirect: device memory is read by the NIC"),
        Backend(
            "nccl",
            6.6e-6,
            None,
            _NCCL,
            "base latency 6.6 us: NCCL's tuning.cc; rings over all NICs are played as two levels",
        ),
        Backend("gloo", 0.0, PCIE3_BPS, _GLOO, "gloo's CPU collectives: ring_chunked, halving_doubling"),
    )
}
"""By name. Overheads of MPI and Gloo are those of the system's endpoints."""


def backend(name: str) -> Backend:
    """The library of that name.

    Raises
    ------
    UnknownNameError
    """
    if name not in BACKENDS:
        raise unknown_name("backend", name, BACKENDS)
    return BACKENDS[name]
