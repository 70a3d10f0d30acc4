"""The compiled event loop: messages with gates, flows with max-min fair rates.

A *gate* opens when all that it waits for has happened: a rank enters a step, and goes on from it. A message is posted
by the gates of its two ends. Rendezvous: it starts when both are open, and both of its ends wait for its delivery.
Eager: it starts when the sender's is, which is free at its last byte. What a receiver must reduce runs one at a time,
in order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from commsim.models.max_min import CAPACITY, CHANGED, OLD, RATE, add, remove, solve

GATE, BEGIN, FINISH, ARRIVE, DELIVER = 0, 1, 2, 3, 4  # kinds of events, in this order at one time
KIND_BITS = 3
SENDER, RECEIVER, ADMITTED = 1, 2, 4  # ends that are posted, and that ports have taken it, as bits
VERSION = 0x3FFFFFF  # of a flow's rate: an end that was foreseen for another one is stale
TOGETHER = 1e-13  # relative: events so near each other happen at once


class Messages(NamedTuple):
    """What is to be sent. Arrays (n_messages,), except paths (n_pairs, n_hops)."""

    src: Any
    dst: Any
    post_src: Any  # gates that post the two ends
    post_dst: Any
    then_src: Any  # gates that wait for them
    then_dst: Any
    wire_bytes: Any  # as the flow has to carry them
    ceiling_Bps: Any
    overhead_s: Any  # before its first byte leaves
    receive_overhead_s: Any  # after its last byte is there
    latency_s: Any
    eager: Any
    reduction_s: Any
    unit: Any  # that reduces what the receiver gets
    pair: Any
    paths: Any


class Gates(NamedTuple):
    """``waits`` and ``opens_s`` (n_gates,): how much each still waits for, and when the last of it happened.

    ``first`` (n_gates + 1,) and ``ends``: the messages of each gate, ``2*m`` where it posts the sender of m, ``2*m +
    1`` where it posts the receiver. ``order_first`` and ``order``: its messages that are reduced, in order.
    ``chain_first`` and ``chain``: the gates that it signals by itself when it opens.
    """

    waits: Any
    opens_s: Any
    first: Any
    ends: Any
    order_first: Any
    order: Any
    chain_first: Any
    chain: Any


class Outcome(NamedTuple):
    """Of messages ``start_s``, ``end_s``; of ranks ``reduced_s``; counts."""

    start_s: Any
    end_s: Any
    reduced_s: Any
    n: Any  # events, solutions, gates opened


@njit(cache=True)
def _push(heap_s: Any, heap_id: Any, size: int, time_s: float, event: int) -> int:
    at = size
    while at:
        parent = (at - 1) >> 1
        if heap_s[parent] < time_s or (heap_s[parent] == time_s and heap_id[parent] <= event):
            break
        heap_s[at], heap_id[at] = heap_s[parent], heap_id[parent]
        at = parent
    heap_s[at], heap_id[at] = time_s, event
    return size + 1


@njit(cache=True)
def _pop(heap_s: Any, heap_id: Any, size: int) -> int:
    """Remove the first event, which the caller has read."""
    size -= 1
    time_s, event = heap_s[size], heap_id[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            heap_s[other] < heap_s[child] or (heap_s[other] == heap_s[child] and heap_id[other] < heap_id[child])
        ):
            child = other
        if time_s < heap_s[child] or (time_s == heap_s[child] and event <= heap_id[child]):
            break
        heap_s[at], heap_id[at] = heap_s[child], heap_id[child]
        at = child
    heap_s[at], heap_id[at] = time_s, event
    return size


@njit(cache=True)
def _grown(array: Any) -> Any:
    larger = np.empty(2 * len(array), dtype=array.dtype)
    for i in range(len(array)):  # copying a slice would take two seconds more to compile
        larger[i] = array[i]
    return larger


@njit(cache=True)
def _signal(gates: Any, gate: int, time_s: float, heap_s: Any, heap_id: Any, size: int) -> int:
    """Something that a gate waits for has happened; the last opens it."""
    gates.opens_s[gate] = max(gates.opens_s[gate], time_s)
    gates.waits[gate] -= 1
    if gates.waits[gate] == 0:
        size = _push(heap_s, heap_id, size, gates.opens_s[gate], (gate << KIND_BITS) | GATE)
    return size


@njit(cache=True)
def _admitted_s(way: Any, now: float, spacing_s: float, port_free_s: Any) -> float:
    """When the ports at both ends of a route take one more message: so long after the one before."""
    first = last = way[0]
    for link in way:
        if link >= 0:
            last = link
    begin_s: float = max(now, port_free_s[first], port_free_s[last])
    port_free_s[first] = port_free_s[last] = begin_s + spacing_s
    return begin_s


@njit(cache=True)
def _at_once(way: Any, n_bytes: float, now: float, burst_bytes: float, link: Any, spent_s: Any) -> float:
    """What all links of a route carry of a message at once, because they have rested; takes the message from them.

    ``spent_s`` of a link is when it has earned back all that it ever carried (the theoretical arrival time of ATM's
    generic cell rate algorithm, ITU-T I.371): before now by what it may carry at once, no more than its burst.
    """
    least = n_bytes
    for number in way:
        if number >= 0:
            rate_Bps = link[number, CAPACITY]
            spent_s[number] = max(spent_s[number], now - burst_bytes / rate_Bps)
            least = min(least, (now - spent_s[number]) * rate_Bps)
            spent_s[number] += n_bytes / rate_Bps
    return max(least, 0.0)


@njit(cache=True)
def run_events(m: Any, gates: Any, net: Any, gap_s: float, spacing_s: float, burst_bytes: float, out: Any) -> None:
    """Process all events. Gates that never open are left with ``waits`` above 0.

    Parameters
    ----------
    m : Messages
    gates : Gates
    net : Network
        With a slot for every message that can be on its way at once.
    gap_s : float
        Least time between two messages of one sender.
    spacing_s : float
        Least time between two messages that begin on one port, the first or the last link of a route.
    burst_bytes : float
        What a link that has rested carries at once.
    out : Outcome
    """
    n_messages, n_slots = len(m.src), len(net.flow)
    posted = np.zeros(n_messages, dtype=np.int8)
    arrived = np.zeros(n_messages, dtype=np.bool_)  # eager: the last byte is there
    progress = np.empty(len(gates.waits), dtype=np.int64)
    for gate in range(len(progress)):
        progress[gate] = gates.order_first[gate]
    unit_free_s, port_free_s = np.zeros(len(out.reduced_s)), np.zeros(len(out.reduced_s))  # units: ranks and more
    link_free_s, spent_s = np.zeros(len(net.link)), np.full(len(net.link), -np.inf)
    message_of, version = np.zeros(n_slots, dtype=np.int64), np.zeros(n_slots, dtype=np.int64)
    left, since_s = np.zeros(n_slots), np.zeros(n_slots)
    free_slots, n_free = np.empty(n_slots, dtype=np.int64), n_slots
    for slot in range(n_slots):
        free_slots[slot] = n_slots - 1 - slot
    heap_s, heap_id, size = np.empty(1024 + len(gates.waits)), np.empty(1024 + len(gates.waits), dtype=np.int64), 0
    for gate in range(len(gates.waits)):
        if gates.waits[gate] == 0:
            size = _push(heap_s, heap_id, size, gates.opens_s[gate], (gate << KIND_BITS) | GATE)
    while size:
        now = heap_s[0]
        until = now * (1 + TOGETHER)
        while size and heap_s[0] <= until:
            kind, number = heap_id[0] & 7, heap_id[0] >> KIND_BITS
            size = _pop(heap_s, heap_id, size)
            out.n[0] += 1
            if kind == GATE:
                out.n[2] += 1
                first, last = gates.first[number], gates.first[number + 1]
                while len(heap_s) < size + 4 + last - first + gates.chain_first[number + 1] - gates.chain_first[number]:
                    heap_s, heap_id = _grown(heap_s), _grown(heap_id)
                for at in range(gates.chain_first[number], gates.chain_first[number + 1]):
                    size = _signal(gates, gates.chain[at], now, heap_s, heap_id, size)
                for at in range(first, last):
                    message = gates.ends[at] >> 1
                    end = RECEIVER if gates.ends[at] & 1 else SENDER
                    posted[message] |= end
                    if (end == SENDER) if m.eager[message] else posted[message] == SENDER | RECEIVER:
                        begin_s, src = now, m.src[message]
                        if gap_s > 0 and src != m.dst[message]:
                            begin_s = max(now, port_free_s[src])
                            port_free_s[src] = begin_s + max(gap_s, m.overhead_s[message])
                        out.start_s[message] = begin_s
                        begin_s += m.overhead_s[message]
                        size = _push(heap_s, heap_id, size, begin_s, (message << KIND_BITS) | BEGIN)
                    elif end == RECEIVER and arrived[message]:
                        there_s = now + m.receive_overhead_s[message]
                        size = _push(heap_s, heap_id, size, there_s, (message << KIND_BITS) | DELIVER)
                continue
            while len(heap_s) < size + 8:
                heap_s, heap_id = _grown(heap_s), _grown(heap_id)
            if kind == FINISH:
                slot = number & 0xFFFFFFFF
                if number >> 32 != version[slot]:
                    continue
                number = message_of[slot]
                remove(net, slot)
                version[slot] = (version[slot] + 1) & VERSION
                free_slots[n_free] = slot
                n_free += 1
            elif kind == BEGIN:
                pair = m.pair[number]
                if spacing_s > 0 and m.paths[pair, 0] >= 0 and not posted[number] & ADMITTED:
                    posted[number] |= ADMITTED
                    begin_s = _admitted_s(m.paths[pair], now, spacing_s, link_free_s)
                    if begin_s > now:
                        size = _push(heap_s, heap_id, size, begin_s, (number << KIND_BITS) | BEGIN)
                        continue
                at_once = 0.0
                if burst_bytes > 0:
                    at_once = _at_once(m.paths[pair], m.wire_bytes[number], now, burst_bytes, net.link, spent_s)
                if m.wire_bytes[number] > at_once and m.paths[pair, 0] >= 0:
                    n_free -= 1
                    slot = free_slots[n_free]
                    message_of[slot], left[slot], since_s[slot] = number, m.wire_bytes[number] - at_once, now
                    add(net, slot, m.paths[pair], m.ceiling_Bps[number])
                    continue
                kind = FINISH  # nothing to carry
            if kind == FINISH:
                src = m.src[number]
                if gap_s > 0:
                    port_free_s[src] = max(port_free_s[src], now + max(gap_s - m.overhead_s[number], 0.0))
                there_s = now + m.latency_s[number]
                if m.eager[number]:
                    size = _signal(gates, m.then_src[number], now, heap_s, heap_id, size)
                    size = _push(heap_s, heap_id, size, there_s, (number << KIND_BITS) | ARRIVE)
                else:
                    there_s += m.receive_overhead_s[number]
                    size = _push(heap_s, heap_id, size, there_s, (number << KIND_BITS) | DELIVER)
            elif kind == ARRIVE:
                arrived[number] = True
                if posted[number] & RECEIVER:
                    there_s = now + m.receive_overhead_s[number]
                    size = _push(heap_s, heap_id, size, there_s, (number << KIND_BITS) | DELIVER)
            elif kind == DELIVER:
                out.end_s[number] = now
                if not m.eager[number]:
                    size = _signal(gates, m.then_src[number], now, heap_s, heap_id, size)
                if m.reduction_s[number] < 0:
                    size = _signal(gates, m.then_dst[number], now, heap_s, heap_id, size)
                    continue
                gate = m.post_dst[number]
                while progress[gate] < gates.order_first[gate + 1]:
                    following = gates.order[progress[gate]]
                    if out.end_s[following] < 0:
                        break
                    while len(heap_s) < size + 8:
                        heap_s, heap_id = _grown(heap_s), _grown(heap_id)
                    progress[gate] += 1
                    unit = m.unit[following]
                    unit_free_s[unit] = max(unit_free_s[unit], out.end_s[following]) + m.reduction_s[following]
                    out.reduced_s[unit] += m.reduction_s[following]
                    size = _signal(gates, m.then_dst[following], unit_free_s[unit], heap_s, heap_id, size)
        solve(net)
        out.n[1] += 1
        while len(heap_s) < size + net.n[CHANGED] + 8:
            heap_s, heap_id = _grown(heap_s), _grown(heap_id)
        for i in range(net.n[CHANGED]):
            slot = net.changed[i]
            left[slot] = max(left[slot] - net.flow[slot, OLD] * (now - since_s[slot]), 0.0)
            since_s[slot] = now
            version[slot] = (version[slot] + 1) & VERSION
            event = (((version[slot] << 32) | slot) << KIND_BITS) | FINISH
            size = _push(heap_s, heap_id, size, now + left[slot] / net.flow[slot, RATE], event)
