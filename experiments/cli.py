"""The program ``commsim``: parses what people write, calls the packages, prints. Heavy imports are inside commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from experiments import exchange_commands, planning_commands, topology_commands, training_commands, tune_commands
from experiments.disturbances import Jitter, Skew, Stragglers, disturbance
from experiments.testbed import commands as testbed_commands

if TYPE_CHECKING:
    from commsim import Result
    from experiments.left_out import LeftOut

app = typer.Typer(
    name="commsim",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(topology_commands.app, name="topology")
app.command("tune")(tune_commands.tune)
app.add_typer(testbed_commands.app, name="testbed")
app.command("exchange")(exchange_commands.exchange)
training_commands.register(app)
app.command()(planning_commands.plan)

Name = Annotated[
    str,
    typer.Argument(
        metavar="COLLECTIVE",
        help="allreduce, broadcast, reduce, reduce_scatter, allgather, alltoall, alltoallv, gather, scatter or barrier",
    ),
]
Algorithms = Annotated[
    str | None,
    typer.Option(
        "-a",
        "--algorithm",
        help="NAME[:key=value,…][,NAME…], or all; by default those of --file, else all",
        show_default=False,
    ),
]
Sizes = Annotated[str | None, typer.Option("--sizes", help="sizes such as 1MiB,64MiB")]
Begin = Annotated[str | None, typer.Option("-b", "--begin", help="first size")]
End = Annotated[str | None, typer.Option("-e", "--end", help="last size")]
Factor = Annotated[int, typer.Option("-f", "--factor", help="factor between sizes")]
Root = Annotated[int, typer.Option("--root", help="root rank of a rooted collective")]
Dtype = Annotated[str, typer.Option("--dtype", help="element type: chunks are whole elements")]
Model = Annotated[str, typer.Option("--model", help="fluid, hockney or loggp")]
SystemSpec = Annotated[str, typer.Option("-s", "--system", help="NAME:key=value,… or FILE.toml")]
Placement = Annotated[
    str, typer.Option("--placement", help="packed, round_robin, by_rail, random or file:PATH: ranks on devices")
]
Seed = Annotated[int | None, typer.Option("--seed", help="of all that is drawn: a random placement, skew, jitter")]
Degrade = Annotated[
    list[str] | None,
    typer.Option("--degrade", help="LINK=SHARE or LINK=RATE, such as 'leaf0<->spine*=0.5'; repeatable"),
]
Fail = Annotated[list[str] | None, typer.Option("--fail", help="links that failed: 'leaf0->spine1'; repeatable")]
Format = Annotated[str, typer.Option("--format", help="table, csv, json or osu")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="also write to FILE.csv, .json or .txt")]
Matrix = Annotated[Path | None, typer.Option("--matrix", help="alltoallv's sizes: CSV, a row for each sender")]
UserFile = Annotated[str | None, typer.Option("--file", help="your algorithms: FILE.py[:FUNCTION]")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"commsim {version('commsim')}\n")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="say the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Write a collective once; prove it, predict its time on a cluster, run it on real ranks, compare."""


def main() -> None:
    """Run the command line: exit 2 and one line on stderr for what the user wrote, exit 1 for what failed."""
    click_error: Any = typer.BadParameter.__mro__[2]  # typer carries its own click, and names few of its errors
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False) or 0)
    except (typer.Abort, KeyboardInterrupt):
        _stop("interrupted", 130)
    except click_error as error:
        _stop(" ".join(error.format_message().split()), 2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _stop(f"{error.filename or 'output'}: {error.strerror}", 1)
    except Exception as error:
        from commsim.errors import CommsimError, InputError, ScheduleError, VerificationError

        if not isinstance(error, CommsimError):
            raise
        written = isinstance(error, (InputError, ScheduleError)) and not isinstance(error, VerificationError)
        _stop(str(error), 2 if written else 1)


def _stop(message: str, code: int) -> NoReturn:
    """One line, from one rank."""
    from collectives.mpi import launched_rank

    if launched_rank() == 0:
        print(f"commsim: {message}", file=sys.stderr, flush=True)  # noqa: T201
    sys.exit(code)


def _show(
    results: Sequence[Result], facts: dict[str, Any], left_out: Sequence[LeftOut], style: str, output: Path | None
) -> None:
    """Print results, and write them to the file that was asked for; nothing was printed before."""
    from experiments.output import FORMATS, formatter
    from experiments.table import terminal_width

    on_screen, in_file = formatter(style, output)
    if output is not None and in_file is not None:
        output.write_text(FORMATS[in_file](results, facts, left_out, None))
    sys.stdout.write(FORMATS[on_screen](results, facts, left_out, terminal_width()))


@app.command("list")
def list_command(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="algorithms, systems, models, workloads or policies")],
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="only those of which this is a part; of workloads, a spec or FILE too"),
    ] = None,
    collective: Annotated[str | None, typer.Option("--collective", help="only algorithms of this one")] = None,
    library: Annotated[
        str | None, typer.Option("--library", help="only algorithms of this one: nccl, mpich, 'open mpi' …")
    ] = None,
    keeps_order: Annotated[
        bool, typer.Option("--keeps-order", help="only algorithms that combine in the order of ranks")
    ] = False,
    style: Annotated[str, typer.Option("--format", help="table, csv or json")] = "table",
) -> None:
    """List algorithms, systems, models, workloads and policies.

    Algorithms with constraints, cost and source; systems with their keys, their defaults and what is assumed; workloads
    with parameters, tensors, bytes of gradients and FLOPs of the forward pass of a sample; policies of exchanging them.
    """
    from experiments.listing import Wanted, as_text, listed
    from experiments.table import terminal_width

    wanted = Wanted(name, collective, library, keeps_order)
    sys.stdout.write(as_text(listed(what, wanted), style, terminal_width()))


@app.command()
def simulate(
    collective: Name,
    system: SystemSpec,
    algorithm: Algorithms = None,
    sizes: Sizes = None,
    begin: Begin = None,
    end: End = None,
    factor: Factor = 2,
    ranks: Annotated[int | None, typer.Option("--ranks", help="ranks; all devices by default")] = None,
    model: Model = "fluid",
    root: Root = 0,
    dtype: Dtype = "float32",
    matrix: Matrix = None,
    placement: Placement = "packed",
    seed: Seed = None,
    degrade: Degrade = None,
    fail: Fail = None,
    skew: Skew = None,
    straggler: Stragglers = None,
    jitter: Jitter = None,
    file: UserFile = None,
    top: Annotated[
        int, typer.Option("--top", min=0, help="show so many of the busiest links, and the bytes of each tier")
    ] = 0,
    links: Annotated[Path | None, typer.Option("--links", help="write every link's load to FILE.csv")] = None,
    timeline: Annotated[Path | None, typer.Option("--timeline", help="write every message to FILE.csv")] = None,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Predict the time of algorithms on a system."""
    from experiments.details import Details
    from experiments.output import formatter
    from experiments.predict import predict
    from experiments.table import terminal_width

    formatter(style, output)
    details = Details(top, links, timeline)
    results, facts, left_out, machine = predict(
        collective,
        algorithm,
        file,
        system=system,
        sizes=(sizes, begin, end, factor),
        matrix=matrix,
        n_ranks=ranks,
        model=model,
        root=root,
        dtype=dtype,
        placement=placement,
        seed=seed,
        degrade=degrade or (),
        fail=fail or (),
        disturbance=disturbance(skew, straggler, jitter, seed),
        timeline=timeline is not None,
    )
    details.write(results, machine.topology)
    _show(results, facts, left_out, style, output)
    if style == "table":
        sys.stdout.write(details.text(results, machine.topology, terminal_width()))


@app.command("traffic")
def traffic_command(
    system: SystemSpec,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE.csv|FILE.goal]…", help="messages with predecessors")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option("--with", help="a collective at the same time: COLLECTIVE:ALGORITHM:SIZE; repeatable"),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="write the one job as FILE.csv or FILE.goal for other simulators")
    ] = None,
    dtype: Dtype = "float32",
    placement: Placement = "packed",
    seed: Seed = None,
    degrade: Degrade = None,
    fail: Fail = None,
    skew: Skew = None,
    straggler: Stragglers = None,
    jitter: Jitter = None,
    top: Annotated[int, typer.Option("--top", min=1, help="so many messages and links are listed")] = 10,
    style: Annotated[
        str, typer.Option("--format", help="table, csv or json: the last two hold every message")
    ] = "table",
    output: Output = None,
) -> None:
    """Play messages with predecessors, GOAL schedules and collectives together on one fabric, and each alone."""
    from experiments.predict import as_asked
    from experiments.table import terminal_width
    from experiments.traffic import as_text, formats, jobs_of, played
    from experiments.traffic import export as write

    on_screen, in_file = formats(style, output)
    suffered = disturbance(skew, straggler, jitter, seed)
    machine = as_asked(system, placement, seed, degrade or (), fail or (), suffered)
    jobs = jobs_of(files or (), beside or (), machine, dtype)
    if export is not None:
        write(jobs, export, machine)
    result, facts = played(jobs, machine, suffered)
    if output is not None and in_file is not None:
        output.write_text(as_text(result, facts, machine, in_file, top))
    sys.stdout.write(as_text(result, facts, machine, on_screen, top, terminal_width()))


@app.command()
def verify(
    collective: Annotated[str | None, typer.Argument(metavar="[COLLECTIVE]")] = None,
    algorithm: Algorithms = None,
    ranks: Annotated[str, typer.Option("--ranks", help="N, or FIRST:LAST")] = "1:40",
    file: UserFile = None,
) -> None:
    """Prove algorithms right by counting every contribution.

    For every root; thousands of ranks by fingerprints.
    """
    from experiments.choose import chosen
    from experiments.proof import prove, rank_range

    numbers = rank_range(ranks)
    sys.stdout.writelines(prove(chosen(collective, algorithm, file), numbers))


@app.command("steps")
def steps_command(
    collective: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="FILE.svg, .png or .pdf")],
    algorithm: Annotated[str | None, typer.Option("-a", "--algorithm", help="NAME[:key=value,…]")] = None,
    ranks: Annotated[int, typer.Option("--ranks", help="few: every rank is a line")] = 8,
    size: Annotated[str, typer.Option("--size", help="for parameters that follow the size")] = "1MiB",
    per_node: Annotated[int | None, typer.Option("--ranks-per-node", help="for algorithms that ask")] = None,
    root: Root = 0,
    window: Annotated[
        str | None, typer.Option("--steps", help="FIRST:LAST; by default all, or the first and the last that fit")
    ] = None,
    file: UserFile = None,
) -> None:
    """Draw who sends what to whom, step by step.

    And below it what every rank then has.
    """
    from experiments.pages import draw

    draw(collective, algorithm, file, output, n_ranks=ranks, size=size, groups=per_node, root=root, window=window)


@app.command()
def run(
    collective: Name,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--algorithm",
            help="NAME[:key=value,…][,NAME…], library, or all; by default those of --file, else all",
        ),
    ] = None,
    sizes: Sizes = None,
    begin: Begin = None,
    end: End = None,
    factor: Factor = 2,
    iterations: Annotated[int, typer.Option("-n", "--iterations", help="ten times as many up to 64 KiB")] = 20,
    warmup: Annotated[int, typer.Option("-w", "--warmup")] = 5,
    op: Annotated[str, typer.Option("--op", help="sum, prod, max, min, or FILE.py:FUNCTION")] = "sum",
    root: Root = 0,
    dtype: Dtype = "float32",
    matrix: Matrix = None,
    file: UserFile = None,
    hang_limit: Annotated[
        float,
        typer.Option("--hang-limit", min=0, help="seconds after which a rank that others wait for is lost; 0: never"),
    ] = 8.0,
    style: Format = "table",
    output: Output = None,
) -> None:
    """Run and time collectives: mpiexec -n P commsim run …

    Every run is checked, after the timed iterations.
    """
    from experiments.ranks import measure_on_ranks

    results, facts, left_out = measure_on_ranks(
        collective,
        algorithm,
        file,
        sizes=(sizes, begin, end, factor),
        iterations=iterations,
        warmup=warmup,
        op=op,
        root=root,
        dtype=dtype,
        matrix=matrix,
        output=(style, output),
        hang_limit_s=hang_limit,
    )
    if results:
        _show(results, facts, left_out, style, output)
        if any(result.n_wrong for result in results):
            raise typer.Exit(1)


@app.command()
def calibrate(
    output: Annotated[Path, typer.Option("-o", "--output", help="the system file to write, FILE.toml")],
    structure: Annotated[
        str | None,
        typer.Option("--structure", help="NAME:key=value,… or FILE.toml: links and rates that are known, and stay"),
    ] = None,
    largest: Annotated[str, typer.Option("--largest", help="the largest message")] = "32MiB",
    iterations: Annotated[
        int, typer.Option("-n", "--iterations", help="ten times as many up to 64 KiB; fewer where links are slow")
    ] = 20,
    allow_oversubscribed: Annotated[
        bool, typer.Option("--allow-oversubscribed", help="though ranks share cores: the figures are no speeds")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="write over the caches before each message: for commsim exchange")
    ] = False,
    figure: Annotated[Path | None, typer.Option("--figure", help="draw the fit and its residuals: FILE.png")] = None,
) -> None:
    """Measure a machine: mpiexec -n P commsim calibrate …

    Messages between pairs of its ranks, one and several at once, and reductions, never a collective; writes a system
    file.
    """
    from commsim.units import parse_bytes
    from experiments.ranks import calibrate_on_ranks

    printed = calibrate_on_ranks(
        output,
        structure=structure,
        largest=parse_bytes(largest),
        iterations=iterations,
        allow_oversubscribed=allow_oversubscribed,
        figure=figure,
        cold=cold,
    )
    sys.stdout.write(printed)


@app.command()
def validate(
    measured: Annotated[
        list[Path],
        typer.Argument(
            metavar="MEASURED…", help="what `commsim run -o` or `exchange -o` wrote; nccl-tests' or OSU's text; CSV"
        ),
    ],
    system: SystemSpec,
    model: Model = "fluid",
    matrix: Matrix = None,
    file: UserFile = None,
    algorithm: Annotated[
        str | None,
        typer.Option("-a", "--algorithm", help="for rows that do not say what ran: the fastest predicted of these"),
    ] = None,
    collective: Annotated[str | None, typer.Option("--collective", help="where a file does not say it")] = None,
    ranks: Annotated[int | None, typer.Option("--ranks", min=1, help="where a file does not say it")] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="exit 1 if the 90th percentile of |ln(predicted/measured)| is above")
    ] = None,
    limit_median: Annotated[float | None, typer.Option("--limit-median", help="exit 1 if the median is above")] = None,
    limit_winners: Annotated[
        float | None, typer.Option("--limit-winners", help="exit 1 if the predicted winner wins in a lesser share")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="draw predicted against measured: FILE.png, .svg or .pdf")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="also write the rows to FILE.csv")] = None,
) -> None:
    """Predict what was measured, and put both side by side.

    Rows that cannot be predicted are told below; exit 2 if nothing is left, 1 beyond a limit.
    """
    from commsim.spec import split_list
    from experiments.choose import finder
    from experiments.validate import Limits, Told
    from experiments.validate.command import validated

    printed, passed = validated(
        measured,
        system,
        told=Told(collective, ranks),
        stand_in=split_list(algorithm or ""),
        limits=Limits(limit, limit_median, limit_winners),
        figure=figure,
        output=output,
        model=model,
        algorithm=finder(file),
        matrix=matrix,
    )
    sys.stdout.write(printed)
    if passed:
        _stop("; ".join(passed), 1)


@app.command()
def batch(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="one command a line, without `commsim`; # begins a comment")
    ],
) -> None:
    """Run many commands at once: mpiexec -n P commsim batch …

    In one launch, so that all see the same ranks.
    """
    import shlex

    from commsim.errors import InputError
    from experiments.progress import say_once

    try:
        lines = [shlex.split(line, comments=True) for line in file.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as commands ({error})") from None
    for words in filter(None, lines):
        say_once(f"> {shlex.join(words)}")
        code = app(words, standalone_mode=False)
        if code:
            raise typer.Exit(code)


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option("-o", "--output", help="the folder to write")] = Path("commsim_quickstart"),
    ranks: Annotated[
        int | None, typer.Option("--ranks", help="real ranks; as many as cores, 2 to 4, by default")
    ] = None,
) -> None:
    """Do the main job once, and write a report of it.

    Calibrate this host, run, predict, compare, plan a cluster.
    """
    from experiments.quickstart import quickstart as main_job

    main_job(output, ranks)


if __name__ == "__main__":
    main()
