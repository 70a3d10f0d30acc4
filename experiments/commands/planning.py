"""``commsim plan``: which machine to buy or rent for a training, and what a change would be worth."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from experiments.commands.arguments import Output
from experiments.commands.printing import show
from experiments.commands.training import (
    UNDISTURBED,
    Batch,
    Dtype,
    Figure,
    Format,
    Model,
    Pipeline,
    Policy,
    Rate,
    Tensor,
    Workload,
    training_of,
)

Systems = Annotated[list[str], typer.Option("-s", "--system", help="NAME:key=value,… or FILE.toml; repeatable")]


def plan(
    workload: Workload,
    system: Systems,
    samples: Annotated[float, typer.Option("--samples", help="to train on in all: 1.15e8 for 90 epochs of ImageNet")],
    ranks: Annotated[str, typer.Option("--ranks", help="FIRST:LAST (powers of two), or a list")] = "8:64",
    budget: Annotated[str | None, typer.Option("--budget", help="the fastest that trains for at most 50kUSD")] = None,
    target: Annotated[str | None, typer.Option("--target", help="the cheapest that trains in at most 86400s")] = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="your FILE.toml; the shipped ones are ASSUMED")
    ] = None,
    policy: Policy = "ddp",
    batch: Batch = 32,
    global_batch: Annotated[float | None, typer.Option("--global-batch", help="samples of a step of all ranks")] = None,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    compute_dtype: Dtype = None,
    rate: Rate = None,
    model: Model = "fluid",
    figure: Figure = None,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Compare machines for a training: time, cost, price, power, and which change buys most."""
    from commsim.errors import InputError, RefusedError
    from commsim.units import parse_money, parse_time
    from experiments.options import FIGURES, require_file
    from experiments.output import formatter
    from experiments.planning import Option, Question, changes, options, read_prices
    from experiments.planning.options import chosen
    from experiments.planning.output import parts_of_bill, text
    from experiments.progress import track
    from experiments.scaling import rank_counts
    from experiments.scaling.output import FORMATS, facts_of

    styles = formatter(style, output, FORMATS)
    require_file(figure, *FIGURES, option="--figure ")
    if not samples > 0:
        raise InputError(f"--samples {samples:g} must be above zero")
    asked = training_of(workload, policy, tensor, pipeline, (compute_dtype, rate, None, None), UNDISTURBED, model)
    question = Question(
        asked, samples, batch if global_batch is None else global_batch, strong=global_batch is not None
    )
    limits = None if budget is None else parse_money(budget), None if target is None else parse_time(target)
    cost, counts = read_prices(prices), rank_counts(ranks)
    total = len(system) * len(counts)
    every = list(track(options(question, system, counts, cost), "simulating", total, shown=total > 1))
    found = [one for one in every if isinstance(one, Option)]
    left_out = [one for one in every if not isinstance(one, Option)]
    if not found:
        raise RefusedError(f"no machine can do it: {left_out[0][0]}: {left_out[0][1]}")
    best = chosen(found, *limits)
    worth = [] if best is None else list(changes(question, best))
    facts = {key: value for key, value in facts_of(found[0].step).items() if key not in ("compute", "parallel")}
    facts |= {"samples": f"{samples:g}", "prices": cost.source}
    if best is None:
        facts["chosen"] = "none: no option is within --budget and --target"
    else:
        facts["chosen"] = f"{best.system.name}: {parts_of_bill(best)}"
    if figure is not None:
        from experiments.figures.planning import pareto
        from experiments.figures.style import save_as

        save_as(pareto(found, best), figure)
    show(partial(text, found, left_out, best, worth, facts), styles, output)
