"""Decision tables: made of times, read by calls, and written for libraries."""

import itertools
import json

import pytest

import topologies
from collectives import tuning
from collectives.registry import find
from collectives.tuning import Rule, Table, candidates
from commsim.algorithm import SCATTERED
from commsim.collective import COLLECTIVES
from commsim.errors import InputError, RefusedError, UnknownNameError
from experiments import tune
from experiments.launch import python_on_ranks
from experiments.tune import Timed, _searched, measured, simulated, table, toml
from experiments.tune_exports import EXPORTS, MPICH, OPEN_MPI, exported

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
    assert (first.n_bytes, first.algorithms) == (0, ("recursive_doubling", "rabenseifner"))
    assert (second.n_bytes, second.algorithms[0]) == (90, "nccl_tree")
    assert third.n_bytes == 2**15
    assert third.algorithms == ("rabenseifner", "ring", "recursive_doubling")  # the last keeps the order


def test_a_rule_goes_on_while_it_is_as_good_as_the_best():
    """Within 3 %: of all, and of those that keep the order."""

    def times(a, b, c, n_bytes):
        specs = {"recursive_doubling": a, "linear": b, "ring": c}
        return [Timed("allreduce", spec, 4, n_bytes, time_s, spec != "ring") for spec, time_s in specs.items()]

    one = table([*times(1, 5, 2, 8), *times(2.05, 9, 2, 64), *times(30, 50, 20, 512)])
    assert [(rule.n_bytes, rule.algorithms[0]) for rule in one.rules] == [(0, "recursive_doubling"), (181, "ring")]
    order = table([*times(2, 5, 1, 8), *times(2, 1.9, 1, 64)])
    assert [rule.algorithms for rule in order.rules] == [("ring", "recursive_doubling"), ("ring", "linear")]


def test_of_what_is_as_fast_the_one_with_less_scratch_is_taken():
    star = topologies.find("star:hosts=2,bandwidth=12.5GB/s,latency=1us,gamma=0.1ns/B,message_rate=4M/s")
    names = ["allgather_reduce", "recursive_doubling"]
    rows = simulated(["allreduce"], names, [star], [2], ("8B", None, None, 2), "fluid", "float32")
    assert f"{rows[0].time_s:.3g}" == f"{rows[1].time_s:.3g}"
    assert table(rows).rules[0].algorithms == ("recursive_doubling", "allgather_reduce")


def test_sizes_are_searched_where_what_is_best_changes():
    asked = []

    def contest(n_bytes, smaller):
        assert all(row.n_bytes < n_bytes for row in smaller)
        asked.append(n_bytes)
        best, other = ("ring", "linear") if n_bytes > 100 else ("linear", "ring")
        return [Timed("allreduce", spec, 4, n_bytes, time_s, True) for spec, time_s in ((best, 1), (other, 2))]

    found = _searched([2**power for power in range(17)], contest)
    assert {64, 128} < set(found)  # on both sides of where it changes
    assert len(asked) == len(found) == 6


def test_what_cannot_be_among_the_best_is_not_simulated(monkeypatch):
    """The same table as with everything simulated, from fewer simulations."""
    star = topologies.find("star:hosts=9,bandwidth=12.5GB/s,latency=1us,gamma=0.1ns/B,message_rate=4M/s")
    calls = []
    real = tune.simulate
    monkeypatch.setattr(tune, "simulate", lambda one, *rest, **more: (calls.append(one), real(one, *rest, **more))[1])
    found = []
    for hopeless in (tune.HOPELESS, float("inf")):
        monkeypatch.setattr(tune, "HOPELESS", hopeless)
        rows = simulated(["allreduce", "reduce"], None, [star], [8, 9], (None, "8B", "1MiB", 64), "fluid", "float32")
        found.append((table(rows).rules, len(calls)))
        calls.clear()
    assert found[0][0] == found[1][0]
    assert found[0][1] < 0.7 * found[1][1]


def test_a_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    made = table(ROWS, system=["mine"])
    path = tmp_path / "mine.toml"
    path.write_text(toml(made))
    assert Table.read(path).rules == made.rules[:3]  # those of 8 ranks say the same
    as_json = tmp_path / "mine.json"
    rules = [dict(rule.__dict__) for rule in made.rules]
    rules[0].pop("ranks_per_node")  # 1 where it is not said
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


MANY_RANKS = [*range(1, 41), 48, 63, 64, 65, 96, 100, 127, 128, 129, 255, 256, 257, 384, 1000, 1023, 1024, 1025, 5000]


@pytest.mark.parametrize("collective", list(COLLECTIVES))
def test_auto_finds_something_for_every_case(collective):
    """Any number of ranks, on any nodes, any size, and an operation that does not commute: found without simulating."""
    made = Table.read(tuning.SHIPPED)
    for n_ranks, groups, n_bytes in itertools.product(MANY_RANKS, (SCATTERED, 1, 2, 3, 4, 16), GRID_BYTES):
        if groups != SCATTERED and n_ranks % groups:
            continue
        taken = [
            one
            for one in candidates(collective, n_ranks, n_bytes, made, groups)
            if takes(one, n_ranks, n_bytes, groups)
        ]
        assert taken, (n_ranks, groups, n_bytes)
        if taken[0].collective.reduces:
            assert any(one.resolved(n_ranks, n_bytes, groups).keeps_order for one in taken), (n_ranks, groups, n_bytes)


GRID_BYTES = (0, 4, 12, 4096, 2**16 + 4, 2**20, 2**31)


def takes(one, n_ranks, n_bytes, groups):
    try:
        one.resolved(n_ranks, n_bytes, groups)
    except RefusedError:
        return False
    return True


def test_the_shipped_table_says_where_it_comes_from_and_is_still_right():
    """Remade at some places: what it takes is within a tenth of the best that there is now."""
    made = Table.read(tuning.SHIPPED)
    facts = made.provenance
    assert facts["model"] == "fluid"
    assert all(system in facts["command"] for system in facts["systems"])
    machines = [topologies.find(system) for system in facts["systems"]]
    assert made.specs("allreduce", 16, 8) != made.specs("allreduce", 16, 2**26)
    for collective, machine, n_bytes in itertools.product(("allreduce", "reduce_scatter"), machines, (8, 2**21)):
        each = machine.devices_per_node or 1
        n_ranks = 16 if each < 16 or each == machine.n_devices else 2 * each
        size = (str(n_bytes), None, None, 2)
        rows = simulated([collective], None, [machine], [n_ranks], size, "fluid", facts["dtype"])
        times = {row.spec: row.time_s for row in rows}
        first = made.specs(collective, n_ranks, n_bytes, each)[0]
        assert times.get(first, float("inf")) <= 1.1 * min(times.values()), (collective, machine.name, n_bytes, first)


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
    again = commsim(
        *("tune", "-s", star, "--collective", "allreduce", "-a", "ring,recursive_doubling", "--sizes", "8B,64MiB"),
        *("--ranks", "4", "--model", "hockney"),
    )
    assert again[1] == out  # bit for bit
    rows = tmp_path / "rows.json"
    run = ("simulate", "allreduce", "-s", star, "--model", "hockney", "-a", "ring,recursive_doubling")
    commsim(*run, "--sizes", "8B,64MiB", "-o", rows)
    assert [rule.algorithms[0] for rule in table(measured([rows])).rules] == best
    code, _, err = commsim("tune")
    assert (code, "give either files" in err) == (2, True)
    code, _, err = commsim("tune", "-s", star, "--ranks", "5")
    assert (code, "there are 4 devices, not 5" in err) == (2, True)
    nodes = (
        "pcie_tree:nodes=2,gpus_per_switch=2,bandwidth=1GB/s,latency=1us,network_bandwidth=1GB/s,network_latency=1us"
    )
    for words, said in {
        ("-s", star, "-s", star): "one system for each number of ranks in a node, not [1, 1]",
        ("-s", nodes, "--ranks", "9"): "none of [9] ranks fills whole nodes of [8] ranks, or is in one",
        ("-s", nodes, "-s", star, "--for", "mpich"): "--for takes one system",
        ("-s", star, "-a", "ring,rong", "--collective", "allreduce"): "unknown allreduce algorithm 'rong'",
        ("-s", star, "-o", tmp_path / "made.json"): "must be a .toml file in a folder that exists",
        ("-s", star, "--for", "mpich", "-o", tmp_path / "none" / "rules"): "in a folder that exists",
        ("-s", star, "--for", "mpich", "--channels", "2"): "--channels 2: is of --for nccl",
        (rows, "-a", "ring", "--ranks", "4"): "-a, --ranks: of simulations only",
    }.items():
        code, _, err = commsim("tune", *words)
        assert (code, said in err) == (2, True), err


@pytest.mark.parametrize(
    ("more", "model", "warned"),
    [
        ("", "fluid", True),
        (",gap=1us", "fluid", True),  # that is the senders' alone
        (",message_rate=1M/s", "fluid", False),
        (",message_rate=1M/s", "hockney", True),
        (",message_rate=1M/s", "loggp", False),
        (",overhead=1us", "loggp", False),
        ("", "loggp", True),
    ],
)
def test_a_system_without_a_message_rate_is_warned_of(more, model, warned, commsim):
    star = "star:hosts=2,bandwidth=12.5GB/s,latency=1us" + more
    words = ("--collective", "broadcast", "-a", "binomial", "--sizes", "8B", "--model", model)
    code, out, err = commsim("tune", "-s", star, *words)
    assert (code, err.startswith(f"WARNING: {star}: nothing bounds"), err.count("\n")) == (0, warned, int(warned))
    assert ("small sizes favour algorithms with many" in out) == warned


def test_open_mpis_rules():
    """Classic form: numbers of collectives and algorithms, every list begins at 0 bytes; bytes of a segment last."""
    lines = [line.split("#")[0].split() for line in exported(ROWS, "openmpi").splitlines()]
    assert lines[:6] == [["1"], ["2"], ["2"], ["4"], ["2"], ["0", "3", "0", "0"]]
    assert lines[6] == [str(2**15), "6", "0", "0"]
    chain = [Timed("broadcast", "chain:chains=1", 4, n, 1, True) for n in (8, 2**20)]
    split = [line.split() for line in exported(chain, "openmpi").splitlines()[5:]]
    assert split[:2] == [["0", "3", "0", "0"], [str(2**18), "3", "0", str(2**17)]]  # as many bytes as the model takes


def test_only_what_a_library_runs_is_exported():
    """Not with other parameters than the library's, nor what its released versions do not number."""
    for collective, spec in {
        ("allreduce", "allgather_reduce"),
        ("allgather", "linear"),
        ("allgather", "bruck:radix=3"),
        ("broadcast", "chain:chains=2"),
        ("reduce_scatter", "recursive_doubling"),
    }:
        with pytest.raises(RefusedError, match="openmpi has none"):
            exported([Timed(collective, spec, 4, 8, 1, True)], "openmpi")
    for export in EXPORTS.values():
        assert all(find(kind, name) for kind, names in export.names.items() for name in names)


def test_an_export_is_searched_among_the_library_s_algorithms(commsim):
    """The fastest of all hide none: here linear, which MPICH has not, in one step."""
    star = "star:hosts=8,bandwidth=10GB/s,latency=1us"
    words = ("--collective", "allreduce", "--ranks", "8", "--sizes", "8B,1MiB", "--model", "hockney", "--for", "mpich")
    code, out, _ = commsim("tune", "-s", star, *words)
    assert code == 0
    small = json.loads(out)["collective=allreduce"]["comm_type=intra"]["comm_size=any"]
    assert next(iter(small.values())) == {"algorithm=MPIR_Allreduce_intra_recursive_doubling": {}}


def test_mpichs_tree_ends_every_branch(tmp_path):
    whole = json.loads(exported(ROWS, "mpich"))
    assert {"collective=barrier", "collective=iallreduce", "collective=scan"} < set(whole)  # the file stands for all
    assert "comm_type=inter" in whole["collective=allreduce"]
    tree = whole["collective=allreduce"]["comm_type=intra"]
    assert list(tree) == ["comm_size=any"]  # 4 and 8 ranks take the same
    sizes = tree["comm_size=any"]
    assert list(sizes) == ["avg_msg_size<32768", "avg_msg_size=any"]
    large, slow = sizes["avg_msg_size=any"], {"algorithm=MPIR_Allreduce_intra_recursive_doubling": {}}
    fast = {"algorithm=MPIR_Allreduce_intra_reduce_scatter_allgather": {}}
    assert large == {"is_op_built_in=yes": {"count<pow2": slow, "count=any": fast}, "is_op_built_in=no": slow}
    doubling = [Timed("allgather", "recursive_doubling", 4, n, 1, True) for n in (8, 2**20)]
    [leaf] = json.loads(exported(doubling, "mpich"))["collective=allgather"]["comm_type=intra"]["comm_size=any"].items()
    assert leaf[0] == "total_msg_size=any"  # of all ranks: a call names a block
    assert list(leaf[1]) == ["comm_size=pow2", "comm_size=any"]
    base = tmp_path / "generic.json"
    base.write_text('{"collective=mine": {}}')
    assert set(json.loads(exported(ROWS, "mpich", base=base))) == {"collective=mine", "collective=allreduce"}
    for text in ("{}", "[1]", "?"):
        base.write_text(text)
        with pytest.raises(InputError, match=r"--base .*generic.json: not MPICH's"):
            exported(ROWS, "mpich", base=base)


def test_nccls_plugin_needs_its_channels():
    lines = [line for line in exported(ROWS, "nccl", channels=8).splitlines() if not line.startswith("#")]
    assert lines[:3] == [
        f"allgather,0,{2**62},ring,simple,8,-1,-1",  # without a row a call would get one channel
        "allreduce,0,32767,tree,simple,8,-1,-1",
        f"allreduce,32768,{2**62},ring,simple,8,-1,-1",
    ]
    assert [line.split(",")[0] for line in lines[3:]] == ["broadcast", "reduce", "reducescatter"]
    other = [Timed("allreduce", "ring", 2, n, 1, False) for n in (8, 2**20)]
    assert f"allreduce,0,{2**62},ring,simple,8,-1,2" in exported([*other, *ROWS], "nccl", channels=8)
    with pytest.raises(RefusedError, match="--channels"):
        exported(ROWS, "nccl")
    with pytest.raises(RefusedError, match="mpich has none"):
        exported([Timed("barrier", "dissemination", 4, 0, 1, True)], "mpich")


CALLS = """
from mpi4py import MPI
import numpy as np
world, sums = MPI.COMM_WORLD, []
for count in (1, 5000):
    whole, block = np.ones(2 * count, "f"), np.ones(count, "f")
    world.Allreduce(MPI.IN_PLACE, whole); world.Bcast(whole); world.Allgather(block, whole); world.Barrier()
    world.Reduce(block.copy(), block); world.Reduce_scatter(whole, block, [count] * 2)
    world.Alltoall(whole.copy(), whole); world.Alltoall(MPI.IN_PLACE, whole)
    world.Scan(block.copy(), block); world.Ibarrier().Wait()
    sums.append(world.allreduce(float(whole.sum()), MPI.Op.Create(lambda a, b, _: a + b)))
print(sums if not world.rank else "", end="")
"""


def test_the_mpi_library_here_takes_its_file(tmp_path, monkeypatch):
    """MPICH once ended with an assertion, at the first collective that was not in the file."""
    pytest.importorskip("mpi4py")
    rows = [
        Timed(kind, name, 2, n_bytes, 1 + (number == n_bytes // 2**14), True)
        for kind, names in MPICH.items()
        for number, name in enumerate(list(names)[:2])
        for n_bytes in (2**12, 2**14)
    ]
    mpich, open_mpi = tmp_path / "mpich.json", tmp_path / "rules.txt"
    mpich.write_text(exported(rows, "mpich"))
    open_mpi.write_text(exported([row for row in rows if row.spec in OPEN_MPI[row.collective]], "openmpi"))
    monkeypatch.setenv("MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE", str(mpich))
    monkeypatch.setenv("OMPI_MCA_coll_tuned_use_dynamic_rules", "1")
    monkeypatch.setenv("OMPI_MCA_coll_tuned_dynamic_rules_filename", str(open_mpi))
    assert python_on_ranks(2, ["-c", CALLS], 60).strip() == "[4.0, 20000.0]"


def test_rules_of_nodes_hold_from_their_own_on():
    rules = [Rule("allreduce", n, 0, (a,), each) for each, n, a in ((1, 2, "ring"), (4, 8, "linear"), (4, 16, "bine"))]
    made = Table(tuple(rules))
    found = {
        case: made.specs("allreduce", case[0], 0, case[1]) for case in ((64, 1), (64, 3), (8, 4), (12, 6), (64, 8))
    }
    assert [names[0] for names in found.values()] == ["ring", "ring", "linear", "linear", "bine"]
    assert made.specs("allreduce", 7, 0, 7) == ("ring",)  # in one node, of which nothing is known


def test_rules_in_one_node_are_for_calls_in_one_node():
    rules = [Rule("allreduce", n, 0, (a,), each) for each, n, a in ((2, 2, "bine"), (5, 5, "linear"), (1, 2, "ring"))]
    found = {case: Table(tuple(rules)).specs("allreduce", case[0], 0, case[1]) for case in ((4, 4), (6, 6), (12, 6))}
    assert [names[0] for names in found.values()] == ["bine", "linear", "ring"]
    alone = Table(tuple(rules[:2]))
    assert alone.specs("allreduce", 64, 0, 1) == ("linear",)  # the last one goes on


def test_numbers_of_ranks_are_of_nodes_and_in_one(tmp_path):
    """Of two systems the one with the larger nodes says what is best in one."""
    nodes = ",bandwidth=1GB/s,latency=1us,network_bandwidth=1GB/s,network_latency=1us"
    small, large = (f"pcie_tree:nodes=4,sockets=1,switches_per_socket=1,gpus_per_switch={n}{nodes}" for n in (2, 6))
    assert tune.numbers_of_ranks(topologies.find(large)) == [2, 3, 4, 5, 6, 12, 18, 24]
    both = [topologies.find(one) for one in (small, large)]
    rows = simulated(["broadcast"], ["linear", "binomial"], both, None, ("1MiB", None, None, 2), "fluid", "float32")
    made = table(rows)
    cases = sorted({(rule.ranks_per_node, rule.n_ranks) for rule in made.rules})
    in_one = {(n, n) for n in (2, 3, 4, 5, 6)}
    assert set(cases) == in_one | {(each, each * n) for each in (2, 6) for n in (2, 3, 4)}
    path = tmp_path / "made.toml"
    path.write_text(toml(made))
    read = Table.read(path)
    for each, n_ranks in cases:
        assert read.specs("broadcast", n_ranks, 2**20, each) == made.specs("broadcast", n_ranks, 2**20, each)


def test_rules_hold_from_their_own_on():
    made = Table(tuple(Rule("allreduce", n, s, (a,)) for n, s, a in ((4, 0, "ring"), (4, 9, "linear"), (8, 5, "bine"))))
    found = {case: made.specs("allreduce", *case) for case in ((1, 0), (7, 8), (7, 9), (8, 0), (100, 1000))}
    assert [names[0] for names in found.values()] == ["ring", "ring", "linear", "bine", "bine"]
