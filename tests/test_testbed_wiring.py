"""What a system becomes when it is built, and the records of what was: no privileges needed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import topologies
from commsim.errors import ExecutionError, InputError, RefusedError
from experiments.testbed import lifetime, network, ranks, state
from experiments.testbed.state import Record
from experiments.testbed.wiring import Wiring

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "testbed").glob("*.toml"))
TORUS = "torus:shape=3x3,bandwidth=100Mb/s,latency=0s"
LINE = "mesh:shape=2,bandwidth=100Mb/s,latency=0s"


def walked(wiring, system, sender, device):
    """The vertices that a packet passes: from the sender's own cable on, by the bridges' entries."""
    n = len(wiring.devices)
    table = {(bridge, goal): cable for bridge, goal, cable in wiring.forwarding}
    second = wiring.cables[sender][1]
    vertices = list(dict.fromkeys([sender, second.vertex]))
    while vertices[-1] != device:
        ends = [port.vertex for port in wiring.cables[table[vertices[-1], device]]]
        vertices.append(ends[1 - ends.index(vertices[-1])])
        assert len(vertices) < 3 * n
    return vertices


@pytest.mark.parametrize("spec", [*map(str, EXAMPLES), TORUS, LINE, "xgft:down=4x2,up=1x2,bandwidth=1Gb/s,latency=0s"])
def test_packets_take_the_simulators_routes(spec):
    system = topologies.find(spec)
    wiring, links = Wiring.of(system), system.topology.links
    for sender in range(system.n_devices):
        for device in range(system.n_devices):
            if sender != device:
                hops = [h for h in system.topology.route(np.array([sender]), np.array([device]))[0].tolist() if h >= 0]
                assert walked(wiring, system, sender, device) == [sender, *links.dst[hops].tolist()]


def test_every_direction_has_its_links_rate():
    system = topologies.find(str(next(path for path in EXAMPLES if path.stem == "tree_2to1")))
    rates = sorted(port.rate_Bps for cable in Wiring.of(system).cables for port in cable)
    assert rates == sorted(system.topology.links.bandwidth_Bps.tolist())


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("star:hosts=65,bandwidth=1Gb/s,latency=0s", "65 devices are too many"),
        ("star:hosts=1,bandwidth=1Gb/s,latency=0s", "at least two devices"),
        ("xgft:down=4x2,up=1x2,bandwidth=1Gb/s,latency=0s,routing=ecmp", "depends on the sender"),
    ],
)
def test_what_cannot_be_built_is_refused(spec, reason):
    with pytest.raises(RefusedError, match=reason):
        Wiring.of(topologies.find(spec))


@pytest.mark.parametrize(("duplex", "reason"), [("half", "half-duplex"), ("simplex", "has no way back")])
def test_cables_have_two_directions(tmp_path, duplex, reason):
    file = tmp_path / "x.toml"
    links = "\n".join(
        f'[[link]]\nfrom = "{a}"\nto = "{b}"\nbandwidth = "1Gb/s"\nlatency = "0s"\nduplex = "{duplex}"'
        for a, b in (("h0", "h1"), ("h1", "h2"), ("h2", "h0"))
    )
    file.write_text(f'[[device]]\nname = "h[0-2]"\n{links}\n')
    with pytest.raises(RefusedError, match=reason):
        Wiring.of(topologies.find(str(file)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "FOLDER", tmp_path)
    return tmp_path


def test_a_name_is_the_files_and_differs_by_its_path(tmp_path):
    here, there = (state.name_of(str(tmp_path / where / "My Star.toml"), None) for where in ("a", "b"))
    assert here.startswith("my-star-")
    assert here != there
    assert state.name_of("x.toml", "mine") == "mine"
    with pytest.raises(InputError, match="lower-case"):
        state.name_of("x.toml", "../etc")


def test_records_are_kept_and_those_of_dead_processes_are_abandoned(folder):
    stays, ends = Record("stays", "a.toml", ("h0",)), Record("ends", "b.toml", ("h0", "h1"), state.me())
    dead = replace(ends, name="dead", owner=(state.me()[0], state.me()[1] - 1))  # the number was taken by another one
    for record in (stays, ends, dead):
        record.write()
    assert state.records() == [dead, ends, stays]
    assert [record.abandoned for record in state.records()] == [True, False, False]


def test_only_what_was_abandoned_is_cleared_away(folder, monkeypatch):
    gone = []
    monkeypatch.setattr(network, "remove", gone.append)
    Record("mine", "a.toml", ("h0",)).write()
    Record("dead", "b.toml", ("h0", "h1"), (2**22 + 1, 1)).write()
    assert state.clear_abandoned() == ["dead"]
    assert sorted(gone) == ["commsim-dead-0", "commsim-dead-1", "commsim-dead-fabric"]
    assert [record.name for record in state.records()] == ["mine"]


def test_a_broken_record_is_named(folder):
    (folder / "x").mkdir()
    (folder / "x" / "record.json").write_text("{")
    with pytest.raises(ExecutionError, match=r"x/record\.json"):
        state.records()


def test_ranks_are_started_one_on_each_device(folder):
    record = Record("mine", "a.toml", ("node0.gpu0", "node0.gpu1"))
    record.write()
    words = ranks.command(record, 2, ["commsim", "list", "models"])
    assert words[words.index("-hosts") + 1] == "node0-gpu0,node0-gpu1"
    assert words[-4:] == ["-m", "experiments.cli", "list", "models"]
    assert "node0-gpu1) namespace=commsim-mine-1" in (record.folder / "launch").read_text()
    for n, program in ((3, ["true"]), (0, ["true"]), (2, [])):
        with pytest.raises(InputError):
            ranks.command(record, n, program)


def test_who_cannot_build_is_told_why(monkeypatch, commsim):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    code, out, err = commsim("testbed", "up", EXAMPLES[0])
    assert (code, out) == (1, "")
    assert "needs root, or a user namespace" in err
    monkeypatch.undo()
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "util-linux" in lifetime.unable()
