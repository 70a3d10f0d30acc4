"""PyTorch DDP's own statistics: ``json.dump(model._get_ddp_logging_data(), file)`` after some iterations.

Its times are in nanoseconds, its lists are texts (torch.distributed, ``DDPLoggingData``; keys seen with PyTorch 2.13).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commsim.errors import InputError, unknown_name
from experiments.workloads.importers.recording import recorded_workload
from experiments.workloads.json_file import content_of, json_object
from experiments.workloads.workload import Recorded, Workload

BUCKET_KEYS = ("rebuilt_bucket_sizes", "bucket_sizes")
DTYPES = {"float": "float32", "double": "float64", "c10::half": "float16", "half": "float16"} | {
    "c10::bfloat16": "bfloat16",
    "bfloat16": "bfloat16",
}
"""``toString`` of PyTorch's types."""
NS = 1e-9


def is_ddp_logging(values: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such statistics."""
    return any(key in values for key in BUCKET_KEYS)


def read_ddp_logging(path: Path) -> Workload:
    """The buckets that DDP really sent, in order, and when they were ready.

    When each bucket was ready is not in it: the average time of the backward pass is shared out by bytes (ASSUMED).

    Raises
    ------
    InputError
        Naming the file and the key.
    """
    values = json_object(content_of(path), path)
    key = next((key for key in BUCKET_KEYS if values.get(key)), None)
    if key is None:
        raise InputError(f"{path}: {' and '.join(map(repr, BUCKET_KEYS))} are empty; save it after a few iterations")
    sizes = _sizes(values[key], key, path)
    dtype = _dtype(values, path)
    forward_s, backward_s = (_seconds(values, f"avg_{which}_compute_time", path) for which in ("forward", "backward"))
    begin_s, total, sent, recorded = forward_s or 0.0, sum(sizes), 0, []
    for n_bytes in sizes:
        sent += n_bytes
        recorded.append(Recorded("allreduce", n_bytes, begin_s + (backward_s or 0.0) * sent / total, dtype))
    source = f"{path.name}, DDP logging data ({key}); ready times ASSUMED in proportion to bytes"
    return recorded_workload(str(path), recorded, source, forward_s=forward_s, backward_begin_s=begin_s)


def _sizes(text: Any, key: str, path: Path) -> list[int]:
    try:
        sizes = [int(part) for part in str(text).split(",")]
    except ValueError:
        raise InputError(f"{path}: {key!r} is {text!r}; bytes of buckets, with commas between, are needed") from None
    if min(sizes) < 1:
        raise InputError(f"{path}: {key!r} has a bucket of {min(sizes)} bytes")
    return sizes


def _dtype(values: Mapping[str, Any], path: Path) -> str:
    """The first of the types; buckets do not say which of several is theirs."""
    named = str(values.get("dtypes") or "float").split(",")[0].strip().lower()
    if named not in DTYPES:
        raise unknown_name(f"type of gradients in {path}:", named, DTYPES)
    return DTYPES[named]


def _seconds(values: Mapping[str, Any], key: str, path: Path) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InputError(f"{path}: {key!r} is {value!r}; nanoseconds are needed")
    return value * NS
