"""Buffers as mpi4py takes them: arrays of any library, with counts and types; where they lie and what they hold."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from collectives.mpi import load_mpi, numpy_type
from collectives.operations import Array
from commsim.errors import InputError

DLPACK_CPU, DLPACK_PINNED = 1, (3, 11)  # kDLCPU, kDLCUDAHost and kDLROCMHost of dlpack.h


@dataclass(frozen=True)
class Buffer:
    """Memory of a message.

    Attributes
    ----------
    address : int
    n_elements : int
        Of one block, where a collective has one for each rank.
    dtype : numpy.dtype
    n_blocks : int
    is_device : bool
        Whether a GPU's memory; `stream` is then what has to end before it may be read.
    stream : int or None
    counts, displs : tuple of int or None
        Of the blocks, where each has its own.
    kind : mpi4py.MPI.Datatype or str or None
        The type that was given.
    """

    address: int
    n_elements: int
    dtype: np.dtype[Any]
    n_blocks: int = 1
    is_device: bool = False
    stream: int | None = None
    counts: tuple[int, ...] | None = None
    displs: tuple[int, ...] | None = None
    kind: Any = None

    @property
    def n_total(self) -> int:
        """Elements of all blocks, up to the end of the last."""
        if self.counts is None or self.displs is None:
            return self.n_elements * self.n_blocks
        return max((d + n for d, n in zip(self.displs, self.counts, strict=True)), default=0)

    def array(self) -> Array:
        """The elements as an array that does not own its memory, nor keep it."""
        return array_at(self.address, self.n_total, self.dtype)


def array_at(address: int, n_elements: int, dtype: np.dtype[Any]) -> Array:
    """Elements at an address, (n_elements,); whoever uses it sees to it that they are there."""
    if not n_elements:
        return np.empty(0, dtype)
    memory: Any = (ctypes.c_char * (n_elements * dtype.itemsize)).from_address(address)
    found: Array = np.frombuffer(memory, dtype)
    return found


def as_buffer(given: Any, n_blocks: int = 1, *, written: bool = False) -> Buffer:
    """What ``array``, ``[array, count]``, ``[array, count, type]`` or ``[array, (counts, displs), type]`` means.

    Parameters
    ----------
    given : object
        The array is numpy's, or has ``__cuda_array_interface__``, DLPack, ``__array_interface__`` or Python's buffer
        protocol.
    n_blocks : int
        Blocks in it, as MPI counts: a count is of one of them.
    written : bool
        Whether it will be written.

    Raises
    ------
    InputError
        If it is not contiguous, too short, read-only, or of a type that arithmetic does not know.
    """
    data, counts, displs, kind = _parts(given)
    found = _memory(data, written)
    if kind is not None:
        dtype = numpy_type(kind)
        n_elements = found.n_elements * found.dtype.itemsize // dtype.itemsize
        found = replace(found, dtype=dtype, n_elements=n_elements, kind=kind)
    available = found.n_elements
    if isinstance(counts, (Sequence, np.ndarray)):
        each = tuple(int(n) for n in counts)
        places = np.cumsum((0, *each))[:-1] if displs is None else displs
        if len(each) != n_blocks or len(places) != n_blocks:
            raise InputError(f"counts and displacements must be one for each of {n_blocks} ranks, not {len(each)}")
        found = replace(found, n_blocks=n_blocks, counts=each, displs=tuple(int(d) for d in places))
    else:
        if counts is None and available % n_blocks:
            raise InputError(f"a buffer of {available} elements is not {n_blocks} equal blocks, one for each rank")
        found = replace(found, n_blocks=n_blocks, n_elements=available // n_blocks if counts is None else int(counts))
    if found.n_total > available:
        raise InputError(f"the buffer has {available} elements of {found.dtype}, too few for {found.n_total}")
    return found


def buffer_key(given: Any) -> tuple[Any, ...]:
    """What tells buffers apart: a plan for one serves every other with the same key."""
    data, counts, displs, kind = _parts(given)
    found = _memory(data, written=False)
    places = tuple(tuple(one) if isinstance(one, (Sequence, np.ndarray)) else one for one in (counts, displs))
    name = kind if kind is None or isinstance(kind, str) else kind.handle
    return found.address, found.n_elements, found.dtype, found.is_device, places, name


def _parts(given: Any) -> tuple[Any, Any, Any, Any]:
    """Array, count or counts, displacements, MPI type: what is not there is None."""
    if not isinstance(given, (list, tuple)):
        return given, None, None, None
    if not 1 <= len(given) <= 4:
        raise InputError(f"a buffer is an array, or [array, count, type], not a list of {len(given)}")
    data, *rest = given
    kind = rest.pop() if rest and (_is_type(rest[-1]) or len(rest) > 2) else None
    counts = rest[0] if rest else None
    displs = rest[1] if len(rest) > 1 else None
    if isinstance(counts, (list, tuple)) and len(counts) == 2 and isinstance(counts[0], (list, tuple, np.ndarray)):
        counts, displs = counts
    return data, counts, displs, kind


def device_memory(given: Any) -> Buffer | None:
    """All of the array of a buffer, if it is a GPU's; else None."""
    data = _parts(given)[0]
    return _memory(data, written=False) if _is_on_device(data) else None


def _is_on_device(data: Any) -> bool:
    return hasattr(data, "__cuda_array_interface__") and not isinstance(data, np.ndarray)


def _is_type(given: Any) -> bool:
    return given is None or isinstance(given, (str, load_mpi().Datatype))


def _memory(data: Any, written: bool) -> Buffer:
    """Address, elements and type of an array of any library."""
    if _is_on_device(data):
        return _on_device(data, data.__cuda_array_interface__, written)
    array = _on_host(data)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise InputError(
            f"a buffer must be contiguous, and shape {array.shape} with strides {array.strides} is not: pass "
            "numpy.ascontiguousarray of it, and copy the result back"
        )
    if array.dtype.hasobject:
        raise InputError(f"a buffer holds numbers, not {array.dtype}")
    if written and not array.flags.writeable:
        raise InputError("the receive buffer is read-only")
    return Buffer(array.__array_interface__["data"][0], array.size, array.dtype)


def _on_host(data: Any) -> Array:
    if isinstance(data, np.ndarray):
        return data
    if hasattr(data, "__dlpack__"):
        where = int(data.__dlpack_device__()[0])
        if where != DLPACK_CPU and where not in DLPACK_PINNED:
            raise InputError(
                f"an array on DLPack device {where} has no __cuda_array_interface__ to reach it by; copy it to the host"
            )
        return np.from_dlpack(data)
    if hasattr(data, "__array_interface__"):
        return np.asarray(data)
    try:
        return np.asarray(memoryview(data))
    except TypeError:
        kind = type(data).__name__
        raise InputError(f"{kind} is no buffer: pass an array, or [array, count, type]") from None


def _on_device(data: Any, interface: dict[str, Any], written: bool) -> Buffer:
    """By CUDA's array interface, version 3."""
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    dense = np.cumprod([dtype.itemsize, *shape[:0:-1]])[::-1].tolist() if shape else []
    if strides is not None and list(strides) != dense:
        raise InputError(f"a buffer on a device must be contiguous, and shape {shape} with strides {strides} is not")
    address, read_only = interface["data"]
    if written and read_only:
        raise InputError("the receive buffer is read-only")
    n_elements = int(np.prod(shape, dtype=np.int64))
    return Buffer(int(address or 0), n_elements, dtype, is_device=True, stream=interface.get("stream"))
