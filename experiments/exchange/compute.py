"""What was asked for on the command line, and how long each layer computes where no network does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from commsim.errors import InputError
from commsim.units import format_time_short
from experiments.policies import Compute
from experiments.training.compute import BACKWARD
from experiments.workloads import RESNET50_IMAGES_PER_S, Workload, find

SUSTAINED_FLOPS = RESNET50_IMAGES_PER_S * (1 + BACKWARD) * (find("resnet50").forward_flops or 0)
"""FLOP/s: ResNet-50 on one A100 80GB, mixed precision (NVIDIA DeepLearningExamples, 3410.52 images/s), 83.7 T."""

LEARNING_SAMPLES, IMAGES, SEQUENCES = 32, 256, 1


@dataclass(frozen=True)
class Asked:
    """The words of the command line.

    Attributes
    ----------
    workload, policy : str
    algorithms : tuple of (str or None)
        Of allreduces; None: the first of the policy's own that takes the case.
    iterations, warmup : int
    batch : int or None
        Samples of each rank.
    compute_s : float or None
        Of a whole step, shared out to the layers.
    flops : float or None
        Sustained FLOP/s.
    input_shape : str or None
        Of a sample of a module.
    seed : int
    per_node : int or None
        Ranks of a node, for policies with calls within and across nodes; None: those of a host.
    """

    workload: str
    policy: str = "ddp"
    algorithms: tuple[str | None, ...] = (None,)
    iterations: int = 20
    warmup: int = 3
    batch: int | None = None
    compute_s: float | None = None
    flops: float | None = None
    input_shape: str | None = None
    seed: int = 0
    per_node: int | None = None

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.warmup < 0:
            raise InputError(f"-n {self.iterations} must be at least 1 and -w {self.warmup} at least 0")
        if self.batch is not None and self.batch < 1:
            raise InputError(f"--batch {self.batch}: each rank needs at least one sample")
        if self.flops is not None and not (self.flops > 0 and isfinite(self.flops)):
            raise InputError(f"--flops {self.flops:g}: it must be above zero")
        if self.compute_s is not None and self.flops is not None:
            raise InputError("--compute and --flops say the same thing; give one")

    @property
    def is_module(self) -> bool:
        """Whether a module of PyTorch computes, instead of an emulation of its layers."""
        return self.workload.partition(":")[0].endswith(".py") and self.compute_s is None

    def samples(self, workload: Workload, learns: bool) -> int:
        """Of each rank."""
        if self.batch is not None:
            return self.batch
        return LEARNING_SAMPLES if learns else SEQUENCES if workload.tokens_per_sample > 1 else IMAGES

    def with_batch(self, batch: int) -> Asked:
        """The same with so many samples on each rank."""
        return replace(self, batch=batch)


def compute_of(asked: Asked, workload: Workload, n_passes: int = 1) -> Compute:
    """How long each layer computes: what was recorded, ``--compute`` shared out, or FLOPs at a sustained rate.

    A recorded step is one pass; of the others so many passes share the samples.

    A layer's share is that of its FLOPs, or of its bytes where FLOPs are not known; twice as long backwards as
    forwards.

    Raises
    ------
    InputError
        If FLOPs are not known, and nothing else is.
    """
    found = _of_a_step(asked, workload)
    if found.source.startswith(RECORDED):
        return found.accumulating(n_passes)
    forward, backward = (tuple(one / n_passes for one in times) for times in (found.forward_s, found.backward_s))
    return replace(found, forward_s=forward, backward_s=backward, n_passes=n_passes)


RECORDED = "recorded: "


def _of_a_step(asked: Asked, workload: Workload) -> Compute:
    layers = workload.layers
    if asked.compute_s is None and asked.flops is None and any(layer.backward_s is not None for layer in layers):
        forward, backward = ([getattr(layer, key) or 0.0 for layer in layers] for key in ("forward_s", "backward_s"))
        return Compute(workload, tuple(forward), tuple(backward), source=f"{RECORDED}{workload.source}")
    shares, by = _shares(workload)
    if asked.compute_s is not None:
        return _shared_out(workload, shares, asked.compute_s, f"{format_time_short(asked.compute_s)} a step, by {by}")
    if asked.is_module:
        return _shared_out(workload, shares, 0.0, "measured")
    if workload.forward_flops is None:
        raise InputError(f"{workload.name}: its FLOPs are not known; say how long a step computes: --compute 50ms")
    flops, samples = asked.flops or SUSTAINED_FLOPS, asked.samples(workload, learns=False)
    step_s = (1 + BACKWARD) * workload.forward_flops * samples / flops
    rate = f"{flops / 1e12:.3g} TFLOP/s" + ("" if asked.flops else ", what ResNet-50 sustains on an A100 (ASSUMED)")
    source = f"emulated, {format_time_short(step_s)} a step: {samples} samples a rank at {rate}"
    return _shared_out(workload, shares, step_s, source)


def _shares(workload: Workload) -> tuple[Sequence[float], str]:
    flops: list[float] = [layer.forward_flops for layer in workload.layers]
    if workload.forward_flops:
        return [one / sum(flops) for one in flops], "FLOPs"
    sizes: list[float] = [sum(t.n_bytes for t in layer.tensors if t.trainable) for layer in workload.layers]
    return [one / sum(sizes) for one in sizes], "bytes"


def _shared_out(workload: Workload, shares: Sequence[float], step_s: float, source: str) -> Compute:
    forward_s = step_s / (1 + BACKWARD)
    forward = tuple(share * forward_s for share in shares)
    return Compute(workload, forward, tuple(BACKWARD * one for one in forward), source=source)
