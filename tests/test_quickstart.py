"""The main job, once through on real ranks."""

import csv
import json
import re

import pytest

from experiments import cli
from experiments.workloads import RESNET50_DDP_BUCKETS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One run for all tests of this file."""
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def printed(folder):
    import contextlib
    import io
    from unittest import mock

    out, err = io.StringIO(), io.StringIO()
    command = ["commsim", "quickstart", "-o", str(folder), "--ranks", "2"]
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with mock.patch("sys.argv", command), redirected[0], redirected[1], pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0, err.getvalue()
    return out.getvalue(), err.getvalue()


def test_it_prints_predicted_beside_measured_and_the_plan(printed, folder):
    out, err = printed
    for name in ("recursive_doubling", "rabenseifner", "binomial", "chain", "scatter_allgather"):
        assert re.search(rf"{name}\S* +8 B .* [+-]\d+\.\d%", out)
    assert out.count("|ln(predicted/measured)|: median") == 3
    assert re.search(r"dgx_h100:nodes=128 +1024 .* M\$ .* kW +node\S+→\S+", out)
    assert str(folder / "report.html") in out
    assert "[1/4] on 2 real ranks" in err
    assert "> run broadcast" in err
    assert "measured again after the runs: off by" in out
    assert "done in" in err


def test_the_buckets_are_those_of_ddp(printed, folder):
    rows = json.loads((folder / "buckets.json").read_text())["rows"]
    assert tuple(dict.fromkeys(row["n_bytes"] for row in rows)) == RESNET50_DDP_BUCKETS
    assert {row["algorithm"] for row in rows} == {"ring", "recursive_doubling", "rabenseifner", "library"}
    assert all(row["n_wrong"] == 0 for row in rows)


def test_the_folder_holds_what_was_promised(printed, folder):
    with (folder / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 + 36 + 15
    assert all(float(row["error"]) == float(row["predicted_s"]) / float(row["measured_s"]) - 1 for row in rows)
    with (folder / "plan.csv").open() as file:
        assert [int(row["nodes"]) for row in csv.DictReader(file)] == [1, 2, 4, 8, 16, 32, 64, 128]
    for name in ("allreduce", "broadcast", "buckets", "exchange", "scaling", "published", "calibration"):
        for ending in ("png", "svg"):
            assert (folder / "figures" / f"{name}.{ending}").stat().st_size > 5000
    assert "[[notes.calibration]]" in (folder / "host.toml").read_text()


def test_the_report_names_both_algorithms_and_stands_alone(printed, folder):
    page = (folder / "report.html").read_text()
    for words in ("NVLSTree", "node_split", "ASSUMED", "nccl-tests/issues/309", "commsim validate", "8196000"):
        assert words in page
    assert page.count("A training step on real ranks") >= 1
    assert not re.search(r"(?:src|href)\s*=\s*['\"]https?://", page)
    assert page.count("<svg") == 7
