"""How frameworks exchange gradients: a policy turns a workload with compute times into collective calls."""

from __future__ import annotations

from experiments.policies.policy import Policy
from experiments.policies.registry import POLICIES, find
from experiments.policies.step import Call, Compute, Gradient

__all__ = ["POLICIES", "Call", "Compute", "Gradient", "Policy", "find"]
