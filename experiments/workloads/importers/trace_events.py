"""Chrome's trace events, as Kineto and Horovod write them: read, checked, times in seconds."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commsim.errors import InputError
from experiments.workloads.json_file import content_of

US = 1e-6
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Event:
    """One event: `place` is where it stands among all, for messages."""

    place: int
    phase: str
    name: str
    category: str
    start_s: float
    duration_s: float
    track: tuple[Any, Any]
    args: Mapping[str, Any]

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.start_s + self.duration_s


def unpacked(path: Path) -> bytes:
    """The bytes of a file, which gzip may have packed.

    Raises
    ------
    InputError
        If it cannot be read, or is cut.
    """
    content = content_of(path)
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be unpacked: {error}") from None


def parsed(path: Path) -> Any:
    """The JSON value in a file; of a list of events the closing bracket may be missing, as Chrome's format allows.

    Raises
    ------
    InputError
        If it is neither.
    """
    content = unpacked(path)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    except ValueError as error:
        if content.lstrip()[:1] == b"[":
            try:
                return json.loads(content.rstrip().removesuffix(b",") + b"]")
            except ValueError:
                pass
        raise InputError(f"{path}: not JSON, or cut: {error}") from None


def events_of(listed: Any, path: Path) -> list[Event]:
    """The events that have a time, checked; in the order of the file.

    Raises
    ------
    InputError
        Naming the file and the event that is none.
    """
    if not isinstance(listed, list):
        raise InputError(f"{path}: its 'traceEvents' are no list")
    return [_event(one, place, path) for place, one in enumerate(listed) if one != {}]


def _event(one: Any, place: int, path: Path) -> Event:
    if not isinstance(one, dict) or not isinstance(one.get("ph"), str):
        raise InputError(f"{path}: event {place} is {str(one)[:60]!r}; an object with 'ph' is needed")
    args = one.get("args")
    return Event(
        place,
        one["ph"],
        str(one.get("name", "")),
        str(one.get("cat", "")),
        _seconds(one, "ts", place, path),
        _seconds(one, "dur", place, path),
        (one.get("pid"), one.get("tid")),
        args if isinstance(args, dict) else {},
    )


def _seconds(one: Mapping[str, Any], key: str, place: int, path: Path) -> float:
    value = one.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{path}: event {place} ({one.get('name')}): {key!r} is {value!r}; microseconds are needed")
    return value * US
