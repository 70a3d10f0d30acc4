"""Networks as gradient exchange sees them: exact lists of tensors with FLOPs, built in or read from files."""

from __future__ import annotations

from experiments.workloads.ddp import bucket_bytes
from experiments.workloads.registry import WORKLOADS, find
from experiments.workloads.residual import resnet50
from experiments.workloads.workload import Layer, Recorded, Tensor, Workload

__all__ = [
    "RESNET50_DDP_BUCKETS",
    "RESNET50_IMAGES_PER_S",
    "WORKLOADS",
    "Layer",
    "Recorded",
    "Tensor",
    "Workload",
    "find",
]

RESNET50_DDP_BUCKETS = bucket_bytes(resnet50())
"""Bytes of each allreduce of one step: ResNet-50, float32, PyTorch DDP with its default caps (1 MiB first, 25 MiB),
from the second iteration on. The same five were observed with two gloo ranks, and stand in the NCCL trace of the test
data of mlcommons/chakra (feeder_tests_trace)."""

RESNET50_IMAGES_PER_S = 3410.52
"""Of training ResNet-50 v1.5 on one A100 80GB: mixed precision, batch 512 (NVIDIA DeepLearningExamples, MxNet)."""
