"""``commsim topology …``: show, check and import machines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Show and check machines, and import what tools say of real ones.", add_completion=False, rich_markup_mode=None
)

SystemSpec = Annotated[str, typer.Argument(metavar="SYSTEM", help="NAME:key=value,… or FILE.toml")]


@app.command()
def show(
    system: SystemSpec,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="draw it: FILE.svg, .png or .pdf")] = None,
    width: Annotated[float, typer.Option("--width", help="of the drawing, in inches")] = 6.0,
) -> None:
    """Print devices, switches, links by class, degree, diameter, bisection and taper; draw it with -o."""
    import topologies
    from commsim.errors import InputError
    from experiments.options import FIGURES, require_file
    from experiments.topology import described

    require_file(output, *FIGURES, option="-o ")
    if not 2 <= width <= 40:
        raise InputError(f"--width {width:g}: it must be 2 to 40 inches")
    machine = topologies.find(system)
    sys.stdout.write(described(machine))
    if output is not None:
        from experiments.figures.style import save_as
        from experiments.figures.topology import network

        save_as(network(machine, width), output)


@app.command()
def check(system: SystemSpec) -> None:
    """Say what is wrong with a machine, and where: exit 2 and one line; else what may be a mistake."""
    import topologies
    from experiments.topology import diameter, remarks

    machine = topologies.find(system)
    diameter(machine.topology)
    found = remarks(machine)
    sys.stdout.write("".join(f"{machine.name}: {line}\n" for line in found or ["nothing is wrong"]))


@app.command("import")
def import_command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…", help="NCCL's XML, nvidia-smi topo -m, ibnetdiscover, hwloc's XML; or node and fabric"
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="the system file to write, FILE.toml")],
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="nccl, nvidia-smi, ibnetdiscover or hwloc; known by the content by default"),
    ] = None,
    nodes: Annotated[int, typer.Option("--nodes", help="so many such nodes, their NICs on one switch (ASSUMED)")] = 1,
) -> None:
    """Write the machine that tools describe as a system file, which simulates at once; what was ASSUMED is marked."""
    import tempfile

    import topologies
    from commsim.errors import CommsimError, InputError
    from topologies.importers import imported

    if output.suffix != ".toml":
        raise InputError(f"-o {output}: a system file ends in .toml")
    description = imported(files, kind, nodes)
    with tempfile.TemporaryDirectory() as folder:  # a file that was there stays, if this one cannot be used
        draft = Path(folder) / output.name
        draft.write_text(description.toml())
        try:
            machine = topologies.find(str(draft))
        except CommsimError as error:
            said = str(error).replace(str(draft), output.name)
            raise InputError(f"{files[0]}: what it describes is no machine: {said}") from None
    output.write_text(description.toml())
    sys.stdout.write(
        f"{output}: {machine.n_devices} devices, from {description.source}; "
        f"ASSUMED: {', '.join(description.assumed) or 'nothing'}\n"
    )
