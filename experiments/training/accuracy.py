"""Scaling efficiency predicted beside published measurements: ``python -m experiments.training.accuracy`` (make docs).

Every set is predicted from the throughput of one device (or node), the topology and the policy. Nothing is fitted to
the rows that are scored, but for what a table names.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

import topologies
from commsim import System
from commsim.units import format_time
from experiments import policies, workloads
from experiments.marks import between_marks
from experiments.training import ComputeSource, Conditions, Training, simulate_step
from experiments.training.published import rows_of, source_of

VARIATION = 0.02
"""ASSUMED (2026-11): from step to step a rank's compute time varies by 2 % (standard deviation), and all wait for the
slowest. One figure for all sets; it was chosen knowing that compute-bound runs on DGX lose 2 to 3 % on 8 GPUs."""

HOROVOD = "horovod:cycle=1ms"
"""ASSUMED (2026-11), from memory: 1 ms is Horovod's default since 0.19."""

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"


@dataclass(frozen=True)
class Scored:
    """One row: scaling efficiency as measured, predicted, and by two predictors that need no simulation of overlap.

    Attributes
    ----------
    label : str
    n_ranks : int
    measured, predicted, no_overlap : float
        Efficiency against the first row of its series. That of no communication is 1.
    """

    label: str
    n_ranks: int
    measured: float
    predicted: float
    no_overlap: float

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
        both = [(abs(r.error), 100 * abs(1 - r.measured), 100 * abs(r.no_overlap - r.measured)) for r in self.rows]
        mine, none, plain = (statistics.median(column) for column in zip(*both, strict=True))
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
    """ResNet-50 on ABCI V nodes with Horovod, against one node."""
    name = "abci2_resnet50_horovod_scaling"
    rows = [row for row in rows_of(name) if row["node_type"] == "vnode"]
    first = float(rows[0]["train_s"])
    images_per_s = EPOCHS * IMAGENET_IMAGES / first / 4
    training = _training("resnet50", HOROVOD, images_per_s)
    scored = []
    for row in rows[1:]:
        nodes = int(row["nodes"])
        batch = float(row["batch_per_gpu"])
        both = _efficiency(training, lambda n: topologies.find(f"abci_v:nodes={n // 4}"), batch, 4 * nodes, base=4)
        scored.append(Scored(f"{nodes} nodes", 4 * nodes, first / nodes / float(row["train_s"]), *both))
    how = f"{HOROVOD} over NCCL; from the time of one node, which holds validation and input too"
    return Set("ABCI V, ResNet-50", source_of(name), how, tuple(scored))


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


def section() -> str:
    """The training section of docs/accuracy.md."""
    sets = [abci(), hkbu(), dgx()]
    lines = [
        "| set | rows | median error | no communication | no overlap |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {one.name} | {len(one.rows)} | {one.errors[0]:.1f} | {one.errors[1]:.1f} | {one.errors[2]:.1f} |"
            for one in sets
        ),
        "",
        "Errors are medians of |predicted − measured| scaling efficiency in percentage points, set by set.",
        "",
    ]
    for one in sets:
        lines += [f"**{one.name}.** {one.source}. {one.how}.", "", *_rows(one), ""]
    overhead_s, times = osu_caffe()
    lines += [
        "**OSU-Caffe, CIFAR10-quick, batch 2048, strong scaling.** A fit, no prediction: its cluster is not stated. "
        f"One free parameter, what a call takes before its first message: {format_time(overhead_s)}. {OSU_STEPS} "
        "iterations and a cable of InfiniBand FDR for each GPU are ASSUMED.",
        "",
        "| GPUs | measured | fitted | error |",
        "| ---: | ---: | ---: | ---: |",
        *(f"| {n} | {a:.1f} s | {b:.1f} s | {100 * (b / a - 1):+.1f} % |" for n, a, b in times),
        "",
    ]
    return "\n".join(lines)


def _rows(one: Set) -> list[str]:
    """A row each, or where there are many the medians of each series."""
    if len(one.rows) <= MOST_ROWS:
        return [
            "| | ranks | measured | predicted | no overlap |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(
                f"| {r.label} | {r.n_ranks} | {100 * r.measured:.1f} % | {100 * r.predicted:.1f} % "
                f"| {100 * r.no_overlap:.1f} % |"
                for r in one.rows
            ),
        ]
    by_method: dict[str, list[Scored]] = {}
    for row in one.rows:
        by_method.setdefault(row.label.rpartition(", ")[2], []).append(row)
    return [
        "| method | rows | median error | no communication | no overlap |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            "| {} | {} | {:.1f} | {:.1f} | {:.1f} |".format(method, len(rows), *replace(one, rows=tuple(rows)).errors)
            for method, rows in by_method.items()
        ),
    ]


MOST_ROWS = 24


def main() -> None:
    """Write the section."""
    PAGE.write_text(between_marks(PAGE.read_text(), "training", section()))
    sys.stdout.write(f"training in {PAGE}\n")


if __name__ == "__main__":
    main()
