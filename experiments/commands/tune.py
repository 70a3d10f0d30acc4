"""``commsim tune``: make a decision table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def tune(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[MEASURED…]", help="what `commsim run` wrote or printed")
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "-s",
            "--system",
            help="simulate on this system instead: NAME:key=value,… or FILE.toml; several, each with other "
            "numbers of ranks in a node, make one table",
        ),
    ] = None,
    collective: Annotated[
        str | None, typer.Option("--collective", help="of simulations: NAME[,NAME…]; all but alltoallv by default")
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option("-a", "--algorithm", help="of simulations: NAME[:key=value,…][,NAME…]; else all")
    ] = None,
    ranks: Annotated[
        str | None,
        typer.Option(
            "--ranks",
            help="FIRST:LAST (powers of two), FIRST:LAST:STEP, or a list; by default powers of two and one more, in a "
            "node and of nodes, up to the system's",
        ),
    ] = None,
    sizes: Annotated[str | None, typer.Option("--sizes", help="sizes such as 1MiB,64MiB")] = None,
    begin: Annotated[str | None, typer.Option("-b", "--begin", help="first size")] = None,
    end: Annotated[str | None, typer.Option("-e", "--end", help="last size")] = None,
    factor: Annotated[int, typer.Option("-f", "--factor", help="factor between sizes")] = 4,
    model: Annotated[str, typer.Option("--model", help="fluid, hockney or loggp")] = "fluid",
    dtype: Annotated[str, typer.Option("--dtype", help="element type")] = "float32",
    library: Annotated[
        str | None, typer.Option("--for", help="in the form of openmpi, mpich or nccl, of the algorithms that it has")
    ] = None,
    channels: Annotated[int | None, typer.Option("--channels", min=1, help="of --for nccl")] = None,
    base: Annotated[
        Path | None,
        typer.Option("--base", help="of --for mpich: the generic.json of your MPICH's sources; else that of 5.0"),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="write to FILE instead of printing")] = None,
) -> None:
    """Make the decision table of algorithm="auto".

    From what was measured, or from a system's model: all algorithms for every number of ranks and size.
    """
    import topologies
    from commsim import System
    from commsim.errors import InputError, unknown_name
    from commsim.spec import split_list
    from experiments.options import require_file
    from experiments.progress import say
    from experiments.scaling import rank_counts
    from experiments.tune import TUNED, measured, simulated, table, toml, unspaced
    from experiments.tune_exports import EXPORTS, exported

    if bool(files) == bool(system):
        raise InputError("give either files that were measured, or -s SYSTEM to simulate on")
    if library is not None and library not in EXPORTS:
        raise unknown_name("--for", library, EXPORTS)
    given = {"--collective": collective, "-a": algorithm, "--ranks": ranks, "--sizes": sizes, "-b": begin, "-e": end}
    if files and (meaningless := [option for option, value in given.items() if value is not None]):
        raise InputError(f"{', '.join(meaningless)}: of simulations only; what was measured says it")
    for option, value, of in (("--channels", channels, "nccl"), ("--base", base, "mpich")):
        if value is not None and library != of:
            raise InputError(f"{option} {value}: is of --for {of}")
    if library is None:
        require_file(output, ".toml", option="-o ")
    elif output is not None:
        require_file(output, output.suffix, option="-o ")
    if library is not None and len(system or ()) > 1:
        raise InputError("--for takes one system: those tables do not know how many ranks share a node")
    facts: dict[str, Any] = {"measured": [str(path) for path in files or ()]}
    if system:
        machines: list[System] = [topologies.find(one) for one in system]
        names = TUNED if collective is None else tuple(split_list(collective))
        specs = None if algorithm is None else split_list(algorithm)
        most = max(machine.n_devices for machine in machines)
        numbers = None if ranks is None else rank_counts(ranks)
        if numbers is not None and numbers[-1] > most:
            raise InputError(f"--ranks {ranks}: there are {most} devices, not {numbers[-1]}")
        span = (sizes, begin or (None if sizes else "8B"), end or (None if sizes or begin else "1GiB"), factor)
        has = [] if library is None else [EXPORTS[library].has]
        rows = simulated(names, specs, machines, numbers, span, model, dtype, *has)
        warning = unspaced(machines, model)
        for word, text in warning.items():
            say(f"{word}: {text}")
        facts = {"model": model, "dtype": dtype, "systems": [machine.name for machine in machines], **warning}
    else:
        rows = measured(files or ())
    text = toml(table(rows, **facts)) if library is None else exported(rows, library, channels, base)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)
