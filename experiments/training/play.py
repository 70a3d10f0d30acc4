"""Plays training steps: simpy processes for compute streams and collective calls, on a fabric that calls share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Any

import simpy

from commsim.errors import InputError
from experiments.policies.step import BEFORE_ALL, Call

Events = Generator[simpy.Event, Any, None]
DONE_S = 1e-11  # less work than that is none
OTHERS = -1  # the lane of another job


@dataclass(frozen=True)
class Conditions:
    """What a step suffers.

    Attributes
    ----------
    interference : float
        Compute takes so much longer while a call is on its way: 0.1 is a tenth. Kernels of collectives take cores and
        memory bandwidth from it.
    straggler : float
        The slowest rank computes so many times longer; all others wait for it.
    input_s : float
        Reading one batch, while the one before is computed on.
    speed : float
        Devices compute so many times faster than the compute times say.
    variation : float
        Standard deviation of a rank's compute time from step to step, as a share of it: all wait for the slowest.

    Raises
    ------
    InputError
        For a value that is none.
    """

    interference: float = 0.0
    straggler: float = 1.0
    input_s: float = 0.0
    variation: float = 0.0
    speed: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.interference < float("inf"):
            raise InputError(f"interference={self.interference:g} must be zero or more")
        if not 1 <= self.straggler < float("inf"):
            raise InputError(f"straggler={self.straggler:g} must be at least 1: how many times longer it computes")
        if not 0 <= self.input_s < float("inf"):
            raise InputError(f"input={self.input_s:g} s must be zero or more")
        if not 0 < self.speed < float("inf"):
            raise InputError(f"speed={self.speed:g} must be above zero")
        if not 0 <= self.variation < 1:
            raise InputError(f"variation={self.variation:g} must be at least 0 and below 1")

    def slowest(self, n_ranks: int) -> Conditions:
        """The same for a rank that is the slowest of so many: what its compute time is on average."""
        if not self.variation or n_ranks == 1:
            return self
        return replace(self, straggler=self.straggler * (1 + self.variation * expected_largest(n_ranks)))


def expected_largest(n: int) -> float:
    """Mean of the largest of `n` standard normal numbers (Blom 1958: within 2 %); 0 for one."""
    return 0.0 if n == 1 else NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


@dataclass(frozen=True)
class Lane:
    """A compute stream: of one rank, which stands for all that do the same.

    Attributes
    ----------
    name : str
    operations : tuple of str
        Of a step, in order; the last is the optimizer.
    durations_s : tuple of float
    """

    name: str
    operations: tuple[str, ...]
    durations_s: tuple[float, ...]


@dataclass(frozen=True)
class PlacedCall:
    """A call between operations of lanes.

    Attributes
    ----------
    call : Call
    lane : int
        Of the operation that makes it ready.
    waiting : int
        Of the operation that waits for it.
    """

    call: Call
    lane: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Interval:
    """What a stream did from when to when."""

    lane: int
    stream: str
    name: str
    start_s: float
    end_s: float
    n_bytes: int = 0


@dataclass(frozen=True)
class Played:
    """All intervals; when each lane ended each step, [step][lane]; how many times longer another job took."""

    intervals: list[Interval]
    ends_s: list[list[float]]
    other_slower: float = 1.0

    @property
    def window_s(self) -> tuple[float, float]:
        """The last step: from when all lanes had ended the one before."""
        return max(self.ends_s[-2]), max(self.ends_s[-1])

    @property
    def step_s(self) -> float:
        """How long the last step took."""
        begin_s, end_s = self.window_s
        return end_s - begin_s

    @property
    def mean_step_s(self) -> float:
        """How long a step took from the second on."""
        return (max(self.ends_s[-1]) - max(self.ends_s[0])) / (len(self.ends_s) - 1)


@dataclass(eq=False)
class _Fabric:
    """The calls that are on their way, of all lanes; `changed` happens when they change."""

    env: simpy.Environment
    slowdowns: Callable[[Sequence[Call]], Sequence[float]]
    calls: list[Call] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    of_lane: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.changed = self.env.event()

    def change(self, call: Call, lane: int, *, begins: bool) -> None:
        """A call of a lane begins or ends."""
        self.of_lane[lane] += 1 if begins else -1
        if begins:
            self.calls.append(call)
        else:
            self.calls.pop(self._place(call))
        self.factors = list(self.slowdowns(self.calls))
        before, self.changed = self.changed, self.env.event()
        before.succeed()

    def factor(self, call: Call) -> float:
        """How many times longer it takes now."""
        return self.factors[self._place(call)]

    def _place(self, call: Call) -> int:
        return next(place for place, one in enumerate(self.calls) if one is call)


class Player:
    """Steps of lanes and calls.

    Parameters
    ----------
    lanes : sequence of Lane
    calls : sequence of PlacedCall
    time_s : callable
        Of a call by itself.
    slowdowns : callable
        Of calls on their way together, a factor each.
    n_streams : int
        Calls of one stream of one lane at once.
    conditions : Conditions
    label : callable
        What a call is called in the timeline.
    other : Call, optional
        Another job, which repeats without end: it slows calls down, and they it.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        calls: Sequence[PlacedCall],
        time_s: Callable[[Call], float],
        slowdowns: Callable[[Sequence[Call]], Sequence[float]],
        n_streams: int = 1,
        conditions: Conditions = Conditions(),
        label: Callable[[Call], str] = lambda call: call.collective,
        other: Call | None = None,
    ) -> None:
        self._lanes, self._calls, self._time_s, self._label = lanes, calls, time_s, label
        self._n_streams, self._conditions = n_streams, conditions
        self._slowdowns, self._other = slowdowns, other
        self._waiting: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for number, placed in enumerate(calls):
            later, operation = divmod(placed.call.before, len(lanes[placed.waiting].durations_s))
            self._waiting[placed.waiting, operation].append((number, later))
        self._marks = {(placed.lane, placed.call.after) for placed in calls}

    def play(self, n_steps: int) -> Played:
        """So many steps, one after the other.

        Parameters
        ----------
        n_steps : int
            At least 2: the first has nothing before it.
        """
        self._env = env = simpy.Environment()
        self._done: dict[tuple[str, int, int, int], simpy.Event] = defaultdict(env.event)
        self._streams: dict[tuple[int, str], simpy.PriorityResource] = {}
        self._fabric = _Fabric(env, self._slowdowns)
        self._intervals: list[Interval] = []
        self._ends_s = [[0.0] * len(self._lanes) for _ in range(n_steps)]
        self._batches = simpy.Store(env, capacity=1)
        self._other_s = 0.0
        if self._other is not None:
            env.process(self._beside(self._other))
        if self._conditions.input_s:
            env.process(self._read())
        for lane in range(len(self._lanes)):
            env.process(self._compute(lane, n_steps))
        for step in range(n_steps):
            for number in range(len(self._calls)):
                env.process(self._call(step, number))
        env.run(until=env.all_of([self._done["lane", lane, 0, 0] for lane in range(len(self._lanes))]))
        return Played(self._intervals, self._ends_s, env.now / self._other_s if self._other_s else 1.0)

    def _beside(self, other: Call) -> Events:
        """The other job: how much of its time by itself it has done, until the last change."""
        self._fabric.change(other, OTHERS, begins=True)
        while True:
            factor, before_s = self._fabric.factor(other), self._env.now
            yield self._fabric.changed
            self._other_s += (self._env.now - before_s) / factor

    def _read(self) -> Events:
        while True:
            yield self._env.timeout(self._conditions.input_s)
            yield self._batches.put(None)

    def _compute(self, lane: int, n_steps: int) -> Events:
        """The operations of a lane, each after the calls that it waits for."""
        of = self._lanes[lane]
        for step in range(n_steps):
            if self._conditions.input_s and lane == 0:
                yield self._batches.get()
            for operation, (name, duration_s) in enumerate(zip(of.operations, of.durations_s, strict=True)):
                for number, later in self._waiting.get((lane, operation), ()):
                    if step >= later:
                        done = self._done["call", 0, step - later, number]
                        if not done.processed:
                            yield done
                start_s = self._env.now
                yield from self._work(lane, duration_s * self._conditions.straggler / self._conditions.speed)
                if duration_s:
                    self._intervals.append(Interval(lane, "compute", name, start_s, self._env.now))
                if (lane, operation) in self._marks:
                    self._done["operation", lane, step, operation].succeed()
            self._done["step", lane, step, 0].succeed()
            self._ends_s[step][lane] = self._env.now
        self._done["lane", lane, 0, 0].succeed()

    def _work(self, lane: int, left_s: float) -> Events:
        """Compute for so long, longer while a call is on its way."""
        fabric, slower = self._fabric, 1 + self._conditions.interference
        if slower == 1:
            if left_s > 0:
                yield self._env.timeout(left_s)
            return
        while left_s > max(DONE_S, 1e-14 * self._env.now):
            factor, before_s = (slower if fabric.of_lane[lane] else 1.0), self._env.now
            yield self._env.timeout(left_s * factor) | fabric.changed
            left_s -= (self._env.now - before_s) / factor

    def _call(self, step: int, number: int) -> Events:
        """One call: when it is ready and its stream is free, for as long as it takes beside others."""
        placed = self._calls[number]
        call = placed.call
        if call.after != BEFORE_ALL:
            yield self._done["operation", placed.lane, step, call.after]
        elif step:
            yield self._done["step", placed.lane, step - 1, 0]
        if call.follows is not None:
            yield self._done["call", 0, step, call.follows]
        if call.delay_s:
            yield self._env.timeout(call.delay_s)
        turn: Any = (step, call.priority, number)  # simpy compares it, whatever it is
        with self._stream(placed.lane, call.stream).request(turn) as free:
            yield free
            start_s = self._env.now
            yield from self._transfer(placed, self._time_s(call))
            interval = Interval(placed.lane, call.stream, self._label(call), start_s, self._env.now, call.n_bytes)
            self._intervals.append(interval)
        self._done["call", 0, step, number].succeed()

    def _stream(self, lane: int, name: str) -> simpy.PriorityResource:
        key = (lane, name)
        if key not in self._streams:
            self._streams[key] = simpy.PriorityResource(self._env, self._n_streams)
        return self._streams[key]

    def _transfer(self, placed: PlacedCall, left_s: float) -> Events:
        if left_s <= 0:
            return
        fabric, call = self._fabric, placed.call
        fabric.change(call, placed.lane, begins=True)
        while left_s > max(DONE_S, 1e-14 * self._env.now):
            factor, before_s = fabric.factor(call), self._env.now
            yield self._env.timeout(left_s * factor) | fabric.changed
            left_s -= (self._env.now - before_s) / factor
        fabric.change(call, placed.lane, begins=False)


def union_s(intervals: Sequence[Interval]) -> float:
    """How long at least one of them lasts."""
    total_s, until_s = 0.0, float("-inf")
    for start_s, end_s in sorted((one.start_s, one.end_s) for one in intervals):
        total_s += max(0.0, end_s - max(start_s, until_s))
        until_s = max(until_s, end_s)
    return total_s


def clipped(intervals: Sequence[Interval], window_s: tuple[float, float]) -> list[Interval]:
    """What of them lies in a window, from its beginning on."""
    begin_s, end_s = window_s
    inside = [one for one in intervals if one.end_s > begin_s and one.start_s < end_s]
    return [
        Interval(
            one.lane,
            one.stream,
            one.name,
            max(one.start_s, begin_s) - begin_s,
            min(one.end_s, end_s) - begin_s,
            one.n_bytes,
        )
        for one in inside
    ]
