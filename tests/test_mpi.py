"""Real ranks, each launch with a time limit: correctness, and jobs that end when a rank dies or hangs."""

import json
import os
import platform
import re
import time
from pathlib import Path

import pytest

import topologies
from commsim.algorithm import SCATTERED
from commsim.errors import ExecutionError
from experiments.launch import commsim_on_ranks, launcher, python_on_ranks

HERE = Path(__file__).parent
LIMIT_S = 120  # of one launch; ranks share cores here
LIBRARY_LIMIT_S = 900  # of one that runs every algorithm: a minute or less on a quiet host
MARK = "COMMSIM_TEST_LAUNCH"
PYTEST = ["-m", "mpi4py", "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
PYTEST += ["--disable-plugin-autoload"]  # each rank would import hypothesis, which takes longer than most tests


def processes_left(value):
    """Processes that carry this test's mark in their environment."""
    mark = f"{MARK}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark in environment and state != "Z":
                found.append(int(entry.name))
    return found


@pytest.fixture
def nothing_left(monkeypatch, request):
    monkeypatch.setenv(MARK, request.node.name)
    yield
    for _ in range(50):
        left = processes_left(request.node.name)
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"processes left behind: {left}")


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4, 5, 8])
def test_on_ranks(n_ranks, nothing_left):
    printed = python_on_ranks(n_ranks, [*PYTEST, f"{HERE}/ranks/on_ranks.py"], LIBRARY_LIMIT_S)
    assert printed.count(" passed") == n_ranks, printed


@pytest.mark.parametrize(("n_ranks", "which"), [(2, "test"), (3, "not every_algorithm and not bounded")])
def test_calls_on_ranks(n_ranks, which, nothing_left, capfd):
    """In mpi4py's form; MPICH would print a line for each request that is left when it ends."""
    printed = python_on_ranks(n_ranks, [*PYTEST, "-k", which, f"{HERE}/ranks/calls_on_ranks.py"], LIMIT_S)
    assert printed.count(" passed") == n_ranks, printed
    assert "freeing" not in capfd.readouterr().err


def test_ranks_of_a_host_that_do_not_follow_each_other(nothing_left, monkeypatch):
    """MPICH pretends that odd and even ranks are on two hosts."""
    monkeypatch.setenv("MPIR_CVAR_ODD_EVEN_CLIQUES", "1")
    printed = python_on_ranks(4, ["-m", "mpi4py", f"{HERE}/ranks/scattered_hosts.py"], LIMIT_S)
    assert printed.count("right") == 4


DYING = """
import os, signal
from commsim import algorithm, chunk, fan_in, fan_out
from commsim.errors import RefusedError

calls = []

@algorithm("allreduce", chunks=1)
def dying(rank, n_ranks):
    calls.append(isinstance(rank, int) and rank == 1)
    if sum(calls) == 2:  # it was proven, and now it runs
        {what}
    yield [fan_in(rank, n_ranks, 0, send=chunk(0), receive=chunk(0), reduce=True)]
    yield [fan_out(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]
"""


def run_file(tmp_path, what, limit_s=LIMIT_S):
    path = tmp_path / "mine.py"
    path.write_text(DYING.format(what=what))
    output = tmp_path / "out.json"
    with pytest.raises(ExecutionError) as caught:
        commsim_on_ranks(
            3, ["run", "allreduce", "-a", "all", "--file", str(path), "--sizes", "1KiB", "-o", str(output)], limit_s
        )
    assert not output.exists()
    return str(caught.value)


def test_a_rank_that_is_killed_ends_the_job(tmp_path, nothing_left):
    message = run_file(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert re.search(r"failed with exit \d+: a rank ended by signal: Killed", message)


@pytest.mark.parametrize(
    ("what", "reason"),
    [("raise ValueError('no luck')", "dying, step 0: ValueError: no luck"), ("raise RefusedError('not I')", "not I")],
)
def test_a_rank_that_raises_ends_the_job_and_says_so(tmp_path, nothing_left, what, reason):
    message = run_file(tmp_path, what)
    assert f"rank 1 of 3 failed, ending the job: {reason}" in message
    assert "Traceback" not in message


WRONG = """
from commsim import algorithm, chunk, exchange

@algorithm("allreduce", chunks=1)
def stuck(rank, n_ranks):
    yield [exchange((rank + 1) % n_ranks, (rank + 1) % n_ranks, send=chunk(0), receive=chunk(0), reduce=True)]
"""


def test_what_is_wrong_is_told_as_verify_tells_it(tmp_path, nothing_left):
    """Exit 1: it failed its proof."""
    path = tmp_path / "mine.py"
    path.write_text(WRONG.replace("rank + 1) % n_ranks, send", "rank - 1) % n_ranks, send"))
    with pytest.raises(ExecutionError, match=r"exit 1: stuck on 3 ranks is not an allreduce: rank 0 ends"):
        commsim_on_ranks(3, ["run", "allreduce", "-a", "all", "--file", str(path), "--sizes", "1KiB"], LIMIT_S)


def test_an_algorithm_that_would_hang_is_refused_before_it_runs(tmp_path, nothing_left):
    path = tmp_path / "mine.py"
    path.write_text(WRONG)
    with pytest.raises(ExecutionError, match=r"exit 2: stuck, step 0: rank 0 sends to 1, but 1 receives from \[2\]"):
        commsim_on_ranks(3, ["run", "allreduce", "-a", "library", "--file", str(path), "--sizes", "1KiB"], LIMIT_S)


def test_a_rank_that_hangs_is_stopped_by_the_limit(tmp_path, nothing_left):
    assert "did not end within 4 s and was stopped" in run_file(tmp_path, "signal.pause()", limit_s=4)


def test_a_rank_that_hangs_ends_the_job_and_says_so(tmp_path, nothing_left):
    path = tmp_path / "mine.py"
    path.write_text(DYING.format(what="signal.pause()"))
    began = time.monotonic()
    run = ["run", "allreduce", "--file", str(path), "--sizes", "1KiB", "--hang-limit", "1"]
    with pytest.raises(ExecutionError, match=r"of 3 has waited 1\.. s in allreduce of 1 KiB: a rank has died or hangs"):
        commsim_on_ranks(3, run, LIMIT_S)
    assert time.monotonic() - began < LIMIT_S / 2  # the limit of the launch is not what ended it


SCRIPT = """
import os, signal, sys
import numpy as np
from mpi4py import MPI
import collectives

gradient = np.ones(100_000, np.float32)
for iteration in range(10):
    if iteration == 5 and MPI.COMM_WORLD.rank == 1:
        {what}
    collectives.Allreduce(MPI.COMM_WORLD, MPI.IN_PLACE, gradient, algorithm="ring")
"""


@pytest.mark.parametrize(
    "what", ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGSTOP)", "1 / 0", "sys.exit(0)"]
)
def test_a_script_whose_rank_dies_or_hangs_ends(what, tmp_path, nothing_left, monkeypatch):
    """Killed: the launcher sees it. All else: who waits for it."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(what=what))
    monkeypatch.setenv("COMMSIM_HANG_LIMIT", "1.5")
    with pytest.raises(ExecutionError, match="failed with exit") as caught:
        python_on_ranks(2, [str(path)], LIMIT_S)
    if "SIGSTOP" in what:
        assert re.search(r"rank 0 of 2 (sees that rank 1 was stopped|has waited .* for rank 1)", str(caught.value))
    elif "SIGKILL" not in what:
        assert re.search(r"rank 0 of 2 has waited .* for rank 1 in allreduce, ring: a rank has died", str(caught.value))


ROUNDS = """
import os, signal
from mpi4py import MPI
from experiments.progress import track
from experiments.ranks import all_or_none

comm = MPI.COMM_WORLD
with all_or_none(comm, 1.0):
    for number in track(range(10), "doing rounds", 10, shown=comm.rank == 0):
        if number == 5 and comm.rank == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        comm.Barrier()
"""


def test_a_rank_that_hangs_in_a_round_ends_the_job(tmp_path, nothing_left):
    """Of `calibrate` and `exchange`: whoever tells its progress is watched."""
    path = tmp_path / "rounds.py"
    path.write_text(ROUNDS)
    with pytest.raises(ExecutionError, match=r"rank 0 of 2 sees that rank 1 was stopped"):
        python_on_ranks(2, [str(path)], LIMIT_S)
    path.write_text(ROUNDS.replace("os.kill(os.getpid(), signal.SIGSTOP)", "signal.pause()"))
    with pytest.raises(ExecutionError, match=r"rank 0 of 2 has waited .* in doing rounds: a rank has died"):
        python_on_ranks(2, [str(path)], LIMIT_S)


APART = """
import sys, time
from collectives.mpi import launched_rank
from experiments import cli

words = (["run", "allreduce", "-a", "ring"], {other})[launched_rank()]
sys.argv = ["commsim", *words, "--sizes", "8", "--hang-limit", "1"]
if words == ["nothing"]:
    import mpi4py.MPI
    time.sleep(600)
cli.main()
"""


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            ["run", "allreduce", "-a", "linear"],
            "exit 2: ranks .* different things: algorithms ring on rank 0, linear on",
        ),
        (["nothing"], "rank 0 of 2 has waited .* in finding each other"),
    ],
)
def test_ranks_that_were_started_apart(other, said, tmp_path, nothing_left):
    """By a launcher's `:`, on hosts that see other files: told at once; nothing that is ours: within the limit."""
    path = tmp_path / "apart.py"
    path.write_text(APART.format(other=other))
    with pytest.raises(ExecutionError, match=said):
        python_on_ranks(2, [str(path)], LIMIT_S)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "allreduce", "-a", "rong", "--sizes", "8"], "did you mean 'ring'"),
        (["run", "allredoce", "-a", "ring", "--sizes", "8"], "did you mean 'allreduce'"),
        (["run", "allreduce", "-a", "ring", "--sizes", "8", "--op", "sums"], "did you mean 'sum'"),
        (["run", "allreduce", "-a", "ring", "--sizes", "7"], "not a whole number of float32 elements"),
        (
            ["run", "allreduce", "-a", "node_split:ranks_per_node=2", "--sizes", "8"],
            "not a multiple of ranks_per_node=2",
        ),
        (["run", "broadcast", "-a", "binomial", "--sizes", "8", "--root", "3"], "root=3 is not a rank of 3"),
        (["run", "allreduce", "-a", "ring", "--sizes", "8", "-o", "/nowhere/x.json"], "does not exist"),
        (["run", "allreduce", "-a", "ring", "--sizes", "8", "--dtype", "complex64"], "cannot be reduced"),
        (["calibrate", "-o", "x.json"], "must be a .toml file"),
        (["run", "allreduce", "-a", "", "--sizes", "8"], "names no algorithm"),
    ],
)
def test_what_the_user_wrote_wrong_is_one_line_from_one_rank(arguments, message, nothing_left, capfd):
    with pytest.raises(ExecutionError, match=message) as caught:
        commsim_on_ranks(3, arguments, LIMIT_S)
    assert "exit 2" in str(caught.value)
    shown = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(shown) == 1, shown


def test_run_measures_beside_the_library(tmp_path, nothing_left, monkeypatch):
    file = tmp_path / "rows.json"
    monkeypatch.setenv("UCX_WARN_UNUSED_ENV_VARS", "n")
    printed = commsim_on_ranks(
        2,
        ["run", "allreduce", "-a", "ring,library", "-b", "8", "-e", "8KiB", "-f", "32", "-n", "3", "-o", str(file)],
        LIMIT_S,
    )
    document = json.loads(file.read_text())
    assert [(row["algorithm"], row["n_bytes"]) for row in document["rows"]] == [
        (name, size) for size in (8, 256, 8192) for name in ("ring", "library")
    ]
    assert all(
        row["n_wrong"] == 0 and row["time_min_s"] <= row["time_s"] <= row["time_p99_s"] for row in document["rows"]
    )
    found = document["provenance"]
    assert (found["collective"], found["iterations"], found["warmup"]) == ("allreduce", 3, 5)
    ranks = found["ranks"]
    assert (ranks["n_ranks"], ranks["n_hosts"], ranks["hosts"]) == (2, 1, [platform.node()])
    assert isinstance(ranks["oversubscribed"], bool)
    assert "mpiexec" in ranks["launcher"]
    assert isinstance(ranks["processor"], str)
    assert "cores" in ranks["binding"]
    assert ranks["transport"]["UCX_WARN_UNUSED_ENV_VARS"] == "n"
    assert printed.count("library") == 3


OPS = """
import numpy as np

def last(left, right):
    return right

from collectives import Operation

largest_of_two = Operation(np.maximum, commutative=True)

def lonely(left):
    return left

def leaving(left, right):
    exit(0)

def single(left, right):
    return 3.0

def largest(left, right):
    return np.maximum(left, right)

largest.commutative = True
"""


def test_an_operation_of_the_user_runs_where_its_order_is_kept(tmp_path, nothing_left):
    path = tmp_path / "ops.py"
    path.write_text(OPS)
    run = ["run", "allreduce", "--sizes", "1KiB", "-n", "2", "--op"]
    for one in ("largest", "largest_of_two"):
        printed = commsim_on_ranks(2, [*run, f"{path}:{one}", "-a", "ring,library"], LIMIT_S)
        assert one in printed
    printed = commsim_on_ranks(2, [*run, f"{path}:last", "-a", "all"], LIMIT_S)
    assert re.search(r"left out: .*ring, .*: does not keep the order of ranks", printed)
    assert all(line.split()[-1] == "0" for line in printed.splitlines() if line.strip().startswith("1024"))
    for words, said in {
        (f"{path}:last", "ring"): "exit 2: ring does not keep the order of ranks",
        (f"{path}:first", "ring"): "has no function 'first'",
        ("nowhere.py:first", "ring"): "nowhere.py is no Python file",
        (f"{path}:lonely", "linear"): "exit 2: operation 'lonely' of two arrays failed: TypeError: lonely",
        (f"{path}:leaving", "linear"): "exit 2: operation 'leaving' of two arrays failed: SystemExit: 0",
        (
            f"{path}:single",
            "linear",
        ): r"exit 2: operation 'single' .* gives float64 of shape \(\); it must give an array",
    }.items():
        with pytest.raises(ExecutionError, match=said):
            commsim_on_ranks(2, [*run, words[0], "-a", words[1]], LIMIT_S)


def test_batch_runs_commands_in_one_launch(tmp_path, nothing_left, capfd):
    steps, first, second = tmp_path / "steps.txt", tmp_path / "a.json", tmp_path / "b.json"
    run = "run broadcast -a chain:segments=3 --sizes 1KiB -n 2"
    steps.write_text(f"# two runs\n{run} -o {first}\n\n{run} --root 1 -o {second}  # the other root\n")
    commsim_on_ranks(2, ["batch", str(steps)], LIMIT_S)
    assert [json.loads(path.read_text())["rows"][0]["root"] for path in (first, second)] == [0, 1]
    assert capfd.readouterr().err.count("> run broadcast") == 2
    steps.write_text("run broadcast -a chian --sizes 8\n")
    with pytest.raises(ExecutionError, match="exit 2: unknown broadcast algorithm 'chian'; did you mean 'chain'"):
        commsim_on_ranks(2, ["batch", str(steps)], LIMIT_S)


def test_more_ranks_than_cores_is_said(tmp_path, nothing_left):
    crowd = len(os.sched_getaffinity(0)) + 1
    printed = commsim_on_ranks(crowd, ["run", "allreduce", "-a", "ring", "--sizes", "8", "-n", "2"], LIMIT_S)
    assert "OVERSUBSCRIBED" in printed


def test_calibrate_then_simulate_and_validate(tmp_path, nothing_left, capsys, monkeypatch):
    """The whole way of a cluster user: calibrate, run, validate."""
    from experiments import cli

    host, rows = tmp_path / "host.toml", tmp_path / "rows.csv"
    assert "median residual" in commsim_on_ranks(2, ["calibrate", "-o", str(host), "-n", "3"], LIMIT_S)
    commsim_on_ranks(2, ["run", "allreduce", "-a", "ring", "--sizes", "64KiB", "-n", "3", "-o", str(rows)], LIMIT_S)
    monkeypatch.setattr("sys.argv", ["commsim", "validate", str(rows), "-s", str(host)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "ring" in out
    assert "|ln(predicted/measured)|: median" in out


def test_calibrating_more_ranks_than_cores_is_refused(tmp_path, nothing_left):
    crowd = len(os.sched_getaffinity(0)) + 1
    with pytest.raises(ExecutionError, match=rf"{crowd} ranks on .*: ranks would wait .* --allow-oversubscribed"):
        commsim_on_ranks(crowd, ["calibrate", "-o", str(tmp_path / "host.toml")], LIMIT_S)


def test_two_made_up_nodes_are_two_classes(tmp_path, nothing_left, monkeypatch):
    """MPICH pretends that its ranks are on two nodes; other libraries have one class."""
    monkeypatch.setenv("MPIR_CVAR_NUM_CLIQUES", "2")
    host = tmp_path / "host.toml"
    words = ["calibrate", "-o", str(host), "--largest", "1KiB", "-n", "1", "--allow-oversubscribed"]
    printed = commsim_on_ranks(4, words, LIMIT_S)
    if "MPICH" in host.read_text():
        assert re.search("socket: latency .*\nacross: latency", re.sub(r"\n  .*", "", printed))
        assert topologies.find(str(host)).ranks_per_node(4) in (2, SCATTERED)


def test_a_structure_stays(tmp_path, nothing_left):
    host, star = tmp_path / "host.toml", "star:hosts=2,bandwidth=3GB/s,latency=1us"
    commsim_on_ranks(2, ["calibrate", "-o", str(host), "--largest", "4KiB", "-n", "1", "--structure", star], LIMIT_S)
    system = topologies.find(str(host))
    assert set(system.topology.links.bandwidth_Bps) == {3e9}
    assert system.endpoint.reduction.overhead_s[0] > 0


def test_a_launcher_is_found():
    assert Path(launcher()).exists()
