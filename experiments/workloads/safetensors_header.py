"""Workloads from safetensors files: the header alone is read, no weights.

A file begins with the length of its header (8 bytes, little-endian) and the header, a JSON object of
``name: {"dtype", "shape", "data_offsets"}`` (huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commsim.errors import InputError, unknown_name
from experiments.workloads.json_file import content_of, json_object
from experiments.workloads.workload import Layer, Tensor, Workload

DTYPES: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
"""The format's words for types, and ours."""

LENGTH_BYTES = 8
INDEX_ENDING = ".index.json"


def read_safetensors(path: Path, dtype: str | None = None) -> Workload:
    """The tensors of a file, or of all the files that an index beside them names, in their types or in `dtype`.

    The format keeps no forward order: its writer sorts by name. So they come file by file, sorted by name with numbers
    as numbers. Tensors of whole numbers are buffers. FLOPs are not known.

    Raises
    ------
    InputError
        For a file that cannot be read, is cut or says what cannot be; names file and tensor.
    UnknownNameError
        For an unknown type.
    """
    found = _indexed(path) if path.name.endswith(INDEX_ENDING) else _tensors(path)
    layers = tuple(Layer(tensor.name.rpartition(".")[0] or tensor.name, (tensor,)) for tensor in found)
    workload = Workload(str(path), layers, "sample", f"safetensors header of {path.name}", counts_flops=False)
    return workload if dtype is None else workload.in_dtype(dtype)


def _indexed(index: Path) -> list[Tensor]:
    """The tensors of all files of an index, file by file in the order of their names, which are numbered."""
    weights = json_object(content_of(index), index).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{index}: no 'weight_map' that says which tensor is in which file")
    names = set(map(str, weights.values()))
    for name in sorted(names):
        if Path(name).name != name:
            raise InputError(f"{index}: {name!r} is not a file beside it")
    found = [tensor for name in sorted(names) for tensor in _tensors(index.parent / name)]
    missing = sorted(set(weights) - {tensor.name for tensor in found})
    if missing:
        raise InputError(f"{index}: tensor {missing[0]!r} is not in {weights[missing[0]]}")
    return found


def _tensors(path: Path) -> list[Tensor]:
    header, n_data = _header(path)
    header.pop("__metadata__", None)
    return [_tensor(path, name, header[name], n_data) for name in sorted(header, key=_by_number)]


def _by_number(name: str) -> list[str | int]:
    """Sorts ``layers.2`` before ``layers.10``: texts and numbers take turns."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes of data follow it."""
    try:
        n_file = path.stat().st_size
        with path.open("rb") as file:
            length = file.read(LENGTH_BYTES)
            n_header = int.from_bytes(length, "little")
            if len(length) < LENGTH_BYTES:
                raise InputError(f"{path}: cut: {n_file} bytes, and the length of the header takes {LENGTH_BYTES}")
            if n_header > n_file - LENGTH_BYTES:
                raise InputError(f"{path}: its header is {n_header} bytes, and {n_file - LENGTH_BYTES} follow; cut?")
            return json_object(file.read(n_header), path), n_file - LENGTH_BYTES - n_header
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _tensor(path: Path, name: str, entry: Any, n_data: int) -> Tensor:
    if not isinstance(entry, dict):
        raise InputError(
            f"{path}: tensor {name!r} is {entry!r}; an object with 'dtype', 'shape', 'data_offsets' is needed"
        )
    if str(entry.get("dtype")) not in DTYPES:
        raise unknown_name(f"type of tensor {name!r} in {path}:", str(entry.get("dtype")), DTYPES)
    if not _whole(entry.get("shape")):
        raise InputError(f"{path}: tensor {name!r} has no 'shape' of whole numbers")
    dtype = DTYPES[str(entry["dtype"])]
    tensor = Tensor(name, tuple(entry["shape"]), dtype, trainable="int" not in dtype and dtype != "bool")
    span: Any = entry.get("data_offsets")
    if not _whole(span) or len(span) != 2 or span[1] - span[0] != tensor.n_bytes:
        raise InputError(f"{path}: tensor {name!r} is {tensor.n_bytes} bytes; its 'data_offsets' are {span}")
    if span[1] > n_data:
        raise InputError(f"{path}: cut: tensor {name!r} ends at byte {span[1]} of {n_data} bytes of data")
    return tensor


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)
