"""Two heaps of times, compiled: of events that happen once, and of slots whose time is put off and brought forward."""

from __future__ import annotations

from typing import Any

import numpy as np

from commsim.models.compiled import compiled

EVENT = {"time_s": "f8", "event": "i8"}
ENTRY = {"time_s": "f8", "slot": "i4"}
EVENT_BYTES = ENTRY_BYTES = 16


@compiled
def push(heap: Any, size: int, time_s: float, event: int) -> int:
    """Add an event; the new size. Events of one time come in the order of their numbers."""
    at = size
    while at:
        parent = (at - 1) >> 1
        if heap[parent].time_s < time_s or (heap[parent].time_s == time_s and heap[parent].event <= event):
            break
        heap[at].time_s, heap[at].event = heap[parent].time_s, heap[parent].event
        at = parent
    heap[at].time_s, heap[at].event = time_s, event
    return size + 1


@compiled
def pop(heap: Any, size: int) -> int:
    """Remove the first event, which the caller has read; the new size."""
    size -= 1
    time_s, event = heap[size].time_s, heap[size].event
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        one = heap[child]
        if child + 1 < size:
            other = heap[child + 1]
            if other.time_s < one.time_s or (other.time_s == one.time_s and other.event < one.event):
                one, child = other, child + 1
        if time_s < one.time_s or (time_s == one.time_s and event <= one.event):
            break
        heap[at].time_s, heap[at].event = one.time_s, one.event
        at = child
    heap[at].time_s, heap[at].event = time_s, event
    return size


@compiled
def put(heap: Any, way: Any, size: int, slot: int, due_s: float) -> int:
    """A slot is due at a time, whatever it was before; the new size. Later than before: seen when it comes first."""
    way[slot].due_s = due_s
    at = way[slot].at
    if at < 0:
        at = size
        size += 1
    elif heap[at].time_s <= due_s:
        return size
    while at:
        parent = (at - 1) >> 1
        if heap[parent].time_s <= due_s:
            break
        _place(heap, way, at, heap[parent].time_s, heap[parent].slot)
        at = parent
    _place(heap, way, at, due_s, slot)
    return size


@compiled
def first_due_s(heap: Any, way: Any, size: int) -> float:
    """When the first slot is due, which then stands at place 0; infinity if there is none."""
    while size:
        slot = heap[0].slot
        if way[slot].due_s <= heap[0].time_s:
            return heap[0].time_s  # type: ignore[no-any-return]
        _sink(heap, way, size, way[slot].due_s, slot)
    return np.inf


@compiled
def take_first(heap: Any, way: Any, size: int) -> int:
    """Remove the first slot; the new size."""
    way[heap[0].slot].at = -1
    size -= 1
    if size:
        _sink(heap, way, size, heap[size].time_s, heap[size].slot)
    return size


@compiled
def _sink(heap: Any, way: Any, size: int, time_s: float, slot: int) -> None:
    """Put an entry where it belongs, from place 0 on, which is free."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1].time_s < heap[child].time_s:
            child += 1
        if time_s <= heap[child].time_s:
            break
        _place(heap, way, at, heap[child].time_s, heap[child].slot)
        at = child
    _place(heap, way, at, time_s, slot)


@compiled
def _place(heap: Any, way: Any, at: int, time_s: float, slot: int) -> None:
    heap[at].time_s, heap[at].slot = time_s, slot
    way[slot].at = at
