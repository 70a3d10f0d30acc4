"""Every error that the project raises on purpose: one base, few children, each with its builtin parent."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CommsimError(Exception):
    """Base of all errors of this project. The message names the object, the value and the remedy, in one line."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class InputError(CommsimError, ValueError):
    """What the user wrote cannot be meant: a unit, a size, a key, a rank."""


class UnknownNameError(InputError, LookupError):
    """A name that nothing has; the message proposes the nearest one that exists."""


class RefusedError(InputError):
    """An algorithm, system or model cannot take this case; the message names the constraint."""


class ScheduleError(CommsimError, RuntimeError):
    """A program's steps do not fit together (mismatched exchange, conflicting writes)."""


class VerificationError(ScheduleError):
    """A schedule ends in a state that is not its collective's."""


class ImpossibleResultError(CommsimError, ArithmeticError):
    """A predicted time is below a physical bound."""


class LimitError(CommsimError, ArithmeticError):
    """A figure is beyond a limit that the user gave."""


class ExecutionError(CommsimError, RuntimeError):
    """Real ranks could not be started, or failed."""


MOST_LISTED = 40  # names in one line


def unknown_name(what: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Error for `name`, which is no `what`; names the nearest known one, or all when none is near and they are few.

    Parameters
    ----------
    what : str
        The kind of thing, in the singular ("algorithm").
    name : str
        What was written.
    known : iterable of str
        The names that exist.

    Returns
    -------
    UnknownNameError
        To be raised by the caller.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = ", ".join(names if len(names) <= MOST_LISTED else [*names[:3], f"… ({len(names)} in all)"])
    remedy = f"did you mean {near[0]!r}?" if near else f"known: {listed or 'none'}"
    return UnknownNameError(f"unknown {what} {name!r}; {remedy}")
