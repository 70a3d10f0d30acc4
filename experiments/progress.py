"""Progress on anything longer than two seconds: a bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

from collectives.mpi import launched_rank
from commsim import Algorithm, Step

Item = TypeVar("Item")

QUIET_S = 2.0


def say(line: str) -> None:
    """One line to the person who waits, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def say_once(line: str) -> None:
    """The same from the first rank alone, before MPI has started or without it."""
    if launched_rank() == 0:
        say(line)


def watched(algorithm: Algorithm) -> Algorithm:
    """The same algorithm; while a long schedule of it is walked through, the step that was reached is told."""

    @functools.wraps(algorithm.program)
    def program(*args: Any, **kwargs: Any) -> Iterator[Step]:
        last = time.monotonic()
        with ExitStack() as stack:
            status = None
            for index, step in enumerate(algorithm.program(*args, **kwargs)):
                now = time.monotonic()
                if now - last > QUIET_S:
                    last = now
                    text = f"{algorithm.name}: step {index}"
                    if not sys.stderr.isatty():
                        say(text)
                    elif status is None:
                        from rich.console import Console

                        status = stack.enter_context(Console(stderr=True).status(text))
                    else:
                        status.update(text)
                yield step

    return replace(algorithm, program=program)


def track(items: Iterable[Item], what: str, total: int, *, shown: bool = True) -> Iterator[Item]:
    """Hand the items on; after two seconds begin to tell how many are done.

    Parameters
    ----------
    items : iterable
    what : str
        "simulating".
    total : int
    shown : bool
        False on ranks other than the first.
    """
    started = last = time.monotonic()
    with ExitStack() as stack:
        bar = None
        for done, item in enumerate(items):
            now = time.monotonic()
            if shown and bar is None and sys.stderr.isatty() and now - started > QUIET_S:
                from rich.console import Console
                from rich.progress import Progress

                bar = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
                task = bar.add_task(what, total=total)
            if bar is not None:
                bar.update(task, completed=done)
            elif shown and not sys.stderr.isatty() and now - last > QUIET_S:
                say(f"{what}: {done} of {total}")
                last = now
            yield item
