"""Reads JSON objects out of files of other programs: one line says which file, and what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commsim.errors import InputError


def json_object(content: bytes, path: Path) -> dict[str, Any]:
    """The object that `content`, out of the file `path`, holds.

    Raises
    ------
    InputError
        If it is no JSON, or no object.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: its JSON is a {type(found).__name__}; an object is needed")
    return found


def content_of(path: Path) -> bytes:
    """The bytes of a file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
