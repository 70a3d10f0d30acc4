"""Decision tables: made of times, read by calls, and written for libraries."""

import json

import pytest

from collectives import tuning
from collectives.tuning import Rule, Table, candidates
from commsim.errors import InputError, RefusedError, UnknownNameError
from experiments.tune import Timed, measured, table, toml
from experiments.tune_exports import exported

ROWS = [
    Timed("allreduce", spec, n_ranks, n_bytes, time_s, keeps)
    for n_ranks, factor in ((4, 1), (8, 2))
    for spec, keeps, times in (
        ("recursive_doubling", True, (1, 2, 40)),
        ("ring", False, (5, 5, 10)),
        ("rabenseifner", False, (3, 3, 9)),
        ("nccl_tree", False, (4, 1, 30)),
    )
    for n_bytes, time_s in zip((8, 1024, 2**20), (t * factor for t in times), strict=True)
]


def test_the_fastest_from_half_way_between_sizes_on():
    made = table(ROWS)
    first, second, third = (rule for rule in made.rules if rule.n_ranks == 4)
    assert (first.n_bytes, first.algorithms) == (0, ("recursive_doubling", "rabenseifner", "nccl_tree"))
    assert (second.n_bytes, second.algorithms[0]) == (90, "nccl_tree")
    assert third.n_bytes == 2**15
    assert third.algorithms == ("rabenseifner", "ring", "nccl_tree", "recursive_doubling")  # the last keeps the order


def test_a_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    made = table(ROWS, system=["mine"])
    path = tmp_path / "mine.toml"
    path.write_text(toml(made))
    assert Table.read(path).rules == made.rules
    as_json = tmp_path / "mine.json"
    rules = [dict(rule.__dict__) for rule in made.rules]
    as_json.write_text(json.dumps({"rule": rules}))
    assert Table.read(as_json).rules == made.rules
    monkeypatch.setenv("COMMSIM_TUNING", str(path))
    for n_ranks, n_bytes, first in ((2, 0, "recursive_doubling"), (5, 2**25, "rabenseifner"), (99, 100, "nccl_tree")):
        found = [one.name for one in candidates("allreduce", n_ranks, n_bytes)]
        assert (found[0], found[-1]) == (first, "linear")
    assert [one.name for one in candidates("gather", 4, 8)] == ["linear"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no .*rule"),
        ("[[rule]]\ncollective = 'allreduce'\nn_ranks = 1\nalgorithms = ['ring']", "rule 1: 'n_bytes' is missing"),
        ("[[rule]]\ncolective = 'x'", "did you mean 'collective'"),
        ("[[rule]]\ncollective = 'allreduce'\nn_ranks = 1\nn_bytes = 0\nalgorithms = ['rong']", "did you mean 'ring'"),
        ("[[rule]]\ncollective = 'allreduce'\nn_ranks = 0\nn_bytes = 0\nalgorithms = ['ring']", "at least 1"),
        ("rule", "make one with `commsim tune`"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, said):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises((InputError, UnknownNameError), match=said):
        Table.read(path)


def test_the_shipped_table_knows_every_collective():
    made = Table.read(tuning.SHIPPED)
    assert "commsim tune" in made.provenance["command"]
    for name in ("allreduce", "broadcast", "reduce", "reduce_scatter", "allgather", "alltoall", "gather", "scatter"):
        assert len(candidates(name, 16, 2**20, made)) > 1
    assert made.specs("allreduce", 16, 8) != made.specs("allreduce", 16, 2**26)


def test_simulated_and_measured_times_make_a_table(commsim, tmp_path):
    star = "star:hosts=4,bandwidth=12.5GB/s,latency=1us,gamma=0.1ns/B"
    code, out, _ = commsim(
        *("tune", "-s", star, "--collective", "allreduce", "-a", "ring,recursive_doubling", "--sizes", "8B,64MiB"),
        *("--ranks", "4", "--model", "hockney"),
    )
    assert code == 0
    path = tmp_path / "made.toml"
    path.write_text(out)
    best = [rule.algorithms[0] for rule in Table.read(path).rules]
    assert best == ["recursive_doubling", "ring"]
    rows = tmp_path / "rows.json"
    run = ("simulate", "allreduce", "-s", star, "--model", "hockney", "-a", "ring,recursive_doubling")
    commsim(*run, "--sizes", "8B,64MiB", "-o", rows)
    assert [rule.algorithms[0] for rule in table(measured([rows])).rules] == best
    code, _, err = commsim("tune")
    assert (code, "give either files" in err) == (2, True)
    code, _, err = commsim("tune", "-s", star, "--ranks", "5")
    assert (code, "write numbers from 1 to the system's 4" in err) == (2, True)


def test_open_mpis_rules():
    """Classic form: numbers of collectives and algorithms, every list begins at 0 bytes."""
    lines = [line.split("#")[0].split() for line in exported(ROWS, "openmpi").splitlines()]
    assert lines[:6] == [["1"], ["2"], ["2"], ["4"], ["2"], ["0", "3", "0", "0"]]
    assert lines[6] == [str(2**15), "6", "0", "0"]


def test_mpichs_tree_ends_every_branch():
    tree = json.loads(exported(ROWS, "mpich"))["collective=allreduce"]["comm_type=intra"]
    assert list(tree) == ["comm_size<8", "comm_size=any"]
    assert list(tree["comm_size<8"]) == ["avg_msg_size<=32767", "avg_msg_size=any"]
    large = tree["comm_size=any"]["avg_msg_size=any"]
    assert large["is_commutative=yes"] == {"algorithm=MPIR_Allreduce_intra_reduce_scatter_allgather": {}}
    assert large["is_commutative=any"] == {"algorithm=MPIR_Allreduce_intra_recursive_doubling": {}}


def test_nccls_plugin_needs_its_channels():
    lines = exported(ROWS, "nccl", channels=8).splitlines()[1:]
    assert lines[:2] == ["allreduce,0,32767,tree,simple,8,-1,4", f"allreduce,32768,{2**62},ring,simple,8,-1,4"]
    with pytest.raises(RefusedError, match="--channels"):
        exported(ROWS, "nccl")
    with pytest.raises(RefusedError, match="mpich has none"):
        exported([Timed("barrier", "dissemination", 4, 0, 1, True)], "mpich")


def test_rules_hold_from_their_own_on():
    made = Table(tuple(Rule("allreduce", n, s, (a,)) for n, s, a in ((4, 0, "ring"), (4, 9, "linear"), (8, 5, "bine"))))
    found = {case: made.specs("allreduce", *case) for case in ((1, 0), (7, 8), (7, 9), (8, 0), (100, 1000))}
    assert [names[0] for names in found.values()] == ["ring", "ring", "linear", "bine", "bine"]
