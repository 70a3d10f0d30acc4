"""ONNX files: shapes in the graph's order, and FLOPs where shapes can be inferred (extra ``onnx``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from commsim.errors import ExecutionError, InputError
from experiments.workloads.json_file import content_of
from experiments.workloads.workload import Layer, Tensor, Workload

DTYPES = {
    1: "float32",
    10: "float16",
    11: "float64",
    16: "bfloat16",
    17: "float8_e4m3",
    19: "float8_e5m2",
}
"""Floating types of ``TensorProto.DataType`` (onnx.proto); what has another type is no parameter."""
STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs of operators that are kept, not trained: running mean and variance."""
Shapes = Mapping[str, tuple[int, ...]]


def read_onnx(path: Path, dtype: str | None = None) -> Workload:
    """The parameters in the order in which the graph uses them, one layer an operator.

    Floating tensors with at least one extent are parameters, be they stored or made by ``ConstantOfShape`` (as in
    files without weights); running statistics of a batch normalisation are buffers. Weights are not read. FLOPs are
    those of convolutions and products, of one sample, where the shapes can be inferred.

    Raises
    ------
    ExecutionError
        Without the package onnx.
    InputError
        Naming the file, where it is no ONNX, is cut, or has no parameters.
    """
    graph = _graph(path)
    made = dict(_parameters(graph))
    if not made:
        raise InputError(f"{path}: its graph {graph.name!r} has no floating parameters")
    used: set[str] = set()
    layers = []
    shapes = {**_shapes(graph), **{name: tensor.shape for name, tensor in made.items()}}
    flops: list[int | None] = []
    for place, node in enumerate(graph.node):
        taken = [name for name in node.input if name in made and name not in used]
        used.update(taken)
        flops.append(_flops(node, shapes))
        kept = {node.input[index] for index in STATISTICS.get(node.op_type, ()) if index < len(node.input)}
        tensors = tuple(_kept(made[name]) if name in kept else made[name] for name in taken)
        if tensors or flops[-1]:
            layers.append(Layer(node.name or f"{node.op_type}_{place}", tensors, flops[-1] or 0))
    try:
        known = None not in flops
        workload = Workload(str(path), tuple(layers), "sample", f"{path.name}, ONNX", counts_flops=known)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return workload if dtype is None else workload.in_dtype(dtype)


def _graph(path: Path) -> Any:
    """The graph, with the shapes of its activations where onnx can infer them."""
    content = content_of(path)
    try:
        import onnx
    except ImportError:
        raise ExecutionError(f"{path}: reading ONNX needs the package onnx: pip install 'commsim[onnx]'") from None
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own class, which moves between its versions
        raise InputError(f"{path}: no ONNX file, or cut: {error}") from None
    if not model.graph.node:
        raise InputError(f"{path}: its graph is empty; an ONNX file with a network is needed")
    try:
        return onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # shapes stay unknown, and so do FLOPs
        return model.graph


def _parameters(graph: Any) -> Iterator[tuple[str, Tensor]]:
    stored = {one.name: one for one in graph.initializer}
    for one in graph.initializer:
        if one.data_type in DTYPES and len(one.dims):
            yield one.name, Tensor(one.name, tuple(one.dims), DTYPES[one.data_type])
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input and node.input[0] in stored:
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            kind = 1 if value is None else value.data_type
            extents = _whole_numbers(stored[node.input[0]])
            if kind in DTYPES and extents:
                yield node.output[0], Tensor(node.output[0], extents, DTYPES[kind])


def _whole_numbers(tensor: Any) -> tuple[int, ...]:
    from onnx import numpy_helper

    return tuple(int(value) for value in numpy_helper.to_array(tensor).ravel())


def _kept(tensor: Tensor) -> Tensor:
    return Tensor(tensor.name, tensor.shape, tensor.dtype, trainable=False)


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Shapes that are known; an extent that is a word or unknown is 1, as a batch of one sample has it."""
    found = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = tuple(max(1, one.dim_value) for one in kind.shape.dim)
    return found


def _flops(node: Any, shapes: Shapes) -> int | None:
    """Of one sample; 0 for an operator that is not counted, None where a shape is missing."""
    names = [*node.input[:2], *node.output[:1]]
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    if not all(name in shapes for name in names):
        return None
    left, right, out = (shapes[name] for name in names)
    if node.op_type == "Conv":
        return 2 * prod(right) * prod(out[2:])
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    inner = left[0] if turned else left[-1]
    batch = left[0] if node.op_type == "Gemm" and not turned else 1
    return _product_flops(out, inner) // max(1, batch)


def _product_flops(out: Iterable[int], inner: int) -> int:
    return 2 * prod(out) * inner
