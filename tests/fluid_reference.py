"""The fluid model once more, readable: simpy processes, rates from scratch each time, one message at a time."""

from collections import defaultdict

import simpy

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

    def __init__(self, env, topology):
        self.env, self.flows, self.left, self.since = env, {}, {}, 0.0
        self.capacity = dict(enumerate(topology.links.bandwidth_Bps.tolist()))
        self.rates, self.round = {}, 0

    def carry(self, links, n_bytes, ceiling):
        done = self.env.event()
        if n_bytes == 0 or not links:
            return done.succeed()
        self._settle()
        key = object()
        self.flows[key], self.left[key] = (links, ceiling, done), n_bytes
        self._again()
        return done

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


class Machine:
    """All ranks of a schedule; ``finish_s`` is when each has ended."""

    def __init__(self, schedule, system, costs_of):
        self.env = simpy.Environment()
        self.fabric = Fabric(self.env, system.topology)
        self.system, self.schedule, self.costs_of = system, schedule, costs_of
        self.unit = [simpy.Resource(self.env) for _ in range(schedule.n_ranks)]
        self.posted = defaultdict(self.env.event)
        self.finish_s = [0.0] * schedule.n_ranks

    def run(self):
        steps = [freeze(step) for step in self.schedule]
        for rank in range(self.schedule.n_ranks):
            self.env.process(self._rank(rank, steps))
        self.env.run()
        return self.finish_s

    def _rank(self, rank, steps):
        yield self.env.process(self._lane(rank, steps, ()))
        self.finish_s[rank] = self.env.now

    def _lane(self, rank, steps, path):
        for index, step in enumerate(steps):
            where = (*path, index)
            if isinstance(step, Lanes):
                lanes = [self.env.process(self._lane(rank, lane, (*where, k))) for k, lane in enumerate(step.programs)]
                yield self.env.all_of(lanes)
                continue
            messages = self.costs_of(step)
            waits, previous = [], None
            for number, m in enumerate(messages):
                key = (where, number)
                if m.src == rank:
                    self.posted[key, "src"].succeed()
                if m.dst == rank:
                    self.posted[key, "dst"].succeed()
                    arrival = self.env.process(self._message(m, key))
                    self.posted[key, "run"].succeed(arrival)
                    if m.reduction_s >= 0:
                        previous = self.env.process(self._reduce(rank, m, arrival, previous))
                        waits.append(previous)
                    else:
                        waits.append(arrival)
                if m.src == rank and m.dst != rank:
                    waits.append(self.env.process(self._sent(key)))
            if waits:
                yield self.env.all_of(waits)

    def _sent(self, key):
        arrival = yield self.posted[key, "run"]
        yield arrival

    def _message(self, m, key):
        yield self.posted[key, "src"] & self.posted[key, "dst"]
        yield self.env.timeout(m.overhead_s)
        yield self.fabric.carry(m.links, m.n_bytes, m.ceiling)
        yield self.env.timeout(m.latency_s + m.overhead_s)

    def _reduce(self, rank, m, arrival, previous):
        yield arrival if previous is None else arrival & previous
        with self.unit[rank].request() as turn:
            yield turn
            yield self.env.timeout(m.reduction_s)


def freeze(step):
    return Lanes(tuple([freeze(s) for s in lane] for lane in step.programs)) if isinstance(step, Lanes) else step
