"""The same exchange simulated: every call by the model, and the step that they are part of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.policies import Call
from experiments.policies.step import BEFORE_ALL


@dataclass(frozen=True)
class PredictedStep:
    """Seconds from the step's begin."""

    start_s: tuple[float, ...]
    end_s: tuple[float, ...]
    step_s: float
    exposed_s: float


def predicted_step(
    calls: Sequence[Call], operation_s: Sequence[float], call_s: Sequence[float], stage_s: Sequence[float] = ()
) -> PredictedStep:
    """A step as :class:`experiments.exchange.runner.Runner` runs it: calls in order, one after the other.

    Parameters
    ----------
    calls : sequence of Call
    operation_s : sequence of float
        How long each operation of the step takes by itself.
    call_s : sequence of float
        How long each call takes.
    stage_s : sequence of float, optional
        How long copying to the host takes before it; nothing by default.
    """
    staged = stage_s or (0.0,) * len(calls)
    now_s = exposed_s = free_s = 0.0
    start_s: list[float] = []
    end_s: list[float] = []
    finished = {BEFORE_ALL}

    def hand_over() -> None:
        nonlocal free_s
        while len(end_s) < len(calls) and calls[len(end_s)].after in finished:
            place = len(end_s)
            start_s.append(max(now_s + calls[place].delay_s, free_s) + staged[place])
            free_s = start_s[-1] + call_s[place]
            end_s.append(free_s)

    hand_over()
    for operation, duration_s in enumerate(operation_s):
        waited_s = max((end_s[k] for k, call in enumerate(calls) if call.before == operation), default=0.0) - now_s
        exposed_s, now_s = exposed_s + max(waited_s, 0.0), now_s + max(waited_s, 0.0) + duration_s
        finished.add(operation)
        hand_over()
    step_s = max(now_s, free_s)
    return PredictedStep(tuple(start_s), tuple(end_s), step_s, exposed_s + step_s - now_s)
