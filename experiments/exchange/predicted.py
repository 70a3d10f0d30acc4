"""The same exchange simulated: the step that `commsim train` plays, run as the real loop runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.exchange.runner import overtake
from experiments.policies import Call
from experiments.training.play import Lane, PlacedCall, Player, clipped

THREAD = "communication"


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
    """A step as :class:`experiments.exchange.runner.Runner` runs it: one thread, all done at its end.

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
    staged, end, in_order = stage_s or (0.0,) * len(calls), len(operation_s), not overtake(calls)
    threaded = [
        replace(
            call, stream=THREAD, before=min(call.before, end), root=place, priority=0 if in_order else call.priority
        )
        for place, call in enumerate(calls)
    ]  # the root, which takes no part in this, tells them apart
    seconds = [copied_s + time_s for copied_s, time_s in zip(staged, call_s, strict=True)]
    player = Player(
        [Lane("compute", tuple(map(str, range(end + 1))), (*operation_s, 0.0))],
        [PlacedCall(call) for call in threaded],
        lambda call: seconds[call.root],
        lambda on_their_way: [1.0] * len(on_their_way),
        label=lambda call: str(call.root),
    )
    done = player.play(2)
    at = {one.name: one for one in clipped(done.intervals, done.window_s) if one.stream == THREAD}
    found = [at.get(str(place)) for place in range(len(calls))]
    start_s = tuple(0.0 if one is None else one.start_s + staged[place] for place, one in enumerate(found))
    end_s = tuple(0.0 if one is None else one.end_s for one in found)
    return PredictedStep(start_s, end_s, done.step_s, max(0.0, done.step_s - sum(operation_s)))
