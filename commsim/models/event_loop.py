"""The compiled event loop: messages with gates, flows with max-min fair rates.

A *gate* opens when all that it waits for has happened: a rank enters a step, and goes on from it. A message is posted
by the gates of its two ends. Rendezvous: it starts when both are open, and both of its ends wait for its delivery.
Eager: it starts when the sender's is, which is free at its last byte. What a receiver must reduce runs one at a time,
in order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from commsim.models.compiled import compiled
from commsim.models.heaps import ENTRY, ENTRY_BYTES, EVENT, EVENT_BYTES, first_due_s, pop, push, put, take_first
from commsim.models.max_min import CHANGED, Network, add, remove, solve
from commsim.models.records import records

GATE, BEGIN, ARRIVE, DELIVER = 0, 1, 2, 3  # kinds of events, in this order at one time
KIND_BITS = 2
SENDER, RECEIVER, ADMITTED = 1, 2, 4  # ends that are posted, and that ports have taken it, as bits
TOGETHER = 1e-13  # relative: events so near each other happen at once

MESSAGE = {
    "wire_bytes": "f8",  # as the flow has to carry them
    "ceiling_Bps": "f8",
    "latency_s": "f8",
    "overhead_s": "f8",  # before its first byte leaves
    "receive_overhead_s": "f8",  # after its last byte is there
    "src": "i4",
    "pair": "i4",  # whose path it takes
    "then_src": "i4",  # gates that wait for its ends
    "then_dst": "i4",
    "eager": "i1",
    "reduces": "i1",
    "posted": "i1",  # bits
    "arrived": "i1",  # eager: the last byte is there
    "unit": "i4",  # that reduces what the receiver gets
    "reduction_s": "f8",
    "start_s": "f8",  # what comes of it
    "end_s": "f8",
    "dst": "i4",
    "post_dst": "i4",  # the gate that posts its receiver
}
MESSAGE_BYTES = 96
GATE_FIELDS = {
    "opens_s": "f8",  # when the last of what it waits for has happened
    "waits": "i4",  # for how much it still waits
    "first_end": "i4",  # in Gates.ends; its last is before the next one's first, and so for the others
    "first_chained": "i4",
    "first_ordered": "i4",
    "done": "i4",  # of its messages that are reduced: the first that is not
}
GATE_BYTES = 32
WAY = {"left_bytes": "f8", "since_s": "f8", "due_s": "f8", "message": "i4", "at": "i4"}
WAY_BYTES = 32


class Gates(NamedTuple):
    """Gates (n_gates + 1,), and what they point into.

    ``ends``: the messages of each gate, ``2*m`` where it posts the sender of m, ``2*m + 1`` where it posts the
    receiver. ``order``: its messages that are reduced, in order. ``chain``: the gates that it signals by itself when it
    opens.
    """

    gate: Any
    ends: Any
    order: Any
    chain: Any


class State(NamedTuple):
    """What the loop keeps: flows on their way, heaps of their ends and of events, when everything is free again."""

    way: Any
    due: Any
    heap: Any
    free_slots: Any
    port_free_s: Any
    link_free_s: Any
    spent_s: Any
    unit_free_s: Any
    reduced_s: Any


@compiled
def _signal(gate: Any, number: int, time_s: float, heap: Any, size: int) -> int:
    """Something that a gate waits for has happened; the last opens it."""
    one = gate[number]
    one.opens_s = max(one.opens_s, time_s)
    one.waits -= 1
    if one.waits == 0:
        size = push(heap, size, one.opens_s, (number << KIND_BITS) | GATE)
    return size


@compiled
def _open(
    now: float, gates: Any, gate: Any, number: int, message: Any, gap_s: float, port_free_s: Any, heap: Any, size: int
) -> int:
    """A gate opens: it signals others, and posts ends of messages."""
    for at in range(gate[number].first_chained, gate[number + 1].first_chained):
        size = _signal(gate, gates.chain[at], now, heap, size)
    for at in range(gate[number].first_end, gate[number + 1].first_end):
        row = gates.ends[at] >> 1
        end, m = RECEIVER if gates.ends[at] & 1 else SENDER, message[row]
        m.posted |= end
        if (end == SENDER) if m.eager else m.posted == SENDER | RECEIVER:
            begin_s = now
            if gap_s > 0 and m.src != m.dst:
                begin_s = max(now, port_free_s[m.src])
                port_free_s[m.src] = begin_s + max(gap_s, m.overhead_s)
            m.start_s = begin_s
            size = push(heap, size, begin_s + m.overhead_s, (row << KIND_BITS) | BEGIN)
        elif end == RECEIVER and m.arrived:
            size = push(heap, size, now + m.receive_overhead_s, (row << KIND_BITS) | DELIVER)
    return size


@compiled
def _admitted_s(way: Any, now: float, spacing_s: float, port_free_s: Any) -> float:
    """When the ports at both ends of a route take one more message: so long after the one before."""
    first = last = way[0]
    for link in way:
        if link >= 0:
            last = link
    begin_s: float = max(now, port_free_s[first], port_free_s[last])
    port_free_s[first] = port_free_s[last] = begin_s + spacing_s
    return begin_s


@compiled
def _at_once(way: Any, n_bytes: float, now: float, burst_bytes: float, link: Any, spent_s: Any) -> float:
    """What all links of a route carry of a message at once, because they have rested; takes the message from them.

    ``spent_s`` of a link is when it has earned back all that it ever carried (the theoretical arrival time of ATM's
    generic cell rate algorithm, ITU-T I.371): before now by what it may carry at once, no more than its burst.
    """
    least = n_bytes
    for number in way:
        if number >= 0:
            rate_Bps = link[number].capacity
            spent_s[number] = max(spent_s[number], now - burst_bytes / rate_Bps)
            least = min(least, (now - spent_s[number]) * rate_Bps)
            spent_s[number] += n_bytes / rate_Bps
    return max(least, 0.0)


@compiled
def _sent(now: float, row: int, message: Any, gate: Any, gap_s: float, port_free_s: Any, heap: Any, size: int) -> int:
    """The last byte of a message has left."""
    m = message[row]
    if gap_s > 0:
        port_free_s[m.src] = max(port_free_s[m.src], now + max(gap_s - m.overhead_s, 0.0))
    if m.eager:
        size = _signal(gate, m.then_src, now, heap, size)
        return push(heap, size, now + m.latency_s, (row << KIND_BITS) | ARRIVE)
    return push(heap, size, now + m.latency_s + m.receive_overhead_s, (row << KIND_BITS) | DELIVER)


@compiled
def _reduce(number: int, gates: Any, message: Any, unit_free_s: Any, reduced_s: Any, heap: Any, size: int) -> int:
    """The messages of a gate that are there, and whose turn it is, are reduced one after the other."""
    gate = gates.gate
    one = gate[number]
    while one.done < gate[number + 1].first_ordered:
        m = message[gates.order[one.done]]
        if m.end_s < 0:
            break
        one.done += 1
        unit_free_s[m.unit] = max(unit_free_s[m.unit], m.end_s) + m.reduction_s
        reduced_s[m.unit] += m.reduction_s
        size = _signal(gate, m.then_dst, unit_free_s[m.unit], heap, size)
    return size


def run_events(
    message: Any,
    paths: Any,
    gates: Gates,
    net: Network,
    gap_s: float,
    spacing_s: float,
    burst_bytes: float,
    n_units: int,
) -> Any:
    """Process all events. Gates that never open are left with ``waits`` above 0.

    Parameters
    ----------
    message : records (n_messages,) of MESSAGE
    paths : array (n_pairs, n_hops)
        Links, padded behind.
    gates : Gates
    net : Network
        With a slot for every message that can be on its way at once.
    gap_s : float
        Least time between two messages of one sender.
    spacing_s : float
        Least time between two messages that begin on one port, the first or the last link of a route.
    burst_bytes : float
        What a link that has rested carries at once.
    n_units : int
        That reduce.

    Returns
    -------
    array (n_units,)
        For how long each unit has reduced.
    """
    n_slots, n_links = len(net.flow), len(net.link)
    way, due = records(n_slots, WAY, WAY_BYTES), records(n_slots, ENTRY, ENTRY_BYTES)
    way["at"] = -1
    heap = records(len(gates.gate) + len(message), EVENT, EVENT_BYTES)  # each has one event to come at most
    free_slots = np.arange(n_slots, dtype=np.int32)[::-1].copy()
    port_free_s, unit_free_s, reduced_s = (np.zeros(n_units) for _ in range(3))
    free_s = port_free_s, np.zeros(n_links), np.full(n_links, -np.inf), unit_free_s
    state = State(way, due, heap, free_slots, *free_s, reduced_s)
    _run(message, paths, gates, net, state, gap_s, spacing_s, burst_bytes)
    return reduced_s


@compiled
def _run(
    message: Any, paths: Any, gates: Any, net: Any, state: Any, gap_s: float, spacing_s: float, burst_bytes: float
) -> None:
    gate, flow, way, due, heap, free_slots = gates.gate, net.flow, state.way, state.due, state.heap, state.free_slots
    port_free_s, n_free = state.port_free_s, len(free_slots)
    size = n_due = 0
    for number in range(len(gate) - 1):
        gate[number].done = gate[number].first_ordered
        if gate[number].waits == 0:
            size = push(heap, size, gate[number].opens_s, (number << KIND_BITS) | GATE)
    due_s = np.inf
    while size or n_due:
        now = min(due_s, heap[0].time_s) if size else due_s
        until = now * (1 + TOGETHER)
        while True:
            event_s = heap[0].time_s if size else np.inf
            if min(event_s, due_s) > until:
                break
            if due_s <= event_s:
                slot = due[0].slot
                row = way[slot].message
                n_due = take_first(due, way, n_due)
                due_s = first_due_s(due, way, n_due)
                remove(net, slot)
                free_slots[n_free] = slot
                n_free += 1
                size = _sent(now, row, message, gate, gap_s, port_free_s, heap, size)
                continue
            kind, row = heap[0].event & 3, heap[0].event >> KIND_BITS
            size = pop(heap, size)
            if kind == GATE:
                size = _open(now, gates, gate, row, message, gap_s, port_free_s, heap, size)
                continue
            m = message[row]
            if kind == BEGIN:
                path = paths[m.pair]
                if spacing_s > 0 and path[0] >= 0 and not m.posted & ADMITTED:
                    m.posted |= ADMITTED
                    begin_s = _admitted_s(path, now, spacing_s, state.link_free_s)
                    if begin_s > now:
                        size = push(heap, size, begin_s, (row << KIND_BITS) | BEGIN)
                        continue
                at_once = 0.0
                if burst_bytes > 0:
                    at_once = _at_once(path, m.wire_bytes, now, burst_bytes, net.link, state.spent_s)
                if m.wire_bytes > at_once and path[0] >= 0:
                    n_free -= 1
                    slot = free_slots[n_free]
                    way[slot].message, way[slot].left_bytes, way[slot].since_s = row, m.wire_bytes - at_once, now
                    add(net, slot, path, m.ceiling_Bps)
                else:
                    size = _sent(now, row, message, gate, gap_s, port_free_s, heap, size)
            elif kind == ARRIVE:
                m.arrived = 1
                if m.posted & RECEIVER:
                    size = push(heap, size, now + m.receive_overhead_s, (row << KIND_BITS) | DELIVER)
            else:
                m.end_s = now
                if not m.eager:
                    size = _signal(gate, m.then_src, now, heap, size)
                if m.reduces:
                    size = _reduce(m.post_dst, gates, message, state.unit_free_s, state.reduced_s, heap, size)
                else:
                    size = _signal(gate, m.then_dst, now, heap, size)
        solve(net)
        for i in range(net.n[CHANGED]):
            slot = net.changed[i]
            one = way[slot]
            one.left_bytes = max(one.left_bytes - flow[slot].old * (now - one.since_s), 0.0)
            one.since_s = now
            n_due = put(due, way, n_due, slot, now + one.left_bytes / flow[slot].rate)
        due_s = first_due_s(due, way, n_due)
