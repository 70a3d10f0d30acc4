"""Reductions: those that have a name, and any function of two arrays."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from commsim.errors import InputError, unknown_name

Array: TypeAlias = NDArray[Any]

OPS: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
COMMUTING = (
    *OPS.values(),
    *(np.fmax, np.fmin, np.gcd, np.lcm, np.hypot, np.logaddexp, np.logaddexp2),
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.logical_and, np.logical_or, np.logical_xor),
)
UNNAMED = "user"


@dataclass(frozen=True)
class Operation:
    """A reduction: ``function(left, right)`` of two equally long arrays, elementwise and associative.

    Attributes
    ----------
    function : callable
        A numpy ufunc, or any function that returns an array.
    commutative : bool
        Whether operands may change places. If not, only algorithms that keep the order of ranks take it.
    name : str
    """

    function: Callable[[Array, Array], Array]
    commutative: bool = False
    name: str = UNNAMED

    def __call__(self, left: Array, right: Array) -> Array:
        """The result, as of the function."""
        return self.function(left, right)

    def require(self, dtype: np.dtype[Any]) -> None:
        """Try it on a few elements.

        Raises
        ------
        InputError
            If it fails, or does not give an array like its operands.
        """
        left, right = np.ones(3, dtype), np.ones(3, dtype)
        try:
            found = np.asarray(self.function(left, right))
            fits = found.shape == left.shape and (found.dtype.kind not in "fc" or dtype.kind in "fc")
            if fits:
                self.into(left, right, np.empty_like(left))
        except (Exception, SystemExit) as error:
            raise InputError(f"operation {self.name!r} of two arrays failed: {type(error).__name__}: {error}") from None
        if not fits:
            raise InputError(
                f"operation {self.name!r} of two arrays of 3 {dtype} gives {found.dtype} of shape {found.shape}; it "
                "must give an array like them"
            )

    def into(self, left: Array, right: Array, out: Array) -> None:
        """Write the result to `out`, which may be one of the operands."""
        if isinstance(self.function, np.ufunc):
            self.function(left, right, out=out)
        else:
            out[...] = self.function(left, right)


def operation(op: str | Operation | Callable[[Array, Array], Array]) -> Operation:
    """The operation that a name (``sum``, ``prod``, ``max``, ``min``), ``FILE.py:NAME`` or a function means.

    What a file has under the name is a function or an :class:`Operation`. A function of the user's is taken as not
    commutative, unless it has an attribute ``commutative = True`` or is one of numpy's that are known to be.

    Raises
    ------
    UnknownNameError
        Naming the nearest.
    InputError
        If the file holds no such thing, or it is none.
    """
    if isinstance(op, Operation):
        return op
    if isinstance(op, str):
        if ".py:" in op:
            return operation(_in_file(op))
        if op not in OPS:
            raise unknown_name("op", op, OPS)
        return Operation(OPS[op], commutative=True, name=op)
    if not callable(op):
        raise InputError(f"op={op!r} is neither a name nor a function")
    commutes = bool(getattr(op, "commutative", op in COMMUTING))
    return Operation(op, commutes, getattr(op, "__name__", UNNAMED))


def _in_file(text: str) -> Operation | Callable[[Array, Array], Array]:
    name, _, wanted = text.rpartition(":")
    if not Path(name).is_file():
        raise InputError(f"--op {text}: {name} is no Python file")
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    if spec is None or spec.loader is None:
        raise InputError(f"--op {text}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"--op {text}: {type(error).__name__} while it was read: {error}") from None
    found: Any = vars(module).get(wanted)
    if not callable(found):
        raise InputError(f"--op {text}: {name} has no function {wanted!r}")
    if isinstance(found, Operation) and found.name == UNNAMED:
        return replace(found, name=wanted)
    return found  # type: ignore[no-any-return]
