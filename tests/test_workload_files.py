"""Networks and recorded steps out of files of frameworks; what is wrong with a file is one line with its place."""

import gzip
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from commsim.errors import ExecutionError, InputError
from experiments.workloads import Recorded, find
from experiments.workloads.ddp import bucket_bytes
from experiments.workloads.importers.module import from_module
from experiments.workloads.importers.recording import collective_of

DATA = Path(__file__).parent / "data" / "workloads"
SENT = [("broadcast", 256), ("broadcast", 8), ("allreduce", 4_941_640), ("allreduce", 9984)]


def refused(spec):
    with pytest.raises(InputError) as error:
        find(str(spec))
    assert "\n" not in str(error.value)
    return str(error.value)


def sent(workload):
    return [(one.collective, one.n_bytes) for one in workload.recorded]


# ---- Kineto


def test_a_trace_of_the_profiler_has_what_was_sent_and_when():
    workload = find(str(DATA / "kineto.rank0.json"))
    assert sent(workload) == SENT
    assert [one.dtype for one in workload.recorded] == ["float32", "int64", "float32", "float32"]
    assert [layer.name for layer in workload.layers] == ["forward", "bucket1", "bucket0"]
    assert bucket_bytes(workload, 2**20, 2**20) == (4_941_640, 9984)
    large = workload.recorded[2]
    assert 0.09 < large.ready_s < large.start_s < large.end_s < 0.21  # seconds, not microseconds
    begin_s, end_s = workload.layers[0].forward_s, large.ready_s
    assert begin_s + workload.layers[2].backward_s == pytest.approx(end_s)


def test_a_step_is_chosen_and_the_last_is_the_default():
    last, before = (find(f"{DATA / 'kineto.rank0.json'}:step={step}") for step in (3, 2))
    assert last.recorded == find(str(DATA / "kineto.rank0.json")).recorded
    assert sent(before) == SENT
    assert before.recorded != last.recorded
    assert "unknown step" in refused(f"{DATA / 'kineto.rank0.json'}:step=7")


def test_of_all_ranks_the_last_to_be_ready_counts(tmp_path):
    alone = [find(str(DATA / f"kineto.rank{rank}.json")) for rank in (0, 1)]
    both = find(str(DATA / "kineto.rank*.json"))
    assert sent(both) == SENT
    for one, other, last in zip(alone[0].recorded, alone[1].recorded, both.recorded, strict=True):
        assert last.ready_s == max(one.ready_s, other.ready_s)
    shutil.copy(DATA / "kineto.rank0.json", tmp_path)
    assert f"{tmp_path}/kineto.rank1.json is missing: of 2 ranks" in refused(tmp_path / "kineto.rank*.json")
    other = (DATA / "kineto.rank1.json").read_text().replace("1235410", "1235411")
    (tmp_path / "kineto.rank1.json").write_text(other)
    assert "rank 1 has 4 collectives, rank 0 4; they differ from number 2 on" in refused(tmp_path / "kineto.rank*.json")
    assert "no file is called so" in refused(tmp_path / "none*.json")


def test_a_packed_trace_is_the_same_and_a_cut_one_is_told(tmp_path):
    content = gzip.compress((DATA / "kineto.rank0.json").read_bytes())
    packed = tmp_path / "trace.json.gz"
    packed.write_bytes(content)
    assert sent(find(str(packed))) == SENT
    packed.write_bytes(content[:-20])
    assert f"{packed}: cannot be unpacked" in refused(packed)
    cut = tmp_path / "trace.json"
    cut.write_bytes((DATA / "kineto.rank0.json").read_bytes()[:5000])
    assert f"{cut}: not JSON, or cut: " in refused(cut)


def kineto(path, *events, **more):
    path.write_text(json.dumps({"traceEvents": list(events), **more}))
    return path


def nccl(name, ts, args, cat="cpu_op", dur=1):
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "args": args}


def test_with_nccl_requests_are_records_and_runs_are_kernels(tmp_path):
    def of(word, count_in, count_out, dtype):
        return {"Collective name": word, "In msg nelems": count_in, "Out msg nelems": count_out, "dtype": dtype}

    gather, scatter = of("_allgather_base", 100, 800, "BFloat16"), of("_reduce_scatter_base", 800, 100, "Float")
    path = kineto(
        tmp_path / "trace.json",
        nccl("c10d::_allgather_base_", 10, {"Input Dims": [[800], [100]]}),
        nccl("record_param_comms", 11, gather),
        nccl("record_param_comms", 40, scatter),
        nccl("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", 20, gather, "kernel", 5),
        nccl("ncclDevKernel_ReduceScatter_Sum_f32_RING_LL(…)", 60, scatter, "kernel", 7),
    )
    found = find(str(path)).recorded
    assert sent(find(str(path))) == [("allgather", 1600), ("reduce_scatter", 3200)]
    assert [(one.ready_s, one.start_s, one.end_s) for one in found] == [
        tuple(pytest.approx(value * 1e-6) for value in times) for times in ((1, 10, 15), (30, 50, 57))
    ]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"ph": "X", "name": "a", "ts": "now"}, "event 0 (a): 'ts' is 'now'; microseconds are needed"),
        (7, "event 0 is '7'; an object with 'ph' is needed"),
        ({"ph": "M", "name": "a"}, "none of its 1 events has a duration"),
        (nccl("aten::mm", 1, {}), "the whole trace has no collective"),
        (nccl("c10d::allreduce_", 1, {}), "event 0 (c10d::allreduce_) does not say how much it moves"),
        (nccl("gloo:broadcast", 1, {"Input Dims": [[4]]}), "so no gradient is known"),
        (nccl("gloo:all_reduce", 1, {"Input Dims": [[4]], "Input type": ["quint"]}), "unknown type of event 0"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_by_its_event(event, message, tmp_path):
    path = kineto(tmp_path / "trace.json", event)
    assert message in refused(path)
    assert str(path) in refused(path)


def test_words_of_frameworks():
    words = ("all_reduce", "AllReduce", "_reduce_scatter_base", "allgather_into_tensor", "all_to_all", "wait", "send")
    assert [collective_of(word) for word in words] == [
        *("allreduce", "allreduce", "reduce_scatter", "allgather", "alltoall", None, None)
    ]


# ---- DDP logging data


def test_logging_data_of_ddp_has_its_buckets():
    workload = find(str(DATA / "ddp_logging.json"))
    assert sent(workload) == SENT[2:]
    said = json.loads((DATA / "ddp_logging.json").read_text())
    assert workload.layers[0].forward_s == pytest.approx(said["avg_forward_compute_time"] * 1e-9)
    backward_s = sum(layer.backward_s for layer in workload.layers)
    assert backward_s == pytest.approx(said["avg_backward_compute_time"] * 1e-9)
    assert workload.n_parameters * 4 == said["total_parameter_size_bytes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rebuilt_bucket_sizes": "", "bucket_sizes": ""}, "are empty; save it after a few iterations"),
        ({"rebuilt_bucket_sizes": "12, x"}, "'rebuilt_bucket_sizes' is '12, x'; bytes of buckets"),
        ({"rebuilt_bucket_sizes": "12, 0"}, "has a bucket of 0 bytes"),
        ({"dtypes": "quint"}, "unknown type of gradients"),
        ({"avg_backward_compute_time": "long"}, "'avg_backward_compute_time' is 'long'; nanoseconds are needed"),
    ],
)
def test_logging_data_that_cannot_be_is_refused(changes, message, tmp_path):
    path = tmp_path / "ddp.json"
    path.write_text(json.dumps(json.loads((DATA / "ddp_logging.json").read_text()) | changes))
    assert message in refused(path)
    assert str(path) in refused(path)


# ---- Horovod


def timeline(*, shapes=True, n_steps=2):
    """As horovod/common/timeline.cc writes it: a process for each tensor, the bracket not closed."""
    names = {1: "allreduce.fc.bias", 2: "allreduce.conv1.weight"}
    shape = {1: "[1000]", 2: "[64, 3, 7, 7]"}
    events = [{"name": "process_name", "ph": "M", "pid": pid, "args": {"name": name}} for pid, name in names.items()]
    for step in range(n_steps):
        for pid in names:
            ts = 1000 * step + 100 * pid
            end = {"dtype": "float32", "shape": shape[pid]} if shapes else {}
            events += [
                {"ph": "B", "name": "NEGOTIATE_ALLREDUCE", "ts": ts, "pid": pid},
                {"ph": "X", "name": "0", "ts": ts + 1, "dur": 0, "pid": pid},
                {"ph": "E", "ts": ts + 10, "pid": pid},
                {"ph": "B", "name": "ALLREDUCE", "ts": ts + 20, "pid": pid},
                {"ph": "B", "name": "NCCL_ALLREDUCE", "ts": ts + 22, "pid": pid},
                {"ph": "E", "ts": ts + 60, "pid": pid},
                {"ph": "E", "ts": ts + 70, "pid": pid, "args": end},
            ]
    return "[\n" + "".join(json.dumps(event) + ",\n" for event in events)


def test_a_timeline_of_horovod_has_every_tensor(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text(timeline())
    workload = find(str(path))
    assert sent(workload) == [("allreduce", 4000), ("allreduce", 4 * 64 * 3 * 7 * 7)]
    assert [layer.name for layer in workload.layers] == ["allreduce.conv1.weight", "allreduce.fc.bias"]
    assert [round(1e6 * getattr(workload.recorded[1], key)) for key in ("ready_s", "start_s", "end_s")] == [
        100,
        120,
        170,
    ]
    assert "it has the steps 0 to 1" in refused(f"{path}:step=2")


def test_sizes_that_horovod_does_not_say_are_those_of_a_workload(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text(timeline(shapes=False))
    assert "the size of tensor 'allreduce.fc.bias' is not in it; say which network" in refused(path)
    assert sent(find(f"{path}:tensors=resnet50")) == [("allreduce", 4000), ("allreduce", 4 * 64 * 3 * 7 * 7)]
    assert "is not in that workload" in refused(f"{path}:tensors=vgg16")
    path.write_text(timeline()[:-30])
    assert "not JSON, or cut" in refused(path)
    path.write_text('[{"ph": "M", "name": "process_name"}]')
    assert "no tensor was exchanged" in refused(path)


# ---- Chakra: written here by hand, field by field, so that reader and test share nothing


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(number, name, kind, start_us, duration_us, *, after=(), **attributes):
    body = field(1, number) + field(2, name) + field(3, kind) + b"".join(field(5, one) for one in after)
    body += (field(6, start_us) if start_us else b"") + field(7, duration_us)
    for key, value in attributes.items():
        body += field(10, field(1, key) + field(13 if key == "comm_size" else 9, value))
    return varint(len(body)) + body


COMPUTE, COLLECTIVE = 4, 7


def chakra(path, *nodes):
    metadata = field(1, "1.1.1-chakra.0.0.4")
    path.write_bytes(varint(len(metadata)) + metadata + b"".join(nodes))
    return path


def step_of(*, timed):
    at = (lambda us: 5000 + us) if timed else (lambda us: 0)
    return (
        node(1, "forward", COMPUTE, at(0), 100),
        node(2, "backward", COMPUTE, at(100), 200, after=[1]),
        node(3, "c10d::allreduce_", COLLECTIVE, at(300), 1, after=[2]),
        node(4, "nccl:all_reduce", COLLECTIVE, at(300), 70, after=[2], comm_type=0, comm_size=8_196_000),
        node(5, "nccl:_reduce_scatter_base", COLLECTIVE, at(370), 30, after=[4], comm_type=7, comm_size=400),
        node(6, "nccl:broadcast", COLLECTIVE, at(400), 10, after=[5], comm_type=5, comm_size=424),
    )


@pytest.mark.parametrize("timed", [True, False])
def test_a_chakra_trace_has_what_carries_a_size(timed, tmp_path):
    pytest.importorskip("google.protobuf")
    workload = find(f"{chakra(tmp_path / 'chakra.0.et', *step_of(timed=timed))}:dtype=bfloat16")
    assert sent(workload) == [("allreduce", 8_196_000), ("reduce_scatter", 400), ("broadcast", 424)]
    assert [(round(1e6 * one.ready_s), round(1e6 * one.end_s)) for one in workload.recorded] == [
        *((300, 370), (370, 400), (400, 410))
    ]
    assert workload.gradient_bytes_by_dtype == {"bfloat16": 8_196_400}


def test_a_chakra_trace_that_cannot_be_is_refused(tmp_path):
    pytest.importorskip("google.protobuf")
    whole = chakra(tmp_path / "chakra.0.et", *step_of(timed=False)).read_bytes()
    cut = tmp_path / "cut.et"
    cut.write_bytes(whole[:-3])
    assert f"{cut}: cut: the message at byte " in refused(cut)
    cut.write_bytes(b"\xff" * 20)
    assert "no length at byte 0: no Chakra trace, or cut" in refused(cut)
    cut.write_bytes(whole[: whole.index(b"forward")][:-5])
    assert "so no gradient is known" in refused(cut)
    lost = chakra(tmp_path / "lost.et", node(4, "x", COLLECTIVE, 0, 7, after=[2], comm_type=0, comm_size=8))
    assert "node 4 (x) depends on node 2, which is not there" in refused(lost)
    circle = (node(1, "a", COMPUTE, 0, 1, after=[2]), node(2, "b", COMPUTE, 0, 1, after=[1]))
    assert "in a circle" in refused(chakra(lost, *circle))
    kind = chakra(lost, node(4, "x", COLLECTIVE, 9, 7, comm_type=12, comm_size=8))
    assert "'comm_type' is 12; known: 0 to 9" in refused(kind)
    shutil.copy(tmp_path / "chakra.0.et", tmp_path / "chakra.2.et")
    assert f"{tmp_path}/chakra.1.et is missing: of 3 ranks" in refused(tmp_path / "chakra.*.et")


# ---- ONNX


def light(name):
    """A network without weights that the package onnx brings."""
    onnx = pytest.importorskip("onnx")
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"


@pytest.mark.parametrize(("name", "spec"), [("resnet50", "resnet50"), ("vgg19", "vgg19")])
def test_an_onnx_file_is_the_built_in_network(name, spec):
    read, built_in = find(str(light(name))), find(spec)
    assert sorted(one.shape for one in read.gradients) == sorted(one.shape for one in built_in.gradients)
    assert read.forward_flops == built_in.forward_flops
    assert bucket_bytes(read)[0] == bucket_bytes(built_in)[0]


def test_what_batch_normalisation_keeps_is_no_gradient():
    workload = find(str(light("resnet50")))
    assert len(workload.buffers) == 2 * 53
    assert sum(one.n_bytes for one in workload.buffers) == 212_480


def test_products_of_an_onnx_graph_are_counted(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = [helper.make_tensor(name, 1, shape, [0.0] * 12) for name, shape in (("w", (4, 3)), ("v", (3, 4)))]
    scalar = helper.make_tensor("one", 1, (), [1.0])
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="first", transB=0),
        helper.make_node("Mul", ["h", "one"], ["i"], name="scaled"),
        helper.make_node("MatMul", ["i", "v"], ["y"], name="second"),
    ]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", (8, 4)), ("y", (8, 4)))]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], [*weights, scalar])
    path = tmp_path / "net.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    workload = find(f"{path}:dtype=bfloat16")
    assert [(layer.name, [one.name for one in layer.tensors]) for layer in workload.layers] == [
        *(("first", ["w"]), ("second", ["v"]))
    ]
    assert workload.layers[0].forward_flops == 2 * 4 * 3
    assert workload.gradient_bytes == 2 * 24


def test_a_file_that_is_no_onnx_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(light("resnet50").read_bytes()[:4000])
    assert f"{path}: no ONNX file, or cut" in refused(path)
    path.write_bytes(b"")
    assert f"{path}: its graph is empty" in refused(path)
    assert "No such file" in refused(tmp_path / "none.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExecutionError, match=r"pip install 'commsim\[onnx\]'"):
        find(str(path))


# ---- modules

STAND_IN = """
from types import SimpleNamespace as Parameter

class Net:
    def named_parameters(self):
        yield "stem.weight", Parameter(shape=(8, 3), dtype="torch.float32")
        yield "stem.bias", Parameter(shape=(8,), dtype="torch.float32", requires_grad=False)
        yield "head.weight", Parameter(shape=(2, 8), dtype="torch.bfloat16")

    def named_buffers(self):
        yield "stem.mean", Parameter(shape=(8,), dtype="torch.float32")

ready = Net()
number = 3

def broken():
    raise ValueError("no such size")
"""


def test_a_module_needs_named_parameters_alone(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(STAND_IN)
    for name in ("Net", "ready"):
        workload = find(f"{path}:module={name}")
        assert [layer.name for layer in workload.layers] == ["stem", "head"]
        assert workload.gradient_bytes_by_dtype == {"float32": 96, "bfloat16": 32}
        assert [one.name for one in workload.buffers] == ["stem.bias", "stem.mean"]
    assert "unknown module in" in refused(path)
    assert "'number' is a int" in refused(f"{path}:module=number")
    assert "broken(): ValueError: no such size" in refused(f"{path}:module=broken")
    path.write_text("import nothing_of_that_name")
    assert "while it was read: ModuleNotFoundError" in refused(path)
    with pytest.raises(InputError, match=r"has no named_parameters\(\)"):
        from_module(SimpleNamespace(), "mine")


def test_a_module_of_pytorch():
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 2))
    workload = from_module(net)
    assert [one.shape for one in workload.gradients] == [(8, 3, 3, 3), (8,), (8,), (8,), (2, 8), (2,)]
    assert [one.name for one in workload.buffers] == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]


def test_the_command_lists_files_and_refuses_them_in_a_line(commsim, tmp_path):
    code, out, _ = commsim("list", "workloads", DATA / "kineto.rank*.json", "--format", "json")
    assert code == 0
    assert json.loads(out)[0]["n_bytes"] == 4_951_624
    code, _, err = commsim("list", "workloads", kineto(tmp_path / "trace.json"))
    assert (code, err.count("\n")) == (2, 1)


def test_a_recorded_collective_that_cannot_be_is_not_made():
    with pytest.raises(InputError, match="ready at -1 s"):
        Recorded("allreduce", 4, -1)
    with pytest.raises(InputError, match="unknown collective"):
        Recorded("allreduced", 4, 0)
