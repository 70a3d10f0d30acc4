"""What is measured in a testbed, and when: without ranks."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import topologies
from commsim.errors import ExecutionError, InputError
from experiments.testbed import measure, ranks, state
from experiments.testbed.state import Record

PAIR = "star:hosts=2,bandwidth=100Mb/s,latency=0s"
LARGEST = 2**16


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "FOLDER", tmp_path)
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: 0.0))
    found = Record("pair", PAIR, ("host0", "host1"))
    found.folder.mkdir()
    return found


@pytest.fixture
def measuring(monkeypatch):
    """Ranks that answer with a row for each case, up to so many."""
    asked = []

    def begin(provenance, most=None):
        def output_of(_record, _n_ranks, words, _timeout_s):
            cases = json.loads(Path(words[-2]).read_text())[:most]
            asked.append(len(cases))
            rows = [{key: case[key] for key in ("what", "algorithm", "n_bytes")} | {"time_s": 1.0} for case in cases]
            Path(words[-1]).write_text(json.dumps({"provenance": provenance, "rows": rows}))
            if most is not None:
                raise ExecutionError("they stopped")

        monkeypatch.setattr(ranks, "output_of", output_of)
        return asked

    return begin


def keys(path):
    return [(row["what"], row["algorithm"], row["n_bytes"]) for row in json.loads(path.read_text())["rows"]]


def test_what_there_is_no_time_for_is_measured_by_the_next_call(record, measuring, tmp_path):
    asked, path = measuring({"mpi": "one"}), tmp_path / "rows.json"
    every = measure.cases(topologies.find(PAIR), LARGEST)
    within_s = measure.START_S + sum(case.planned_s for case in every) / 2
    n_rows, left = measure.measured_in(record, PAIR, path, LARGEST, within_s)
    assert 0 < n_rows < len(every)
    assert [case.key for case in left] == [case.key for case in every][n_rows:]
    assert measure.measured_in(record, PAIR, path, LARGEST) == (len(every), [])
    assert keys(path) == [case.key for case in every]
    measure.measured_in(record, PAIR, path, LARGEST)
    assert asked == [n_rows, len(every) - n_rows]


def test_rows_until_ranks_stopped_are_kept(record, measuring, tmp_path):
    measuring({}, most=3)
    with pytest.raises(ExecutionError, match="they stopped"):
        measure.measured_in(record, PAIR, tmp_path / "rows.json", LARGEST)
    assert len(keys(tmp_path / "rows.json")) == 3


def test_rows_of_other_settings_are_not_joined(record, measuring, tmp_path):
    path = tmp_path / "rows.json"
    measuring({"mpi": "one", "n_ranks": 2})
    measure.measured_in(record, PAIR, path, LARGEST, 20.0)
    before = path.read_text()
    measuring({"mpi": "another", "n_ranks": 2})
    with pytest.raises(InputError, match="measured with another mpi; give a new file"):
        measure.measured_in(record, PAIR, path, LARGEST)
    assert path.read_text() == before


def test_a_file_without_rows_is_refused(record, tmp_path):
    (tmp_path / "rows.json").write_text("[]")
    with pytest.raises(InputError, match="has no rows of"):
        measure.measured_in(record, PAIR, tmp_path / "rows.json", LARGEST)
