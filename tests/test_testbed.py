"""Real networks of namespaces: skipped, with the reason, where they cannot be made."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commsim.errors import ExecutionError, InputError
from experiments.testbed import lifetime, network, ranks, state

UNABLE = lifetime.unable()
pytestmark = pytest.mark.skipif(UNABLE is not None, reason=f"no testbed here: {UNABLE}")

PAIR = "star:hosts=2,bandwidth=100Mb/s,latency=0s"
RING = "torus:shape=4,bandwidth=100Mb/s,latency=0s"  # devices pass packets on, and the cables make a loop
PINGS = """
from mpi4py import MPI
import numpy, time
comm = MPI.COMM_WORLD
data = numpy.ones(2_000_000, dtype=numpy.uint8)
comm.Barrier()
begin = time.monotonic()
comm.Send(data, 1) if comm.rank == 0 else comm.Recv(data, 0) if comm.rank == 1 else None
comm.Barrier()
if comm.rank == 0:
    print(MPI.Get_processor_name(), time.monotonic() - begin)
"""


def namespaces():
    folder = network.path_of("x").parent
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


@pytest.fixture
def name():
    """A testbed's name that no other test has; nothing of it is left behind, whatever the test does."""
    mine = f"test-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    yield mine
    left = [found for found in namespaces() if found.startswith(f"commsim-{mine}")]
    for namespace in left:
        network.remove(namespace)
    assert not left
    assert not (state.FOLDER / mine).exists()


def test_ranks_send_over_the_shaped_links_alone(name):
    with lifetime.standing(PAIR, name) as record:
        host, seconds = ranks.output_of(record, 2, [sys.executable, "-c", PINGS], 60).split()
    assert host == "host0"
    assert float(seconds) >= 0.9 * 2_000_000 / 12.5e6  # a link can be slower, never faster


def test_it_stays_until_it_is_taken_down_and_is_not_built_twice(name, commsim):
    code, out, _ = commsim("testbed", "up", PAIR, "--name", name)
    assert (code, out) == (0, f"{name} is up: 2 devices, 1 bridges, 2 cables at 12.5 MB/s\n")
    with pytest.raises(InputError, match="is up already"):
        lifetime.up(PAIR, name)
    assert f"{name}: {PAIR}, 2 devices, 0 processes" in commsim("testbed", "status")[1]
    assert commsim("testbed", "down", PAIR, "--name", name)[1] == f"{name} is gone\n"
    assert commsim("testbed", "down", PAIR, "--name", name)[0] == 2


def test_two_stand_side_by_side(name):
    with lifetime.standing(PAIR, name) as one, lifetime.standing(PAIR, f"{name}b") as other:
        there = namespaces()
        assert {one.fabric, other.fabric, *one.hosts, *other.hosts} <= there
    assert not {one.fabric, other.fabric} & namespaces()


def test_loops_neither_flood_nor_lose_packets(name):
    with lifetime.standing(RING, name) as record:
        reach = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 9)); s.settimeout(5);"
            "print(s.recvfrom(9))"
        )
        inside = ["nsenter", f"--net={network.path_of(record.hosts[2])}", sys.executable, "-c", reach]
        with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as listening:
            time.sleep(0.5)
            send = f"import socket; socket.socket(2, 2).sendto(b'hello', ('{network.address(2, 0)}', 9))"
            subprocess.run(
                ["nsenter", f"--net={network.path_of(record.hosts[0])}", sys.executable, "-c", send], check=True
            )
            said = listening.communicate(timeout=10)[0]
        assert "hello" in said
        assert network.address(0, 0) in said


def test_a_signal_takes_everything_down(name):
    process = started(name)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM


def test_an_interruption_takes_everything_down(name):
    with pytest.raises(KeyboardInterrupt), lifetime.standing(PAIR, name):
        raise KeyboardInterrupt


def test_a_crash_takes_everything_down(name):
    process = started(name)
    record = next(one for one in state.records() if one.name == name)
    process.kill()  # and nobody has waited for it yet
    until = time.monotonic() + 20
    while record.folder.exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.wait(10)
    assert not record.folder.exists()
    assert not {record.fabric, *record.hosts} & namespaces()


def test_after_a_crash_of_all_the_next_command_clears_away(name):
    process = started(name)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        if "experiments.testbed.guard" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait(10)
    record = next(one for one in state.records() if one.name == name)
    assert record.abandoned
    assert record.fabric in namespaces()
    assert name in lifetime.down(PAIR, name)
    assert not any(network.processes(space) for space in (record.fabric, *record.hosts))


def started(name):
    """A run that would take a minute, once its ranks are there."""
    words = [sys.executable, "-m", "experiments.cli", "testbed", "run", PAIR, "--name", name, "--", "sleep", "60"]
    process = subprocess.Popen(
        words, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 20
    while time.monotonic() < until:
        record = next((one for one in state.records() if one.name == name), None)
        if record and all(network.processes(host) for host in record.hosts):
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError("it did not start")


def test_what_fails_while_it_is_built_leaves_nothing(name, monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(network.Builder, "_management", refused)
    with pytest.raises(ExecutionError, match="cannot be built: Operation not permitted"):
        lifetime.up(PAIR, name)
