"""Gradients as frameworks really send them."""

from __future__ import annotations

RESNET50_DDP_BUCKETS = (8196000, 31502336, 26255360, 26550272, 9724160)
"""Bytes of each allreduce of one step: ResNet-50, float32, PyTorch DDP with its default caps (1 MiB first, 25 MiB),
from the second iteration on. Observed with two gloo ranks; the same five sizes stand in the NCCL trace of the test data
of mlcommons/chakra (feeder_tests_trace)."""

RESNET50_IMAGES_PER_S = 3410.52
RESNET50_BATCH = 512
RESNET50_COMPUTE_S = RESNET50_BATCH / RESNET50_IMAGES_PER_S
"""Compute time of one step on one GPU: ResNet-50 v1.5, mixed precision, batch 512, 3410.52 images/s on one A100 80GB
(NVIDIA DeepLearningExamples, MxNet RN50v1.5). ASSUMED for H100 (2026-11), which is faster: its efficiency is lower."""
