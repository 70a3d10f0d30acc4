"""A real training loop: gradients of a real or an emulated network, exchanged by our collectives on real ranks."""

from __future__ import annotations

from experiments.exchange.runner import Runner, StepTimes
from experiments.exchange.step import Step

__all__ = ["Runner", "Step", "StepTimes"]
