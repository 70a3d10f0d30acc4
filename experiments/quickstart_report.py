"""What the quickstart writes for people: its figures, and its findings in words."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from commsim.units import format_bytes, format_money, format_time
from experiments import figures
from experiments.calibrate import noted
from experiments.comparison import Comparison
from experiments.figures.exchange import exchanged
from experiments.figures.training import scaling_curve
from experiments.findings import STEP_COLUMNS, Findings, comparison_rows, drift_line, step_rows
from experiments.output import provenance
from experiments.planning.output import columns, duration
from experiments.ranks import describe
from experiments.report import Section, Table, write_report
from experiments.scaling import Curve
from experiments.validate import score_line
from experiments.workloads import RESNET50_DDP_BUCKETS

ORDER = ("recursive_doubling", "ring", "rabenseifner", "node_split")  # of colours, the same in all figures
COMPARISON_COLUMNS = ("algorithm", "size", "predicted", "measured", "error", "bottleneck of the prediction")


def write_all(found: Findings, folder: Path) -> Path:
    """Write figures and the report; the report's path."""
    drawn = folder / "figures"
    sections = [
        _measured_section(found, drawn),
        _buckets_section(found, drawn),
        _exchange_section(found, drawn),
        _plan_section(found, drawn),
        _published_section(found, drawn),
        _calibration_section(found, drawn),
        _method_section(found),
    ]
    path = folder / "report.html"
    write_report(path, sections, title="commsim quickstart", lead=_lead(found), facts=_facts(found))
    return path


def _lead(found: Findings) -> str:
    rows = [row for part in found.rows.values() for row in part]
    typical, last = statistics.median(abs(row.error) for row in rows), found.plan[-1]
    crowded = " These ranks shared cores: their times are not speeds." if found.system.notes["oversubscribed"] else ""
    step = last.step
    return (
        f"{len(rows)} collectives ran on {found.n_ranks} real ranks of this host and were predicted from messages and "
        f"reductions alone; the median prediction is off by {100 * typical:.0f} %.{crowded} "
        f"ResNet-50 trains for 90 epochs in {duration(last.time_s)} on {step.parallel.n_ranks} H100s for "
        f"{format_money(last.bill.price_usd or 0.0)} (ASSUMED); {100 * step.exposed_s / step.step_s:.1f} % of a step "
        f"is exposed exchange, whose bottleneck is {step.main_bottleneck}."
    )


def _facts(found: Findings) -> dict[str, str]:
    notes, made = dict(found.system.notes), provenance()
    return {
        "ranks": describe(notes),
        "software": f"commsim {made['commsim']}, Python {made['python']}, numpy {made['numpy']}",
        "model": "fluid: max-min fair sharing of every link, both ends of a message held until delivery",
        "all results": "checked after the timed iterations of every run, no element wrong",
    }


def _svg(figure: Figure, folder: Path, name: str) -> Path:
    return figures.save(figure, folder, name)[1]


def _measured_section(found: Findings, folder: Path) -> Section:
    shown = []
    for name in ("allreduce", "broadcast"):
        figure = figures.predicted_and_measured(
            found.rows[name],
            f"{name} on {found.n_ranks} ranks of this host",
            library_s=found.library_s(name),
            order=ORDER if name == "allreduce" else (),
        )
        score = score_line(found.rows[name])
        caption = f"{name}: measured (markers) and predicted (lines); error of each row below. {score}."
        shown.append((_svg(figure, folder, name), caption))
    return Section(
        "Predicted beside measured",
        (
            "Every row ran the same algorithm text that was simulated. The calibration knows nothing of collectives: "
            "it is fitted on single messages between ranks and on local reductions.",
            "What is not in the model: the state of the caches beyond what a single message sees, ranks that disturb "
            "each other on a shared memory bus, and the launcher's noise at small sizes.",
        ),
        tuple(shown),
        tuple((_comparison_table(found.rows[name]), f"{name}, every row") for name in ("allreduce", "broadcast")),
    )


def _comparison_table(rows: Sequence[Comparison]) -> Table:
    return Table(COMPARISON_COLUMNS, tuple(comparison_rows(rows)), align="lrrrrl")


def _buckets_section(found: Findings, folder: Path) -> Section:
    rows = found.rows["buckets"]
    figure = figures.buckets(rows, library_s=found.library_s("buckets"), order=ORDER)
    total = sum(RESNET50_DDP_BUCKETS)
    text = (
        f"PyTorch DDP sends ResNet-50's {total} bytes of float32 gradients as five allreduces of "
        f"{', '.join(map(str, RESNET50_DDP_BUCKETS))} bytes. The first is not 1 MiB, the cap of the first bucket, "
        "because one tensor alone is larger.",
        _exchange_sentence(found),
    )
    caption = f"One exchange of ResNet-50's gradients, bucket by bucket. {score_line(rows)}."
    table = (_comparison_table(rows), "ResNet-50 buckets, every row")
    return Section("ResNet-50's gradient buckets", text, ((_svg(figure, folder, "buckets"), caption),), (table,))


def _exchange_section(found: Findings, folder: Path) -> Section:
    figure = exchanged(found.steps, found.computed_s, order=ORDER)
    worst = max(found.steps, key=lambda one: abs(one.error))
    text = (
        "A training loop with ResNet-50's gradients on the same ranks: its compute is emulated "
        f"({format_time(found.computed_s)} a step), PyTorch DDP's buckets go on a communication thread beside the "
        "backward pass. The prediction plays the same step with calls as long as the simulator says, from a "
        "calibration with cold caches (host_cold.toml).",
        f"The step that is predicted worst, by {worst.algorithm}, is off by {100 * abs(worst.error):.1f} %.",
    )
    caption = "When calls were on their way in a step: measured above, predicted below; the mark ends the step."
    table = (Table(STEP_COLUMNS, tuple(step_rows(found)), align="lrrrrr"), "Steps, and how long they waited for calls.")
    return Section("A training step on real ranks", text, ((_svg(figure, folder, "exchange"), caption),), (table,))


def _exchange_sentence(found: Findings) -> str:
    """Sums over the five buckets, for each algorithm and the library."""
    rows = found.rows["buckets"]
    parts = []
    for name in dict.fromkeys(row.algorithm for row in rows):
        mine = [row for row in rows if row.algorithm == name]
        predicted, measured = sum(row.predicted_s for row in mine), sum(row.measured_s for row in mine)
        error = f"{100 * (predicted / measured - 1):+.1f} %"
        parts.append(f"{name} {format_time(measured)} (predicted {format_time(predicted)}, {error})")
    library_s = sum(found.library_s("buckets").values())
    return f"One whole exchange took: {'; '.join(parts)}; the MPI library {format_time(library_s)}."


def _plan_section(found: Findings, folder: Path) -> Section:
    figure = scaling_curve(Curve.of([option.step for option in found.plan]))
    last = found.plan[-1].step
    text = (
        "A training step of ResNet-50 on DGX H100 nodes: 8 GPUs behind an NVSwitch, eight 400 Gb/s NICs on rails, "
        "a non-blocking rail-optimised fabric. Gradients go as PyTorch DDP sends them, beside the backward pass; each "
        "bucket takes the fastest algorithm that NCCL has for it.",
        f"{last.batch:g} images a GPU; compute: {last.compute_source}. Prices and power: "
        "experiments/planning/prices.toml, ASSUMED; copy it and pass yours with --prices.",
        "ASSUMED of the machine: " + "; ".join(f"{key}: {value}" for key, value in _assumed().items()) + ".",
    )
    shown = columns(found.plan)
    table = Table(
        tuple(one.title for one in shown),
        tuple(zip(*(one.cells for one in shown), strict=True)),
        align="".join("l" if one.left else "r" for one in shown),
    )
    caption = "Images per second beside the ideal line, and where the time of a step goes, by number of GPUs."
    return Section(
        "What to buy: ResNet-50 on DGX H100",
        text,
        ((_svg(figure, folder, "scaling"), caption),),
        ((table, "Time and money to train 90 epochs of ImageNet (* no other is both faster and cheaper)."),),
    )


def _assumed() -> dict[str, str]:
    import topologies

    return dict(topologies.dgx_h100(nodes=1).assumed)


def _published_section(found: Findings, folder: Path) -> Section:
    header = found.published.header
    theirs = f"NCCL {header['software'].removeprefix('NCCL ')}, {header['algorithm/protocol'].split(' ')[0]}, measured"
    figure = figures.against_published(
        found.published.points, found.curves, published_label=theirs, collective="allreduce", n_ranks=16, order=ORDER
    )
    text = (
        f"Published: {header['system']}. Source: {header['source']}. It ran {header['algorithm/protocol']}.",
        "Ours are other algorithms, so the curves must differ. NCCL's NVLSTree lets the NVSwitch add up the node's "
        "vectors on the way (each GPU sends its vector into the switch once, instead of 2(p-1)/p times) and pipelines "
        "the node's part with the tree between the nodes. node_split does the same three phases one after the other, "
        "with a ring inside the node, so its phases add up instead of overlapping. One plain ring uses one NIC of a "
        "node at a time; NCCL builds a ring for each NIC. With two nodes a tree sends every byte over a NIC once each "
        "way, which is why the measured bus bandwidth exceeds the NICs' 400 GB/s.",
        "At small sizes ours are faster than the measurement: they have the hardware's latency alone, without a "
        "library's launch and protocol costs (NCCL's own model adds 6.8 µs a call and 5 µs a step between nodes).",
    )
    rows = []
    for index, (n_bytes, time_s) in enumerate(found.published.points):
        ours = {spec: points[index][1] for spec, points in found.curves.items()}
        best = min(ours, key=lambda spec: ours[spec])
        ratio = f"{100 * (ours[best] / time_s - 1):+.0f} %"
        rows.append((format_bytes(n_bytes), format_time(time_s), best, format_time(ours[best]), ratio))
    columns = ("size", "NCCL, measured", "our fastest", "predicted", "difference")
    return Section(
        "Beside a published measurement",
        text,
        ((_svg(figure, folder, "published"), "Allreduce on 2 nodes of 8 H100: published and predicted."),),
        ((Table(columns, tuple(rows), align="rrlrr"), "Each size: what NCCL took, and the fastest of ours."),),
    )


def _calibration_section(found: Findings, folder: Path) -> Section:
    measured, fitted = noted(found.system.notes["calibration"])
    figure = figures.calibration(measured, fitted, f"calibration on {found.n_ranks} ranks")
    caption = "What was measured between neighbours, what was fitted, and the residuals."
    return Section(
        "The calibration",
        (
            "Messages one way (half a round trip), messages both ways at once, and the reduction of what has just "
            "arrived, with data as fresh as in a collective. Each is fitted by a few size classes of the form "
            "a + b x bytes; the number of classes is chosen by the Bayesian information criterion.",
            f"How steady the host itself is: {drift_line(found.drift)}.",
        ),
        ((_svg(figure, folder, "calibration"), caption),),
    )


def _method_section(found: Findings) -> Section:
    return Section(
        "Do it yourself",
        (
            "These are the commands behind this page:",
            *found.commands,
        ),
    )
