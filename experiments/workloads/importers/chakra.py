"""Chakra execution traces (``.et``): a graph of operators with times, in protobuf (extra ``protobuf``).

A file is a sequence of messages, each after its length as a varint: one ``GlobalMetadata``, then a ``Node`` each. The
part of the schema that is read is built here, so that no generated code ties it to a version of protobuf. Field numbers
are those of mlcommons/chakra, schema/protobuf/et_def.proto; ASSUMED: not compared with a file of that project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from commsim.errors import ExecutionError, InputError
from experiments.workloads.importers.recording import recorded_workload
from experiments.workloads.json_file import content_of
from experiments.workloads.workload import Recorded, Workload

COMM_COLL_NODE = 7
COLLECTIVES = {
    0: "allreduce",
    1: "reduce",
    2: "allgather",
    3: "gather",
    4: "scatter",
    5: "broadcast",
    6: "alltoall",
    7: "reduce_scatter",
    8: "reduce_scatter",
    9: "barrier",
}
"""``CollectiveCommType``."""
US = 1e-6
REPEATED, OPTIONAL = 3, 1
DOUBLE, FLOAT, INT64, UINT64, INT32, BOOL, STRING, MESSAGE, UINT32, SINT32, SINT64 = 1, 2, 3, 4, 5, 8, 9, 11, 13, 17, 18
Fields = Mapping[str, tuple[int, ...]]  # number, type and, where there may be several, REPEATED
ATTRIBUTE: Fields = {
    "name": (1, STRING),
    "double_val": (3, DOUBLE),
    "float_val": (5, FLOAT),
    "int32_val": (7, INT32),
    "int64_val": (9, INT64),
    "uint32_val": (11, UINT32),
    "uint64_val": (13, UINT64),
    "sint32_val": (15, SINT32),
    "sint64_val": (17, SINT64),
    "bool_val": (27, BOOL),
    "string_val": (29, STRING),
}
NODE: Fields = {
    "id": (1, UINT64),
    "name": (2, STRING),
    "type": (3, INT32),
    "ctrl_deps": (4, UINT64, REPEATED),
    "data_deps": (5, UINT64, REPEATED),
    "start_time_micros": (6, UINT64),
    "duration_micros": (7, UINT64),
    "attr": (10, MESSAGE, REPEATED),
}


def read_chakra(path: Path, dtype: str = "float32") -> Workload:
    """The collectives of a trace, when each was ready, and how long the computing between them took.

    A collective is ready when all that it depends on is done, as the trace's own times have it, or, where it has only
    durations, when they are added up along the dependencies. Nodes that have no size repeat others (the calls on the
    CPU) and are left out. Types are not in it: `dtype`.

    Raises
    ------
    ExecutionError
        Without the package protobuf.
    InputError
        Naming the file and the byte or node that is wrong.
    """
    nodes = list(_nodes(path))
    timed = any(node.start_time_micros for node in nodes)
    ends = {} if timed else _ends(nodes, path)
    began = min((node.start_time_micros for node in nodes if node.start_time_micros), default=0)
    recorded = []
    for node in nodes:
        attributes = {one.name: _value(one) for one in node.attr}
        if node.type != COMM_COLL_NODE or "comm_size" not in attributes:
            continue
        begin_micros = node.start_time_micros - began if timed else ends[node.id] - node.duration_micros
        end_s = (begin_micros + node.duration_micros) * US
        collective = _collective(attributes, node, path)
        size = _size(attributes, node, path)
        recorded.append(
            Recorded(collective, size, max(0, begin_micros) * US, dtype, begin_micros * US, end_s, f"node{node.id}")
        )
    recorded.sort(key=lambda one: one.ready_s)
    try:
        return recorded_workload(str(path), recorded, f"{path.name}, Chakra ET; type {dtype} is not in it")
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def _collective(attributes: Mapping[str, Any], node: Any, path: Path) -> str:
    kind = attributes.get("comm_type")
    if kind not in COLLECTIVES:
        raise InputError(f"{path}: node {node.id} ({node.name}): 'comm_type' is {kind!r}; known: 0 to 9")
    return COLLECTIVES[int(kind)]


def _size(attributes: Mapping[str, Any], node: Any, path: Path) -> int:
    size = attributes["comm_size"]
    if not isinstance(size, int) or size < 0:
        raise InputError(f"{path}: node {node.id} ({node.name}): 'comm_size' is {size!r}; bytes are needed")
    return size


def _value(attribute: Any) -> Any:
    """The one value that is set."""
    fields = [key for key in ATTRIBUTE if key != "name" and attribute.HasField(key)]
    return getattr(attribute, fields[0]) if fields else None


def _ends(nodes: list[Any], path: Path) -> dict[int, int]:
    """When each node ends, in microseconds: its duration after the last that it depends on."""
    from graphlib import CycleError, TopologicalSorter

    by_id = {node.id: node for node in nodes}
    before = {node.id: {*node.ctrl_deps, *node.data_deps} for node in nodes}
    for node in nodes:
        missing = before[node.id] - by_id.keys()
        if missing:
            raise InputError(f"{path}: node {node.id} ({node.name}) depends on node {min(missing)}, which is not there")
    ends: dict[int, int] = {}
    try:
        for one in TopologicalSorter(before).static_order():
            ends[one] = max((ends[other] for other in before[one]), default=0) + by_id[one].duration_micros
    except CycleError as error:
        raise InputError(f"{path}: nodes depend on each other in a circle: {error.args[1]}") from None
    return ends


def _nodes(path: Path) -> Iterator[Any]:
    content, place, number = content_of(path), 0, 0
    node = _classes()
    while place < len(content):
        size, begin = _varint(content, place, path)
        if begin + size > len(content):
            raise InputError(
                f"{path}: cut: the message at byte {place} has {size} bytes, {len(content) - begin} follow"
            )
        if number:  # the first is the metadata
            try:
                yield node.FromString(content[begin : begin + size])
            except Exception as error:  # protobuf's own class, which moves between its versions
                raise InputError(f"{path}: the message at byte {place} is no node: {error}") from None
        place, number = begin + size, number + 1


def _varint(content: bytes, place: int, path: Path) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(content[place : place + 10]):
        value |= (byte & 127) << 7 * shift
        if not byte & 128:
            return value, place + shift + 1
    raise InputError(f"{path}: no length at byte {place}: no Chakra trace, or cut")


@cache
def _classes() -> Any:
    """The class of a node, from the part of the schema above."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise ExecutionError("reading Chakra traces needs protobuf: pip install 'commsim[protobuf]'") from None
    file = descriptor_pb2.FileDescriptorProto(name="commsim_et_def.proto", package="ChakraProtoMsg", syntax="proto2")
    for message, fields in (("AttributeProto", ATTRIBUTE), ("Node", NODE)):
        made = file.message_type.add(name=message)
        for name, (number, kind, *label) in fields.items():
            field = made.field.add(name=name, number=number, type=kind, label=label[0] if label else OPTIONAL)
            if kind == MESSAGE:
                field.type_name = ".ChakraProtoMsg.AttributeProto"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ChakraProtoMsg.Node"))
