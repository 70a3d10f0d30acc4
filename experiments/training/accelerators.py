"""What devices compute and hold: peak rates as published, and the share of them that training sustains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from commsim import System
from commsim.errors import RefusedError, unknown_name
from commsim.spec import split_spec
from topologies import MACHINES

SUSTAINED_ON_TOKENS = 0.4
"""ASSUMED (2026-11): the share of the peak that training language models sustains. Large ones were reported at 0.3 to
0.5 (Narayanan et al. 2021, table 1: 44 to 52 % of an A100's; Chowdhery et al. 2022, table 3: 21 to 46 %)."""

SUSTAINED_ON_IMAGES = 0.27
"""ASSUMED (2026-11) for all networks of images: ResNet-50's share on A100 and on V100 (NVIDIA DeepLearningExamples,
MXNet RN50v1.5, AMP, one GPU: 3410 and 1376 images/s)."""


@dataclass(frozen=True)
class Accelerator:
    """One kind of device.

    Attributes
    ----------
    name : str
        As :mod:`topologies` calls it.
    peak_flop_per_s : mapping
        Type of the matrix products to the published dense peak.
    memory_bytes : int
    source : str
    """

    name: str
    peak_flop_per_s: Mapping[str, float]
    memory_bytes: float
    source: str

    def rate_flop_per_s(self, dtype: str, share: float) -> float:
        """What it sustains at that share of its peak.

        Raises
        ------
        UnknownNameError
            For a type whose rate is not known; names the nearest.
        """
        if dtype not in self.peak_flop_per_s:
            raise unknown_name(f"compute type of {self.name}:", dtype, self.peak_flop_per_s)
        return share * self.peak_flop_per_s[dtype]


def _gpu(name: str, memory_gb: float, source: str, **tera: float) -> Accelerator:
    return Accelerator(name, {key: value * 1e12 for key, value in tera.items()}, memory_gb * 1e9, source)


ACCELERATORS: Mapping[str, Accelerator] = {
    one.name: one
    for one in (
        _gpu("P100", 16, "NVIDIA Tesla P100 data sheet (2016), SXM2", float32=10.6, float16=21.2),
        _gpu("V100", 32, "NVIDIA V100 data sheet (2020), SXM2 32 GB", float32=15.7, float16=125),
        _gpu("A100", 80, "NVIDIA A100 data sheet (2021), SXM 80 GB", float32=19.5, tf32=156, float16=312, bfloat16=312),
        _gpu("H100", 80, "NVIDIA H100 data sheet (2023), SXM, dense", float32=67, tf32=494, float16=989, bfloat16=989),
        _gpu("H200", 141, "NVIDIA H200 data sheet (2024), SXM, dense", float32=67, tf32=494, float16=989, bfloat16=989),
        _gpu("GH200", 96, "NVIDIA GH200 data sheet (2023), dense", float32=67, tf32=494, float16=989, bfloat16=989),
        _gpu("B200", 180, "NVIDIA DGX B200 data sheet (2024), dense", tf32=1100, float16=2250, bfloat16=2250),
        _gpu(
            "MI250X GCD", 64, "AMD Instinct MI250X data sheet (2021), half", float32=23.9, float16=191.5, bfloat16=191.5
        ),
        _gpu("MI300X", 192, "AMD Instinct MI300X data sheet (2023)", float32=163.4, float16=1307, bfloat16=1307),
        _gpu("TPU v2 chip", 16, "Jouppi et al., CACM 63(7), 2020, table 3", bfloat16=46),
        _gpu("TPU v3 chip", 32, "Jouppi et al., CACM 63(7), 2020, table 3", bfloat16=123),
        _gpu("TPU v4 chip", 32, "Jouppi et al., ISCA 2023, table 4", bfloat16=275),
    )
}
"""By name."""

UNKNOWN = Accelerator("device", {}, inf, "")


def accelerator_of(system: System) -> Accelerator:
    """What a system's ranks are on; one without figures where that is not known."""
    machine = MACHINES.get(split_spec(system.name)[0])
    return UNKNOWN if machine is None else ACCELERATORS.get(machine.device.name, UNKNOWN)


def fastest_type(accelerator: Accelerator) -> str:
    """The type of the fastest matrix products of 16 bits or more, the first named of equals.

    Raises
    ------
    RefusedError
        If no rate is known.
    """
    if not accelerator.peak_flop_per_s:
        known = ", ".join(ACCELERATORS)
        raise RefusedError(
            f"how fast {accelerator.name} computes is not known: say --rate 100TFLOP/s or --throughput SAMPLES/s; "
            f"known are {known}"
        )
    rates = accelerator.peak_flop_per_s
    return max(rates, key=lambda dtype: rates[dtype])
