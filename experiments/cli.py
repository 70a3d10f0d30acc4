"""The program ``commsim``: its commands, and what becomes of their errors."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any, NoReturn

import typer

from experiments.commands import (
    batch,
    calibrate,
    exchange,
    listing,
    planning,
    quickstart,
    run,
    simulate,
    steps,
    testbed,
    topology,
    traffic,
    training,
    tune,
    validate,
    verify,
)

LATE_S = 1.0  # for the first rank to say what is wrong

app = typer.Typer(name="commsim", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(quickstart.quickstart)
app.command("list")(listing.list_)
app.command()(verify.verify)
app.command()(steps.steps)
app.command()(simulate.simulate)
app.command()(traffic.traffic)
app.command()(training.train)
app.command()(training.scale)
app.command()(planning.plan)
app.command()(run.run)
app.command()(exchange.exchange)
app.command()(calibrate.calibrate)
app.command()(validate.validate)
app.command()(tune.tune)
app.command()(batch.batch)
app.add_typer(topology.app, name="topology")
app.add_typer(testbed.app, name="testbed")


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
    """One line, from one rank; the others end after it, since launchers other than Hydra end the job with the first."""
    from collectives.mpi import launched_by, launched_rank

    if launched_rank() == 0:
        print(f"commsim: {message}", file=sys.stderr, flush=True)  # noqa: T201
    elif not launched_by().startswith("Hydra"):
        time.sleep(LATE_S)
    sys.exit(code)


if __name__ == "__main__":
    main()
