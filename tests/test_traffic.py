"""Traffic: what it must do, against a readable reference and the collectives; files, and every mistake in them."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

import topologies
from commsim import Disturbance, simulate
from commsim.errors import CommsimError, InputError, RefusedError
from commsim.from_schedule import job_of, traffic_of
from commsim.goal import read_goal, write_goal
from commsim.traffic import Traffic, share_fabric, tier_loads
from commsim.traffic_file import read_traffic, write_traffic
from tests.fluid_reference import Fabric, Message, Transfer
from tests.test_fluid import two_rings
from tests.variants import find

ROOT = Path(__file__).parent.parent
STAR = topologies.find("star:hosts=6,bandwidth=1GB/s,latency=1us")
TREE = topologies.find("xgft:down=3x2,up=1x2,bandwidth=1GB/s,latency=500ns,overhead=100ns")
CSV = "id,after,start,src,dst,bytes,compute,label\n"


def traffic_in(tmp_path, text, system=STAR, name="messages.csv"):
    path = tmp_path / name
    path.write_text(text)
    return read_goal(path) if name.endswith("goal") else read_traffic(path, system)


def played(*traffic, system=STAR, **options):
    return share_fabric([one.job(system) for one in traffic], system, **options)


def of_messages(rows, requires=(), start_s=(), compute_s=()):
    """Traffic of (src, dst, n_bytes) rows, each an operation of its own."""
    src, dst, n_bytes = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    n, names = len(rows), tuple(f"m{number}" for number in range(len(rows)))
    pairs = np.array(requires, dtype=np.int64).reshape(-1, 2)
    times = [np.array(given or [0.0] * n) for given in (compute_s, start_s)]
    each = np.arange(n)
    return Traffic(
        "rows",
        src,
        dst,
        n_bytes,
        times[0],
        each,
        each,
        names,
        names,
        names,
        times[1],
        pairs,
        np.empty((0, 2), dtype=int),
    )


# ---------------------------------------------------------------------------------------------------------------------
# What must come out


def test_messages_wait_share_and_compute(tmp_path):
    found = played(
        traffic_in(
            tmp_path,
            CSV + "a,,,0,1,1MB,,\n" + "b,,,2,1,1MB,,beside\n" + "c,a,5ms,1,host3,1000,,\n" + "d,a;b,,3,3,0,4us,work\n"
            "e,d,,3,4,1000,7us,\n",
        )
    )
    both = 2e-3 + 2e-6  # two on one port
    np.testing.assert_allclose(found.start_s, [0, 0, 5e-3, both, both + 4e-6])
    np.testing.assert_allclose(found.end_s, [both, both, 5e-3 + 3e-6, both, both + 4e-6 + 3e-6])
    np.testing.assert_allclose(found.done_s, found.end_s + np.array([0, 0, 0, 4e-6, 7e-6]))
    np.testing.assert_allclose(found.least_s, [1e-3 + 2e-6, 1e-3 + 2e-6, 3e-6, 0, 3e-6])
    assert found.time_s == pytest.approx(5e-3 + 3e-6)
    assert found.link_bytes.sum() == 2 * (2e6 + 2000)
    np.testing.assert_allclose(found.finish_s, [both, 5e-3 + 3e-6, both, 5e-3 + 3e-6, both + 14e-6, 0])


def test_computations_of_a_device_run_one_after_the_other():
    found = played(of_messages([(0, 0, 0), (0, 0, 0), (1, 1, 0)], compute_s=[1e-6, 2e-6, 5e-6]))
    np.testing.assert_allclose(found.done_s, [1e-6, 3e-6, 5e-6])


def test_goal_is_played(tmp_path):
    text = """num_ranks 3 // two messages
    rank 0 {
      a: send 1000b to 1 tag 7 cpu 0 nic 0
      b: calc 500   /* ns,
      on one processor */
      c: calc 250
      b requires a; c irequires b
    }
    rank 1 { l1: recv 1000b from 0 tag 7; l2: send 2000b to 2; l2 requires l1 }
    rank 2 { recv 4000b from 1 }"""
    found = played(traffic_in(tmp_path, text, name="two.goal"))
    assert found.traffic[0].ids == ("0.a", "0.b", "0.c", "1.l2")
    np.testing.assert_allclose(found.start_s, [0, 3e-6, 3e-6, 3e-6])
    np.testing.assert_allclose(found.done_s, [3e-6, 3.5e-6, 3.75e-6, 7e-6])


def test_processors_of_a_rank_compute_side_by_side(tmp_path):
    text = "num_ranks 2\nrank 1 {\n calc 100\n calc 200\n calc 500 cpu 1\n calc 50 cpu 3\n}\n"
    goal = traffic_in(tmp_path, text, name="four.goal")
    expected = [1e-7, 3e-7, 5e-7, 0.5e-7]
    np.testing.assert_allclose(played(goal).done_s, expected)
    again = [4e-7, 6e-7, 10e-7, 1e-7]
    np.testing.assert_allclose(played(goal, replace(goal, name="again")).done_s, expected + again)


def test_a_collective_and_background_slow_each_other_and_bytes_add_up(tmp_path):
    background = traffic_in(tmp_path, CSV + "".join(f"x{i},,,{i},{i + 3},4MB,,\n" for i in range(3)), TREE)
    ring = job_of(find(("allreduce", "ring")), TREE, "6MB", name="ring")
    jobs = [background.job(TREE), ring]
    found = share_fabric(jobs, TREE)
    alone = simulate(find(("allreduce", "ring")), TREE, "6MB", model="fluid")
    assert found.jobs[1].alone_s == pytest.approx(alone.time_s, rel=1e-12)
    assert found.jobs[1].together_s > 1.2 * alone.time_s
    assert found.jobs[0].together_s > found.jobs[0].alone_s
    assert found.time_s == max(job.together_s for job in found.jobs)
    assert found.n_messages == 3 + alone.n_messages
    np.testing.assert_allclose(found.link_bytes, alone.link_bytes + played(background, system=TREE).link_bytes)
    swapped = share_fabric(jobs[::-1], TREE)
    assert [job.together_s for job in swapped.jobs] == [job.together_s for job in found.jobs[::-1]]


def test_fabric_operations_have_their_place_beside_others(tmp_path):
    star = topologies.find("star:hosts=6,bandwidth=1GB/s,latency=1us,in_network=both")
    multicast = job_of(find(("broadcast", "multicast")), star, "1MB")
    for rows in ("a,,,1,2,1MB,,\n", "a,,,1,2,1MB,,\nb,,,3,4,1MB,,\n"):
        background = traffic_in(tmp_path, CSV + rows, star)
        found = share_fabric([multicast, background.job(star)], star)
        assert found.jobs[0].alone_s == pytest.approx(1e-3 + 2e-6)
        assert found.jobs[0].together_s == found.jobs[1].together_s == pytest.approx(2e-3 + 2e-6)
    with pytest.raises(RefusedError, match="multicast reduces or copies in the fabric"):
        traffic_of(multicast)


def test_disturbance_is_felt_by_all_alike(tmp_path):
    rows = of_messages([(0, 1, 1000), (1, 1, 0)], requires=[(1, 0)], compute_s=[0.0, 1e-6])
    slow = Disturbance(start_s=(0.0, 5e-6, *[9.0] * 4), stragglers=((1, 3.0),))
    found = played(rows, disturbance=slow)
    np.testing.assert_allclose(found.done_s, [8e-6, 11e-6])
    assert found.time_s == pytest.approx(11e-6)  # devices without messages do not count
    jitter = played(rows, disturbance=Disturbance(jitter=0.5, seed=1))
    assert jitter.time_s == played(rows, disturbance=Disturbance(jitter=0.5, seed=1)).time_s > played(rows).time_s


def test_what_leaves_each_tier():
    found = played(of_messages([(0, 1, 1000), (0, 4, 500), (5, 0, 250)]), system=TREE)
    loads = {load.tier: load for load in tier_loads(TREE.topology, found.link_bytes, found.time_s)}
    assert loads["device"].n_bytes == 1750
    assert loads["leaf"].n_bytes == 750
    assert loads["leaf"].share == pytest.approx(750 / (4e9 * found.time_s))


# ---------------------------------------------------------------------------------------------------------------------
# A readable reference, and what holds for any traffic


def readable(traffic, system):
    """When every operation is done."""
    env = simpy.Environment()
    fabric, topology = Fabric(env, system.topology), system.topology
    unit = [simpy.Resource(env) for _ in range(system.n_devices)]
    n = len(traffic.operations)
    begun, done, done_s = [env.event() for _ in range(n)], [env.event() for _ in range(n)], np.zeros(n)
    path, (overhead_s, _) = topology.path(traffic.src, traffic.dst), system.endpoint.message.at(traffic.n_bytes)
    parts = [[] for _ in range(n)]

    def computed(device, transfer, seconds):
        yield transfer.delivered
        if seconds:
            with unit[device].request() as turn:
                yield turn
                yield env.timeout(seconds)

    def operation(number, posts):
        yield env.timeout(traffic.start_s[number])
        yield env.all_of([done[other] for one, other in traffic.requires if one == number])
        yield env.all_of([begun[other] for one, other in traffic.follows if one == number])
        begun[number].succeed()
        for post in posts:
            post.succeed()
        yield env.all_of(parts[number])
        done[number].succeed()
        done_s[number] = env.now

    posts = [[] for _ in range(n)]
    for row, (src, dst) in enumerate(zip(traffic.src.tolist(), traffic.dst.tolist(), strict=True)):
        links = {int(hop) for hop in path.hops[row] if hop >= 0}
        both = (overhead_s if src != dst else 0.0,) * 2
        size = int(traffic.n_bytes[row])
        message = Message({src}, {dst}, links, size, np.inf, *both, path.latency_s[row], -1.0, eager=False)
        transfer = Transfer(env, fabric, message)
        sender, receiver = int(traffic.sender[row]), int(traffic.receiver[row])
        posts[sender].append(transfer.sent[src])
        posts[receiver].append(transfer.awaited[dst])
        parts[sender].append(transfer.delivered)
        parts[receiver].append(env.process(computed(dst, transfer, traffic.compute_s[row])))
    for number in range(n):
        env.process(operation(number, posts[number]))
    env.run()
    return done_s


@st.composite
def some_traffic(draw, n_devices=6):
    n = draw(st.integers(1, 12))
    device, size = st.integers(0, n_devices - 1), st.sampled_from([0, 1, 1000, 12345, 10**6])
    rows = [(draw(device), draw(device), draw(size)) for _ in range(n)]
    pairs = [(b, a) for b in range(n) for a in range(b) if draw(st.integers(0, 4)) == 0]
    starts = [draw(st.sampled_from([0.0, 1e-6, 3e-4])) for _ in range(n)]
    first = {dst: number for number, (_, dst, _) in reversed(list(enumerate(rows)))}
    mine = [first[dst] == number for number, (_, dst, _) in enumerate(rows)]  # one for each device: no two come at once
    computes = [draw(st.sampled_from([0.0, 7.7e-6])) if is_first else 0.0 for is_first in mine]
    return of_messages(rows, pairs, starts, computes)


@given(traffic=some_traffic(), system=st.sampled_from([STAR, TREE]))
@settings(max_examples=60, deadline=None)
def test_any_traffic_equals_the_reference_and_conserves_bytes(traffic, system):
    found = played(traffic, system=system)
    np.testing.assert_allclose(found.done_s, readable(traffic, system)[traffic.receiver], rtol=1e-6, atol=1e-12)
    for after, before in traffic.requires:
        assert found.start_s[after] >= found.done_s[before] * (1 - 1e-9)
    assert (found.start_s >= traffic.start_s * (1 - 1e-9)).all()
    assert (found.end_s - found.start_s >= found.least_s * (1 - 1e-9)).all()
    carried = np.zeros(system.topology.n_links)
    for hops, n_bytes in zip(system.topology.path(traffic.src, traffic.dst).hops, traffic.n_bytes, strict=True):
        carried[hops[hops >= 0]] += n_bytes
    np.testing.assert_allclose(found.link_bytes, carried)
    assert (found.link_busy_s <= found.time_s * (1 + 1e-9)).all()


SIZES = st.lists(st.integers(1, 10**6), min_size=1, max_size=8)


@given(sizes=SIZES, which=st.integers(0, 7), more=st.integers(1, 10**6), slower=st.floats(0.1, 1))
@settings(max_examples=40, deadline=None)
def test_time_never_falls_where_one_link_is_shared_or_all_follow_each_other(sizes, which, more, slower):
    """Elsewhere it may: who is slowed makes room for others (as Braess's paradox has it in road traffic)."""
    larger = list(sizes)
    larger[which % len(sizes)] += more
    links = replace(STAR.topology.links, bandwidth_Bps=STAR.topology.links.bandwidth_Bps * slower)
    slow = replace(STAR, topology=replace(STAR.topology, links=links))
    for shape in (shared, chained):
        base = played(shape(sizes)).time_s
        assert played(shape(larger)).time_s >= base * (1 - 1e-12)
        assert played(shape(sizes), system=slow).time_s >= base * (1 - 1e-12)


def shared(sizes):
    """All to one device, at times of their own."""
    return of_messages(
        [(1 + i % 5, 0, size) for i, size in enumerate(sizes)], (), [1e-5 * i for i in range(len(sizes))]
    )


def chained(sizes):
    pairs = [(i, i - 1) for i in range(1, len(sizes))]
    return of_messages([(i % 6, (i * i + 1) % 6, size) for i, size in enumerate(sizes)], pairs)


# ---------------------------------------------------------------------------------------------------------------------
# Written and read again

EXPORTED = [
    ("allreduce", "ring"),
    ("allreduce", "linear"),
    ("allreduce", "all_pairs"),
    ("broadcast", "kary_tree"),
    None,
]


@pytest.mark.parametrize("case", EXPORTED, ids=str)
@pytest.mark.parametrize("ending", ["csv", "goal"])
def test_a_collective_takes_as_long_when_it_comes_from_a_file(tmp_path, case, ending):
    one = find(case) if case else two_rings
    gamma = "2ns/B" if ending == "goal" else "1.7ns/B"  # GOAL counts whole nanoseconds
    system = topologies.find(f"xgft:down=3x2,up=1x1,bandwidth=1GB/s,latency=500ns,overhead=100ns,gamma={gamma}")
    job, path = job_of(one, system, 4800), tmp_path / f"out.{ending}"
    traffic = traffic_of(job)
    if ending == "goal":
        write_goal(traffic, path, system.n_devices)
        again = read_goal(path)
    else:
        write_traffic(traffic, path)
        again = read_traffic(path, system)
    expected = simulate(one, system, 4800, model="fluid")
    for given_traffic in (traffic, again):
        found = played(given_traffic, system=system)
        np.testing.assert_allclose(found.finish_s, expected.finish_s, rtol=1e-9)
        np.testing.assert_allclose(found.link_bytes, expected.link_bytes)


def test_csv_is_read_back_and_goal_becomes_csv(tmp_path):
    text = CSV + "a,,2e-06s,0,1,1000,,first\nb,a,,1,2,10,3e-06s,\n"
    one = traffic_in(tmp_path, text)
    write_traffic(one, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == text
    text = "num_ranks 2\nrank 0 {\n a: send 8b to 1\n}\nrank 1 {\n a: recv 8b from 0\n b: calc 100\n b requires a\n}\n"
    goal = traffic_in(tmp_path, text, name="x.goal")
    write_traffic(goal, tmp_path / "x.csv")
    assert played(read_traffic(tmp_path / "x.csv", STAR)).time_s == played(goal).time_s == pytest.approx(2.108e-6)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,,,0,1,8,,\n", "a is no send and receive of two ranks"),
        ("a,,1us,0,0,0,3us,\n", "starts operations at given times, which GOAL does not know"),
        ("a,,,0,0,0,3us,\nb,a,,1,1,0,3us,\n", "b waits for a of another rank"),
    ],
)
def test_what_goal_cannot_say(tmp_path, rows, said):
    with pytest.raises(InputError, match=said):
        write_goal(traffic_in(tmp_path, CSV + rows), tmp_path / "out.goal", 6)


def test_what_csv_cannot_say(tmp_path):
    text = "num_ranks 1\nrank 0 {\n a: calc 1\n b: calc 1\n b irequires a\n}\n"
    with pytest.raises(InputError, match="rank 0 b starts when rank 0 a has started: only GOAL knows that"):
        write_traffic(traffic_in(tmp_path, text, name="x.goal"), tmp_path / "x.csv")


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty; its first line names the columns"),
        ("src,dst\n", "line 1: the column bytes is missing"),
        ("src,dst,bytes,size\n", "line 1: 'size'; known|line 1: 'size'"),
        ("src,dst,bytes,src\n", "line 1: the column src stands twice"),
        ("src,dst,bytes\n0,1\n", "line 2: 2 values for 3 columns"),
        ("src,dst,bytes\n0,1,-5\n", "line 2, bytes: -5 must be zero or more"),
        ("# note\n\nsrc,dst,bytes\n0,1,5 apples\n", "line 4, bytes: size '5 apples': unknown unit"),
        ("src,dst,bytes\n0,1,1e30B\n", "line 2, bytes: 1e30B is too much"),
        ("src,dst,bytes\n0,²,5\n", "line 2, dst: unknown device of star.*'²'"),
        ("src,dst,bytes\n0,9,5\n", "line 2, dst: there is no device 9; star.* has 6, 0 to 5"),
        ("src,dst,bytes\nhost0,hots1,5\n", "line 2, dst: unknown device of star.*'hots1'; did you mean 'host1'"),
        ("src,dst,bytes\n0,,5\n", "line 2, dst: unknown device"),
        ("src,dst,bytes,start\n0,1,5,3\n", "line 2, start: time '3': a unit is missing"),
        ("id,src,dst,bytes\na,0,1,5\na,0,1,5\n", "line 3: the id a stands in line 2 already"),
        ("id,after,src,dst,bytes\nload,,0,1,5\nb,lode,0,1,5\n", "line 3, after: 'lode'; did you mean 'load'"),
        (
            "id,after,src,dst,bytes\na,b,0,1,5\nb,c,0,1,5\nc,a,0,1,5\nd,,0,1,5\n",
            "wait for each other.*: a → c → b → a$",
        ),
        ("id,after,src,dst,bytes\na,a,0,1,5\n", "wait for each other and never start: a"),
        ('src,dst,bytes\n"0,1,5\n', "not CSV"),
    ],
)
def test_wrong_csv(tmp_path, text, said):
    with pytest.raises(CommsimError, match=said) as error:
        played(traffic_in(tmp_path, text))
    assert "messages.csv" in str(error.value)
    assert "\n" not in str(error.value)


HEAD = "num_ranks 2\nrank 0 {\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no num_ranks"),
        (HEAD, "rank 0 has no closing brace"),
        (HEAD + "jump 3\n}", "line 3: 'jump 3' is not GOAL"),
        ("num_ranks 2\ncalc 3\n", "line 2: 'calc 3' is neither num_ranks N nor rank R"),
        ("num_ranks 2\nrank 2 {\n}", "line 2: rank 2 of num_ranks 2"),
        (HEAD + "}\nrank 0 {\n}", "line 4: rank 0 stands twice"),
        (HEAD + "rank 1 {\n}", "line 3: rank 0 is still open"),
        (HEAD + "a: calc 3\na: calc 4\n}", "line 4: the label a stands twice in rank 0"),
        (HEAD + "lap1: calc 3\nlap1 requires lap2\n}", "line 4: 'lap2'; did you mean 'lap1'"),
        (HEAD + "a: send 8b to 1 tga 4\n}", "line 3: 'tga'; did you mean 'tag'"),
        (HEAD + "a: send 8b to 2\n}", "line 3: rank 2 of num_ranks 2"),
        (HEAD + "a: send 8b tag 3\n}", "line 3: send 8b names no rank: to R is missing"),
        (HEAD + "a: send 8.5b to 1\n}", "line 3: send 8.5b: it takes a whole number of bytes"),
        (HEAD + "a: calc 8b\n}", "line 3: calc 8b: it takes a whole number of nanoseconds"),
        (HEAD + "a: send 8b to 1 nic 2\n}", "line 3: nic 2: the route of a message is the system's"),
        (HEAD + "a: calc 8 cpu 2000\n}", "line 3: cpu 2000: a rank has at most 1024"),
        (HEAD + "a: send 8b to 1 tag ²\n}", "line 3: tag ² is not a whole number from 0 to"),
        (HEAD + "a: send 8b to 1 tag 1 tag 2\n}", "line 3: tag stands twice"),
        (HEAD + "a: calc 99999999999999999999\n}", "line 3: calc 9*: more than 9007199254740992 is too much"),
        (HEAD + "a: calc 8 nic 0\n}", "line 3: 'nic'; "),
        (
            HEAD + "a: send 8b to 1 tag 3\n}",
            "line 3: rank 0 a: send from 0 to 1 with tag 3 has no recv; .* 1 sends and 0",
        ),
        (HEAD + "a: recv 8b from 1 tag 3\n}", "line 3: rank 0 a: recv from 1 to 0 with tag 3 has no send"),
        (
            HEAD + "a: send 9b to 1\n}\nrank 1 {\n b: recv 8b from 0\n}",
            "line 6: rank 1 b takes 8 B, but rank 0 a sends 9",
        ),
        (
            HEAD
            + "a: recv 8b from 1\nb: send 8b to 1\nb requires a\n}\nrank 1 {\n a: recv 8b from 0\n b: send 8b to 0\n"
            "b requires a\n}",
            "wait for each other and never start: rank",
        ),
    ],
)
def test_wrong_goal(tmp_path, text, said):
    with pytest.raises(CommsimError, match=said) as error:
        played(traffic_in(tmp_path, text, name="wrong.goal"))
    assert "wrong.goal" in str(error.value)
    assert "\n" not in str(error.value)


def test_too_few_devices(tmp_path):
    goal = traffic_in(tmp_path, "num_ranks 9\nrank 8 {\n calc 1\n}", name="x.goal")
    with pytest.raises(RefusedError, match=r"needs device 8, but star.* has 6 devices"):
        goal.table(STAR)


# ---------------------------------------------------------------------------------------------------------------------
# The command

SYSTEM = "xgft:down=4x2,up=1x1,bandwidth=1GB/s,latency=1us"


def test_the_command_prints_and_writes(commsim, tmp_path):
    path = tmp_path / "load.csv"
    path.write_text(CSV + "a,,,0,4,1MB,,big\nb,a,,1,5,1KB,,\n")
    words = ("traffic", path, "-s", SYSTEM, "--with", "allreduce:ring:8KiB")
    code, out, err = commsim(*words, "-o", tmp_path / "rows.json")
    assert (code, err) == (0, "")
    for said in (
        r"# time: 1\.0\d+ ms",
        r"allreduce:ring:8KiB +112 +70\.34 µs +84\.67 µs +1\.20 x",
        r" a +host0 +host4 +1000000 B +0 s +1\.0\d+ ms +1\.\d\d x +big",
        r"leaf0→spine0 +1\.0\d+ MB +9\d\.\d %",
        r"leaf +1\.0\d+ MB",
    ):
        assert re.search(said, out), said
    document = json.loads((tmp_path / "rows.json").read_text())
    assert [row["id"] for row in document["rows"]] == ["a", "b"]
    assert document["rows"][0]["label"] == "big"
    assert document["summary"]["jobs"][1]["name"] == "allreduce:ring:8KiB"
    assert document["summary"]["time_s"] == max(job["together_s"] for job in document["summary"]["jobs"])
    table = list(csv.DictReader(io.StringIO(commsim(*words, "--format", "csv")[1])))
    assert [float(row["end_s"]) for row in table] == [row["end_s"] for row in document["rows"]]
    narrow = commsim(*words, "--top", "1")[1]
    assert " b " not in narrow
    placed = commsim(
        *words, "--placement", "random", "--seed", "3", "--degrade", "leaf0<->spine0=0.5", "--jitter", "5%"
    )
    assert placed[0] == 0
    assert "placement: random, seed 3" in placed[1]


def test_schedules_are_exported(commsim, tmp_path):
    for ending in ("goal", "csv"):
        path = tmp_path / f"ring.{ending}"
        code, out, _ = commsim("traffic", "-s", SYSTEM, "--with", "allreduce:ring:8KiB", "--export", path)
        assert code == 0
        again = commsim("traffic", path, "-s", SYSTEM)[1]
        times = [re.search(r"# time: (.*)", text)[1] for text in (out, again)]
        assert times[0] == times[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to play: give FILE.csv or FILE.goal, or --with"),
        (("--with", "ring:1MiB"), "--with ring:1MiB: write it like allreduce:ring:1MiB"),
        (("--with", "allreduce:rong:1MiB"), "did you mean 'ring'"),
        (("--with", "allreduce:ring:1MiB", "--export", "x.txt"), "the ending chooses the format: .goal, .csv"),
        (
            ("--with", "allreduce:ring:8", "--with", "allreduce:ring:8", "--export", "x.goal"),
            "one job is exported, not 2",
        ),
        (("nowhere.csv",), "nowhere.csv: cannot be read"),
        (("--with", "allreduce:ring:8", "--format", "osu"), "unknown format 'osu'"),
    ],
)
def test_what_the_user_got_wrong(commsim, words, said):
    code, out, err = commsim("traffic", "-s", SYSTEM, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_the_page_s_example_runs(commsim, tmp_path, monkeypatch):
    """docs/traffic.md: its files are written, its commands run, and what it prints is what they print."""
    text = (ROOT / "docs" / "traffic.md").read_text()
    monkeypatch.chdir(tmp_path)
    for name, body in re.findall(r"`(\w+\.(?:csv|goal))`:\n\n```\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(body)
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    blocks = re.findall(r"```console\n\$ commsim (.*?)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    for command, shown in blocks:
        code, out, err = commsim(*command.split())
        assert (code, err) == (0, ""), command
        for line in shown.splitlines():
            if line and not line.startswith("# engine"):
                assert line in out.splitlines(), line


def test_time_is_finite_for_nothing():
    found = played(of_messages([(0, 0, 0)]))
    assert found.time_s == 0
    assert not math.isnan(found.link_busy_s.max())
