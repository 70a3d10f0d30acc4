"""``commsim topology``: what it counts, what it draws, what it finds wrong."""

import csv
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import topologies
from commsim.link_changes import LinkChange, changed
from experiments.cli import app, main
from experiments.figures.topology import network, rows
from experiments.topology import bisection, degrees, diameter, empty_ports, kind_of, link_classes, remarks, tapers

DATA = Path(__file__).parent / "data" / "machines"
TWO_MORE = 'Ca 1 "H-3" # "c hca"\n[1] "H-4"[1] # 4xHDR\nCa 1 "H-4" # "d hca"\n[1] "H-3"[1] # 4xHDR\n'
DOCS = Path(__file__).parents[1] / "docs" / "topologies.md"
CABLE = {"bandwidth_Bps": 25e9, "latency_s": 5e-7}
TORUS = topologies.torus((4, 4, 4), **CABLE)
TREE = topologies.xgft((4, 4), (1, 2), **CABLE)
DGX = topologies.dgx_h100(nodes=2)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``commsim topology …`` in this process: exit code, what it printed, what it said on stderr."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["commsim", "topology", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return SimpleNamespace(returncode=end.value.code, stdout=said.out, stderr=said.err)

    return run


@pytest.mark.parametrize(
    ("system", "hops"),
    [(TORUS, 6), (TREE, 4), (topologies.star(9, **CABLE), 2), (topologies.fully_connected(hosts=5, **CABLE), 1)],
)
def test_diameter(system, hops):
    assert diameter(system.topology)[0] == hops


def test_mean_length_of_routes_is_that_of_a_torus():
    assert diameter(TORUS.topology)[1] == pytest.approx(3 * 64 / 63)  # each dimension 1 on average, oneself left out


@pytest.mark.parametrize(
    ("system", "expected_Bps"),
    [
        (TORUS, 2 * 16 * 25e9),  # two cuts of 16 cables
        (topologies.torus((8, 4, 2), **CABLE), 2 * 8 * 25e9),  # across the longest dimension, which is not the last
        (topologies.mesh((4, 4), **CABLE), 4 * 25e9),
        (TREE, 4 * 25e9),  # two leaves with two cables up
        (topologies.xgft((4, 4), (1, 4), **CABLE), 8 * 25e9),
        (topologies.fully_connected(hosts=6, **CABLE), 9 * 25e9),
    ],
)
def test_bisection_of_known_networks(system, expected_Bps):
    assert bisection(system.topology).bandwidth_Bps == pytest.approx(expected_Bps, rel=1e-5)


def test_tapers():
    assert tapers(TREE.topology) == [("leaf", 4, 2.0)]
    (tier, count, ratio), *_ = tapers(DGX.topology)
    nic, pcie, nvlink = 393.7e9 / 8, 55.06e9, 18 * 20.6e9
    assert (tier, count) == ("node", 2)
    assert ratio == pytest.approx((pcie + nvlink) / nic)


def test_classes_of_links():
    found = {(one.name, one.n_cables, one.duplex): one.bandwidth_Bps for one in link_classes(TREE.topology)}
    assert found == {("host–leaf", 16, "full"): 25e9, ("leaf–spine", 8, "full"): 25e9}
    other = changed(TREE, [LinkChange("leaf0<->spine0", factor=0.5), LinkChange("host3", duplex="half")])
    rates = [(one.name, one.n_cables, one.bandwidth_Bps, one.duplex) for one in link_classes(other.topology)]
    assert ("leaf–spine", 1, 12.5e9, "full") in rates
    assert ("host–leaf", 1, 25e9, "half") in rates
    assert sum(cables for _, cables, _, _ in rates) == 24


def test_degrees_and_empty_ports():
    assert degrees(TREE.topology) == ((1, 1), (4, 6))
    assert degrees(TORUS.topology) == ((6, 6), None)
    assert len(empty_ports(DGX.topology)) == 8 * 30
    assert len(empty_ports(TREE.topology)) == 0


def test_kinds():
    names = {
        "node3.gpu2": "gpu",
        "host1.2.3": "host",
        "level2switch5": "level2switch",
        "nvswitch": "nvswitch",
        "7": "7",
    }
    assert {name: kind_of(name) for name in names} == names


def test_remarks():
    assert remarks(TREE) == []
    one_way = changed(TREE, [LinkChange("leaf0->spine0", failed=True), LinkChange("leaf1->spine0", factor=0.5)])
    text = "\n".join(remarks(one_way))
    assert "spine0→leaf0 has no way back (1 links)" in text
    assert "leaf1→spine0 and its way back have two rates" in text
    assert "ASSUMED" in "\n".join(remarks(DGX))


def test_rows_of_a_drawing():
    row = rows(DGX.topology)
    name = {DGX.topology.vertex_name(v): int(row[v]) for v in range(DGX.topology.n_vertices)}
    assert [name[word] for word in ("node0.gpu3", "node1.nvswitch", "node0.nic0", "leaf3", "spine0")] == [
        0,
        -1,
        2,
        3,
        4,
    ]
    assert rows(TORUS.topology) is None
    assert rows(topologies.dragonfly(2, **CABLE).topology) is None
    assert rows(topologies.star(2, **CABLE).topology).tolist() == [0, 0, 1]


SYSTEMS = {
    "two hosts": topologies.star(2, **CABLE),
    "16 GPUs": DGX,
    "512 GPUs": topologies.dgx_h100(nodes=64),
    "fat tree of 64": topologies.xgft((8, 8), (1, 8), **CABLE),
    "fat tree of 1024": topologies.xgft((16, 8, 8), (1, 8, 8), **CABLE),
    "torus": TORUS,
    "dragonfly of 1056": topologies.dragonfly(4, **CABLE),
    "pair": topologies.torus((2,), **CABLE),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("width", [3.4, 6.0])
def test_drawings_have_marks_that_can_be_told_apart(name, width):
    figure = network(SYSTEMS[name], width)
    axes = figure.axes[0]
    marks = np.concatenate([line.get_xydata() for line in axes.lines if line.get_linestyle() == "None"])
    assert len(np.unique(marks.round(6), axis=0)) == len(marks) >= 2
    figure.canvas.draw()
    at = axes.transData.transform(marks)
    apart = np.hypot(*(at[:, None] - at[None, :]).transpose(2, 0, 1)) + 1e9 * np.eye(len(at))
    assert apart.min() > 0.02 * figure.dpi  # a fiftieth of an inch
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("GB/s" in word for word in words)
    assert f"{SYSTEMS[name].n_devices} devices" in figure.get_suptitle()


def test_show_prints_and_draws(tmp_path, command):
    for ending in ("svg", "png"):
        done = command("show", "xgft:down=4x4,up=1x2,bandwidth=25GB/s,latency=500ns", "-o", tmp_path / f"tree.{ending}")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / f"tree.{ending}").stat().st_size > 2000
    assert done.stdout.splitlines() == [
        "xgft:down=4x4,up=1x2,bandwidth=25GB/s,latency=500ns: 16 devices, 6 switches, 24 cables",
        "  host–leaf       16 x    25 GB/s,  500 ns, full duplex",
        "  leaf–spine       8 x    25 GB/s,  500 ns, full duplex",
        "degree: 1 of a device, 4 to 6 of a switch",
        "diameter: 4 links, 3.6 on average (routes of all pairs)",
        "bisection: at most 100 GB/s one way, 50 % of what half of the devices inject (maximum flow, least over 4 ways "
        "of halving the devices by their numbers)",
        "taper of a leaf: 2:1, what its devices inject to what leaves it (4 groups)",
    ]


def test_the_docs_show_what_is_shown(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```console\n\$ commsim topology (.*?)\n(.*?)```", DOCS.read_text(), re.DOTALL)
    shown = command(*block[0].split()).stdout
    assert shown.startswith(block[1])
    assert all(line.startswith("ASSUMED") for line in shown[len(block[1]) :].splitlines())


def test_check_says_what_is_wrong_and_where(tmp_path, command):
    good = command("check", "star:hosts=4,bandwidth=25GB/s,latency=500ns")
    assert (good.returncode, good.stdout) == (0, "star:hosts=4,bandwidth=25GB/s,latency=500ns: nothing is wrong\n")
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[device]]\nname = "gpu[0-1]"\n\n[[link]]\nfrom = "gpu0"\nto = "gpu7"\nlatency = "1us"\nbandwidth = "1GB/s"\n'
    )
    bad = command("check", path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == f"commsim: {path}:6: [[link]] to: unknown device or switch 'gpu7'; did you mean 'gpu1'?\n"


def test_import_writes_what_simulates(tmp_path, command):
    path = tmp_path / "machine.toml"
    done = command("import", DATA / "nccl_hgx_h100.xml", "-o", path, "--nodes", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assumed = "pcie latency, cpus latency, nvlink latency, fabric latency"
    assert done.stdout == f"{path}: 16 devices, from NCCL's topology XML; ASSUMED: {assumed}\n"
    assert "lead nowhere" not in command("check", path).stdout
    cut = tmp_path / "cut.xml"
    cut.write_text((DATA / "nccl_hgx_h100.xml").read_text()[:4000])
    failed = command("import", cut, "-o", tmp_path / "no.toml")
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"commsim: {cut}:")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "no.toml").exists()
    apart = tmp_path / "apart.txt"
    apart.write_text(
        'Ca 1 "H-1" # "a hca"\n[1] "H-2"[1] # 4xHDR\nCa 1 "H-2" # "b hca"\n[1] "H-1"[1] # 4xHDR\n' + TWO_MORE
    )
    failed = command("import", apart, "-o", tmp_path / "no.toml")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert failed.stderr.startswith(f"commsim: {apart}: what it describes is no machine: ")
    assert "there is no way from a.hca0 to c.hca0" in failed.stderr
    assert not (tmp_path / "no.toml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "star:hosts=2,bandwidth=1GB/s,latency=0", "-o", "x.gif"], "must be a .svg or .png or .pdf"),
        (["show", "star:hosts=2,bandwidth=1GB/s,latency=0", "-o", "x.png", "--width", "0"], "--width 0"),
        (["show", "sta:hosts=2"], "did you mean 'star'"),
        (["import", str(DATA / "nccl_hgx_h100.xml"), "-o", "x.json"], "ends in .toml"),
        (["import", "missing.xml", "-o", "x.toml"], "missing.xml: cannot be read"),
        (["shwo"], "No such command"),
    ],
)
def test_mistakes_are_one_line(words, said, command):
    done = command(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_simulate_takes_placement_and_links_that_are_not_as_built(capsys):
    spec = "xgft:down=4x4,up=1x2,bandwidth=25GB/s,latency=500ns"
    base = ["simulate", "allreduce", "-a", "ring", "-s", spec, "--sizes", "1MiB", "--model", "fluid", "--format", "csv"]
    app(
        [*base, "--placement", "random", "--seed", "5", "--fail", "leaf0<->spine0", "--degrade", "leaf1=0.5"],
        standalone_mode=False,
    )
    head, row = capsys.readouterr().out.splitlines()
    fields = next(csv.DictReader([head, row]))
    assert (fields["placement"], fields["seed"]) == ("random", "5")
    assert fields["system"] == f"{spec} (leaf1=0.5, leaf0<->spine0 failed)"
