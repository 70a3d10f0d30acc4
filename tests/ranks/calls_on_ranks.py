"""Calls in mpi4py's form on real ranks, beside mpi4py's own: started by test_mpi.py, never collected by itself."""

import gc
import itertools
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
from mpi4py import MPI

import collectives
from collectives import checks, contexts, devices, drafts
from collectives.contexts import MOST_CALLS, context_of
from collectives.plan import Plan
from collectives.registry import find
from commsim.errors import CommsimError, ExecutionError, InputError, RefusedError
from tests.variants import PLAIN, name_of, takes

WORLD = MPI.COMM_WORLD
P, ME = WORLD.size, WORLD.rank
ALGORITHMS = [pytest.param(find(*case), id=name_of(case)) for case in PLAIN if takes(find(*case), P)]


@pytest.fixture
def comm():
    """A communicator without plans."""
    made = WORLD.Dup()
    yield made
    made.Free()


def vector(count, dtype="int64", rank=ME):
    return np.random.default_rng([rank, count]).integers(0, 100, count).astype(dtype)


def ours_and_theirs(name, send, recv, *arguments, comm=WORLD, **options):
    """The same call twice by us, and once by mpi4py, on copies; what was sent must stay as it was."""
    found = []
    for module in (collectives, None):
        mine = [one.copy() if isinstance(one, np.ndarray) else one for one in (send, recv)]
        for _ in range(2 if module else 1):
            if isinstance(recv, np.ndarray):
                mine[1][:] = recv
            if module:
                getattr(module, name)(comm, *[one for one in mine if one is not SKIPPED], *arguments, **options)
            else:
                getattr(WORLD, name)(*[one for one in mine if one is not SKIPPED], *arguments)
        if isinstance(send, np.ndarray):
            assert (mine[0] == send).all()
        found.append(mine[1])
    if isinstance(recv, np.ndarray):
        np.testing.assert_array_equal(*found)


SKIPPED = object()
IN_PLACE = MPI.IN_PLACE


@pytest.mark.parametrize("one", ALGORITHMS)
def test_every_algorithm_as_mpi4py_has_it(one, comm, monkeypatch):
    """Out of place and in place; with messages in many segments that are reduced while others arrive."""
    monkeypatch.setattr(drafts, "SEGMENT_BYTES", 64)
    kind, n = one.collective, 211
    options = {"algorithm": one, "comm": comm}
    last, is_root = P - 1, P - 1 == ME
    whole, block = vector(n * P), vector(n)
    room, room_of_block = np.full(n * P, -1), np.full(n, -1)
    if kind.name == "allreduce":
        ours_and_theirs("Allreduce", block, room_of_block, MPI.SUM, **options)
        ours_and_theirs("Allreduce", IN_PLACE, block, MPI.MAX, **options)
    if kind.name == "broadcast":
        ours_and_theirs("Bcast", SKIPPED, block, last, **options)
    if kind.name == "reduce":
        ours_and_theirs("Reduce", block, room_of_block if is_root else None, MPI.SUM, last, **options)
        ours_and_theirs("Reduce", *((IN_PLACE, block) if is_root else (block, None)), MPI.MIN, last, **options)
    if kind.name == "reduce_scatter":
        ours_and_theirs("Reduce_scatter_block", whole, room_of_block, MPI.SUM, **options)
        counts = [n + (rank % 3) * 5 for rank in range(P)]
        ours_and_theirs("Reduce_scatter", vector(sum(counts)), np.full(counts[ME], -1), counts, MPI.SUM, **options)
        mine = whole.copy()
        collectives.Reduce_scatter_block(comm, IN_PLACE, mine, MPI.SUM, one)
        np.testing.assert_array_equal(mine[:n], sum(vector(n * P, rank=r)[ME * n : (ME + 1) * n] for r in range(P)))
    if kind.name == "allgather":
        ours_and_theirs("Allgather", block, room, **options)
        ours_and_theirs("Allgather", IN_PLACE, whole, **options)
    if kind.name == "alltoall":
        ours_and_theirs("Alltoall", whole, room, **options)
        ours_and_theirs("Alltoall", IN_PLACE, whole, **options)
    if kind.name == "gather":
        ours_and_theirs("Gather", block, room if is_root else None, last, **options)
        ours_and_theirs("Gather", *((IN_PLACE, whole) if is_root else (block, None)), last, **options)
    if kind.name == "scatter":
        ours_and_theirs("Scatter", whole if is_root else None, room_of_block, last, **options)
        ours_and_theirs("Scatter", *((whole, IN_PLACE) if is_root else (None, room_of_block)), last, **options)
    if kind.name == "barrier":
        collectives.Barrier(comm, one)
    if kind.name == "alltoallv":
        sizes = np.arange(P * P).reshape(P, P) % 4
        sent, got = sizes[ME], sizes[:, ME]
        gaps = ((sent + 1).cumsum() - sent - 1, (got + 2).cumsum() - got - 2)
        for ends in ((sent, got), ((sent, gaps[0]), (got, gaps[1]))):
            given, room, theirs = vector(9 * P), np.full(9 * P, -1), np.full(9 * P, -1)
            collectives.Alltoallv(comm, [given, ends[0]], [room, ends[1], MPI.INT64_T], one)
            WORLD.Alltoallv([given, ends[0]], [theirs, ends[1], MPI.INT64_T])
            np.testing.assert_array_equal(room, theirs)


@pytest.mark.parametrize("name", ["Allreduce", "Reduce_scatter_block", "Bcast", "Allgather", "Barrier", "Alltoall"])
def test_auto_takes_any_number_of_ranks_and_bytes(name):
    for n in (0, 1, 1000, 100_000):
        whole, block = vector(n * P), vector(n)
        ends = {"Allreduce": (block, block.copy()), "Bcast": (SKIPPED, block), "Barrier": (SKIPPED, SKIPPED)}
        ends |= {"Reduce_scatter_block": (whole, block), "Allgather": (block, whole), "Alltoall": (whole, whole.copy())}
        ours_and_theirs(name, *ends[name])


def test_the_librarys_own():
    ours_and_theirs("Allreduce", vector(9), vector(9), MPI.SUM, algorithm="library")
    request = collectives.Iallreduce(WORLD, IN_PLACE, vector(9), algorithm="library")
    assert request.Wait()


def subtraction_of_maps(left, right, kind):
    """X -> a*x + b composed, in pairs: associative, and does not commute."""
    a, b = np.frombuffer(left, np.int64), np.frombuffer(right, np.int64)
    result = b.copy()
    result[0::2], result[1::2] = a[0::2] * b[0::2] % 1009, (a[0::2] * b[1::2] + a[1::2]) % 1009
    b[:] = result


def test_operations_of_mpi_and_of_the_user():
    for op in (MPI.BAND, MPI.BOR, MPI.BXOR, MPI.LAND, MPI.LOR, MPI.LXOR, MPI.PROD):
        ours_and_theirs("Allreduce", vector(50) % 3, np.zeros(50, np.int64), op, algorithm="recursive_doubling")
    pairs = np.zeros(8, np.dtype([("value", "f8"), ("place", "i4")], align=True))
    pairs["value"], pairs["place"] = vector(8) % 3, ME
    theirs, mine = pairs.copy(), pairs.copy()
    WORLD.Allreduce(IN_PLACE, [theirs, 8, MPI.DOUBLE_INT], MPI.MINLOC)
    collectives.Allreduce(WORLD, IN_PLACE, [mine, 8, MPI.DOUBLE_INT], MPI.MINLOC, algorithm="ring")
    assert (mine == theirs).all()
    composed = MPI.Op.Create(subtraction_of_maps, commute=False)
    ours_and_theirs("Allreduce", vector(40), np.zeros(40, np.int64), composed, algorithm="recursive_doubling")
    ours_and_theirs("Reduce", vector(40), np.zeros(40, np.int64), composed, 0, algorithm="linear")
    ours_and_theirs("Allreduce", vector(40), np.zeros(40, np.int64), composed)
    if P > 1:
        with pytest.raises(RefusedError, match="does not commute"):
            collectives.Allreduce(WORLD, IN_PLACE, vector(40), composed, algorithm="ring")
    composed.Free()
    halves = np.full(5, 0.5, np.float16)  # no type of MPI's
    collectives.Allreduce(WORLD, IN_PLACE, halves, algorithm="ring")
    assert (halves == 0.5 * P).all()


def test_buffers_as_mpi4py_takes_them():
    given = vector(20, "float32")
    wanted = sum(vector(20, "float32", rank) for rank in range(P))
    for form in (lambda a: [a, MPI.FLOAT], lambda a: [a, 12], lambda a: [a, 12, MPI.FLOAT], lambda a: (a, (12), "f")):
        got = np.zeros(20, np.float32)
        n = 20 if len(form(got)) == 2 and not isinstance(form(got)[1], int) else 12
        collectives.Allreduce(WORLD, form(given), form(got), MPI.SUM, algorithm="ring")
        np.testing.assert_array_equal(got, np.where(np.arange(20) < n, wanted, 0))
    raw = bytearray(given.tobytes())
    collectives.Allreduce(WORLD, IN_PLACE, [raw, MPI.FLOAT], MPI.SUM, algorithm="ring")
    assert raw == wanted.tobytes()
    turned = np.asfortranarray(given.reshape(4, 5))
    collectives.Allreduce(WORLD, IN_PLACE, turned, algorithm="ring")
    np.testing.assert_array_equal(turned, wanted.reshape(4, 5))


@pytest.mark.parametrize(
    ("send", "recv", "said"),
    [
        (np.zeros(4), np.zeros(8)[::2], "must be contiguous, and shape"),
        (np.zeros(4), np.zeros(5), "they must be alike"),
        (np.zeros(4), np.zeros(4, "f4"), "they must be alike"),
        (np.zeros(4), None, "needs a buffer here, not None"),
        (np.zeros(4), np.array(["a"], object), "holds numbers, not object"),
        (np.zeros(4), [np.zeros(4), 5], "too few for 5"),
        (np.zeros(4), 3, "int is no buffer"),
        (np.zeros(4), np.broadcast_to(np.float64(0), 4), "must be contiguous"),
    ],
)
def test_what_is_no_buffer_is_refused(send, recv, said):
    with pytest.raises(InputError, match=said):
        collectives.Allreduce(WORLD, send, recv, algorithm="ring")


def test_read_only_buffers_can_be_sent():
    given, got = vector(10), np.zeros(10, np.int64)
    given.flags.writeable = False
    collectives.Allreduce(WORLD, given, got, algorithm="ring")
    assert (got == sum(vector(10, rank=rank) for rank in range(P))).all()
    with pytest.raises(InputError, match="read-only"):
        collectives.Allreduce(WORLD, got, given, algorithm="ring")


class ByDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class ByInterface:
    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
        self.array = array


class OnDevice:
    """Memory that only a driver may touch: numpy's, under the protocol of a GPU's."""

    def __init__(self, array, stream=7):
        shown = dict(array.__array_interface__)
        self.__cuda_array_interface__ = {**shown, "version": 3, "stream": stream}
        self.array = array


class FakeDriver:
    def __init__(self):
        self.done = []

    def synchronize(self, stream):
        self.done.append(("synchronize", stream))

    def to_host(self, host, address):
        self.done.append("to_host")
        np.copyto(host, collectives.arrays.array_at(address, len(host), host.dtype))

    def to_device(self, address, host):
        self.done.append("to_device")
        np.copyto(collectives.arrays.array_at(address, len(host), host.dtype), host)


@pytest.mark.parametrize("wrapped", [ByDlpack, ByInterface])
def test_arrays_of_other_libraries(wrapped):
    given, got = wrapped(vector(30)), wrapped(np.zeros(30, np.int64))
    for _ in range(2):
        collectives.Allreduce(WORLD, given, got, algorithm="ring")
    assert (got.array == sum(vector(30, rank=rank) for rank in range(P))).all()


@pytest.mark.parametrize("aware", [False, True])
def test_memory_of_a_device_goes_through_the_host_where_it_must(comm, monkeypatch, aware):
    driver = FakeDriver()
    monkeypatch.setattr(devices, "current", lambda: driver)
    monkeypatch.setattr(devices, "aware", lambda: aware)
    given, got = OnDevice(vector(30)), OnDevice(np.zeros(30, np.int64))
    collectives.Allreduce(comm, given, got, algorithm="ring")
    assert (got.array == sum(vector(30, rank=rank) for rank in range(P))).all()
    assert driver.done == [("synchronize", 7), ("synchronize", 7), "to_host", "to_device"]
    driver.done.clear()
    moved = OnDevice(vector(30) if ME == 0 else np.zeros(30, np.int64))
    collectives.Bcast(comm, moved, algorithm="binomial")
    assert (moved.array == vector(30, rank=0)).all()
    [call] = [one for one in context_of(comm).calls.kept.values() if one.algorithm == "binomial"]
    assert call.path == ("device" if aware else "staged on the host")
    assert ("to_host" in driver.done or "to_device" in driver.done) == (not aware)


def test_the_library_gets_memory_of_a_device_where_it_takes_it(comm, monkeypatch):
    """An address of a GPU would end a library that does not."""
    driver = FakeDriver()
    monkeypatch.setattr(devices, "current", lambda: driver)
    monkeypatch.setattr(devices, "aware", lambda: False)
    total = sum(vector(30, rank=rank) for rank in range(P))
    both = OnDevice(vector(30))
    for _ in range(2):  # a kept call copies again
        np.copyto(both.array, vector(30))
        collectives.Allreduce(comm, IN_PLACE, [both, 30, MPI.INT64_T], algorithm="library")
        assert (both.array == total).all()
    assert driver.done == 2 * [("synchronize", 7), "to_host", "to_device"]
    given, got = OnDevice(vector(30)), OnDevice(np.zeros(30, np.int64))
    collectives.Allreduce(comm, given, got, algorithm="library")
    assert (got.array == total).all()
    assert (given.array == vector(30)).all()
    driver.done.clear()
    monkeypatch.setattr(devices, "aware", lambda: True)
    moved = OnDevice(vector(30) if ME == 0 else np.zeros(30, np.int64), stream=3)
    collectives.Bcast(comm, moved, algorithm="library")
    assert (moved.array == vector(30, rank=0)).all()
    assert driver.done == [("synchronize", 3)]  # mpi4py hands the address on; MPI does not know of streams
    handle = collectives.Allreduce_init(comm, IN_PLACE, moved, algorithm="library")
    assert handle.path == "device"
    handle.Free()


def test_a_plan_is_kept_for_its_buffers_and_freed_with_its_communicator(monkeypatch):
    freed = []
    real = Plan.free
    monkeypatch.setattr(Plan, "free", lambda plan: (freed.append(plan), real(plan)))
    comm = WORLD.Split(0, -ME)
    arrays = [vector(10) for _ in range(3)]
    for array in (*arrays, *arrays):
        collectives.Allreduce(comm, IN_PLACE, array, algorithm="ring")
    kept = context_of(comm).calls
    assert len(kept.kept) == 3
    assert not freed
    handle = collectives.Allreduce_init(comm, IN_PLACE, arrays[0], algorithm="ring")
    comm.Free()
    assert len(freed) == 4
    with pytest.raises(ExecutionError, match="was freed"):
        handle.Start()


def test_the_number_of_plans_is_bounded(comm):
    memory = np.zeros(MOST_CALLS + 40)
    for begin in range(MOST_CALLS + 20):
        collectives.Allreduce(comm, IN_PLACE, memory[begin : begin + 2], algorithm="recursive_doubling")
    assert len(context_of(comm).calls.kept) == MOST_CALLS


def test_memory_that_is_used_again_is_no_trap():
    """Arrays die, and others of another length or type come to lie where they were."""
    for n, dtype in itertools.product((1000, 500, 1000), ("int64", "float64", "int32")):
        array = vector(n, dtype)
        collectives.Allreduce(WORLD, IN_PLACE, array, algorithm="rabenseifner" if P & (P - 1) == 0 else "ring")
        assert (array == sum(vector(n, dtype, rank) for rank in range(P))).all()
        del array
        gc.collect()


@pytest.mark.parametrize("algorithm", ["ring", "recursive_doubling", "double_binary_tree:segments=4"])
def test_later_calls_allocate_nothing(comm, algorithm):
    send, receive = vector(300_000), np.zeros(300_000, np.int64)
    for _ in range(2):
        collectives.Allreduce(comm, send, receive, algorithm=algorithm)
    tracemalloc.start()
    try:
        collectives.Allreduce(comm, send, receive, algorithm=algorithm)
        most_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most_bytes < 20_000  # frames and generators, no part of the vector


def test_a_call_keeps_no_array_alive(comm):
    array = vector(100)
    for _ in range(2):
        collectives.Allreduce(comm, IN_PLACE, array, algorithm="ring")
    known = context_of(comm).calls.known
    assert len(known) == 1
    del array
    gc.collect()
    assert not known


@pytest.mark.parametrize("progress", ["thread", "test"])
def test_several_on_their_way(progress):
    """Of different sizes, beside a blocking one; waited for in another order."""
    given = [vector(n) for n in (1, 1000, 50_000, 1000)]
    wanted = [sum(vector(len(one), rank=rank) for rank in range(P)) for one in given]
    for _ in range(3):
        got = [one.copy() for one in given]
        requests = [collectives.Iallreduce(WORLD, IN_PLACE, one, algorithm="ring", progress=progress) for one in got]
        beside = vector(77)
        collectives.Allreduce(WORLD, IN_PLACE, beside, algorithm="ring")
        assert (beside == sum(vector(77, rank=rank) for rank in range(P))).all()
        while not requests[2].Test():
            pass
        assert requests[0].test()
        collectives.Request.Waitall(requests[::-1])
        for one, right in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(one, right)


@pytest.mark.parametrize("progress", ["thread", "test"])
def test_handles_are_started_again_and_in_any_order(progress):
    arrays = [vector(n) for n in (100, 30_000)]
    sums = [np.zeros_like(one) for one in arrays]
    ends = zip(arrays, sums, strict=True)
    handles = [collectives.Allreduce_init(WORLD, *pair, algorithm="ring", progress=progress) for pair in ends]
    order = [0, 1] if progress == "thread" or ME % 2 else [1, 0]
    for factor in (1, 2, 3):
        for index in order:
            np.multiply(vector(len(arrays[index])), factor, out=arrays[index])
            handles[index].Start()
        with pytest.raises(ExecutionError, match="has not ended"):
            handles[0].Start()
        while not all(handle.Test() for handle in handles):  # all must go on for one to end
            pass
        for array, got in zip(arrays, sums, strict=True):
            np.testing.assert_array_equal(got, factor * sum(vector(len(array), rank=rank) for rank in range(P)))
    for handle in handles:
        assert handle.Wait()
        handle.Free()


def test_a_thread_that_fails_says_so_where_it_is_waited_for(comm, monkeypatch):
    array = vector(10)
    collectives.Iallreduce(comm, IN_PLACE, array, algorithm="ring", progress="thread").Wait()
    [call] = context_of(comm).deferred.kept.values()
    call.run = lambda: 1 / 0
    with pytest.raises(ExecutionError, match="ZeroDivisionError"):
        collectives.Iallreduce(comm, IN_PLACE, array, algorithm="ring", progress="thread").Wait()


def test_calls_of_another_thread(comm):
    """A training loop's thread for communication: blocking calls there, other calls here."""
    arrays = [vector(5000) for _ in range(20)]
    context_of(comm)
    thread = threading.Thread(
        target=lambda: [collectives.Allreduce(comm, IN_PLACE, one, algorithm="ring") for one in arrays]
    )
    thread.start()
    for _ in range(20):
        collectives.Barrier(WORLD)
    thread.join()
    assert all((one == sum(vector(5000, rank=rank) for rank in range(P))).all() for one in arrays)


def test_a_thread_level_that_is_too_low_is_refused(monkeypatch):
    monkeypatch.setattr(MPI, "Query_thread", lambda: MPI.THREAD_FUNNELED)
    monkeypatch.setattr(contexts, "ready", {})
    monkeypatch.setattr(collectives.calls, "ready", {})
    for call in (collectives.Iallreduce, collectives.Allreduce_init):
        with pytest.raises(RefusedError, match=r"needs MPI_THREAD_MULTIPLE.*MPI_THREAD_FUNNELED.*progress='test'"):
            call(WORLD, IN_PLACE, np.zeros(3), progress="thread")
    assert collectives.Iallreduce(WORLD, IN_PLACE, np.zeros(3)).Wait()
    errors = []

    def elsewhere():
        try:
            collectives.Barrier(WORLD)
        except CommsimError as error:
            errors.append(str(error))

    thread = threading.Thread(target=elsewhere, name="sender")
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "sender may not call MPI" in errors[0]


def test_names_are_checked():
    for algorithm, said in {"rong": "did you mean 'ring'", "ring:x=3": "x"}.items():
        with pytest.raises(InputError, match=said):
            collectives.Allreduce(WORLD, IN_PLACE, np.zeros(3), algorithm=algorithm)
    with pytest.raises(InputError, match="ring is for allreduce, not for broadcast"):
        collectives.Bcast(WORLD, np.zeros(3), algorithm=find("allreduce", "ring"))
    with pytest.raises(InputError, match="progress"):
        collectives.Iallreduce(WORLD, IN_PLACE, np.zeros(3), progress="threads")


def other_call(comm, what):
    """A call of the last rank that is not the others'."""
    length, dtype, op, one = {
        "nothing": (10, "f4", MPI.SUM, "ring"),
        "count": (9, "f4", MPI.SUM, "ring"),
        "type": (10, "f8", MPI.SUM, "ring"),
        "op": (10, "f4", MPI.MAX, "ring"),
        "algorithm": (10, "f4", MPI.SUM, "recursive_doubling"),
        "buffer": (10, "O", MPI.SUM, "ring"),
    }[what if ME == P - 1 else "nothing"]
    return comm, IN_PLACE, np.ones(length, dtype), op, one


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "count",
            r"allreduce of 10 float32, sum, by ring \(rank 0.*; allreduce of 9 float32, sum, by ring \(rank {last}\)",
        ),
        ("type", r"10 float64, sum, by ring \(rank {last}\)"),
        ("op", r"10 float32, max, by ring \(rank {last}\)"),
        ("algorithm", r"10 float32, sum, by recursive_doubling \(rank {last}\)"),
        ("buffer", "holds numbers, not object"),
    ],
)
def test_ranks_that_make_different_calls_are_told(comm, monkeypatch, what, said):
    """And go on after it."""
    monkeypatch.setenv("COMMSIM_CHECK", "1")
    for call in (collectives.Allreduce, collectives.Iallreduce, collectives.Allreduce_init):
        with pytest.raises(CommsimError, match=said.format(last=P - 1)):
            call(*other_call(comm, what))
    barrier, allreduce = partial(collectives.Barrier, comm), partial(collectives.Allreduce, comm, IN_PLACE, np.ones(3))
    with pytest.raises(InputError, match=r"different calls: allreduce of .* \(rank 0.*; barrier, by"):
        (barrier if ME == P - 1 else allreduce)()
    with pytest.raises(InputError, match=r"broadcast of .*, root 1"):
        collectives.Bcast(comm, np.ones(3), 1 if ME == P - 1 else 0)
    got = np.ones(3)
    for _ in range(2):
        collectives.Allreduce(comm, IN_PLACE, got, algorithm="ring")
    assert (got == P**2).all()


def test_blocks_of_an_alltoallv_must_fit(comm, monkeypatch):
    monkeypatch.setenv("COMMSIM_CHECK", "1")
    ones, longer = [1] * P, [1] * (P - 1) + [2]
    there = (np.ones(9), ones if ME else longer, MPI.DOUBLE)
    with pytest.raises(InputError, match=f"rank 0 sends 2 elements to rank {P - 1}, which expects 1"):
        collectives.Alltoallv(comm, there, (np.ones(9), ones, MPI.DOUBLE))


def test_a_message_that_does_not_fit_is_told():
    error = MPI.Exception(MPI.ERR_TRUNCATE)
    with pytest.raises(
        ExecutionError, match=r"could not take a message .*; if ranks make different calls, COMMSIM_CHECK=1"
    ):
        checks.raise_if_messages_differ(error)
    checks.raise_if_messages_differ(ValueError())
