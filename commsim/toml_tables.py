"""Tables of a TOML file with the lines on which they stand, so that a mistake is named with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from commsim.errors import CommsimError, InputError, RefusedError, unknown_name

_HEADER = re.compile(r"\s*\[(\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=")


class EntryError(InputError):
    """A wrong entry of a file; ``line`` is where, or None."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes
    ----------
    title : str
        As the file has it: ``"[[link]]"``.
    values : mapping
    line : int or None
        Of its title.
    lines : mapping
        Of its keys.
    """

    title: str
    values: Mapping[str, Any]
    line: int | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def error(self, key: str | None, message: object) -> EntryError:
        """What is wrong with a key (None: with the whole table), for the caller to raise."""
        place = self.title if key is None else f"{self.title} {key}"
        return EntryError(f"{place}: {message}", self.line if key is None else self.lines.get(key, self.line))

    def only(self, known: Iterable[str]) -> None:
        """Refuse other keys."""
        known = tuple(known)
        for key in self.values:
            if key not in known:
                raise self.error(key, unknown_name(f"key of {self.title}:", key, known))

    def text(self, key: str, default: str | None = None) -> str:
        """A text, which must be there where there is no default."""
        value = self.values.get(key, default)
        if value is None:
            raise self.error(None, f"{key} = … is missing")
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, f"{value!r} is not a text")
        return value.strip()

    def number(self, key: str, default: int) -> int:
        """A whole number of at least one."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(key, f"{value!r} is not a whole number of at least 1")
        return value

    def parsed(self, key: str, parse: Callable[[Any], float]) -> float | None:
        """A figure written with its unit; None where it is not there."""
        if key not in self.values:
            return None
        value = self.values[key]
        if not isinstance(value, str):
            raise self.error(key, f"{value!r}: write a text with its unit")
        try:
            return parse(value)
        except InputError as error:
            raise self.error(key, error) from None


class Tables:
    """All tables of a document, each with its lines."""

    def __init__(self, document: Mapping[str, Any], text: str) -> None:
        self._document = document
        self._places: dict[tuple[str, int], tuple[int, dict[str, int]]] = {}
        count: dict[str, int] = {}
        keys: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if header := _HEADER.match(line):
                keys, index = {}, count.get(header[2], 0)
                count[header[2]] = index + 1
                self._places[header[2], index] = number, keys
            elif key := _KEY.match(line):
                keys.setdefault(key[1].strip('"'), number)

    def line_of(self, name: str) -> int | None:
        """Of the first title of that name, or that begins with it."""
        lines = (line for (title, _), (line, _) in self._places.items() if title.partition(".")[0] == name)
        return next(lines, None)

    @contextmanager
    def naming_lines(self, name: str, key: str | None = None) -> Iterator[None]:
        """Give what is wrong inside the line of `key`, else of the table's key that it names, else of the table."""
        try:
            yield
        except (EntryError, RefusedError):  # what is refused is right by itself: devices that no link connects
            raise
        except CommsimError as error:
            line, keys = self._places.get((name, 0), (None, {}))
            wanted = key if key in keys else _named(keys, str(error))
            raise EntryError(str(error), line if wanted is None else keys[wanted]) from None

    def each(self, name: str) -> list[Table]:
        """The tables of an array, ``[[name]]``."""
        rows = self._document.get(name, [])
        title = f"[[{name}]]"
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            line = self._places.get((name, 0), (None, {}))[0]
            raise EntryError(f"{name} must be written {title}", line)
        return [Table(title, row, *self._places.get((name, index), ())) for index, row in enumerate(rows)]

    def named(self, name: str) -> dict[str, Table]:
        """The tables ``[name.key]``, by key."""
        rows = self._document.get(name, {})
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise EntryError(f"{name} must be tables, [{name}.NAME]", self._places.get((name, 0), (None, {}))[0])
        return {
            key: Table(f"[{name}.{key}]", row, *self._places.get((f"{name}.{key}", 0), ())) for key, row in rows.items()
        }

    def one(self, name: str) -> Table:
        """The table ``[name]``; without values where it is not there."""
        row = self._document.get(name, {})
        if not isinstance(row, dict):
            raise EntryError(f"{name} must be a table, [{name}]", None)
        return Table(f"[{name}]", row, *self._places.get((name, 0), ()))


def _named(keys: Iterable[str], text: str) -> str | None:
    """The key that an error is about: in quotes, or with its value, else any that it names."""
    for form in ("'{}'", "{} ?=", r"{}(?!\w)"):
        for key in keys:
            if re.search(r"(?<!\w)" + form.format(re.escape(key)), text):
                return key
    return None
