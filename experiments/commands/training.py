"""``commsim train`` and ``commsim scale``: a training step simulated, and how it scales."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.commands.arguments import Degrade, Fail, Output, Placement, Seed, SystemSpec
from experiments.commands.disturbances import Jitter, Skew, Stragglers, disturbance
from experiments.commands.printing import show

if TYPE_CHECKING:
    from commsim import Disturbance
    from experiments.training import Training

Workload = Annotated[str, typer.Argument(metavar="WORKLOAD", help="a name such as resnet50 or gpt3, or a file")]
Policy = Annotated[str, typer.Option("--policy", help="NAME:key=value,… of `commsim list policies`")]
Batch = Annotated[float, typer.Option("--batch", help="samples of a step for each copy of the model")]
Tensor = Annotated[int, typer.Option("--tensor", help="ranks that share each layer")]
Pipeline = Annotated[int, typer.Option("--pipeline", help="pipeline stages")]
Dtype = Annotated[str | None, typer.Option("--compute-dtype", help="of matrix products; the device's fastest")]
Rate = Annotated[str | None, typer.Option("--rate", help="that a device sustains: 120TFLOP/s")]
Throughput = Annotated[float | None, typer.Option("--throughput", help="samples/s measured on one device alone")]
Times = Annotated[Path | None, typer.Option("--times", help="layer,forward,backward measured: FILE.csv")]
Interference = Annotated[str, typer.Option("--interference", help="compute is so much slower beside a call: 10%")]
Straggler = Annotated[float, typer.Option("--slowest", help="the slowest rank computes so many times longer")]
Input = Annotated[str, typer.Option("--input", help="time to read a batch, beside the step before")]
Variation = Annotated[
    str, typer.Option("--variation", help="a rank's compute time differs so much from step to step: 2% (one sigma)")
]
Model = Annotated[str, typer.Option("--model", help="of the network: fluid, hockney or loggp")]
Figure = Annotated[Path | None, typer.Option("--figure", help="draw it: FILE.svg, .png or .pdf")]
Format = Annotated[str, typer.Option("--format", help="table, csv or json")]


UNDISTURBED = ("0%", 1.0, "0s", "0%")
"""Interference, slowest rank, input and variation where nothing is said."""


def training_of(
    workload: str,
    policy: str,
    tensor: int,
    pipeline: int,
    source: tuple[str | None, str | None, float | None, Path | None],
    conditions: tuple[str, float, str, str],
    model: str,
    suffered: Disturbance | None = None,
) -> Training:
    """What was asked for; errors name the option."""
    from commsim.disturbance import NO_DISTURBANCE
    from commsim.errors import unknown_name
    from commsim.models import MODELS
    from commsim.units import parse_flop_rate, parse_share, parse_time
    from experiments import policies, workloads
    from experiments.training import ComputeSource, Conditions, Training

    if model not in MODELS:
        raise unknown_name("model", model, MODELS)
    dtype, rate, throughput, times = source
    interference, straggler, input_time, variation = conditions
    return Training(
        workloads.find(workload),
        policies.find(policy),
        tensor,
        pipeline,
        ComputeSource(dtype, None if rate is None else parse_flop_rate(rate), throughput, times),
        Conditions(parse_share(interference), straggler, parse_time(input_time), parse_share(variation)),
        model,
        disturbance=suffered or NO_DISTURBANCE,
    )


def train(
    workload: Workload,
    system: SystemSpec,
    policy: Policy = "ddp",
    batch: Batch = 32,
    ranks: Annotated[int | None, typer.Option("--ranks", help="ranks; all devices by default")] = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    compute_dtype: Dtype = None,
    rate: Rate = None,
    throughput: Throughput = None,
    times: Times = None,
    interference: Interference = "0%",
    slowest: Straggler = 1.0,
    input_time: Input = "0s",
    variation: Variation = "0%",
    skew: Skew = None,
    straggler: Stragglers = None,
    jitter: Jitter = None,
    beside: Annotated[
        str | None,
        typer.Option(
            "--beside",
            help="another job on the fabric, over and over: FILE.csv, FILE.goal or COLLECTIVE:ALGORITHM:SIZE[@RANKS]",
        ),
    ] = None,
    placement: Placement = "packed",
    seed: Seed = None,
    degrade: Degrade = None,
    fail: Fail = None,
    model: Model = "fluid",
    trace: Annotated[Path | None, typer.Option("--trace", help="for Perfetto or chrome://tracing: FILE.json")] = None,
    figure: Figure = None,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Simulate a training step: compute, gradient exchange on the system, and what of it is exposed."""
    from experiments.options import FIGURES, require_file
    from experiments.output import formatter
    from experiments.predict import as_asked
    from experiments.scaling.output import FORMATS, step_text
    from experiments.traffic import job_beside
    from experiments.training import simulate_step
    from experiments.training.trace import chrome_trace

    styles = formatter(style, output, FORMATS)
    require_file(figure, *FIGURES, option="--figure ")
    require_file(trace, ".json", option="--trace ")
    source, conditions = (compute_dtype, rate, throughput, times), (interference, slowest, input_time, variation)
    suffered = disturbance(skew, straggler, jitter, seed)
    machine = as_asked(system, placement, seed, degrade or (), fail or (), suffered)
    asked = training_of(workload, policy, tensor, pipeline, source, conditions, model, suffered)
    other = None if beside is None else job_beside(beside, machine)
    step = simulate_step(asked, machine, batch, ranks, other)
    if trace is not None:
        trace.write_text(chrome_trace(step))
    if figure is not None:
        from experiments.figures.style import save_as
        from experiments.figures.training import timeline

        save_as(timeline(step), figure)
    show(partial(step_text, step), styles, output)


def scale(
    workload: Workload,
    system: SystemSpec,
    ranks: Annotated[str, typer.Option("--ranks", help="FIRST:LAST (powers of two), FIRST:LAST:STEP, or a list")],
    policy: Policy = "ddp",
    batch: Batch = 32,
    global_batch: Annotated[
        float | None, typer.Option("--global-batch", help="strong scaling: samples of a step of all ranks")
    ] = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    compute_dtype: Dtype = None,
    rate: Rate = None,
    throughput: Throughput = None,
    times: Times = None,
    interference: Interference = "0%",
    slowest: Straggler = 1.0,
    input_time: Input = "0s",
    variation: Variation = "0%",
    skew: Skew = None,
    straggler: Stragglers = None,
    jitter: Jitter = None,
    seed: Seed = None,
    model: Model = "fluid",
    figure: Figure = None,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Simulate a training step on more and more ranks: throughput, efficiency, exposed exchange.

    The system grows node by node, unless it says nodes=….
    """
    from commsim.errors import InputError
    from experiments.options import FIGURES, require_file
    from experiments.output import formatter
    from experiments.progress import track
    from experiments.scaling import Curve, Point, rank_counts, scaled
    from experiments.scaling.curve import system_for
    from experiments.scaling.output import FORMATS, curve_text, facts_of

    styles = formatter(style, output, FORMATS)
    require_file(figure, *FIGURES, option="--figure ")
    counts, strong = rank_counts(ranks), global_batch is not None
    source, conditions = (compute_dtype, rate, throughput, times), (interference, slowest, input_time, variation)
    suffered = disturbance(skew, straggler, jitter, seed)
    asked = training_of(workload, policy, tensor, pipeline, source, conditions, model, suffered)
    machines: dict[int, object] = {}
    samples = batch if global_batch is None else global_batch
    steps = scaled(asked, lambda n: system_for(system, n, machines), counts, batch=samples, strong=strong)  # type: ignore[arg-type]
    found = list(track(steps, "simulating", len(counts), shown=len(counts) > 1))
    points = tuple(one for one in found if isinstance(one, Point))
    left_out = tuple(one for one in found if not isinstance(one, Point))
    if not points:
        raise InputError(f"no number of ranks is possible: {left_out[0][0]}: {left_out[0][1]}")
    curve, facts = Curve(points, left_out, strong), {"system": system, **facts_of(points[0].step)}
    if figure is not None:
        from experiments.figures.style import save_as
        from experiments.figures.training import scaling_curve

        save_as(scaling_curve(curve), figure)
    show(partial(curve_text, curve, facts), styles, output)
