"""Validation: rows of any program read, scored by size, winners, limits, what is extrapolated, and the figure."""

import csv
from dataclasses import replace

import pytest

import topologies
from commsim import Result
from commsim.collective import collective_named
from commsim.errors import InputError
from experiments.comparison import Comparison
from experiments.options import require_file
from experiments.output import FORMATS
from experiments.validate import Limits, Told, compare, read_measured, verdict
from experiments.validate.verdict import by_size, extrapolated, winners

STAR = "star:hosts=8,bandwidth=25GB/s,latency=500ns"

NCCL = """\
# nThread 1 nGpus 1 minBytes 8 maxBytes 1048576 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1 validate: 1
# Collective test starting: all_reduce_perf
# Using devices
#  Rank  0 Group  0 Pid  1 on node0 device  0 [0x00] NVIDIA H100
#  Rank  1 Group  0 Pid  2 on node0 device  1 [0x01] NVIDIA H100
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
           8             2     float     sum      -1    68.52    0.00    0.00      0    24.70    0.00    0.00      0
     1048576        262144      half     sum      -1    71.93   14.58   27.33    N/A    71.47   14.67   27.51    N/A
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 1.0
"""

OSU = """
# OSU MPI Allgather Latency Test v7.4
# Datatype: MPI_CHAR.
# Size       Avg Latency(us)
1                       1.72
1024                   10.50
"""

OSU_STYLE = """\
# OSU-style Broadcast Latency, algorithm chain:segments=4
# Size       Median Latency(us)
4096                        10.50
"""

PLAIN = """\
# measured somewhere
size_B,count,oop_us,ip_us
8,2,68.52,24.7
1024,256,29.75,26.65
"""


def read(tmp_path, text, told=None, name="rows.txt"):
    path = tmp_path / name
    path.write_text(text)
    return read_measured(path, told or Told())


def test_nccl_tests_text(tmp_path):
    small, large = read(tmp_path, NCCL)
    assert (small.collective, small.n_ranks, small.n_bytes, small.dtype) == ("allreduce", 2, 8, "float32")
    assert (small.time_s, large.time_s) == (pytest.approx(24.7e-6), pytest.approx(71.47e-6))
    assert (large.dtype, large.algorithm, large.n_wrong) == ("float16", "library", 0)
    wrong = NCCL.replace("0.00      0\n", "0.00      5\n")
    assert read(tmp_path, wrong)[0].n_wrong == 5


def test_osu_text_counts_what_one_has_for_one(tmp_path):
    with pytest.raises(InputError, match=r"rows.txt: it does not say on how many ranks it ran: --ranks N"):
        read(tmp_path, OSU)
    rows = read(tmp_path, OSU, Told(n_ranks=8))
    assert [(row.collective, row.n_bytes) for row in rows] == [("allgather", 8), ("allgather", 8192)]
    assert [row.dtype for row in rows] == ["int8"] * 2
    assert read(tmp_path, OSU.replace("CHAR", "FLOAT"), Told(n_ranks=8))[0].dtype == "float32"
    [row] = read(tmp_path, OSU_STYLE, Told(n_ranks=8))
    assert (row.spec, row.n_bytes, row.time_s) == ("chain:segments=4,chains=1", 4096, pytest.approx(10.5e-6))


def measured(collective, algorithm, n_ranks, n_bytes, time_s, **more):
    more = {"root": 0 if collective_named(collective).rooted else None, "n_wrong": 0, **more}
    return Result(collective, algorithm, n_ranks, n_bytes, time_s, **more)


OURS = [
    measured("broadcast", "chain", 3, size, time_s, params={"segments": 2, "chains": 1}, root=1, dtype="float64")
    for size, time_s in ((480, 12.25e-6), (4800, 345.6e-6))
]


@pytest.mark.parametrize("style", ["table", "csv", "json", "nccl-tests", "osu"])
def test_what_run_prints_is_read_again(tmp_path, style):
    other = [measured("broadcast", "library", 3, 480, 5.5e-6, root=1, dtype="float64")]
    facts = {"collective": "broadcast, in place", "ranks": "3 on 1 host(s), 4 cores each"}
    text = FORMATS[style]([*OURS, *other], facts, [], None)
    rows = read(tmp_path, text, name="rows.json" if style == "json" else "rows.txt")
    assert sorted((row.n_bytes, row.spec, row.n_ranks, row.time_s) for row in rows) == [
        (480, "chain:segments=2,chains=1", 3, pytest.approx(12.25e-6)),
        (480, "library", 3, pytest.approx(5.5e-6)),
        (4800, "chain:segments=2,chains=1", 3, pytest.approx(345.6e-6)),
    ]
    assert all(row.collective == "broadcast" and row.is_measured for row in rows)
    if style in ("table", "csv", "json"):
        assert all((row.root, row.dtype) == (1, "float64") for row in rows)


def test_a_narrow_table_is_read_as_a_wide_one(tmp_path):
    facts = {"collective": "broadcast, in place", "ranks": "3 on 1 host(s), 4 cores each"}
    rows = read(tmp_path, FORMATS["table"](OURS, facts, [], 90))
    assert [(row.n_bytes, row.root, row.dtype) for row in rows] == [(480, 1, "float64"), (4800, 1, "float64")]
    with pytest.raises(InputError, match="names were cut to the width of a terminal; write it with -o FILE"):
        read(tmp_path, FORMATS["table"](OURS, facts, [], 60))
    with pytest.raises(InputError, match="it was simulated, not measured"):
        read(tmp_path, FORMATS["table"]([replace(one, n_wrong=None) for one in OURS], facts, [], None))


def test_nccl_tests_columns():
    """Widths and words of nccl-tests; what did not run has no figures; a count is that of the call."""
    printed = FORMATS["nccl-tests"]([measured("allgather", "ring", 2, 1048576, 71.93e-6, n_wrong=5)], {}, [], None)
    [row] = [line for line in printed.splitlines() if not line.startswith("#")]
    nothing = "      N/A     N/A     N/A    N/A"
    assert row == f"     1048576        131072     float    none      -1{nothing}    71.93   14.58    7.29      5"
    theirs = [line.rstrip() for line in NCCL.splitlines() if "size" in line or "(B)" in line or "out-of" in line]
    assert [line for line in printed.splitlines() if line in theirs] == theirs
    assert "# Collective test starting: all_gather_perf" in printed
    assert "# Out of bounds values : 5 FAILED\n# Avg bus bandwidth    : 7.28" in printed
    [other] = FORMATS["nccl-tests"]([measured("alltoall", "pairwise", 2, 800, 3e-6)], {}, [], None).splitlines()[7:8]
    assert other.endswith(nothing)  # an alltoall is out of place


def test_osu_s_words(tmp_path):
    title = "# OSU MPI All-to-All Personalized Exchange Latency Test v5.6.2\n# Size       Avg Latency(us)\n"
    [row] = read(tmp_path, title + "1024                   10.50\n", Told(n_ranks=8))
    assert (row.collective, row.n_bytes) == ("alltoall", 8192)
    barrier = "\n# OSU MPI Barrier Latency Test v7.4\n# Avg Latency(us)\n             1.75\n"
    [row] = read(tmp_path, barrier, Told(n_ranks=8))
    assert (row.collective, row.n_bytes, row.time_s) == ("barrier", 0, pytest.approx(1.75e-6))
    rows = [measured("alltoall", "pairwise", 4, 4096, 3e-6), measured("barrier", "dissemination", 4, 0, 2e-6)]
    printed = [FORMATS["osu"]([one], {}, [], None) for one in rows]
    assert "\n1024  " in printed[0]  # as OSU counts: what one rank has for one other
    assert printed[1].endswith("(us)\n2.00\n")
    assert [read(tmp_path, text)[0].n_bytes for text in printed] == [4096, 0]


def test_plain_csv(tmp_path):
    rows = read(tmp_path, PLAIN, Told("allreduce", 16), "rows.csv")
    assert [(row.n_bytes, row.time_s) for row in rows] == [(8, pytest.approx(24.7e-6)), (1024, pytest.approx(26.65e-6))]
    with pytest.raises(InputError, match="which collective it is: --collective NAME"):
        read(tmp_path, PLAIN, Told(n_ranks=16), "rows.csv")
    own = "collective,algorithm,n_ranks,n_bytes,time_us\nbroadcast,chain:segments=2,4,1KiB,7\n"
    [row] = read(tmp_path, own, None, "rows.csv")
    assert (row.collective, row.spec, row.n_ranks, row.n_bytes) == ("broadcast", "chain:segments=2,chains=1", 4, 1024)
    for text, said in (("n_bytes,cost\n8,1\n", "no column of times"), ("n_bytes,time_us\n8,soon\n", "soon")):
        with pytest.raises(InputError, match=said):
            read(tmp_path, text, Told("allreduce", 4), "rows.csv")
    with pytest.raises(InputError, match="not what `commsim run -o`"):
        read(tmp_path, "nothing here\n")


def test_a_library_s_rows_have_stand_ins(tmp_path):
    rows = read(tmp_path, NCCL)
    system = topologies.find(STAR)
    with pytest.raises(InputError, match="which algorithm the MPI library ran is not known"):
        compare(rows, system)
    done = compare(rows, system, stand_in=("ring", "recursive_doubling"))
    assert [row.algorithm for row in done.rows] == ["recursive_doubling"] * 2  # one step where ring takes two
    assert [row.algorithm for row in compare(rows, system, stand_in=("ring",)).rows] == ["ring"] * 2


def test_stand_ins_are_those_that_take_the_case(tmp_path):
    """Of several collectives each has its own; what refuses a case, the library did not run."""
    rows = [measured(kind, "library", 7, 2800, 1e-5) for kind in ("allgather", "alltoall")]
    system = topologies.find(STAR)
    done = compare(rows, system, stand_in=("pairwise", "ring", "neighbor_exchange"))
    assert [(row.collective, row.algorithm) for row in done.rows] == [("allgather", "ring"), ("alltoall", "pairwise")]
    with pytest.raises(InputError, match="unknown allgather algorithm 'rong'"):
        compare(rows, system, stand_in=("ring", "rong"))
    with pytest.raises(InputError, match="hold no rows"):
        compare([], system)
    with pytest.raises(InputError, match="it is empty"):
        read(tmp_path, "\n")


def row(algorithm, n_bytes, predicted, measured, **more):
    return Comparison("allreduce", algorithm, more.pop("n_ranks", 2), n_bytes, predicted, measured, **more)


ROWS = [
    row("ring", 8, 2.0, 2.0),
    row("chain", 8, 1.0, 2.05),  # the predicted winner, measured within 3 %
    row("ring", 2**20, 1.0, 2.0),
    row("chain", 2**20, 2.0, 1.0, bottleneck="latency of 3 steps 90 %"),
    row("ring", 2**24, 1.0, 1.0),
]


def test_winners_and_size_classes():
    assert winners(ROWS) == (1, 2)
    assert {name: len(own) for name, own in by_size(ROWS).items()} == {
        "up to 8 KiB": 2,
        "up to 1 MiB": 2,
        "larger": 1,
    }
    text = verdict(ROWS, topologies.find(STAR))
    assert "the predicted winner won in 1 of 2 cases (ties within 3 % count)" in text
    assert "far off: allreduce chain 1 MiB: +100 %; predicted 2.000 s, bounded by latency of 3 steps 90 %" in text
    assert all(len(line) <= 80 for line in verdict(ROWS, topologies.find(STAR), 78).splitlines())


def test_limits():
    assert Limits().passed(ROWS) == []
    assert Limits(p90=1.0, median=0.8, winners=0.5).passed(ROWS) == []
    found = Limits(p90=0.5, median=0.1, winners=0.9).passed(ROWS)
    assert [said.rpartition(" --")[2] for said in found] == ["limit 0.5", "limit-median 0.1", "limit-winners 0.9"]


def test_what_is_extrapolated():
    system = topologies.find(STAR)
    assert "every row is extrapolated" in extrapolated(ROWS, system)[0]
    points = [{"what": "one way", "class": "socket", "pairs": 1, "n_bytes": n} for n in (8, 2**20)]
    system = replace(system, notes={"calibration": points, "n_ranks": 2})
    assert extrapolated(ROWS, system) == ["1 row above 1 MiB, the largest message measured"]
    [_, ranks] = extrapolated([*ROWS, row("ring", 8, 1.0, 1.0, n_ranks=4)], system)
    assert ranks.startswith("1 row on up to 4 ranks, calibrated on 2 (socket)")
    assert "nothing is extrapolated" in verdict(ROWS[:4], system)


def test_the_command_writes_rows_and_a_figure(tmp_path, monkeypatch, capsys):
    from experiments import cli

    measured, figure, rows = (tmp_path / name for name in ("nccl.txt", "v.png", "v.csv"))
    measured.write_text(NCCL)
    words = ["validate", str(measured), "-s", STAR, "-a", "ring", "--figure", str(figure), "-o", str(rows)]

    def run(*more):
        monkeypatch.setattr("sys.argv", ["commsim", *words, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    code, out, _ = run()
    assert code == 0
    assert "vectors up to 8 KiB: median" in out
    assert figure.stat().st_size > 5000
    assert [one["algorithm"] for one in csv.DictReader(rows.read_text().splitlines())] == ["ring", "ring"]
    code, _, err = run("--limit-median", "0.01")
    assert (code, err.count("\n"), "above --limit-median 0.01" in err) == (1, 1, True)
    assert run("--figure", "v.gif")[0] == 2


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path):
    require_file(None, ".csv")
    require_file(tmp_path / "rows.csv", ".csv", ".json")
    for path in (tmp_path / "rows.gif", tmp_path / "nowhere" / "rows.csv"):
        with pytest.raises(InputError, match=r"-o .*: must be a \.csv or \.json file in a folder that exists"):
            require_file(path, ".csv", ".json", option="-o ")
