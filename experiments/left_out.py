"""What was asked for and could not be done: kept with its reason, and told once for each reason."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from commsim.errors import ImpossibleResultError
from commsim.units import format_count


@dataclass(frozen=True)
class LeftOut:
    """One thing that was left out.

    Attributes
    ----------
    what : str
        An algorithm, as it was named.
    message : str
        The whole reason, as its error says it.
    reason : str
        The same without the name in front, in few words: what several have in common.
    """

    what: str
    message: str
    reason: str

    @staticmethod
    def of(what: str, error: Exception) -> LeftOut:
        """The one that `error` is about."""
        message = str(error)
        said = re.search(r"but (\w+) says .* because it does not model contention", message)
        if isinstance(error, ImpossibleResultError) and said:  # the figures differ, the reason does not
            reason = f"shared links, and {said[1]} does not model contention; --model fluid does"
            return LeftOut(what, message, reason)
        return LeftOut(what, message, re.sub(rf"^{re.escape(what)}(:\S+)?[ ,:]+", "", message))


def told(left_out: Iterable[LeftOut], width: int | None = None, *, counted: str | None = None) -> list[str]:
    """Lines for people: each reason once with all that it holds for, in lines of `width`.

    Parameters
    ----------
    left_out : iterable of LeftOut
    width : int, optional
    counted : str, optional
        What several of one name are ("row"): their number is told.
    """
    lines = []
    for reason, names in _grouped(left_out).items():
        each = [f"{name} ({format_count(n, counted)})" if counted else name for name, n in names.items()]
        lines.append(f"left out: {', '.join(each)}: {reason}")
    return [part for line in lines for part in wrapped(line, width)]


def in_one_line(left_out: Iterable[LeftOut]) -> str:
    """The same for a message, where nothing else is left."""
    groups = _grouped(left_out)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in groups.items())


def _grouped(left_out: Iterable[LeftOut]) -> dict[str, Counter[str]]:
    groups: dict[str, Counter[str]] = {}
    for one in left_out:
        groups.setdefault(one.reason, Counter())[one.what] += 1
    return groups


def wrapped(line: str, width: int | None, indent: int = 2) -> list[str]:
    """The line in pieces of at most `width` characters, indented from the second on."""
    if width is None or len(line) <= width:
        return [line]
    wrapper = textwrap.TextWrapper(
        max(width, 40), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(line)
