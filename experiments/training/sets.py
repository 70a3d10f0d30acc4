"""Sets of published measurements of training, each with its predictions.

Every set is predicted from the throughput of one device (or node), the topology and the policy. Nothing is fitted to
the rows that are scored, but for what a table names.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

import topologies
from commsim import System
from experiments import policies, workloads
from experiments.training import ComputeSource, Conditions, Training, simulate_step
from experiments.training.published import rows_of, source_of

VARIATION = 0.02
"""ASSUMED (2026-11): from step to step a rank's compute time varies by 2 % (standard deviation), and all wait for the
slowest. One figure for all sets; it was chosen knowing that compute-bound runs on DGX lose 2 to 3 % on 8 GPUs."""

HOROVOD = "horovod:cycle=1ms,fusion=128MiB"
"""The defaults of Horovod 0.21.3, which ABCI's container has (horovod/common/operations.cc, lines 444 and 452)."""


@dataclass(frozen=True)
class Scored:
    """One row: scaling efficiency as measured, predicted, and by two predictors that need no simulation of overlap.

    Attributes
    ----------
    label : str
    n_ranks : int
    measured, predicted, no_overlap, no_communication : float
        Efficiency against the first row of its series.
    """

    label: str
    n_ranks: int
    measured: float
    predicted: float
    no_overlap: float
    no_communication: float = 1.0

    @property
    def error(self) -> float:
        """Predicted less measured, in percentage points."""
        return 100 * (self.predicted - self.measured)


@dataclass(frozen=True)
class Set:
    """Rows of one source, and what was assumed or fitted."""

    name: str
    source: str
    how: str
    rows: tuple[Scored, ...]

    @property
    def errors(self) -> tuple[float, float, float]:
        """Medians of the absolute errors: predicted, no communication, no overlap; percentage points."""
        mine, none, plain = (
            100 * statistics.median(abs(getattr(row, by) - row.measured) for row in self.rows)
            for by in ("predicted", "no_communication", "no_overlap")
        )
        return mine, none, plain


def _efficiency(
    training: Training, machine: Callable[[int], System], batch: float, n_ranks: int, base: int = 1
) -> tuple[float, float]:
    """Predicted efficiency against `base` ranks: as the policy says, and one bucket after the backward pass."""
    plain = replace(training, policy=_unlapped(training), conditions=Conditions())
    found = []
    for one in (training, plain):
        per_s = [simulate_step(one, machine(n), batch, n).samples_per_s / n for n in (n_ranks, base)]
        found.append(per_s[0] / per_s[1])
    return found[0], found[1]


def _unlapped(training: Training) -> policies.Policy:
    one = policies.find("one_bucket")
    return replace(one, backend=training.policy.backend, wire=training.policy.wire)


def _training(model: str, policy: str, throughput_per_s: float, **given: Sequence[str]) -> Training:
    source, conditions = ComputeSource(throughput_per_s=throughput_per_s), Conditions(variation=VARIATION)
    return Training(
        _workload(model), policies.find(policy), compute=source, conditions=conditions, algorithms=dict(given)
    )


@lru_cache
def _workload(name: str) -> workloads.Workload:
    return workloads.find(name)


def abci() -> Set:
    """ResNet-50 on ABCI V nodes with Horovod, against one node: of the wall time of 90 epochs."""
    name = "abci2_resnet50_horovod_scaling"
    rows = [row for row in rows_of(name) if row["node_type"] == "vnode"]
    first, fixed_s = float(rows[0]["train_s"]), abci_fixed_s()
    training = _training("resnet50", HOROVOD, EPOCHS * IMAGENET_IMAGES / (first - fixed_s) / 4)
    scored = []
    for row in rows[1:]:
        nodes = int(row["nodes"])
        batch = float(row["batch_per_gpu"])
        steps = _efficiency(training, lambda n: topologies.find(f"abci_v:nodes={n // 4}"), batch, 4 * nodes, base=4)
        ours, plain, none = (first / ((first - fixed_s) / one + nodes * fixed_s) for one in (*steps, 1.0))
        scored.append(Scored(f"{nodes} nodes", 4 * nodes, first / nodes / float(row["train_s"]), ours, plain, none))
    how = (
        f"{HOROVOD} over NCCL; from the time of one node, of which {fixed_s:.0f} s do not shrink with the nodes: "
        "fitted on one V and one A node beside their throughputs. The other predictors have them, too"
    )
    return Set("ABCI V, ResNet-50", source_of(name), how, tuple(scored))


def abci_fixed_s() -> float:
    """What 90 epochs on one node take that does not depend on how fast it computes.

    Both kinds of node are measured with a training and with a throughput: the training's time is taken for a multiple
    of the computing time, the same on both, and a fixed one.
    """
    whole_s = {
        r["node_type"]: float(r["train_s"]) for r in rows_of("abci2_resnet50_horovod_scaling") if r["nodes"] == "1"
    }
    per_s = {int(row["gpus"]): row for row in rows_of("abci2_resnet50_single_node_ips")}
    v_s, a_s = (EPOCHS * IMAGENET_IMAGES / float(one) for one in (per_s[4]["V_fp32"], per_s[8]["A_fp32_tf32"]))
    multiple = (whole_s["vnode"] - whole_s["anode"]) / (v_s - a_s)
    return whole_s["vnode"] - multiple * v_s


EPOCHS, IMAGENET_IMAGES = 90, 1_281_167

DGX = {
    "DGX A100 80GB": ("dgx_a100", {"AMP": 512, "TF32": 256}),
    "DGX-1 V100 16GB": ("dgx1_v100", {"AMP": 192, "FP32": 96}),
    "DGX-2 16x V100 32GB": ("dgx2", {"AMP": 256, "FP32": 128}),
}


def dgx() -> Set:
    """ResNet-50 in DGX nodes with MXNet and Horovod, against one GPU."""
    name = "nvidia_dle_training_scaling"
    scored = []
    alone = {(row["system"], row["precision"]): float(row["throughput"]) for row in rows_of(name) if row["gpus"] == "1"}
    for row in rows_of(name):
        system, batches = DGX[row["system"]]
        gpus, throughput = int(row["gpus"]), float(row["throughput"])
        if gpus == 1:
            continue
        base = alone[row["system"], row["precision"]]
        wire = ",wire=float16" if row["precision"] == "AMP" else ""
        training = _training("resnet50", HOROVOD + wire, base)
        both = _efficiency(training, lambda _, system=system: topologies.find(system), batches[row["precision"]], gpus)  # type: ignore[misc]
        scored.append(Scored(f"{row['system']}, {row['precision']}", gpus, throughput / gpus / base, *both))
    how = f"{HOROVOD} over NCCL, 16-bit gradients under AMP; from the throughput of one GPU"
    return Set("DGX, ResNet-50", source_of(name), how, tuple(scored))


MODELS = {"ResNet-50": "resnet50", "BERT-Large": "bert:size=large", "BERT-Base": "bert:size=base"}
METHODS = {
    "BSP-A2A": ("one_bucket", "ring"),
    "WFBP-A2A": ("per_tensor", "ring"),
    "MG-WFBP": ("merged", "ring"),
    "ByteScheduler-A2A": ("prioritised", "ring"),
    "BSP-PS": ("one_bucket", "node_split"),
    "WFBP-PS": ("per_tensor", "node_split"),
    "ByteScheduler-PS": ("prioritised", "node_split"),
}
"""What each method is here. BytePS sums in the nodes, and its servers stand on all nodes: a split by nodes."""

NETWORKS = {
    "10GbE with TCP/IP": "network_bandwidth=1.177GB/s,network_latency=12us",
    "100GbIB with RDMA": "network_bandwidth=12GB/s,network_latency=650ns",
}
"""10GbE: 1448 of 1538 bytes of a frame, 24 us between hosts (ASSUMED, 2026-11); EDR through PCIe 3 x16, as ABCI's."""

BANDWIDTHS_BPS = tuple(float(value) for value in np.geomspace(2e9, 12e9, 19))


def _hkbu_machine(bandwidth_Bps: float, network: str, nodes: int) -> System:
    keys = "sockets=1,switches_per_socket=1,gpus_per_switch=4,nics_per_switch=1,latency=1us"
    return _found(f"pcie_tree:nodes={nodes},{keys},bandwidth={bandwidth_Bps / 1e9:.4g}GB/s,{NETWORKS[network]}")


@lru_cache
def _found(spec: str) -> System:
    return topologies.find(spec)


def _hkbu_case(row: dict[str, str], n_ranks: int, bandwidth_Bps: float) -> tuple[float, float]:
    policy, algorithm = METHODS[row["method"]]
    training = _training(MODELS[row["model"]], policy, float(row["gpu1"]), allreduce=(algorithm,))
    return _efficiency(
        training,
        lambda n: _hkbu_machine(bandwidth_Bps, row["network"], max(n // 4, 1)),
        float(row["batch_per_gpu"]),
        n_ranks,
    )


def _measured(row: dict[str, str], n_ranks: int) -> float:
    return float(row[f"gpu{n_ranks}"]) / n_ranks / float(row["gpu1"])


def fitted_bandwidth(rows: Sequence[dict[str, str]], candidates: Iterable[float] = BANDWIDTHS_BPS) -> float:
    """The in-node bandwidth that fits the rows of 4 GPUs without overlap best."""
    plain = [row for row in rows if row["method"] == "BSP-A2A"]

    def misfit(bandwidth_Bps: float) -> float:
        return sum((_hkbu_case(row, 4, bandwidth_Bps)[0] - _measured(row, 4)) ** 2 for row in plain)

    return min(candidates, key=misfit)


def hkbu(n_ranks: Sequence[int] = (8, 16, 32)) -> Set:
    """Gradient exchange of three models by seven methods on two networks, against one GPU."""
    name = "hkbu_ddl_scaling"
    rows = rows_of(name)
    bandwidth_Bps = fitted_bandwidth(rows)
    scored = [
        Scored(
            f"{row['model']}, {row['network'].split()[0]}, {row['method']}",
            n,
            _measured(row, n),
            *_hkbu_case(row, n, bandwidth_Bps),
        )
        for row in rows
        for n in n_ranks
    ]
    how = (
        f"one parameter fitted on the 4-GPU rows without overlap: {bandwidth_Bps / 1e9:.2f} GB/s between the GPUs of a "
        "node; scored on 8, 16 and 32 GPUs"
    )
    return Set("HKBU, gradient exchange", source_of(name), how, tuple(scored))


P100 = {"InceptionV3": "inception_v3", "ResNet-101": "resnet101", "Alexnet": "alexnet", "VGG16": "vgg16"}
P100_BATCH = {"Alexnet": 512}
"""Of one GPU; 64 where nothing is said."""


def p100_per_s(model: str) -> float:
    """Images per second of one P100 with TensorFlow; what was not measured follows ResNet-152 by FLOPs."""
    found = {row["model"]: row for row in _one_node_p100()}
    if model in found:
        return float(found[model]["images_per_s"])
    flops = [sum(layer.forward_flops for layer in _workload(name).layers) for name in ("resnet152", P100[model])]
    return float(found["ResNet-152"]["images_per_s"]) * flops[0] / flops[1]


def _one_node_p100(gpus: int = 1) -> list[dict[str, str]]:
    rows = [row for row in rows_of("tf_cnn_benchmarks_2017") if row["system"].startswith("DGX-1 P100")]
    return [row for row in rows if row["data"] == "synthetic" and int(row["gpus"]) == gpus]


def tf_cnn() -> Set:
    """AlexNet and VGG-16 in a DGX-1 with TensorFlow, of which NCCL exchanges the gradients; against one GPU."""
    scored = []
    for row in (row for n in (2, 4, 8) for row in _one_node_p100(n) if row["model"] in ("Alexnet", "VGG16")):
        model, gpus, base = row["model"], int(row["gpus"]), p100_per_s(row["model"])
        batch = P100_BATCH.get(model, 64)
        both = _efficiency(
            _training(P100[model], "per_tensor", base), lambda _: topologies.find("dgx1_p100"), batch, gpus
        )
        scored.append(Scored(model, gpus, float(row["images_per_s"]) / gpus / base, *both))
    how = "per_tensor over NCCL; from the throughput of one GPU, data made up on it"
    return Set("DGX-1 P100, TensorFlow", source_of("tf_cnn_benchmarks_2017"), how, tuple(scored))


HEADLINES = {"Inception V3": "InceptionV3", "ResNet-101": "ResNet-101", "VGG-16": "VGG16"}
FIRST_HOROVOD = "horovod:cycle=5ms,fusion=64MiB"
P100_SERVER = "sockets=1,switches_per_socket=1,gpus_per_switch=4,nics_per_switch=1,latency=1us,bandwidth=12GB/s"
ROCE_25 = "network_bandwidth=3GB/s,network_latency=1us"
"""ASSUMED (2026-11): four P100 and the NIC on one PCIe 3 switch; 25 Gb/s less 4 % of headers; 2 us between hosts."""


def headlines() -> Set:
    """Three networks on 128 servers of 4 P100 with Horovod, against one GPU."""
    name = "published_dnn_scaling_headlines"
    scored = []
    for row in rows_of(name):
        if row["who"] != "Horovod README" or row["workload"] not in HEADLINES:
            continue
        model, gpus = HEADLINES[row["workload"]], int(row["gpus"])
        both = _efficiency(_training(P100[model], FIRST_HOROVOD, p100_per_s(model)), _p100_servers, 64, gpus)
        scored.append(Scored(row["workload"], gpus, float(row["value"]), *both))
    how = (
        f"{FIRST_HOROVOD} over NCCL (arXiv:1802.05799); from the throughput of one P100 above, ResNet-101's "
        "by FLOPs; 64 images a GPU and the servers' inside are ASSUMED"
    )
    return Set("Horovod's headlines", "github.com/horovod/horovod docs/benchmarks.rst", how, tuple(scored))


def _p100_servers(n_ranks: int) -> System:
    return _found(f"pcie_tree:nodes={max(n_ranks // 4, 1)},{P100_SERVER},{ROCE_25}")


def osu_caffe() -> tuple[float, list[tuple[int, float, float]]]:
    """The lecture's strong scaling of CIFAR10-quick: the fitted overhead of a call; GPUs, measured s and fitted s."""
    rows = [row for row in rows_of("published_dnn_scaling_headlines") if row["who"].startswith("Lecture")]
    measured = {int(row["gpus"]): float(row["value"]) for row in rows}

    star = topologies.find(OSU_MACHINE)
    training = replace(
        _training("cifar10_quick", "osu_caffe", OSU_STEPS * OSU_BATCH / measured[1]), conditions=Conditions()
    )

    def predicted(overhead_s: float) -> dict[int, float]:
        policy = replace(training.policy, backend=replace(training.policy.backend, overhead_s=overhead_s))
        return {
            n: OSU_STEPS * simulate_step(replace(training, policy=policy), star, OSU_BATCH / n, n).step_s
            for n in measured
        }

    def misfit(overhead_s: float) -> float:
        return sum(float(np.log(time_s / measured[n])) ** 2 for n, time_s in predicted(overhead_s).items())

    best = min((float(value) for value in np.geomspace(1e-6, 2e-3, 67)), key=misfit)
    return best, [(n, measured[n], time_s) for n, time_s in predicted(best).items()]


OSU_MACHINE = "star:hosts=4,bandwidth=6.8GB/s,latency=700ns"
"""A cable of InfiniBand FDR for each GPU, ASSUMED (2026-11): the lecture states no cluster."""

OSU_BATCH, OSU_STEPS = 2048, 4000
"""The lecture's batch; iterations of Caffe's cifar10_quick_solver.prototxt (its first stage), ASSUMED (2026-11)."""
