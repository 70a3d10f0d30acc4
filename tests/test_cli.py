"""The command line as users meet it: answers, formats, and one clear line for everything that they get wrong."""

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest

from collectives.registry import names_of

STAR = "star:hosts=8,bandwidth=25GB/s,latency=500ns"
README = Path(__file__).parent.parent / "README.md"


def test_simulate_prints_the_table_and_the_bottleneck(commsim):
    code, out, err = commsim("simulate", "allreduce", "-a", "ring", "-s", STAR, "--sizes", "1MiB")
    assert (code, err) == (0, "")
    assert "model: fluid: max-min fair sharing of every link" in out
    assert re.search(r"1048576 +262144 +float32 +sum +- +ring +87\.40 .* host0→switch 84 % busy", out)


@pytest.mark.parametrize(
    ("model", "latency", "extra", "time_us"),
    [("hockney", "500ns", "", 2129.72232), ("loggp", "250ns", ",overhead=200ns,gap=100ns", 1925.12232)],
)
def test_the_peers_answers_at_1024_ranks(commsim, model, latency, extra, time_us):
    system = f"star:hosts=1024,bandwidth=25GB/s,latency={latency}{extra}"
    _, out, _ = commsim(
        "simulate", "allreduce", "-a", "ring", "-s", system, "--sizes", "1MiB", "--model", model, "--format", "json"
    )
    assert json.loads(out)["rows"][0]["time_s"] == pytest.approx(time_us * 1e-6, rel=1e-3)


def test_json_and_csv_hold_the_same_rows(commsim, tmp_path):
    arguments = ("simulate", "broadcast", "-s", STAR, "-b", "8", "-e", "1KiB", "-f", "128")
    for name in ("rows.json", "rows.csv", "rows.txt"):
        assert commsim(*arguments, "-o", tmp_path / name)[0] == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    table = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert [row["algorithm"] for row in rows] == [one for one in names_of("broadcast") if one != "multicast"] * 2
    assert [float(row["time_s"]) for row in table] == [row["time_s"] for row in rows]
    assert all(row["seed"] is None and row["n_ranks"] == 8 and row["root"] == 0 for row in rows)
    assert "chain:segments=1" in (tmp_path / "rows.txt").read_text()


def test_osu_format(commsim):
    _, out, _ = commsim("simulate", "allreduce", "-a", "ring", "-s", STAR, "-b", "1MiB", "--format", "osu")
    assert re.search(r"# Size +Latency\(us\)\n1048576 +87\.40\n", out)


def test_all_lists_what_refuses_and_why(commsim):
    system = "xgft:down=16x16,up=1x4,bandwidth=25GB/s,latency=500ns"
    code, out, _ = commsim("simulate", "allreduce", "-s", system, "--sizes", "1MiB", "--model", "hockney")
    assert code == 0
    assert re.search(r"left out: .*rabenseifner.*: shared links, and hockney does not model contention", out)
    code, out, _ = commsim("simulate", "allreduce", "-s", "dgx_h100:nodes=2", "--ranks", "12", "--sizes", "1KiB")
    assert code == 0
    assert re.search(r"left out: .*node_split.*: refuses 12 ranks \(equal nodes\)", out)


def test_links_tiers_and_messages_are_told_on_demand(commsim, tmp_path):
    links, messages = tmp_path / "links.csv", tmp_path / "messages.csv"
    words = ("simulate", "allreduce", "-a", "ring", "-s", "dgx_h100:nodes=2", "--sizes", "1MiB", "--top", "2")
    code, out, _ = commsim(*words, "--links", str(links), "--timeline", str(messages))
    assert code == 0
    assert re.search(r"ring, 1 MiB: busiest links\n link +carried +busy\n node0\.nic7→leaf7 +1\.966 MB", out)
    assert re.search(r"bytes that left the groups of each tier\n tier .*\n device +31\.46 MB .*\n node +3\.932 MB", out)
    rows = list(csv.DictReader(messages.read_text().splitlines()))
    assert len(rows) == 30 * 16  # steps, ranks
    assert sum(int(row["message_bytes"]) for row in rows) == 30 * 2**20
    carried = sum(
        float(row["link_bytes"])
        for row in csv.DictReader(links.read_text().splitlines())
        if re.search("nic.→leaf", row["link"])
    )
    assert carried == 2 * 30 * 2**16  # one cable leaves each node
    code, _, err = commsim(*words, "--links", "links.txt")
    assert (code, err) == (2, "commsim: --links links.txt: must be a .csv file in a folder that exists\n")


def test_the_price_is_shown_and_can_be_overridden(commsim):
    _, out, _ = commsim("simulate", "allreduce", "-a", "ring", "-s", "dgx_h100:nodes=2", "--sizes", "1KiB")
    assert "price: 600 k$, ASSUMED: 300,000 USD a node" in out
    _, out, _ = commsim("simulate", "allreduce", "-a", "ring", "-s", "dgx_h100:nodes=2,price=1MUSD", "--sizes", "1KiB")
    assert "price: 2 M$\n" in out  # no longer assumed


SIMULATE = ("simulate", "allreduce", "-a", "ring", "-s", STAR, "--sizes", "8")


def changed(**options):
    """The good call with some of it replaced."""
    words = {"collective": "allreduce", "-a": "ring", "-s": STAR, "--sizes": "8", **options}
    rest = [word for key, value in words.items() if key != "collective" and value is not None for word in (key, value)]
    return ("simulate", words["collective"], *rest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (changed(collective="allredoce"), "unknown collective 'allredoce'; did you mean 'allreduce'?"),
        (changed(**{"-a": "rign"}), "unknown allreduce algorithm 'rign'; did you mean 'ring'?"),
        (changed(**{"-a": "ring:radix=2"}), "unknown parameter of 'ring': 'radix'"),
        (changed(collective="broadcast", **{"-a": "chain:segments=two"}), "segments=two: 'two' is not a whole number"),
        (changed(collective="broadcast", **{"-a": "chain:segments=0"}), "segments=0 must be 1 to 1048576"),
        (changed(collective="broadcast", **{"-a": "binomial", "--root": "8"}), "root=8 is not a rank of 8"),
        (changed(**{"-a": "node_split:ranks_per_node=3"}), "not a multiple of ranks_per_node=3; try ranks_per_node="),
        (changed(**{"-a": "node_split:inter=rong"}), "did you mean 'ring'?"),
        (changed(**{"-s": "sta:hosts=8"}), "unknown system 'sta'; did you mean 'star'?"),
        (changed(**{"-s": "star:host=8"}), "unknown key of system 'star': 'host'; did you mean 'hosts'?"),
        (changed(**{"-s": "star:hosts=8"}), "needs bandwidth="),
        (changed(**{"-s": "star:hosts=8,bandwidth=25,latency=1us"}), "bandwidth '25': a unit is missing"),
        (changed(**{"-s": "star:hosts=8,bandwidth=0B/s,latency=1us"}), "bandwidth must be above 0"),
        (changed(**{"-s": "nowhere.toml"}), "nowhere.toml: cannot be read"),
        (changed(**{"--sizes": "1MB/s"}), "unknown unit 'MB/s'"),
        (changed(**{"--sizes": "10"}), "10 B is not a whole number of float32 elements (4 B each); use 8 or 12"),
        (changed(**{"--sizes": ","}), "names no size"),
        (changed(**{"--sizes": None}), "give sizes"),
        (changed(**{"-b": "8"}), "not both"),
        (changed(**{"--sizes": None, "-b": "8", "-e": "4"}), "not end below that"),
        (changed(**{"--sizes": None, "-b": "8", "-e": "64", "-f": "1"}), "-f 1 must be at least 2"),
        (changed(**{"--ranks": "9"}), "has 8 devices, too few for 9 ranks"),
        (changed(**{"--ranks": "0"}), "n_ranks=0"),
        (
            changed(collective="barrier", **{"-a": "all", "--sizes": None, "--ranks": "0"}),
            "no algorithm takes this case: n_ranks=0: there is no communicator of fewer than one rank\n",
        ),
        (changed(collective="alltoall", **{"-a": "pairwise", "--ranks": "0"}), "n_ranks=0"),
        (changed(**{"--model": "hockny"}), "unknown model 'hockny'; did you mean 'hockney'?"),
        (changed(**{"--dtype": "floot32"}), "unknown dtype 'floot32'"),
        (changed(**{"--format": "jason"}), "unknown format 'jason'; did you mean 'json'?"),
        (changed(**{"-o": "rows.xls"}), "the ending chooses the format"),
        (changed(**{"-o": "no/such/folder/rows.csv"}), "does not exist"),
        (changed(**{"--file": "mine.txt"}), "is no Python file"),
        ((*SIMULATE, "--sise", "8"), "No such option: --sise"),
        (("simulate", "allreduce", "--sizes", "8"), "Missing option"),
        (("simmulate",), "No such command 'simmulate'"),
        (("verify", "--ranks", "x"), "--ranks 'x': write it like 8 or 1:40"),
        (("verify", "--ranks", "5:2"), "not end below that"),
        (("verify", "--ranks", "1:99999999999999999999"), "at most 2147483647"),
        (("verify", "allreduce", "-a", "ring", "--ranks", "2000000000"), "chunks; at most"),
        (("verify", "broadcast", "-a", "binomial", "--ranks", "2000000000"), "takes at least 408 GB; this host has"),
        (
            ("verify", "allreduce", "-a", "swing:variant=lateny"),
            "refuses every number of ranks in 1…40 (variant bandwidth or latency): there is no variant=lateny; use",
        ),
        (("verify", "-a", "ring"), "-a needs the collective"),
        (("list", "algorithm"), "did you mean 'algorithms'?"),
        (("validate", "nowhere.json", "-s", STAR), "nowhere.json: cannot be read"),
        (("validate", str(README), "-s", STAR), "not what `commsim run -o`"),
        (("quickstart", "--ranks", "1"), "needs at least 2"),
    ],
)
def test_what_the_user_got_wrong_is_one_line_and_exit_2(commsim, arguments, message):
    code, out, err = commsim(*arguments)
    assert message in err
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("commsim: ")


def test_an_impossible_answer_is_exit_1(commsim):
    code, out, err = commsim(
        *changed(
            **{"-a": "rabenseifner", "-s": "xgft:down=16x16,up=1x4,bandwidth=25GB/s,latency=1ns", "--sizes": "1MiB"}
        ),
        "--model",
        "hockney",
    )
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "because it does not model contention" in err


def test_verify_proves_and_refuses(commsim, tmp_path):
    code, out, _ = commsim("verify", "allreduce", "-a", "ring,recursive_doubling", "--ranks", "1:9")
    assert code == 0
    assert out.splitlines() == [
        "allreduce ring: right on 1…9 ranks (480 messages counted)",
        "allreduce recursive_doubling: right on 1…9 ranks, order of ranks kept (100 messages counted)",
    ]
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from commsim import algorithm, chunk, exchange\n"
        "@algorithm('allreduce', chunks=1)\n"
        "def wrong(rank, n_ranks):\n"
        "    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks\n"
        "    yield [exchange(right, left, send=chunk(0), receive=chunk(0), reduce=True)]\n"
    )
    code, _, err = commsim("verify", "--file", wrong, "--ranks", "3")
    assert code == 1
    assert "rank 0 ends without the value of rank 1 in chunk 0" in err
    assert "last written in step 0 by a message from rank 2" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "holds no algorithm"),
        ("from collectives.allreduce import ring", "holds no algorithm"),
        ("import nothing_of_that_name", "ModuleNotFoundError while it was read"),
        ("def broken(:", "SyntaxError while it was read"),
        ("import sys; sys.exit(0)", "SystemExit while it was read: 0"),
        ("raise ValueError('two\\nlines')", "ValueError while it was read: two lines"),
    ],
)
def test_files_without_an_algorithm(commsim, tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    code, _, err = commsim("verify", "--file", path)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


HOPPING = """
import numpy as np
from commsim import COMMUTATIVE, algorithm, chunk, exchange, fan_in, fan_out, lanes

@algorithm("allreduce", chunks=lambda n_ranks, *, hop: n_ranks, constraints=(COMMUTATIVE,))
def hopping(rank, n_ranks, *, hop: int = 1):
    for step in range(2 * (n_ranks - 1)):
        send, receive = (rank - hop * step) % n_ranks, (rank - hop * (step + 1)) % n_ranks
        right, left = (rank + hop) % n_ranks, (rank - hop) % n_ranks
        yield [exchange(right, left, send=chunk(send), receive=chunk(receive), reduce=step < n_ranks - 1)]

@algorithm("allreduce", chunks=lambda n_ranks: n_ranks)
def split(rank, n_ranks, *, k: int = 3):
    yield []

@algorithm("allreduce", chunks=1)
def branching(rank, n_ranks):
    if rank == 0:
        yield []

@algorithm("allreduce", chunks=1, constraints=(COMMUTATIVE,))
def two_faced(rank, n_ranks):
    if n_ranks > 1:
        peer = rank ^ 1
        yield [exchange(peer, peer, send=chunk(0), receive=chunk(0), reduce=True)]
        if isinstance(rank, int):
            yield [exchange(peer, peer, send=chunk(0), receive=chunk(0))]

@algorithm("allreduce", chunks=2)
def forked(rank, n_ranks):
    def one(c):
        yield [fan_in(rank, n_ranks, 0, send=chunk(c), receive=chunk(c), reduce=True)]
        yield [fan_out(rank, n_ranks, 0, send=chunk(c), receive=chunk(c))]
    yield lanes(one(0), one(1))

@algorithm("allreduce")
def short(rank, n_ranks):
    yield [exchange(rank, rank, send=chunk(np.zeros(3, int)), receive=chunk(0))]

@algorithm("allreduce")
def leaving(rank, n_ranks):
    yield [exit(0)]

@algorithm("broadcast")
def one_root(rank, n_ranks, *, root):
    yield [fan_out(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]
"""


def test_parameters_of_a_file_s_algorithm(commsim, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HOPPING)
    own = f"{path}:hopping"
    assert commsim("verify", "--file", own, "-a", "hopping:hop=2", "--ranks", "7")[1].startswith(
        "allreduce hopping:hop=2"
    )
    code, _, err = commsim("verify", "--file", own, "-a", "hopping:hop=3", "--ranks", "6")
    assert code == 1
    assert "is not an allreduce" in err
    _, out, _ = commsim(
        "simulate",
        "allreduce",
        "--file",
        own,
        "-a",
        "ring,hopping:hop=3",
        "-s",
        STAR,
        "--sizes",
        "1KiB",
        "--format",
        "json",
    )
    assert [(row["algorithm"], row["params"]) for row in json.loads(out)["rows"]] == [
        ("ring", {}),
        ("hopping", {"hop": 3}),
    ]


@pytest.mark.parametrize(
    ("function", "more", "message"),
    [
        ("hopping", ("-a", "hopping:hop=x"), "hop=x: 'x' is not a whole number"),
        ("hopping", ("-a", "hoping"), "unknown allreduce algorithm 'hoping'"),
        ("hop", (), "did you mean 'hopping'?"),
        ("split", (), "chunks(n_ranks, **parameters) failed: TypeError"),
        ("branching", (), 'use where(condition, a, b) instead of if, or form="int"'),
        ("two_faced", (), "the program of rank 0 alone differs from that of all ranks"),
        (
            "short",
            (),
            "short, step 0: a selection takes a whole number, or an array of one for each of 2 messages, not",
        ),
        ("short", (), "(on 2 ranks)"),
        ("leaving", (), "leaving, step 0: SystemExit: 0"),
    ],
)
def test_what_a_file_s_author_got_wrong(commsim, tmp_path, function, more, message):
    path = tmp_path / "mine.py"
    path.write_text(HOPPING)
    code, out, err = commsim("verify", "--file", f"{path}:{function}", *more, "--ranks", "2")
    assert message in err
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_the_root_is_named_of_which_an_algorithm_is_wrong(commsim, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HOPPING)
    code, out, err = commsim("verify", "--file", f"{path}:one_root", "--ranks", "3")
    assert (code, out) == (1, "")
    assert "one_root on 3 ranks with root 1 is not a broadcast: rank 0 ends" in err


def test_a_model_that_does_not_take_a_file_s_algorithm_refuses_it(commsim, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HOPPING)
    words = ("simulate", "allreduce", "--file", f"{path}:forked", "-s", STAR, "--sizes", "8", "--model", "hockney")
    code, out, err = commsim(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "forked forks lanes" in err


PICKY = """
from commsim import Constraint, algorithm, exchange, chunk, fan_in, fan_out

FEW = Constraint("few ranks", lambda n_ranks: f"{n_ranks} are too many" if n_ranks > 4 else None)

@algorithm("allreduce", constraints=FEW)
def picky(rank, n_ranks):
    yield from star(rank, n_ranks)

@algorithm("allreduce")
def patient(rank, n_ranks):
    yield from star(rank, n_ranks)

@algorithm("broadcast")
def other(rank, n_ranks, *, root):
    yield [fan_out(rank, n_ranks, root, send=chunk(0), receive=chunk(0))]

def star(rank, n_ranks):
    yield [fan_in(rank, n_ranks, 0, send=chunk(0), receive=chunk(0), reduce=True)]
    yield [fan_out(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]
"""


def test_a_file_of_several_algorithms(commsim, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PICKY)
    _, out, _ = commsim("verify", "--file", path, "--ranks", "3")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "allreduce picky",
        "allreduce patient",
        "broadcast other",
    ]
    assert commsim("verify", "--file", f"{path}:patient", "--ranks", "3")[1].count("\n") == 1
    simulate = ("simulate", "allreduce", "-s", STAR, "--sizes", "1KiB", "--file")
    code, out, _ = commsim(*simulate, path)
    assert code == 0
    assert "left out: picky: refuses 8 ranks (few ranks): 8 are too many" in out
    assert "# your algorithms: patient proven on 8 ranks, counted" in out
    everything = commsim(*simulate, path, "-a", "all")[1]
    assert all(name in everything for name in ("rabenseifner", "patient", "left out: picky"))
    code, _, err = commsim(*simulate, f"{path}:picky")
    assert code == 2
    assert "picky refuses 8 ranks (few ranks)" in err
    assert "other is for broadcast, not for allreduce" in commsim(*simulate, f"{path}:other")[2]
    assert "a picture has one" in commsim("steps", "allreduce", "--file", path, "--ranks", "4", "-o", "x.svg")[2]


def test_a_user_s_algorithm_is_proven_on_many_ranks_or_said_not_to_be(commsim, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HOPPING)
    for hosts, said in (
        (500, "hopping:hop=1 proven on 500 ranks, by fingerprints"),
        (4000, "NOT PROVEN on 4000 ranks"),
    ):
        system = STAR.replace("hosts=8", f"hosts={hosts}")
        code, out, _ = commsim("simulate", "allreduce", "--file", f"{path}:hopping", "-s", system, "--sizes", "1MiB")
        assert code == 0
        assert said in out
    few = ("simulate", "allreduce", "--file", f"{path}:hopping", "-a", "hopping:hop=2", "-s", STAR.replace("8", "600"))
    assert commsim(*few, "--sizes", "1MiB")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (changed(**{"--root": "3"}), "--root 3: allreduce has no root"),
        (changed(**{"--dtype": "complex64"}), "'complex64' cannot be reduced"),
        (("steps", "alltoall", "-a", "linear", "--root", "1", "-o", "x.svg"), "--root 1: alltoall has no root"),
        (("list", "systems", "--collective", "reduce"), "--collective"),
    ],
)
def test_options_without_meaning_are_refused(commsim, arguments, message):
    code, out, err = commsim(*arguments)
    assert message in err
    assert (code, out) == (2, "")


def test_the_table_is_sorted_marked_and_as_wide_as_the_terminal(commsim, monkeypatch):
    every = ("simulate", "allreduce", "-s", "dgx_h100:nodes=2", "--sizes", "1KiB,1MiB")
    wide = commsim(*every)[1]
    assert max(map(len, wide.splitlines())) > 160
    rows = [line for line in wide.splitlines() if not line.startswith("#")]
    for size in ("1024", "1048576"):
        mine = [line for line in rows if line[2:].split()[0] == size]
        times = [float(re.search(r" +(\d+\.\d+) ", line)[1]) for line in mine]
        assert len(times) > 10
        assert times == sorted(times)
        assert [line[0] for line in mine] == ["*", *" " * (len(mine) - 1)]
    assert "† of the bound of a network that reduces" in wide
    assert wide.count("left out: collnet_chain, collnet_direct, nvls, sharp:") == 1
    for width in (80, 100, 120):
        monkeypatch.setattr("shutil.get_terminal_size", lambda fallback, width=width: os.terminal_size((width, 24)))
        narrow = commsim(*every)[1].splitlines()
        prose = [line for line in narrow if not line.startswith("# in full")]
        assert max(map(len, prose)) <= width, max(prose, key=len)
        assert sum(line.startswith("*") for line in narrow) == 2
        assert any("all rows: type float32, redop sum" in line for line in narrow)
        assert any("in full: hierarchical:ranks_per_node=8,segments=1,intra_reduce=" in line for line in narrow)


def test_the_version(commsim):
    assert re.fullmatch(r"commsim \d+\.\d+\.\d+\n", commsim("--version")[1])


def test_a_wrong_algorithm_is_not_simulated(commsim, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HOPPING)
    command = ("simulate", "allreduce", "--file", f"{path}:hopping", "-a", "hopping:hop=2", "-s", STAR, "--sizes", "8")
    code, out, err = commsim(*command)
    assert (code, out) == (1, "")
    assert "hopping on 8 ranks is not an allreduce" in err


def test_refusals_propose_what_takes_the_case(commsim):
    seven = STAR.replace("hosts=8", "hosts=7")
    for words, said in {
        (
            "allgather",
            "-a",
            "neighbor_exchange",
            "-s",
            seven,
        ): "neighbor_exchange refuses 7 ranks (even number of ranks)",
        ("broadcast", "-a", "knomial:radix=1", "-s", STAR): "knomial refuses 8 ranks (radix at least 2)",
        ("allreduce", "-a", "node_split:ranks_per_node=3", "-s", STAR): "node_split refuses 8 ranks (equal nodes)",
    }.items():
        code, out, err = commsim("simulate", *words, "--sizes", "1KiB")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err
        assert re.search(r"; [a-z_]+(:\S+)? takes [78] ranks$", err.strip()), err


def test_every_collective_is_simulated_and_listed(commsim, tmp_path):
    for collective in ("reduce", "reduce_scatter", "allgather", "alltoall", "gather", "scatter"):
        code, out, err = commsim("simulate", collective, "-s", STAR, "--sizes", "1KiB,1MiB")
        assert code == 0, err
        assert out.count("\n") > 6
    code, out, _ = commsim("simulate", "barrier", "-s", STAR)
    assert code == 0
    assert "dissemination" in out
    assert "moves no data" in commsim("simulate", "barrier", "-s", STAR, "--sizes", "8")[2]


def test_an_alltoall_is_cut_to_whole_elements_and_says_so(commsim):
    code, out, _ = commsim("simulate", "alltoall", "-a", "pairwise", "-s", STAR, "-b", "8", "-e", "100")
    assert code == 0
    assert "# sizes: cut to multiples of 32 B" in out
    assert [line.split()[0] for line in out.splitlines() if "pairwise" in line] == ["0", "32", "64"]


def test_an_alltoallv_takes_a_matrix(commsim, tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text("# MoE\n" + "\n".join(",".join(["4KiB"] * 7 + ["64KiB"]) for _ in range(8)) + "\n")
    words = ("simulate", "alltoallv", "-a", "pairwise", "-s", STAR)
    code, out, err = commsim(*words, "--matrix", path)
    assert code == 0, err
    assert f"  {(7 * 4 + 64) * 1024:>11}" in out
    for text, said in {
        "1,2": "row 1 has 2 columns, but there are 1 rows",
        "1": "1 B is not a whole number of float32",
        "x": "row 1, column 1: size 'x' is not a number",
        "": "it is empty",
        "4": "1 rows, but there are 8 ranks",
        "1e25": "must stay below 2^63 B",
    }.items():
        path.write_text(text)
        code, _, err = commsim(*words, "--matrix", path)
        assert (code, err.count("\n")) == (2, 1)
        assert said in err
    assert "takes --matrix FILE.csv" in commsim(*words, "--sizes", "8")[2]
    assert (
        "alltoallv has one for each pair"
        in commsim("simulate", "allreduce", "-s", STAR, "--sizes", "8", "--matrix", path)[2]
    )


def test_thousands_of_ranks_are_proven_by_fingerprints(commsim):
    _, out, _ = commsim("verify", "broadcast", "-a", "binomial", "--ranks", "20000")
    assert out.startswith("broadcast binomial: right on 20000 ranks, every root up to 64 ranks, four beyond (")
    assert out.endswith("messages by fingerprints)\n")


def test_steps_are_drawn(commsim, tmp_path):
    for name in ("a.svg", "b.png", "c.pdf"):
        code, _, err = commsim("steps", "allreduce", "-a", "ring", "--ranks", "6", "-o", tmp_path / name)
        assert code == 0, err
        assert (tmp_path / name).stat().st_size > 5000
    for more, said in {
        ("-o", "x.svg", "--steps", "3"): "write it like 4:9",
        ("-o", "x.svg", "--steps", "40:50"): "there is no step from 40 to 50",
        ("-o", "x.gif"): "must be a .svg, .png or .pdf file",
        ("-o", "x.png", "--ranks", "99"): "a picture has 1 to 32 ranks",
    }.items():
        code, _, err = commsim("steps", "allreduce", "-a", "ring", *more)
        assert code == 2
        assert said in err


def test_the_readme_s_machine_is_read(commsim, tmp_path):
    [text] = readme_blocks("toml")
    path = tmp_path / "my_cluster.toml"
    path.write_text(text)
    code, out, _ = commsim("simulate", "allreduce", "-a", "ring", "-s", path, "--sizes", "1MiB")
    assert code == 0
    assert "128 ranks" in out


def test_list_shows_everything(commsim):
    for what, words in {
        "algorithms": ("allreduce ring", "2(p-1)α", "Patarasuk", "Open MPI: 4 ring", "broadcast chain"),
        "systems": (
            "dgx_h100",
            "nodes=1",
            "nic_bandwidth=49.21GB/s",
            "8 devices (H100)",
            "300 k$ a node",
            "xgft",
            "star",
        ),
        "models": ("hockney", "loggp", "contention is not modelled"),
    }.items():
        code, out, _ = commsim("list", what)
        assert code == 0
        assert all(word in out for word in words), out
    rows = json.loads(commsim("list", "algorithms", "--collective", "allreduce", "--format", "json")[1])
    assert {row["collective"] for row in rows} == {"allreduce"}
    assert set(rows[0]) == {"collective", "algorithm", "params", "constraints", "cost", "source", "names"}


def test_lists_are_filtered(commsim):
    def names(*words):
        return {row["algorithm"] for row in json.loads(commsim("list", "algorithms", *words, "--format", "json")[1])}

    assert {"ring", "nccl_tree", "pat"} <= names("--library", "nccl")
    assert "rabenseifner" not in names("--library", "nccl")
    assert names("--library", "openmpi", "--collective", "allreduce") < names("--library", "Open MPI")
    assert names("rabenseif") == {"rabenseifner", "knomial_rabenseifner"}
    ordered = names("--collective", "allreduce", "--keeps-order")
    assert "ring" not in ordered
    assert "linear" in ordered
    assert "nothing is left" in commsim("list", "algorithms", "--collective", "scatter", "--library", "nccl")[2]
    assert "did you mean 'nccl'?" in commsim("list", "algorithms", "--library", "ncl")[2]
    assert "did you mean 'ring'?" in commsim("list", "algorithms", "rong")[2]
    assert commsim("list", "systems", "dgx_h")[1].startswith("dgx_h100\n")


def test_validate_compares_what_was_measured(commsim, tmp_path):
    row = {
        "collective": "allreduce", "algorithm": "ring", "params": {}, "root": None, "op": "sum", "dtype": "float32",
        "in_place": True, "n_ranks": 8, "n_bytes": 2**20, "time_s": 100e-6, "time_min_s": 9e-5, "time_p99_s": 2e-4,
        "algbw_Bps": 0, "busbw_Bps": 0, "n_wrong": 0,
    }  # fmt: skip
    path = tmp_path / "rows.json"
    shaped = {**row, "algorithm": "torus_bucket", "params": {"shape": [4, 2], "parts": 1}}
    path.write_text(json.dumps({"provenance": {}, "rows": [shaped]}))
    assert "torus_bucket:shape=4x2,parts=1" in commsim("validate", path, "-s", STAR)[1]
    mixed = [row, {**row, "algorithm": "library"}, {**row, "algorithm": "patient"}, {**row, "n_ranks": 9}]
    path.write_text(json.dumps({"provenance": {}, "rows": mixed}))
    code, out, _ = commsim("validate", path, "-s", STAR)
    assert code == 0
    assert re.search(r"allreduce +ring +1 MiB +87\.40? [uµ]s +100(\.0)? [uµ]s +-12\.6%", out)
    assert "median 0.135, 90th percentile 0.135, 1 row\n" in out
    assert "# left out: library (1 row): which algorithm the MPI library ran is not known" in out
    assert "# left out: patient (1 row): unknown allreduce algorithm 'patient'" in out
    assert re.search(r"# left out: ring \(1 row\): .*too few for 9 ranks", out)
    mine = tmp_path / "mine.py"
    mine.write_text(PICKY)
    assert re.search(r"allreduce +patient +1 MiB", commsim("validate", path, "-s", STAR, "--file", mine)[1])
    assert commsim("validate", path, "-s", STAR, "--limit", "0.2")[0] == 0
    code, out, err = commsim("validate", path, "-s", STAR, "--limit", "0.1")
    assert (code, err.count("\n")) == (1, 1)
    assert "1 row\n" in out
    path.write_text(json.dumps({"provenance": {}, "rows": [{**row, "n_wrong": 3}]}))
    code, _, err = commsim("validate", path, "-s", STAR)
    assert code == 2
    assert "3 wrong elements" in err


def test_an_alltoallv_is_validated_with_its_matrix(commsim, tmp_path):
    matrix, path = tmp_path / "sizes.csv", tmp_path / "rows.json"
    matrix.write_text("\n".join(",".join(["4KiB"] * 8) for _ in range(8)))
    row = {
        "collective": "alltoallv", "algorithm": "pairwise", "params": {}, "root": None, "op": None, "dtype": "float32",
        "in_place": True, "n_ranks": 8, "n_bytes": 2**15, "time_s": 10e-6, "n_wrong": 0,
    }  # fmt: skip
    path.write_text(json.dumps({"provenance": {}, "rows": [row]}))
    assert "--matrix FILE.csv" in commsim("validate", path, "-s", STAR)[2]
    assert "1 row\n" in commsim("validate", path, "-s", STAR, "--matrix", matrix)[1]


def test_help_without_arguments(commsim):
    code, out, _ = commsim()
    assert code == 0
    assert "quickstart" in out


def readme_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_readme_s_commands_run(commsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    on_ranks, mine, plain, from_python = readme_blocks("python")
    compile(on_ranks, "README.md", "exec")  # tests/ranks/calls_on_ranks.py runs such calls
    Path("mine.py").write_text(mine)
    Path("plain.py").write_text(plain)
    exec(from_python, {})
    lines = [line.removeprefix("$ ") for block in readme_blocks("console") for line in block.splitlines()]
    here = [line.split()[1:] for line in lines if line.startswith("commsim")]
    assert len(here) > 6
    for words in here:
        if words[0] in ("validate", "testbed"):
            continue  # need what real ranks measured, and rights: tests/test_mpi.py and test_testbed.py go that way
        code, out, err = commsim(*words)
        assert code == 0, err
        assert out or words[0] == "steps"
