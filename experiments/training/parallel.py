"""How ranks share a model: tensor, data and pipeline parallel groups, on the ranks of a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from commsim import System
from commsim.errors import InputError, RefusedError
from commsim.selection import Ints
from experiments.workloads import Layer, Tensor, Workload


@dataclass(frozen=True)
class Parallel:
    """Ranks as ``tensor`` × ``data`` × ``pipeline``, tensor parallel neighbours first, pipeline stages last.

    Narayanan et al., Efficient large-scale language model training on GPU clusters, SC 2021, section 3.

    Attributes
    ----------
    n_ranks : int
    tensor, pipeline : int
        Ranks that share each layer; stages.

    Raises
    ------
    RefusedError
        If they do not divide the ranks.
    """

    n_ranks: int
    tensor: int = 1
    pipeline: int = 1

    def __post_init__(self) -> None:
        if min(self.n_ranks, self.tensor, self.pipeline) < 1:
            raise InputError(f"ranks={self.n_ranks}, tensor={self.tensor}, pipeline={self.pipeline}: at least 1 each")
        if self.n_ranks % (self.tensor * self.pipeline):
            raise RefusedError(
                f"{self.tensor} tensor x {self.pipeline} pipeline parallel ranks do not tile {self.n_ranks} ranks; "
                f"use a multiple of {self.tensor * self.pipeline}"
            )

    @property
    def data(self) -> int:
        """Ranks that hold a copy of the same parameters."""
        return self.n_ranks // (self.tensor * self.pipeline)

    def groups(self, kind: str, system: System) -> Ints:
        """Ranks of all groups of one kind, (n_groups, size).

        Parameters
        ----------
        kind : {"data", "tensor", "node", "across"}
            Copies of the same parameters; those that share a layer; of the copies those of one node, and one of each.
        system : System

        Raises
        ------
        RefusedError
            If the nodes do not hold equally many ranks of each group.
        """
        ranks = np.arange(self.n_ranks).reshape(self.pipeline, self.data, self.tensor)
        if kind == "tensor":
            return ranks.reshape(-1, self.tensor)
        copies = ranks.transpose(0, 2, 1).reshape(-1, self.data)
        if kind == "data":
            return copies
        split = _by_node(copies, system)
        return (
            split.reshape(-1, split.shape[2])
            if kind == "node"
            else split.transpose(0, 2, 1).reshape(-1, split.shape[1])
        )

    def stages(self) -> Ints:
        """The ranks of each stage, (pipeline, n_ranks / pipeline)."""
        return np.arange(self.n_ranks).reshape(self.pipeline, -1)


def _by_node(copies: Ints, system: System) -> Ints:
    """(n_groups, nodes, ranks of a node in a group)."""
    nodes = system.topology.tiers.get("node")
    held = np.arange(copies.size).reshape(copies.shape) if nodes is None else nodes[copies]
    n_nodes = len(np.unique(held[0]))
    size = copies.shape[1]
    runs = size % n_nodes == 0 and (np.diff(held.reshape(len(copies), n_nodes, -1), axis=2) == 0).all()
    if not runs:
        raise RefusedError(
            f"groups of {size} ranks do not tile the nodes of {system.name}: a hierarchical exchange needs equally "
            "many ranks of a group in each node"
        )
    return copies.reshape(len(copies), n_nodes, -1)


ROW_PARALLEL = ("attn.c_proj", "mlp.c_proj", "o_proj", "down_proj", "attention.output.dense", "output.dense")
COLUMN_PARALLEL = ("attn.c_attn", "mlp.c_fc", "q_proj", "gate_proj", "self.query", "intermediate.dense")
"""Layers after which a tensor parallel rank sums activations: forwards the first, backwards the second (Shoeybi et al.,
Megatron-LM, arXiv:1909.08053, section 3). The last product of a block's halves, and the first."""


def shared(workload: Workload, tensor: int) -> Workload:
    """What one of `tensor` ranks holds: matrices are shared along their largest extent, vectors are not."""
    if tensor == 1:
        return workload
    return replace(workload, layers=tuple(_share(layer, tensor) for layer in workload.layers))


def _share(layer: Layer, tensor: int) -> Layer:
    return replace(layer, tensors=tuple(_part(one, tensor) for one in layer.tensors))


def _part(one: Tensor, tensor: int) -> Tensor:
    if len(one.shape) < 2:
        return one
    widest = max(range(len(one.shape)), key=lambda axis: one.shape[axis])
    shape = tuple(-(-extent // tensor) if axis == widest else extent for axis, extent in enumerate(one.shape))
    return replace(one, shape=shape)


def activation_elements(workload: Workload) -> int:
    """Elements that one sample has between two blocks of a transformer.

    Raises
    ------
    RefusedError
        For another network.
    """
    if workload.tokens_per_sample == 1 or not any(layer.name.endswith(ROW_PARALLEL) for layer in workload.layers):
        raise RefusedError(
            f"{workload.name} is no language model of this project's: tensor and pipeline parallel need one, as gpt3"
        )
    return workload.tokens_per_sample * workload.tensors[0].shape[-1]


def cut(flops: Sequence[float], pipeline: int) -> list[tuple[int, int]]:
    """First and last layer of each stage, for about equal work: at least one layer each.

    Raises
    ------
    RefusedError
        If there are fewer layers than stages.
    """
    n = len(flops)
    if n < pipeline:
        raise RefusedError(f"{n} layers cannot be cut in {pipeline} pipeline stages; use fewer")
    total = np.cumsum(np.asarray(flops, dtype=np.float64))
    firsts = [0]
    for stage in range(1, pipeline):
        equal = int(np.searchsorted(total, total[-1] * stage / pipeline)) + 1
        firsts.append(min(max(equal, firsts[-1] + 1), n - pipeline + stage))
    return list(zip(firsts, [*(first - 1 for first in firsts[1:]), n - 1], strict=True))
