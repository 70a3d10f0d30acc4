"""``name:key=value,key=value``: how systems and algorithms with parameters are written.

A factory is any function whose parameters end in their unit (``bandwidth_Bps``); users write the bare word
(``bandwidth=25GB/s``), and the ending chooses the parser. So a function signature is the only list of its keys.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from commsim.errors import CommsimError, InputError, unknown_name
from commsim.units import parse_share, parser_for


def split_spec(text: str) -> tuple[str, dict[str, str]]:
    """``"star:hosts=4,latency=1us"`` to ``("star", {"hosts": "4", "latency": "1us"})``."""
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for item in rest.split(",") if rest else []:
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise InputError(f"{item!r} in {text!r} is not key=value")
        if key.strip() in values:
            raise InputError(f"{key.strip()!r} stands twice in {text!r}")
        values[key.strip()] = value.strip()
    return name.strip(), values


def split_list(text: str) -> list[str]:
    """Split ``"ring,split:a=1,b=2,chain"`` into specs: an item that is only ``key=value`` belongs to the one before."""
    specs: list[str] = []
    for item in text.split(","):
        head = item.partition("=")[0]
        if "=" in item and ":" not in head and specs:
            joint = "," if ":" in specs[-1] else ":"
            specs[-1] += joint + item
        else:
            specs.append(item)
    return [spec.strip() for spec in specs if spec.strip()]


def join_spec(name: str, values: Mapping[str, Any]) -> str:
    """The inverse of :func:`split_spec`; values that are None or an empty text are left out."""
    items = [f"{key}={_written(value)}" for key, value in values.items() if value is not None and value != ""]
    return name + (":" + ",".join(items) if items else "")


def _written(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def keys_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The words that `factory` accepts, each with the parameter that it sets."""
    return {parser_for(p.name)[0]: p for p in inspect.signature(factory).parameters.values()}


def convert(parameter: inspect.Parameter, value: Any) -> Any:
    """Value of one parameter from what was written: by the unit at the end of its name, else by its annotation."""
    word, parse = parser_for(parameter.name)
    annotation = parameter.annotation
    if annotation is parameter.empty and isinstance(parameter.default, int):  # not annotated: as its default
        annotation = type(parameter.default)
    annotation = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    try:
        if parse is not None:
            return parse(value)
        if annotation.startswith("int"):
            return _whole_number(value)
        if annotation == "float":
            return parse_share(value)
        if annotation == "str" and not isinstance(value, str):
            raise InputError(f"{value!r} is not a text")
        if "tuple[int" in annotation:
            return tuple(_whole_number(part) for part in _parts(value))
    except (ValueError, TypeError) as error:
        reason = str(error) if isinstance(error, InputError) else f"{value!r} is not a whole number"
        raise InputError(f"{word}={value}: {reason}") from None
    return value


def _parts(value: Any) -> Any:
    """``"4x2"``, ``(4, 2)``; one number is one part."""
    if isinstance(value, str):
        return value.split("x")
    return (value,) if isinstance(value, int) else value


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise InputError(f"{value!r} is not a whole number")
    return int(value)


def build(kind: str, name: str, factory: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """Call `factory` with what a user wrote.

    Raises
    ------
    UnknownNameError
        For a key that the factory does not have.
    InputError
        For a value of the wrong unit, or a required key that is missing.
    """
    keys = keys_of(factory)
    for key in values:
        if key not in keys:
            raise unknown_name(f"key of {kind} {name!r}:", key, keys)
    missing = [key for key, p in keys.items() if p.default is p.empty and key not in values]
    if missing:
        raise InputError(f"{kind} {name!r} needs {missing[0]}=…; its keys: {', '.join(keys)}")
    converted = {keys[key].name: convert(keys[key], value) for key, value in values.items()}
    try:
        return factory(**converted)
    except CommsimError:
        raise
    except (MemoryError, OverflowError, ValueError) as error:  # numpy's words for arrays that do not fit
        raise InputError(f"{kind} {join_spec(name, values)!r} is too large to build: {error}") from None
