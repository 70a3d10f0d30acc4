"""Progress on anything longer than two seconds: bars on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from collectives.mpi import launched_rank
from collectives.watchdog import current
from commsim import Algorithm, Lanes, Repeat, Step

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Item = TypeVar("Item")

QUIET_S = 2.0  # of plain lines more with time: a tenth of what has passed
REDRAWN_S = 0.2  # on a terminal
COUNTED_S = 1.5  # for as long the steps of a program are counted ahead


def say(line: str) -> None:
    """One line to the person who waits, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def say_once(line: str) -> None:
    """The same from the first rank alone, before MPI has started or without it."""
    if launched_rank() == 0:
        say(line)


@dataclass
class Task:
    """Something under way.

    Attributes
    ----------
    what : str
        "simulating".
    total : callable
        How many there are in all, asked once when it is first told; None: not known.
    done : int
    """

    what: str
    total: Callable[[], int | None]
    done: int = 0
    bar: TaskID | None = None

    def __str__(self) -> str:
        total = self.total()
        return f"{self.what} {self.done}" + ("" if total is None else f" of {total}")


class _Display:
    """All that is under way, from the outermost in, told together."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._bars: Progress | None = None
        self._began = self._last = 0.0

    def begin(self, what: str, total: Callable[[], int | None]) -> Task:
        if not self._tasks:
            self._began = self._last = time.monotonic()
        task = Task(what, functools.cache(total))
        self._tasks.append(task)
        return task

    def end(self, task: Task) -> None:
        self._tasks = [one for one in self._tasks if one is not task]
        if self._bars is not None and task.bar is not None:
            self._bars.remove_task(task.bar)
        if not self._tasks and self._bars is not None:
            self._bars.stop()
            self._bars = None

    def tell(self) -> None:
        """Say how far everything is, if that was not done just now."""
        now = time.monotonic()
        plain_s = max(QUIET_S, 0.1 * (now - self._began))
        if now - self._last < (plain_s if self._bars is None else REDRAWN_S):
            return
        self._last = now
        if launched_rank() != 0:
            return
        if sys.stderr.isatty():
            self._draw()
        else:
            say("; ".join(map(str, self._tasks)))

    def _draw(self) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        for task in self._tasks:
            if task.bar is None:
                task.bar = self._bars.add_task(task.what, total=task.total())
            self._bars.update(task.bar, completed=task.done)


_display = _Display()


def track(items: Iterable[Item], what: str, total: int, *, shown: bool = True) -> Iterator[Item]:
    """Hand the items on; after two seconds begin to tell how many are done.

    On real ranks that are watched, each item is a round after which others wait for this rank.

    Parameters
    ----------
    items : iterable
    what : str
        "simulating".
    total : int
    shown : bool
        False where there is one alone.
    """
    if not shown:
        yield from _in_rounds(items, what)
        return
    task = _display.begin(what, lambda: total)
    try:
        for task.done, item in enumerate(_in_rounds(items, what)):
            _display.tell()
            yield item
    finally:
        _display.end(task)


def _in_rounds(items: Iterable[Item], what: str) -> Iterator[Item]:
    watchdog = current()
    if watchdog is None:
        yield from items
        return
    for item in items:
        watchdog.begins(what)
        yield item
    watchdog.works()


def watched(algorithm: Algorithm) -> Algorithm:
    """The same algorithm; while a long schedule of it is walked through, the step that was reached is told."""

    @functools.wraps(algorithm.program)
    def program(rank: Any, n_ranks: int, **params: Any) -> Iterator[Step]:
        task = _display.begin(
            f"{algorithm.name}: step", lambda: n_steps_of(algorithm.program(0, n_ranks, **params), COUNTED_S)
        )
        try:
            yield from _told(algorithm.program(rank, n_ranks, **params), task)
        finally:
            _display.end(task)

    return replace(algorithm, program=program)


def _told(steps: Iterator[Step], task: Task) -> Iterator[Step]:
    for step in steps:
        _display.tell()
        if isinstance(step, Lanes):
            yield Lanes(tuple(_told(program, task) for program in step.programs), step.stagger)
        else:
            yield step
            task.done += step.times if isinstance(step, Repeat) else 1


def n_steps_of(steps: Iterable[Step], limit_s: float) -> int | None:
    """How many steps a program has, those of all lanes together; None if they cannot be counted in time, or at all."""
    until = time.monotonic() + limit_s
    ticks = count()

    def counted(steps: Iterable[Step]) -> int:
        total = 0
        for step in steps:
            if next(ticks) % 64 == 0 and time.monotonic() > until:
                raise TimeoutError
            if isinstance(step, Lanes):
                total += sum(counted(program) for program in step.programs)
            else:
                total += step.times if isinstance(step, Repeat) else 1
        return total

    try:
        return counted(steps)
    except Exception:  # what is wrong with the program is told by those who run it
        return None
