"""A step as a trace for chrome://tracing and Perfetto: a track for each stream."""

from __future__ import annotations

import json
from typing import Any

from commsim.units import microseconds
from experiments.training.step import StepResult


def chrome_trace(step: StepResult) -> str:
    """JSON in the trace event format: complete events, times in microseconds; a process for each compute stream."""
    streams = list(dict.fromkeys((one.lane, one.stream) for one in step.intervals))
    order = {key: number for number, key in enumerate(sorted(streams, key=lambda key: (key[0], key[1] != "compute")))}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": lane, "args": {"name": name}} for lane, name in enumerate(step.lanes)
    ]
    events += [
        {"ph": "M", "name": "thread_name", "pid": lane, "tid": number, "args": {"name": stream}}
        for (lane, stream), number in order.items()
    ]
    events += [
        {
            "ph": "X",
            "name": one.name,
            "cat": one.stream,
            "pid": one.lane,
            "tid": order[one.lane, one.stream],
            "ts": microseconds(one.start_s),
            "dur": microseconds(one.end_s - one.start_s),
            "args": {"bytes": one.n_bytes},
        }
        for one in step.intervals
    ]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=1) + "\n"
