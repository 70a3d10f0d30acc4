"""One step of training on a real rank: the main thread computes, a communication thread runs the collective calls.

Calls run one after the other, in the order of the policy's list on every rank, each when what it carries is there: as
PyTorch's DDP sends its buckets. So all ranks begin the same call, whatever their clocks say. Where calls overtake each
other, rank 0 says which is next, as ByteScheduler's master and Horovod's coordinator do.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from commsim.topology import Floats
from experiments.exchange.step import Gradients, Step
from experiments.policies import Call
from experiments.policies.step import BEFORE_ALL

clock = time.perf_counter


@dataclass(frozen=True, eq=False)
class StepTimes:
    """Seconds from the step's begin on this rank.

    Attributes
    ----------
    ready_s, start_s, end_s : array (n_calls,)
        When each call could begin, began and ended.
    stage_s : array (n_calls,)
        How long copying its vector to the host took, before it began.
    operation_s : array (n_operations,)
        When each operation ended, as the step said or else as its turn did.
    exposed_s : float
        For how long the main thread waited for calls.
    step_s : float
        Of all.
    """

    ready_s: Floats
    start_s: Floats
    end_s: Floats
    stage_s: Floats
    operation_s: Floats
    exposed_s: float
    step_s: float


@dataclass(frozen=True)
class Work:
    """What runs a call, and what copies its vector to the host before it, where something does."""

    run: Callable[[], object]
    stage: Callable[[], object] | None = None


@dataclass
class _Job:
    """A call on its way."""

    work: Work
    not_before_s: float = 0.0
    stage_s: float = 0.0
    start_s: float = 0.0
    end_s: float = 0.0
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Until it has ended; its error is raised here."""
        self.done.wait()
        if self.error is not None:
            raise self.error


@dataclass(eq=False)
class _Pool:
    """The calls of a step that overtake each other: of those that are ready the one of the lowest priority is next.

    Attributes
    ----------
    calls : tuple of Call
    agree : callable
        From this rank's choice to rank 0's.
    """

    calls: tuple[Call, ...]
    agree: Callable[[int], int]
    _ready: dict[int, _Job] = field(default_factory=dict)
    _ended: set[int | None] = field(default_factory=lambda: {None})
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, place: int, job: _Job) -> None:
        """A call is ready."""
        with self._changed:
            self._ready[place] = job
            self._changed.notify()

    def jobs(self) -> Iterator[_Job]:
        """All of them, each in its turn: the one before has ended."""
        for _ in self.calls:
            place = self.agree(self._choice())
            with self._changed:
                self._changed.wait_for(lambda place=place: place in self._ready)  # type: ignore[misc]
                job = self._ready.pop(place)
            yield job
            self._ended.add(place)

    def _choice(self) -> int:
        """The next call of this rank, as soon as there is one."""
        with self._changed:
            while True:
                now_s = clock()
                free = {p: job for p, job in self._ready.items() if self.calls[p].follows in self._ended}
                due = [place for place, job in free.items() if job.not_before_s <= now_s]
                if due:
                    return min(due, key=lambda place: (self.calls[place].priority, place))
                self._changed.wait(min((job.not_before_s - now_s for job in free.values()), default=None))


class Channel:
    """The communication thread. Use it as a context: it ends with it.

    Parameters
    ----------
    agree : callable, optional
        From this rank's choice of the next call to rank 0's; a rank that is alone needs none.
    """

    def __init__(self, agree: Callable[[int], int] = lambda place: place) -> None:
        self.agree = agree
        self._jobs: queue.SimpleQueue[_Job | _Pool | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="communication", daemon=True)

    def __enter__(self) -> Channel:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._jobs.put(None)
        if failure[0] is None:  # else a call may be waiting for a rank that has failed
            self._thread.join()

    def put(self, job: _Job | _Pool) -> None:
        """Run a job, or all of a pool, after those before it."""
        self._jobs.put(job)

    def _work(self) -> None:
        while (found := self._jobs.get()) is not None:
            for job in (found,) if isinstance(found, _Job) else found.jobs():
                self._run(job)

    @staticmethod
    def _run(job: _Job) -> None:
        try:
            early_s = job.not_before_s - clock()
            if early_s > 0:
                time.sleep(early_s)
            if job.work.stage is not None:
                begin_s = clock()
                job.work.stage()
                job.stage_s = clock() - begin_s
            job.start_s = clock()
            job.work.run()
            job.end_s = clock()
        except BaseException as error:
            job.error = error
        finally:
            job.done.set()


def overtake(calls: Sequence[Call]) -> bool:
    """Whether calls have priorities, or one is waited for by an operation before another call that is ready later."""
    latest = BEFORE_ALL
    for call in calls:
        latest = max(latest, call.after)
        if latest >= call.before:
            return True
    return len({call.priority for call in calls}) > 1


class Runner:
    """Runs steps whose calls are these.

    Parameters
    ----------
    calls : sequence of Call
        In the order in which they become ready.
    n_operations : int
    channel : Channel
    """

    def __init__(self, calls: Sequence[Call], n_operations: int, channel: Channel) -> None:
        self._calls, self._n_operations, self._channel = tuple(calls), n_operations, channel
        self._awaited: dict[int, list[int]] = defaultdict(list)
        for place, call in enumerate(self._calls):
            self._awaited[call.before].append(place)
        self._overtake = overtake(self._calls)

    def run(self, step: Step, gradients: Gradients, works: Sequence[Work] | None) -> StepTimes:
        """One step on this rank; None instead of the calls' work computes alone."""
        pool = None
        if self._overtake and works is not None:
            pool = _Pool(self._calls, self._channel.agree)
            self._channel.put(pool)
        running = _Running(self._calls, self._awaited, self._channel, works, pool)
        return running.run(step, gradients, self._n_operations)


class _Running:
    """A step that is on its way."""

    def __init__(
        self,
        calls: tuple[Call, ...],
        awaited: dict[int, list[int]],
        channel: Channel,
        works: Sequence[Work] | None,
        pool: _Pool | None,
    ) -> None:
        self._calls, self._awaited, self._channel, self._works, self._pool = calls, awaited, channel, works, pool
        self._finished: dict[int, float] = {}
        self._jobs: dict[int, _Job] = {}
        self._exposed_s = 0.0

    def run(self, step: Step, gradients: Gradients, n_operations: int) -> StepTimes:
        begin = clock()
        step.begin(gradients, self.finished)
        self.finished(BEFORE_ALL)
        for operation in range(n_operations):
            self._wait(self._awaited.get(operation, ()))
            step.compute(operation)
            self.finished(operation)
        self._wait(range(len(self._calls)))
        end = clock()
        jobs = [self._jobs[place] for place in sorted(self._jobs)]
        ready_s, start_s, end_s = (
            np.array([getattr(job, key) for job in jobs]) - begin for key in ("not_before_s", "start_s", "end_s")
        )
        ended_s = np.array([self._finished[operation] for operation in range(n_operations)]) - begin
        stage_s = np.array([job.stage_s for job in jobs])
        return StepTimes(ready_s, start_s, end_s, stage_s, ended_s, self._exposed_s, end - begin)

    def finished(self, operation: int) -> None:
        """An operation has ended: hand over what is ready now, in order unless calls overtake each other."""
        self._finished.setdefault(operation, clock())
        if self._works is None:
            return
        for place, call in enumerate(self._calls):
            if place in self._jobs:
                continue
            if call.after in self._finished:
                job = self._jobs[place] = _Job(self._works[place], clock() + call.delay_s)
                if self._pool is None:
                    self._channel.put(job)
                else:
                    self._pool.add(place, job)
            elif self._pool is None:
                break

    def _wait(self, places: Sequence[int]) -> None:
        if self._works is None or not places:
            return
        begin = clock()
        for place in places:
            self._jobs[place].wait()
        self._exposed_s += clock() - begin
