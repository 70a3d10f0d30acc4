"""Collectives that go on beside what their caller does: requests to test and wait for, persistent handles, a thread."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from commsim.errors import ExecutionError


class Runnable(Protocol):
    """A call with its plan."""

    n_running: int

    def run(self) -> None:
        """Do it once."""

    def begun(self) -> Iterator[None]:
        """Do it in pieces."""

    def wait_from_now_on(self) -> None:
        """Make the rest of it wait."""


class Request:
    """A collective on its way. As mpi4py's: ``Test`` says whether it has ended, ``Wait`` waits for it."""

    def Test(self) -> bool:
        """Whether it has ended; what can be done at once is done."""
        raise NotImplementedError

    def Wait(self) -> bool:
        """Come back when it has ended."""
        raise NotImplementedError

    def test(self) -> bool:
        """The same as :meth:`Test`."""
        return self.Test()

    def wait(self) -> bool:
        """The same as :meth:`Wait`."""
        return self.Wait()

    @staticmethod
    def Waitall(requests: Sequence[Request]) -> bool:
        """Wait for all of them."""
        for request in requests:
            request.Wait()
        return True


class _Threaded(Request):
    """One that the thread runs."""

    def __init__(self, call: Runnable) -> None:
        self.call = call
        self.error: BaseException | None = None
        self.ended = threading.Event()

    def Test(self) -> bool:
        """Whether the thread has done it."""
        if self.ended.is_set():
            self._raise()
        return self.ended.is_set()

    def Wait(self) -> bool:
        """Wait for the thread."""
        self.ended.wait()
        self._raise()
        return True

    def _raise(self) -> None:
        if self.error is not None:
            raise ExecutionError(f"the collective failed: {type(self.error).__name__}: {self.error}") from self.error

    def run(self) -> None:
        """Run it, in the thread."""
        try:
            self.call.run()
        except BaseException as error:
            self.error = error
        finally:
            self.call.n_running -= 1
            self.ended.set()


class _Polled(Request):
    """One that goes on in its caller's calls of Test and Wait, after those that were begun before it."""

    def __init__(self, call: Runnable, line: deque[_Polled]) -> None:
        self._call, self._line = call, line
        self._steps: Iterator[None] | None = None
        self._has_ended = False
        line.append(self)
        if line[0] is self:
            self._advance()

    def _advance(self) -> None:
        """As far as messages have come; the first in line only."""
        if self._steps is None:
            self._steps = self._call.begun()
        if next(self._steps, _ENDED) is _ENDED:
            self._has_ended = True
            self._call.n_running -= 1
            self._line.popleft()

    def Test(self) -> bool:
        """Bring it, and those before it, as far as messages have come."""
        while not self._has_ended:
            first = self._line[0]
            first._advance()
            if not first._has_ended:
                return False
        return True

    def Wait(self) -> bool:
        """Bring it, and those before it, to their end."""
        while not self._has_ended:
            first = self._line[0]
            first._call.wait_from_now_on()
            first._advance()
        return True


_ENDED: Any = object()


class Progress:
    """What brings collectives of one communicator forward, one after the other, in the order of their calls."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Threaded | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._line: deque[_Polled] = deque()

    def by_thread(self, call: Runnable) -> Request:
        """Begin a call; the thread does the rest."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="commsim progress", daemon=True)
            self._thread.start()
        call.n_running += 1
        request = _Threaded(call)
        self._queue.put(request)
        return request

    def by_test(self, call: Runnable) -> Request:
        """Begin a call; tests and waits do the rest."""
        call.n_running += 1
        return _Polled(call, self._line)

    def _work(self) -> None:
        while (request := self._queue.get()) is not None:
            request.run()

    def end(self, patience_s: float = 1.0) -> None:
        """End the thread, if there is one."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(patience_s)
            self._thread = None


class Handle(Request):
    """A collective that is prepared once and done many times.

    Parameters
    ----------
    call : Runnable
    progress : Progress or None
        Whose thread runs it; None: its caller's tests and waits.
    kept : set
        Where it is known until it is freed.
    """

    def __init__(self, call: Any, progress: Progress | None, kept: set[Any]) -> None:
        self._call, self._progress, self._kept = call, progress, kept
        self._own = Progress()
        self._request: Request | None = None
        self.algorithm: str = call.algorithm
        self.path: str = call.path
        kept.add(self)

    def Start(self) -> None:
        """Begin it.

        Raises
        ------
        ExecutionError
            If it was freed, or has begun and was not waited for.
        """
        if self._call is None:
            raise ExecutionError("the handle was freed, or its communicator was")
        if self._request is not None:
            raise ExecutionError("the handle was started and has not ended: Wait for it first")
        started = self._own.by_test if self._progress is None else self._progress.by_thread
        self._request = started(self._call)

    def Test(self) -> bool:
        """Whether it has ended; true where it was not started."""
        if self._request is None or self._request.Test():
            self._request = None
        return self._request is None

    def Wait(self) -> bool:
        """Come back when it has ended; at once where it was not started."""
        if self._request is not None:
            self._request.Wait()
            self._request = None
        return True

    def Free(self) -> None:
        """Wait for it if it has begun, and give its requests back."""
        self.Wait()
        self._kept.discard(self)
        self.free()

    def free(self) -> None:
        """Give its requests back."""
        if self._call is not None:
            self._call.free()
        self._call = None
