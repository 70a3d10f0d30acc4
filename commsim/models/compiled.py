"""Compiled loops over arrays that they are given: they allocate nothing, and so need not count references to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
# counting took a third of the time of small cases: every call counts each of its arrays
compiled: Callable[[Function], Function] = njit(cache=True, _nrt=False)  # type: ignore[call-overload]


def _prefetch(_: Any, array: Any, at: Any) -> Any:
    """``prefetch(array, at)``: the processor reads a record into its cache and goes on in the meantime."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at = arguments
        at = context.cast(builder, at, signature.args[1], types.intp)
        data = context.make_array(signature.args[0])(context, builder, array).data
        pointer = builder.bitcast(builder.gep(data, [at]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer.type], ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        )
        builder.call(function, [pointer, word(1), word(3), word(1)])  # it will be written, is to be kept, is data
        return context.get_dummy_value()

    return types.void(array, at), build


prefetch: Any = intrinsic(_prefetch)
