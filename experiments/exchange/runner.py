"""One step of training on a real rank: the main thread computes, a communication thread runs the collective calls.

Calls run one after the other, in the order of the policy's list on every rank, each when what it carries is there: as
PyTorch's DDP sends its buckets. So all ranks begin the same call, whatever their clocks say.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from commsim.errors import RefusedError
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


class Channel:
    """The communication thread. Use it as a context: it ends with it."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="communication", daemon=True)

    def __enter__(self) -> Channel:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._jobs.put(None)
        if failure[0] is None:  # else a call may be waiting for a rank that has failed
            self._thread.join()

    def put(self, job: _Job) -> None:
        """Run a job after those before it."""
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
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


class Runner:
    """Runs steps whose calls are these.

    Parameters
    ----------
    calls : sequence of Call
        In the order in which they become ready.
    n_operations : int
    channel : Channel

    Raises
    ------
    RefusedError
        If an operation waits for a call that comes, in that order, after one which is ready later: it would wait for
        ever.
    """

    def __init__(self, calls: Sequence[Call], n_operations: int, channel: Channel) -> None:
        self._calls, self._n_operations, self._channel = tuple(calls), n_operations, channel
        self._awaited: dict[int, list[int]] = defaultdict(list)
        latest = BEFORE_ALL
        for place, call in enumerate(self._calls):
            latest = max(latest, call.after)
            if call.before < n_operations:
                self._awaited[call.before].append(place)
                if latest >= call.before:
                    raise RefusedError(
                        f"call {place} ({call.collective}) is waited for by operation {call.before}, and a call before "
                        f"it is ready only after operation {latest}: this policy needs calls that overtake each other"
                    )

    def run(self, step: Step, gradients: Gradients, works: Sequence[Work] | None) -> StepTimes:
        """One step on this rank; None instead of the calls' work computes alone."""
        return _Running(self._calls, self._awaited, self._channel, works).run(step, gradients, self._n_operations)


class _Running:
    """A step that is on its way."""

    def __init__(
        self,
        calls: tuple[Call, ...],
        awaited: dict[int, list[int]],
        channel: Channel,
        works: Sequence[Work] | None,
    ) -> None:
        self._calls, self._awaited, self._channel, self._works = calls, awaited, channel, works
        self._finished: dict[int, float] = {}
        self._jobs: list[_Job] = []
        self._ready_s: list[float] = []
        self._exposed_s = 0.0

    def run(self, step: Step, gradients: Gradients, n_operations: int) -> StepTimes:
        begin = clock()
        step.begin(gradients, self.finished)
        self.finished(BEFORE_ALL)
        for operation in range(n_operations):
            self._wait(self._awaited.get(operation, ()))
            step.compute(operation)
            self.finished(operation)
        self._wait(range(len(self._jobs)))
        end = clock()
        start_s, end_s = ([getattr(job, key) - begin for job in self._jobs] for key in ("start_s", "end_s"))
        ready_s = np.array(self._ready_s) - begin
        ended_s = np.array([self._finished[operation] for operation in range(n_operations)]) - begin
        stage_s = np.array([job.stage_s for job in self._jobs])
        return StepTimes(ready_s, np.array(start_s), np.array(end_s), stage_s, ended_s, self._exposed_s, end - begin)

    def finished(self, operation: int) -> None:
        """An operation has ended: hand over, in order, the calls whose turn has come."""
        self._finished.setdefault(operation, clock())
        if self._works is None:
            return
        while len(self._jobs) < len(self._calls) and self._calls[len(self._jobs)].after in self._finished:
            call = self._calls[len(self._jobs)]
            self._ready_s.append(clock() + call.delay_s)
            self._jobs.append(_Job(self._works[len(self._jobs)], self._ready_s[-1]))
            self._channel.put(self._jobs[-1])

    def _wait(self, places: Sequence[int]) -> None:
        if self._works is None or not places:
            return
        begin = clock()
        for place in places:
            self._jobs[place].wait()
        self._exposed_s += clock() - begin
