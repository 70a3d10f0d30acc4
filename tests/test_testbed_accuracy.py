"""The page on accuracy is what its rows say; fits find what made the rows, and look at no collective."""

import json
from dataclasses import replace

import pytest

import topologies
from commsim.errors import InputError
from commsim.schedule import Schedule
from commsim.system import BySize
from experiments.calibrate.nearest import Timed
from experiments.comparison import Comparison
from experiments.testbed import accuracy, fit
from experiments.testbed.accuracy import Case
from experiments.testbed.patterns import CHUNKS, MOST, patterns, time_s

TREE = "leaf_spine:hosts_per_leaf=2,leaves=2,spines=1,bandwidth=100Mb/s,uplink_bandwidth=150Mb/s,latency=0s"
REDUCTION = BySize(rate=(1e9,))
TRUE = {"host*↔leaf*": 0.95, "leaf*↔spine*": 0.9, fit.BURST: 20000.0} | dict(
    zip(fit.OVERHEADS, (1e-4, 2e-4, 3e-4, 4e-4), strict=True)
)


@pytest.fixture(scope="module")
def true():
    """The tree with these figures."""
    system = topologies.find(TREE)
    made = fit.begun(system, REDUCTION)
    for one in fit.figures_of(system):
        made = one.put(made, TRUE[one.name])
    return made


def rows_of(system, sizes=(2**10, 2**15, 2**18)):
    """What the patterns would take that have no more than two steps."""
    short = [one for one in patterns(system.n_devices) if "shifts" not in one.name and "stream" not in one.name]
    return [Timed(one, CHUNKS * size, time_s(one, system, size)) for one in short for size in sizes]


def test_no_pattern_is_a_collective():
    for program in patterns(8):
        for rank in range(8):
            reached = set()
            for step in Schedule(program, 8, rank=rank):
                sent = [peer for part in step for peer in part.sends.peer.tolist()]
                got = [peer for part in step for peer in part.receives.peer.tolist()]
                assert max(len(sent), len(got)) <= MOST
                reached |= set(sent)
            assert rank not in reached
            assert len(reached) <= MOST


def test_a_fit_finds_the_figures_that_made_the_rows(true):
    found, figures = fit.fit(topologies.find(TREE), rows_of(true), REDUCTION)
    assert figures == pytest.approx(TRUE, rel=0.05)
    links = found.topology.links
    assert links.bandwidth_Bps == pytest.approx(true.topology.links.bandwidth_Bps, rel=0.01)
    assert found.endpoint.both_ways.overhead_s == pytest.approx((3e-4, 4e-4), rel=0.05)


def test_a_file_is_read_back_as_it_was_fitted(true, tmp_path):
    nominal = tmp_path / "tree.toml"
    pairs = [pair.split("=") for pair in TREE.partition(":")[2].split(",")]
    keys = "\n".join(f"{key} = {value if value.isdigit() else repr(value)}" for key, value in pairs)
    nominal.write_text(f'[topology]\ngenerator = "leaf_spine"\n{keys}\n')
    fit.write(tmp_path / "fitted.toml", nominal, topologies.find(TREE), true, TRUE, {"by": "hand"})
    read = topologies.find(str(tmp_path / "fitted.toml"))
    assert read.topology.links.bandwidth_Bps == pytest.approx(true.topology.links.bandwidth_Bps, rel=1e-4)
    assert read.endpoint == true.endpoint
    assert read.notes == {"by": "hand"}


def test_rows_without_pairs_are_refused(tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps({"provenance": {}, "rows": [{"what": "allreduce"}]}))
    with pytest.raises(InputError, match="no messages between pairs"):
        fit.calibrate_file(accuracy.FOLDER / "star.toml", tmp_path / "rows.json", tmp_path / "x.toml")


def case(*times):
    rows = tuple(Comparison("allreduce", f"a{k}", 8, 64, *pair, group="star") for k, pair in enumerate(times))
    return Case("star", "allreduce", 64, rows, 2.0)


def test_a_winner_is_right_if_it_is_the_fastest_or_as_fast():
    assert case((1.0, 1.0), (2.0, 2.0)).right
    assert case((1.0, 1.03), (2.0, 1.0)).right
    assert not case((1.0, 1.04), (2.0, 1.0)).right
    assert not case((1.0, 1.04), (2.0, 1.0)).tied
    assert case((1.0, 1.04), (1.02, 1.0)).tied


def test_the_page_is_what_the_rows_say():
    lines = accuracy.section(accuracy.cases(fabrics=["star"])).splitlines()
    said = [line for line in lines if line.startswith("| star |") and "KiB" not in line and "MiB" not in line]
    assert len(said) == 2 * len(accuracy.COLLECTIVES)
    assert set(said) <= set(accuracy.PAGE.read_text().splitlines())


def test_what_it_says_of_a_case():
    text = accuracy.section([case((1.1, 1.0), (3.0, 2.0)), replace(case((1.0, 1.5), (1.2, 1.0)), n_bytes=128)])
    assert "| star | allreduce | 4 | 26.7 % | 45.0 % | 1 of 2 | 1 of 2 |" in text
    assert "| star | allreduce | 128 B | a0 | 50 % |" in text
    assert "| star | allreduce | 0.50 | 0.50 |" in text


def test_a_page_without_marks_is_refused():
    with pytest.raises(InputError, match="testbed: begin"):
        accuracy.replaced("nothing", "text")
