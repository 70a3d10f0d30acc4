"""What a rank computes in a step of training, and an emulation of it: gradients of the right sizes in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from collectives.operations import Array
from experiments.policies import Compute

Gradients = Mapping[str, Array]
"""Where each tensor's gradient is to be written, by its name, in its shape."""


class Step(Protocol):
    """A network that computes, operation by operation, as :class:`experiments.policies.Compute` numbers them."""

    def begin(self, gradients: Gradients, finished: Callable[[int], None]) -> None:
        """A step begins. Its gradients go to these places; it may say itself which operations are finished."""

    def compute(self, operation: int) -> None:
        """The next operation."""


class EmulatedStep:
    """Takes the time of each operation, sleeping as a host does whose accelerator computes.

    Parameters
    ----------
    compute : Compute
    stops : collection of int
        Operations after which something is sent: the others' times are slept together.

    Notes
    -----
    It writes no gradients: an accelerator's are copied to the host when they are sent, by the communication thread.
    """

    def __init__(self, compute: Compute, stops: Collection[int] = ()) -> None:
        self._durations_s, self._stops = compute.durations_s, frozenset(stops) | {compute.optimizer}
        self._due_s = 0.0

    def begin(self, gradients: Gradients, finished: Callable[[int], None]) -> None:
        """Start the clock."""
        self._due_s = time.perf_counter()

    def compute(self, operation: int) -> None:
        """Take its time; after a wait that was longer, from its end on."""
        self._due_s += self._durations_s[operation]
        if operation in self._stops:
            left_s = self._due_s - time.perf_counter()
            if left_s > 0:
                time.sleep(left_s)
            else:
                self._due_s -= left_s
