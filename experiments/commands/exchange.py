"""The command ``commsim exchange``: a real training loop whose gradients our collectives exchange."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def exchange(
    workload: Annotated[str, typer.Option("--workload", help="NAME:key=value,… or FILE, as commsim list workloads")],
    policy: Annotated[str, typer.Option("--policy", help="NAME:key=value,…, as commsim list policies")] = "ddp",
    algorithm: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--algorithm",
            help="NAME[:key=value,…][,NAME…] or library, of allreduces; by default the policy's",
            show_default=False,
        ),
    ] = None,
    iterations: Annotated[int, typer.Option("-n", "--iterations", help="steps of each algorithm")] = 20,
    warmup: Annotated[int, typer.Option("-w", "--warmup")] = 3,
    batch: Annotated[
        int | None,
        typer.Option("--batch", help="samples of each rank; by default 32 that learn, 256 images or 1 sequence"),
    ] = None,
    compute: Annotated[
        str | None, typer.Option("--compute", help="TIME of a step, emulated and shared out to the layers")
    ] = None,
    flops: Annotated[float | None, typer.Option("--flops", help="sustained FLOP/s of the emulation")] = None,
    sample: Annotated[str | None, typer.Option("--input", help="shape of a sample of a module: 3x32x32")] = None,
    seed: Annotated[int, typer.Option("--seed", help="of weights and samples")] = 0,
    per_node: Annotated[
        int | None,
        typer.Option("--per-node", help="ranks of a node, for the policy hierarchical; by default those of a host"),
    ] = None,
    check: Annotated[
        int | None,
        typer.Option("--check", help="train so many steps with ours, the MPI library's, on one rank: equal losses"),
    ] = None,
    predict: Annotated[
        str | None, typer.Option("--predict", help="a SYSTEM: predicted beside measured, call by call and step by step")
    ] = None,
    style: Annotated[str, typer.Option("--format", help="table or json")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="also write to FILE.json")] = None,
) -> None:
    """Train on real ranks: mpiexec -n P commsim exchange …

    Gradients of a network (cifar10_quick, mlp, a module of PyTorch) or of the shapes of any other workload, exchanged
    by our collectives on a communication thread while the backward pass goes on.
    """
    from commsim.units import parse_time
    from experiments.exchange.command import run

    specs = _specs(algorithm)
    text, code = run(
        {
            "workload": workload,
            "policy": policy,
            "algorithms": specs,
            "iterations": iterations,
            "warmup": warmup,
            "batch": batch,
            "compute_s": None if compute is None else parse_time(compute),
            "flops": flops,
            "input_shape": sample,
            "seed": seed,
            "per_node": per_node,
        },
        check=check,
        predict=predict,
        style=style,
        output=output,
    )
    sys.stdout.write(text)
    if code:
        raise typer.Exit(code)


def _specs(text: str | None) -> tuple[str | None, ...]:
    from commsim.errors import InputError
    from commsim.spec import split_list

    if text is None:
        return (None,)
    found = tuple(split_list(text))
    if not found:
        raise InputError("-a names no algorithm; write it like ring,rabenseifner or library")
    return found
