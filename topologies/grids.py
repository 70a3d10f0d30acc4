"""Coordinates of a grid: of a shape (4, 2), number = x + 4y. The first dimension varies fastest, as in algorithms."""

from __future__ import annotations

from math import prod

from commsim.errors import InputError
from commsim.selection import Ints


def strides(shape: tuple[int, ...]) -> list[int]:
    """What a step along each dimension adds to the number."""
    return [prod(shape[:dimension]) for dimension in range(len(shape))]


def coordinate(number: Ints, stride: int, size: int) -> Ints:
    """Where along one dimension each number lies."""
    return number // stride % size


def grid_name(word: str, shape: tuple[int, ...], number: int) -> str:
    """``"router1.0.3"``."""
    return word + ".".join(str(number // stride % size) for stride, size in zip(strides(shape), shape, strict=True))


def require_shape(shape: tuple[int, ...]) -> None:
    """Refuse a shape without places.

    Raises
    ------
    InputError
    """
    if not shape or min(shape) < 1:
        raise InputError(f"shape={written(shape)}: each size must be at least 1, as in shape=4x4x2")


def written(shape: tuple[int, ...]) -> str:
    """``"4x4x2"``."""
    return "x".join(map(str, shape))
