"""A training step simulated: compute, gradient exchange on a real topology, and how far one hides the other."""

from __future__ import annotations

from experiments.training.compute import ComputeSource
from experiments.training.parallel import Parallel
from experiments.training.play import Conditions
from experiments.training.step import StepResult, Training, simulate_step

__all__ = ["ComputeSource", "Conditions", "Parallel", "StepResult", "Training", "simulate_step"]
