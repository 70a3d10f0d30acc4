"""``commsim testbed …``: build a system of network namespaces, run ranks in it, take it away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Build a system on this machine: network namespaces, shaped links, real MPI ranks.",
    add_completion=False,
    rich_markup_mode=None,
)

SystemSpec = Annotated[str, typer.Argument(metavar="SYSTEM", help="FILE.toml, or NAME:key=value,…")]
Name = Annotated[str | None, typer.Option("--name", help="of the testbed, where a system is built several times")]


@app.command()
def up(system: SystemSpec, name: Name = None) -> None:
    """Build a system, which stays until `down`: needs root."""
    import topologies
    from experiments.testbed import lifetime, ranks
    from experiments.testbed.wiring import Wiring, described

    ranks.raise_on_signals()
    record = lifetime.up(system, name)
    wiring = Wiring.of(topologies.find(system))
    sys.stdout.write(f"{record.name} is up: {described(wiring)}\n")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    system: SystemSpec,
    program: Annotated[list[str], typer.Argument(metavar="-- PROGRAM…", help="such as: -- commsim run allreduce …")],
    n_ranks: Annotated[int | None, typer.Option("-n", help="ranks; one on each device by default")] = None,
    name: Name = None,
) -> None:
    """Run a program on real ranks, one on each device: in the testbed that is up, or one that is built for it."""
    from experiments.testbed import lifetime, ranks

    ranks.raise_on_signals()
    with lifetime.standing(system, name) as record:
        code = ranks.run(record, len(record.devices) if n_ranks is None else n_ranks, program)
    raise typer.Exit(code)


@app.command()
def down(
    system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]", help="as for up")] = None,
    name: Name = None,
    everything: Annotated[bool, typer.Option("--all", help="all testbeds of this machine")] = False,
) -> None:
    """Take a testbed away, with all that runs in it; and what commands that were killed have left."""
    from commsim.errors import InputError
    from experiments.testbed import lifetime

    if everything == (system is not None or name is not None):
        raise InputError("testbed down: say which SYSTEM (or --name), or --all")
    gone = lifetime.down(system, name)
    sys.stdout.write("".join(f"{one} is gone\n" for one in gone) or "there was none\n")


@app.command()
def status() -> None:
    """Say which testbeds there are, and what runs in them."""
    from experiments.testbed import network, state

    for record in state.records():
        running = sum(len(network.processes(space)) for space in (record.fabric, *record.hosts))
        left = ", left by a command that was killed" if record.abandoned else ""
        sys.stdout.write(f"{record.name}: {record.system}, {len(record.devices)} devices, {running} processes{left}\n")
    if not state.records():
        sys.stdout.write("no testbed is up\n")


@app.command()
def measure(
    system: SystemSpec,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.json; the rows that it has are kept")],
    largest: Annotated[str, typer.Option("--largest", help="of the collectives' sizes: 64KiB, times 4 each")] = "16MiB",
    within: Annotated[str | None, typer.Option("--within", help="a time, 240s: what would end later is left")] = None,
    name: Name = None,
) -> None:
    """Time messages between pairs, reductions, allreduces and broadcasts in a testbed: minutes, on an idle machine."""
    from commsim.errors import InputError
    from commsim.units import format_time, parse_bytes, parse_time
    from experiments.testbed import lifetime, ranks
    from experiments.testbed.measure import measured_in

    if output.suffix != ".json":
        raise InputError(f"-o {output}: rows are written to a .json")
    ranks.raise_on_signals()
    within_s = None if within is None else parse_time(within)
    with lifetime.standing(system, name) as record:
        n_rows, left = measured_in(record, system, output, parse_bytes(largest), within_s)
    seconds = sum(case.planned_s for case in left)
    more = f"; {len(left)} are left, about {format_time(seconds)}: call it again" if left else ""
    sys.stdout.write(f"{output}: {n_rows} rows{more}\n")


@app.command()
def calibrate(
    system: SystemSpec,
    measured: Annotated[Path, typer.Argument(metavar="MEASURED.json", help="what `testbed measure` wrote")],
    output: Annotated[Path, typer.Option("-o", "--output", help="the system file to write, FILE.toml")],
) -> None:
    """Fit what a system file does not say to messages between pairs; collectives in the rows are not looked at."""
    from commsim.errors import InputError
    from experiments.testbed.fit import calibrate_file

    if output.suffix != ".toml" or not system.endswith(".toml"):
        raise InputError("testbed calibrate: SYSTEM and -o are system files, .toml")
    sys.stdout.write(calibrate_file(Path(system), measured, output))
