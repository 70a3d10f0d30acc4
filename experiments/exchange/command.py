"""`commsim exchange`, without the parsing: what to print, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import topologies
from collectives.mpi import load_mpi
from commsim import System
from commsim.errors import InputError, unknown_name
from experiments.exchange.compute import Asked
from experiments.exchange.ranks import exchange_on_ranks, require_same_losses
from experiments.exchange.report import Prediction, as_text, prediction
from experiments.exchange.results import Exchange, Exchanged, as_json, results_of
from experiments.options import require_file
from experiments.output import provenance
from experiments.progress import say
from experiments.ranks import agreed, all_or_none
from experiments.table import terminal_width

LARGEST_DIFFERENCE = 1e-5  # of a loss, relative: sums in other orders round apart
FORMATS = ("table", "json")


def run(
    words: Mapping[str, Any], *, check: int | None, predict: str | None, style: str, output: Path | None
) -> tuple[str, int]:
    """What rank 0 prints ("" on the others) and the exit code; parameters as the command line has them.

    Raises
    ------
    InputError
        On every rank alike, before anything runs.
    """
    asked_for = {"command": "exchange", **words, "check": check, "predict": predict, "format": style, "output": output}
    comm = load_mpi().COMM_WORLD
    with all_or_none(comm, asked=asked_for):

        def prepare() -> tuple[Asked, System | None]:
            if style not in FORMATS:
                raise unknown_name("format", style, FORMATS)
            require_file(output, ".json", option="-o ")
            if check is not None and check < 1:
                raise InputError(f"--check {check}: at least one step is trained")
            return Asked(**words), None if predict is None else topologies.find(predict)

        asked, system = agreed(comm, prepare)
        if check is not None:
            return _checked(require_same_losses(comm, asked, check), check, comm.rank)
        done = exchange_on_ranks(comm, asked)
    return _shown(done, system, style, output) if comm.rank == 0 else ("", _code(done))


def _checked(differences: Mapping[str, float], n_steps: int, rank: int) -> tuple[str, int]:
    lines = [
        f"{name}: losses of {n_steps} steps within {worst:.1e} of one rank with all samples\n"
        for name, worst in differences.items()
    ]
    apart = not all(worst <= LARGEST_DIFFERENCE for worst in differences.values())  # not a number is no loss
    if apart:
        lines.append(f"# NOT equal to {LARGEST_DIFFERENCE:g}\n")
    return "".join(lines) if rank == 0 else "", int(apart)


def _code(done: Exchange) -> int:
    return int(any(result.n_wrong for result in results_of(done)))


def _prediction(done: Exchange, one: Exchanged, system: System | None) -> Prediction | None:
    if system is None:
        return None
    stage_s = np.median(one.stage_s, axis=0).tolist()
    return prediction(one.results, done.calls, done.operation_s.tolist(), stage_s, system, n_ranks=done.n_ranks)


def _shown(done: Exchange, system: System | None, style: str, output: Path | None) -> tuple[str, int]:
    predicted = [_prediction(done, one, system) for one in done.measured]
    document = as_json(done, provenance(**done.facts))
    if output is not None:
        output.write_text(document + "\n")
    if "OVERSUBSCRIBED" in str(done.facts.get("ranks")):
        say("commsim: more ranks than cores: times are not speeds")
    if _code(done):
        say("commsim: elements WRONG; see #wrong")
    return document + "\n" if style == "json" else as_text(done, predicted, terminal_width()), _code(done)
