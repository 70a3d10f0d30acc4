"""The fluid model once more, readable: simpy processes, rates from scratch each time, one message at a time."""

from collections import defaultdict, namedtuple

import numpy as np
import simpy

from commsim import Schedule
from commsim.disturbance import NO_DISTURBANCE
from commsim.layout import Layout
from commsim.messages import Matcher
from commsim.models.contention_free import message_sizes
from commsim.models.fluid import message_costs
from commsim.program import Lanes


def fair_rates(flows, capacity):
    """Max-min fair rates of flows, {flow: (links, ceiling)}, by progressive filling."""
    rates, left = {}, dict(capacity)
    while len(rates) < len(flows):
        rising = [f for f in flows if f not in rates]
        users = defaultdict(list)
        for flow in rising:
            for link in flows[flow][0]:
                users[link].append(flow)
        level = min([left[link] / len(who) for link, who in users.items()] + [flows[f][1] for f in rising])
        stopped = {f for f in rising if flows[f][1] <= level * (1 + 1e-12)}
        for link, who in users.items():
            if left[link] / len(who) <= level * (1 + 1e-12):
                stopped.update(who)
        for flow in stopped:
            rates[flow] = level
            for link in flows[flow][0]:
                left[link] -= level
    return rates


class Fabric:
    """Flows on links: a flow's event fires at its last byte."""

    def __init__(self, env, topology, spacing_s=0.0, burst_bytes=0):
        self.env, self.flows, self.left, self.since = env, {}, {}, 0.0
        self.burst_bytes, self.bucket = burst_bytes, {}
        self.spacing_s, self.port_free_s = spacing_s, defaultdict(float)
        self.capacity = dict(enumerate(topology.links.bandwidth_Bps.tolist()))
        self.rates, self.round = {}, 0

    def admit(self, ports):
        """Until the ports at both ends take one more message."""
        begin = max([self.env.now, *(self.port_free_s[port] for port in ports)])
        self.port_free_s.update(dict.fromkeys(ports, begin + self.spacing_s))
        return self.env.timeout(begin - self.env.now)

    def carry(self, links, n_bytes, ceiling):
        done = self.env.event()
        if n_bytes <= 0 or not links:
            return done.succeed()
        n_bytes -= self._at_once(links, n_bytes)
        if n_bytes <= 0:
            return done.succeed()
        self._settle()
        key = object()
        self.flows[key], self.left[key] = (links, ceiling, done), n_bytes
        self._again()
        return done

    def _at_once(self, links, n_bytes):
        """Tokens in the buckets of all links; a message that has to wait for tokens leaves a debt."""
        found = n_bytes
        for link in links:
            tokens, since = self.bucket.get(link, (self.burst_bytes, 0.0))
            tokens = min(self.burst_bytes, tokens + (self.env.now - since) * self.capacity[link])
            self.bucket[link] = (tokens - n_bytes, self.env.now)
            found = min(found, max(tokens, 0))
        return found

    def _settle(self):
        for key, rate in self.rates.items():
            self.left[key] -= rate * (self.env.now - self.since)
        self.since = self.env.now

    def _again(self):
        self.rates = fair_rates({k: v[:2] for k, v in self.flows.items()}, self.capacity)
        self.round += 1
        if self.flows:
            first = min(max(self.left[k], 0) / self.rates[k] for k in self.flows)
            self.env.process(self._finish(first, self.round))

    def _finish(self, delay, number):
        yield self.env.timeout(delay)
        if number != self.round:
            return
        self._settle()
        for key in [k for k in self.flows if self.left[k] <= 1e-9 * max(self.rates[k], 1.0) * 1e-3 + 1e-6]:
            _, _, done = self.flows.pop(key)
            del self.left[key], self.rates[key]
            done.succeed()
        self._again()


class Transfer:
    """A message on its way: when its last byte left, when it was delivered."""

    def __init__(self, env, fabric, message):
        self.env, self.fabric, self.message = env, fabric, message
        self.sent = {rank: env.event() for rank in message.senders}  # that it has posted its end
        self.awaited = {rank: env.event() for rank in message.receivers}
        self.left, self.delivered = env.event(), env.event()
        env.process(self._run())

    def _run(self):
        m = self.message
        yield self.env.all_of([*self.sent.values(), *([] if m.eager else self.awaited.values())])
        yield self.env.timeout(m.overhead_s)
        yield self.fabric.admit(m.ports)
        yield self.fabric.carry(m.links, m.n_bytes - m.eager, m.ceiling)
        self.left.succeed()
        yield self.env.timeout(m.latency_s)
        yield self.env.all_of(self.awaited.values())
        yield self.env.timeout(m.receive_overhead_s)
        self.delivered.succeed()


class Machine:
    """All ranks of a schedule; ``finish_s`` is when each has ended.

    ``steps``: lists of messages, and forks, lists of lists of steps.
    """

    def __init__(self, steps, topology, start_s, spacing_s=0.0, burst_bytes=0):
        self.env, self.steps, self.start_s = simpy.Environment(), steps, start_s
        self.fabric = Fabric(self.env, topology, spacing_s, burst_bytes)
        self.unit = [simpy.Resource(self.env) for _ in start_s]
        self.transfers = {}
        self.finish_s = [0.0] * len(start_s)

    def run(self):
        for rank in range(len(self.start_s)):
            self.env.process(self._rank(rank))
        self.env.run()
        return self.finish_s

    def _rank(self, rank):
        yield self.env.timeout(self.start_s[rank])
        yield self.env.process(self._lane(rank, self.steps, ()))
        self.finish_s[rank] = self.env.now

    def _lane(self, rank, steps, path):
        for index, step in enumerate(steps):
            where = (*path, index)
            if isinstance(step, Fork):
                lanes = [self.env.process(self._lane(rank, lane, (*where, k))) for k, lane in enumerate(step.lanes)]
                yield self.env.all_of(lanes)
                continue
            waits, previous = [], None
            for number, message in enumerate(step):
                if rank not in message.senders and rank not in message.receivers:
                    continue
                transfer = self._transfer((where, number), message)
                if rank in message.senders:
                    transfer.sent[rank].succeed()
                    waits.append(transfer.left if message.eager else transfer.delivered)
                if rank in message.receivers:
                    transfer.awaited[rank].succeed()
                    if message.reduction_s >= 0:
                        previous = self.env.process(self._reduce(rank, message, transfer.delivered, previous))
                    waits.append(previous if message.reduction_s >= 0 else transfer.delivered)
            if waits:
                yield self.env.all_of(waits)

    def _transfer(self, key, message):
        if key not in self.transfers:
            self.transfers[key] = Transfer(self.env, self.fabric, message)
        return self.transfers[key]

    def _reduce(self, rank, message, arrival, previous):
        yield arrival if previous is None else arrival & previous
        with self.unit[rank].request() as turn:
            yield turn
            yield self.env.timeout(message.reduction_s)


Message = namedtuple(
    "Message",
    "senders receivers links n_bytes ceiling overhead_s receive_overhead_s latency_s reduction_s eager ports",
    defaults=((),),
)
Fork = namedtuple("Fork", "lanes")


class Written:
    """A schedule as lists of messages, each with its costs: what :class:`Machine` takes."""

    def __init__(self, schedule, layout, system, disturbance):
        self.system, self.layout, self.matcher = system, layout, Matcher(schedule)
        self.disturbance, self.slow = disturbance, disturbance.slowdown(schedule.n_ranks)
        self.n_messages = 0
        self.steps = [self._step(step) for step in schedule]

    def _step(self, step):
        if isinstance(step, Lanes):
            return Fork([[self._step(inner) for inner in lane] for lane in step.programs])
        parts = [part for part in (self.matcher.messages(e, 0) for e in step) if len(part.src)]
        if not parts:
            return []
        sets, before = [], 0
        for part in parts:  # messages by number in the step: those that switches copy or reduce together
            numbers = range(before, before + len(part.src))
            ends = {None: numbers, "reduce": part.dst, "multicast": part.src}[part.fabric]
            sets += [[n for n in numbers if ends[n - before] == common] for common in sorted(set(ends))]
            before += len(part.src)
        src, dst = (np.concatenate([getattr(part, end) for part in parts]) for end in ("src", "dst"))
        n_bytes = np.concatenate([np.broadcast_to(message_sizes(p, self.layout), len(p.src)) for p in parts])
        reduces = np.repeat([p.reduce and not p.fabric for p in parts], [len(p.src) for p in parts])
        copies = np.concatenate([np.full(len(p.src), 0 if p.fabric else -1) for p in parts])
        overhead, share, reduction = message_costs(self.system, src, dst, n_bytes, reduces, copies)
        limit = self.system.endpoint.eager_limit_bytes
        path = self.system.topology.path(src, dst)
        stretch = self.disturbance.stretches(self.n_messages + np.arange(len(src)))
        self.n_messages += len(src)
        return [
            Message(
                set(src[of_set].tolist()),
                set(dst[of_set].tolist()),
                {int(hop) for hop in path.hops[of_set].ravel() if hop >= 0},
                int(n_bytes[of_set[0]]),
                min((share * path.bandwidth_Bps)[of_set]) if min(share[of_set]) < 1 else np.inf,
                max((overhead * self.slow[src] * stretch)[of_set]),
                max((overhead * self.slow[dst] * stretch)[of_set]),
                max((path.latency_s * stretch)[of_set]),
                max(np.where(reduction >= 0, reduction * self.slow[dst], -1)[of_set]),
                eager=bool(0 < limit >= n_bytes[of_set[0]] and copies[of_set[0]] < 0),
                ports=[int(end[of_set[0]]) for end in (path.first, path.last) if end[of_set[0]] >= 0],
            )
            for of_set in sets
        ]


def readable(one, system, n_elements, n_ranks, disturbance=NO_DISTURBANCE):
    """When every rank ends."""
    schedule = Schedule(one.resolved(n_ranks, 4 * n_elements), n_ranks)
    layout = Layout.of(schedule.space, one.collective, n_ranks, n_elements, 4)
    written = Written(schedule, layout, system, disturbance)
    return Machine(
        written.steps,
        system.topology,
        disturbance.starts(n_ranks).tolist(),
        system.endpoint.spacing_s,
        system.endpoint.burst_bytes,
    ).run()
