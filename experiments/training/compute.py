"""Compute times of a step: from FLOPs and a sustained rate, from a measured throughput, or measured layer by layer."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from commsim.errors import InputError, RefusedError
from commsim.units import format_flop_rate, format_time, parse_time
from experiments.policies import Compute
from experiments.training.accelerators import SUSTAINED_ON_IMAGES, SUSTAINED_ON_TOKENS, Accelerator, fastest_type
from experiments.workloads import Workload

BACKWARD = 2.0
"""A backward pass makes two matrix products for each of the forward pass: gradients of inputs and of weights."""

OPTIMIZER_BYTES = 20
"""Memory traffic of the optimizer for each parameter: SGD with momentum reads weight, gradient and momentum, and writes
weight and momentum, four bytes each."""


@dataclass(frozen=True)
class ComputeSource:
    """Where compute times are from: at most one of `rate_flop_per_s`, `throughput_per_s` and `file`.

    Attributes
    ----------
    dtype : str or None
        Of the matrix products; the fastest of the device by default.
    rate_flop_per_s : float or None
        That the device sustains.
    throughput_per_s : float or None
        Measured samples per second of one device that exchanges nothing: layers share the time by their FLOPs, the
        backward pass takes two thirds, and the optimizer is in it.
    file : Path or None
        CSV with the columns ``layer``, ``forward`` and ``backward`` (``1.2ms``): of one pass, whatever the batch.

    Raises
    ------
    InputError
        If several are given, or one is not above zero.
    """

    dtype: str | None = None
    rate_flop_per_s: float | None = None
    throughput_per_s: float | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        named = {"--rate": self.rate_flop_per_s, "--throughput": self.throughput_per_s, "--times": self.file}
        given = [word for word, one in named.items() if one is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} both say how long layers take; give one")
        for word, one in named.items():
            if isinstance(one, (int, float)) and not one > 0:
                raise InputError(f"{word} {one:g} must be above zero")

    @property
    def is_measured(self) -> bool:
        """Whether the times hold all that a step computes."""
        return self.throughput_per_s is not None or self.file is not None

    def times(self, workload: Workload, batch: float, accelerator: Accelerator, optimizer_s: float = 0.0) -> Compute:
        """The times of one pass over `batch` samples on one device.

        Raises
        ------
        InputError
            For a wrong file.
        RefusedError
            If there is nothing that they could be had from.
        """
        if self.file is not None:
            return _from_file(workload, self.file)
        flops = [layer.forward_flops for layer in workload.layers]
        if not workload.counts_flops or not sum(flops):
            raise RefusedError(
                f"FLOPs of {workload.name} are not known: give --times FILE.csv, measured layer by layer"
            )
        if self.throughput_per_s is not None:
            per_flop_s = batch / self.throughput_per_s / (1 + BACKWARD) / sum(flops)
            source, optimizer_s = f"{self.throughput_per_s:g} {workload.sample}s/s, measured on one device", 0.0
        else:
            share = SUSTAINED_ON_IMAGES if workload.tokens_per_sample == 1 else SUSTAINED_ON_TOKENS
            rate, source = _rate(accelerator, self.dtype, self.rate_flop_per_s, share)
            per_flop_s = batch / rate
        forward = [per_flop_s * one for one in flops]
        return Compute(workload, tuple(forward), tuple(BACKWARD * one for one in forward), optimizer_s, source=source)


def _rate(accelerator: Accelerator, dtype: str | None, given: float | None, share: float) -> tuple[float, str]:
    if given is not None:
        return given, f"{format_flop_rate(given)} as given"
    kind = dtype or fastest_type(accelerator)
    rate = accelerator.rate_flop_per_s(kind, share)
    peak = format_flop_rate(accelerator.peak_flop_per_s[kind])
    return rate, f"{format_flop_rate(rate)}, ASSUMED {share:g} of {accelerator.name}'s {peak} in {kind}"


COLUMNS = ("layer", "forward", "backward")


def _from_file(workload: Workload, file: Path) -> Compute:
    try:
        reader = csv.DictReader(file.read_text().splitlines())
        rows = list(reader)
        for column in COLUMNS:
            if column not in (reader.fieldnames or ()):
                raise InputError(f"column {column!r} is missing; write {','.join(COLUMNS)}")
        times = {row["layer"]: (parse_time(row["forward"]), parse_time(row["backward"])) for row in rows}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({getattr(error, 'strerror', error)})") from None
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    missing = [layer.name for layer in workload.layers if layer.name not in times and layer.forward_flops]
    extra = sorted(set(times) - {layer.name for layer in workload.layers})
    if missing or extra:
        what = f"has no layer {missing[0]!r}" if missing else f"has layer {extra[0]!r}, which {workload.name} has not"
        raise InputError(f"{file}: {what}; it needs those of {workload.name} that compute")
    both = [times.get(layer.name, (0.0, 0.0)) for layer in workload.layers]
    forward, backward = (tuple(column) for column in zip(*both, strict=True))
    total = format_time(sum(forward) + sum(backward))
    return Compute(workload, forward, backward, source=f"{file.name}, {total} in all")
