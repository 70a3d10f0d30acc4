"""What an exchange on real ranks gave: a row for each call and algorithm, and one for each algorithm's iterations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from commsim.errors import InputError
from commsim.result import Result
from commsim.topology import Floats
from experiments.policies import Call


@dataclass(frozen=True, eq=False)
class Exchanged:
    """The iterations of one algorithm: of each time the slowest rank's.

    Attributes
    ----------
    results : tuple of Result
        For each call: its time from when the last rank began it.
    ready_s, start_s, end_s : array (n_iterations, n_calls)
        From the step's begin.
    stage_s : array (n_iterations, n_calls)
        Of copying what is sent to the host, before each call.
    step_s, exposed_s : array (n_iterations,)
        Of a whole step; for how long a rank waited in it for calls.
    """

    results: tuple[Result, ...]
    ready_s: Floats
    start_s: Floats
    end_s: Floats
    stage_s: Floats
    step_s: Floats
    exposed_s: Floats

    @property
    def spec(self) -> str:
        """The algorithms of its gradients."""
        return ", ".join(dict.fromkeys(result.spec for result in self.results if result.op)) or self.results[0].spec


@dataclass(frozen=True, eq=False)
class Exchange:
    """A training loop on real ranks.

    Attributes
    ----------
    workload, policy : str
        The specs.
    n_ranks : int
    calls : tuple of Call
    operation_s : array (n_operations,)
        How long each operation takes where nothing is exchanged: the slowest rank's, median over iterations.
    measured : tuple of Exchanged
        One for each algorithm that was asked for.
    facts : mapping
        For people and provenance.
    """

    workload: str
    policy: str
    n_ranks: int
    calls: tuple[Call, ...]
    operation_s: Floats
    measured: tuple[Exchanged, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def compute_s(self) -> float:
        """Of a step in which nothing is exchanged."""
        return float(self.operation_s.sum())


def _median(values: Floats) -> Any:
    return np.median(values, axis=0)


def as_json(done: Exchange, provenance: Mapping[str, Any]) -> str:
    """Rows as ``commsim run`` writes them, which ``commsim validate`` reads, with what belongs to the step beside."""
    step = {
        "workload": done.workload,
        "policy": done.policy,
        "n_ranks": done.n_ranks,
        "operation_s": done.operation_s.tolist(),
        "stage_s": _median(done.measured[0].stage_s).tolist(),
        "calls": [asdict(call) for call in done.calls],
    }
    return json.dumps(
        {"provenance": provenance, "rows": _rows(done), "iterations": _iterations(done), "step": step},
        indent=1,
        default=str,
    )


def _rows(done: Exchange) -> list[dict[str, Any]]:
    rows = []
    for exchanged in done.measured:
        keys = ("ready_s", "stage_s", "start_s", "end_s")
        times = (_median(getattr(exchanged, key)) for key in keys)
        for place, (result, *of_call) in enumerate(zip(exchanged.results, *times, strict=True)):
            row = {"workload": done.workload, "policy": done.policy, "call": place, **result.row()}
            rows.append({**row, **dict(zip(keys, map(float, of_call), strict=True))})
    return rows


def _iterations(done: Exchange) -> list[dict[str, Any]]:
    return [
        {
            "workload": done.workload,
            "policy": done.policy,
            "algorithm": exchanged.spec,
            "n_ranks": done.n_ranks,
            "compute_s": done.compute_s,
            "step_s": float(np.median(exchanged.step_s)),
            "step_min_s": float(exchanged.step_s.min()),
            "step_p99_s": float(np.quantile(exchanged.step_s, 0.99)),
            "exposed_s": float(np.median(exchanged.exposed_s)),
        }
        for exchanged in done.measured
    ]


@dataclass(frozen=True)
class StepFile:
    """What a file of an exchange says of its steps: all that a prediction of them needs.

    Attributes
    ----------
    n_ranks : int
    calls : tuple of Call
    operation_s, stage_s : tuple of float
    iterations : tuple of dict
        One for each algorithm.
    spans : tuple of (float, float)
        When each call began and ended, of one algorithm after the other.
    """

    n_ranks: int
    calls: tuple[Call, ...]
    operation_s: tuple[float, ...]
    stage_s: tuple[float, ...]
    iterations: tuple[dict[str, Any], ...]
    spans: tuple[tuple[float, float], ...]


def read_steps(path: Path) -> StepFile | None:
    """The steps of a file that ``commsim exchange -o`` wrote; None if it is another command's.

    Raises
    ------
    InputError
        If it is damaged.
    """
    try:
        values = json.loads(path.read_text()) if path.suffix == ".json" else {}
        if "step" not in values:
            return None
        step = values["step"]
        calls = tuple(Call(**{**call, "tensors": tuple(call["tensors"])}) for call in step["calls"])
        seconds = (tuple(step["operation_s"]), tuple(step["stage_s"]))
        spans = tuple((row["start_s"], row["end_s"]) for row in values["rows"])
        return StepFile(step["n_ranks"], calls, *seconds, tuple(values["iterations"]), spans)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not what `commsim exchange -o` writes ({error})") from None


def results_of(done: Exchange) -> Sequence[Result]:
    """All rows as results."""
    return [result for exchanged in done.measured for result in exchanged.results]
