"""The main job, once through: calibrate this host, run collectives, predict them, compare, plan a cluster, report.

Everything on real ranks is done by the commands that users have (`commsim calibrate`, `commsim run`), started here.
"""

from __future__ import annotations

import csv
import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import topologies
from collectives.mpi import refuse_two_wheels
from collectives.registry import find
from commsim import simulate
from commsim.errors import InputError
from commsim.units import format_time
from experiments import policies, validate, workloads
from experiments.calibrate import drift
from experiments.choose import LIBRARY
from experiments.exchange.report import steps_beside
from experiments.exchange.results import read_steps
from experiments.findings import STEP_COLUMNS, Findings, drift_line, step_rows
from experiments.launch import commsim_on_ranks
from experiments.output import read_results
from experiments.planning import Option, Question, on_front, options, read_prices
from experiments.planning.output import columns, row
from experiments.progress import say, track
from experiments.published import Published, nccl_tests
from experiments.quickstart_report import write_all
from experiments.scaling import rank_counts
from experiments.table import Column, block, terminal_width
from experiments.training import Training
from experiments.workloads import RESNET50_DDP_BUCKETS

TIMEOUT_S = 300.0  # of the launch of real ranks, which takes about 20 s
MEASURED = {"allreduce": "recursive_doubling,ring,rabenseifner", "broadcast": "binomial,chain,scatter_allgather"}
SWEEP = ("-b", "8", "-e", "32MiB", "-f", "4")
PLANNED = (*("resnet50", "-s", "dgx_h100", "--ranks", "8:1024"), *("--batch", "64", "--samples", "1.15e8"))
"""What `commsim plan` is asked: 90 epochs of ImageNet, as :func:`_plan` does."""
EXCHANGED = ("--workload", "resnet50", "--compute", "100ms", "-n", "5", "-w", "1")
"""The training loop that is run: its compute is emulated, as a host sees that of an accelerator."""
PUBLISHED = "nccltests_xe9680_h100_2n16"
OVERLAID = ("ring", "recursive_doubling", "node_split")


def quickstart(folder: Path, n_ranks: int | None = None) -> None:
    """Do the main job and leave everything in `folder`.

    Parameters
    ----------
    folder : Path
        Made if it does not exist; files of an earlier run are replaced.
    n_ranks : int, optional
        Real ranks; as many as this process may use cores, from 2 to 4, by default.

    Raises
    ------
    InputError
        If the folder cannot be written, or one rank is asked for.
    ExecutionError
        If real ranks cannot be started, or fail.
    """
    started = time.monotonic()
    ranks = min(max(len(os.sched_getaffinity(0)), 2), 4) if n_ranks is None else n_ranks
    if ranks < 2:
        raise InputError(f"--ranks {ranks}: an exchange needs at least 2")
    refuse_two_wheels()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"-o {folder}: cannot be made ({error.strerror})") from None
    found = _on_this_host(folder, ranks)
    say("[2/4] predicting the same from the calibration")
    _say_comparison(found)
    say("[3/4] planning: ResNet-50 on 1 to 128 DGX H100 nodes")
    found.plan = _plan()
    found.commands.append(shlex.join(["commsim", "plan", *PLANNED]))
    _say_plan(found.plan)
    found.curves = _curves(found.published)
    say("[4/4] figures and report")
    report = write_all(found, folder)
    _tables(found, folder)
    _print(f"\nreport: {report}\nfolder: {folder} (CSV, JSON, figures as PNG and SVG, host.toml)")
    say(f"done in {time.monotonic() - started:.0f} s")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _on_this_host(folder: Path, n_ranks: int) -> Findings:
    """Calibrate, run, calibrate again, all in one launch; then compare."""
    host, again, cold = (folder / f"{name}.toml" for name in ("host", "host_again", "host_cold"))
    steps = folder / "measure.txt"
    runs = {
        "allreduce": ("allreduce", SWEEP),
        "broadcast": ("broadcast", SWEEP),
        "buckets": ("allreduce", ("--sizes", ",".join(map(str, RESNET50_DDP_BUCKETS)))),
    }
    crowded = ["--allow-oversubscribed"] if n_ranks > len(os.sched_getaffinity(0)) else []
    lines = [shlex.join(["calibrate", "-o", str(host), *crowded])]
    for name, (collective, sweep) in runs.items():
        algorithms = f"{MEASURED[collective]},{LIBRARY}"
        lines.append(shlex.join(["run", collective, "-a", algorithms, *sweep, "-o", str(folder / f"{name}.json")]))
    lines.append(shlex.join(["calibrate", "-o", str(again), *crowded]))
    exchange = ["exchange", *EXCHANGED, "-a", MEASURED["allreduce"], "-o", str(folder / "exchange.json")]
    lines += [shlex.join(["calibrate", "--cold", "-n", "3", "-o", str(cold), *crowded]), shlex.join(exchange)]
    steps.write_text("\n".join(["# mpiexec -n N commsim batch FILE", *lines, ""]))
    say(f"[1/4] on {n_ranks} real ranks: calibrate, run the collectives beside the MPI library's own, calibrate again")
    printed = commsim_on_ranks(n_ranks, ["batch", str(steps)], TIMEOUT_S)
    _print(printed.partition("written to")[0].rstrip())

    system = topologies.find(str(host))
    found = Findings(n_ranks, system, drift(system, topologies.find(str(again))), nccl_tests(PUBLISHED))
    _print(drift_line(found.drift))
    found.commands.append(f"mpiexec -n {n_ranks} commsim batch {steps}")
    for name in runs:
        file = folder / f"{name}.json"
        found.measured[name] = read_results(file)
        group = "ResNet-50 bucket" if name == "buckets" else "sweep"
        found.rows[name] = validate.compare(found.measured[name], found.system, group=group).rows
        found.commands.append(f"commsim validate {file} -s {host}")
    file = folder / "exchange.json"
    found.steps = steps_beside(file, topologies.find(str(cold)))
    found.computed_s = sum(read_steps(file).operation_s)  # type: ignore[union-attr]
    found.commands.append(f"commsim validate {file} -s {cold}")
    return found


def _say_comparison(found: Findings) -> None:
    for name, rows in found.rows.items():
        title = "ResNet-50's gradient buckets, as PyTorch DDP sends them" if name == "buckets" else name
        _print(f"\n{title}: predicted beside measured on {found.n_ranks} ranks (fluid, calibrated)")
        _print(validate.table(rows).rstrip())
    _print(f"\nA training step of {EXCHANGED[1]} with its exchange; computing alone {format_time(found.computed_s)}")
    cells = zip(STEP_COLUMNS, zip(*step_rows(found), strict=True), strict=True)
    _print("\n".join(block([Column(title, "", list(one), 0) for title, one in cells], terminal_width())))


def _plan() -> list[Option]:
    workload, system, ranks, batch, samples = PLANNED[0], *PLANNED[2::2]
    question = Question(Training(workloads.find(workload), policies.find("ddp")), float(samples), float(batch))
    counts = rank_counts(ranks)
    every = track(options(question, [system], counts, read_prices()), f"simulating {system}", len(counts))
    return [one for one in every if isinstance(one, Option)]


def _say_plan(plan: Sequence[Option]) -> None:
    _print(f"\nResNet-50 on DGX H100 nodes: commsim plan {shlex.join(PLANNED)} (prices ASSUMED)")
    _print("\n".join(block(columns(plan), terminal_width())))


def _curves(published: Published) -> dict[str, list[tuple[int, float]]]:
    """Predicted times of our algorithms at the published sizes on the same kind of machine."""
    machine = topologies.find("dgx_h100:nodes=2")
    return {
        spec: [(n_bytes, simulate(find("allreduce", spec), machine, n_bytes).time_s) for n_bytes, _ in published.points]
        for spec in OVERLAID
    }


def _tables(found: Findings, folder: Path) -> None:
    """The three CSV files."""
    compared = [one for part in found.rows.values() for one in part]
    _write_csv(folder / "comparison.csv", [{**vars(one), "error": one.error} for one in compared])
    front = on_front(found.plan)
    _write_csv(folder / "plan.csv", [row(option, front) for option in found.plan])
    predicted = {spec: dict(points) for spec, points in found.curves.items()}
    _write_csv(
        folder / "published.csv",
        [
            {"n_bytes": n_bytes, "measured_s": time_s, **{f"{spec}_s": predicted[spec][n_bytes] for spec in predicted}}
            for n_bytes, time_s in found.published.points
        ],
    )


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    listed = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
