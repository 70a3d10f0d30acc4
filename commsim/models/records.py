"""Arrays of records: what the compiled loops read together stands side by side in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LINE = 64  # bytes that a processor reads at once


def records(n: int, fields: Mapping[str, str], size: int) -> Any:
    """So many records of zeros, each of `size` bytes, the first at the beginning of a line.

    Parameters
    ----------
    n : int
    fields : mapping
        Name to type (``"f8"``, ``"i4"``, ``"i1"``), in an order in which all of them are aligned.
    size : int
    """
    kinds = [np.dtype(kind) for kind in fields.values()]
    ends = np.cumsum([kind.itemsize for kind in kinds]).tolist()
    return zeros(n, np.dtype({"names": list(fields), "formats": kinds, "offsets": [0, *ends[:-1]], "itemsize": size}))


def zeros(n: int, kind: Any) -> Any:
    """So many zeros of this type, the first at the beginning of a line."""
    size = n * np.dtype(kind).itemsize
    memory = np.zeros(size + LINE, dtype=np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(kind)
