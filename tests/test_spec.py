"""``name:key=value`` for systems and algorithms: what is meant is found, what is not is refused by name."""

import pytest

import topologies
from collectives import registry
from commsim import COMMUTATIVE, ROUNDS_APART, CommsimError, algorithm, chunk, exchange, simulate, verify
from commsim.errors import InputError, RefusedError, UnknownNameError
from commsim.spec import build, join_spec, keys_of, split_list, split_spec

STAR = "star:hosts=4,bandwidth=25GB/s,latency=500ns"


def test_split_and_join_are_inverse():
    name, values = split_spec("node_split:ranks_per_node=8, inter = ring")
    assert (name, values) == ("node_split", {"ranks_per_node": "8", "inter": "ring"})
    assert split_spec(join_spec(name, values)) == (name, values)
    assert join_spec("ring", {"segments": None, "rings": ""}) == "ring"


def test_a_list_of_specs_keeps_parameters_with_their_name():
    assert split_list("ring,node_split:ranks_per_node=8,inter=ring, linear") == [
        "ring",
        "node_split:ranks_per_node=8,inter=ring",
        "linear",
    ]
    assert split_list("ring,chain:segments=4,chain:segments=8") == ["ring", "chain:segments=4", "chain:segments=8"]
    assert split_list("") == []


def test_keys_are_the_factory_signature_without_units():
    own, shared = ["hosts", "bandwidth", "latency"], ["overhead", "gap", "gamma"]
    assert list(keys_of(topologies.star)) == [
        *own,
        *shared,
        "in_network",
        "eager_limit",
        "pair_efficiency",
        "message_rate",
    ]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "unknown system ''; known: abci_a, abci_v"),
        ("sta:hosts=4", "did you mean 'star'?"),
        ("star", "needs hosts="),
        ("star:", "needs hosts="),
        ("star:hosts=4", "needs bandwidth="),
        ("star:host=4,bandwidth=1GB/s,latency=1us", "unknown key of system 'star': 'host'; did you mean 'hosts'?"),
        ("star:hosts", "'hosts' in 'star:hosts' is not key=value"),
        ("star:hosts=", "is not key=value"),
        ("star:=4", "is not key=value"),
        ("star:hosts=4,,", "is not key=value"),
        ("star:hosts=4,hosts=4", "'hosts' stands twice"),
        ("star:hosts=0,bandwidth=1GB/s,latency=1us", "hosts=0"),
        ("star:hosts=-1,bandwidth=1GB/s,latency=1us", "hosts=-1"),
        ("star:hosts=1e3,bandwidth=1GB/s,latency=1us", "hosts=1e3"),
        ("star:hosts=2.5,bandwidth=1GB/s,latency=1us", "hosts=2.5"),
        ("star:hosts=nan,bandwidth=1GB/s,latency=1us", "hosts=nan"),
        ("star:hosts=1" + "0" * 30 + ",bandwidth=1GB/s,latency=1us", "too many"),
        ("star:hosts=100000000000000,bandwidth=1GB/s,latency=1us", "too many"),
        ("star:hosts=4,bandwidth=1GB/s,latency=5", "latency=5: time '5': a unit is missing"),
        ("star:hosts=4,bandwidth=1GB/s,latency=nan", "latency=nan"),
        ("star:hosts=4,bandwidth=1GB/s,latency=1e400s", "latency=1e400s"),
        ("star:hosts=4,bandwidth=1GB/s,latency=-1us", "latency=-1us"),
        ("star:hosts=4,bandwidth=0GB/s,latency=1us", "bandwidth"),
        ("star:hosts=4,bandwidth=-1GB/s,latency=1us", "bandwidth=-1GB/s"),
        ("star:hosts=4,bandwidth=25,latency=1us", "a unit is missing"),
        ("star:hosts=4,bandwidth=1GB/s,latency=1us,gamma=0GB/s", "gamma=0GB/s"),
        ("xgft:down=axb,up=1x1,bandwidth=1GB/s,latency=1us", "down=axb"),
        ("xgft:down=2x,up=1x1,bandwidth=1GB/s,latency=1us", "down=2x"),
        ("xgft:down=0x2,up=1x1,bandwidth=1GB/s,latency=1us", "at least 1"),
        ("xgft:down=2x2,up=1,bandwidth=1GB/s,latency=1us", "2, 1 and 2"),
        ("xgft:down=2x2,up=1x1,parallel=1,bandwidth=1GB/s,latency=1us", "2, 2 and 1"),
        ("dgx_h100:nodes=0", "nodes=0"),
        ("dgx_h100:nodes=2049", "1 to 2048"),
        ("dgx_h100:nodes=2,price=250", "a unit is missing"),
        ("no/such/file.toml", "no/such/file.toml: cannot be read"),
    ],
)
def test_a_wrong_system_is_refused_with_a_remedy(spec, said):
    with pytest.raises(CommsimError) as error:
        topologies.find(spec)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("collective", "spec", "said"),
    [
        ("allreduc", "ring", "unknown collective 'allreduc'; did you mean 'allreduce'?"),
        ("allreduce", "rnig", "did you mean 'ring'?"),
        ("allreduce", "binomial", "unknown allreduce algorithm 'binomial'"),
        ("allreduce", "", "unknown allreduce algorithm ''"),
        ("allreduce", "ring:segments=4", "unknown parameter of 'ring': 'segments'"),
        ("broadcast", "chain:segmnts=4", "did you mean 'segments'?"),
        ("broadcast", "chain:segments=x", "segments=x"),
        ("broadcast", "chain:segments=1.5", "segments=1.5"),
        ("broadcast", "chain:root=1", "unknown parameter of 'chain': 'root'"),
    ],
)
def test_a_wrong_algorithm_is_refused_with_a_remedy(collective, spec, said):
    with pytest.raises(UnknownNameError if "unknown" in said or "mean" in said else InputError) as error:
        registry.find(collective, spec)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("collective", "spec", "n_ranks", "said"),
    [
        ("broadcast", "chain:segments=0", 4, "segments=0"),
        ("broadcast", "chain:segments=-3", 4, "segments=-3"),
        ("allreduce", "node_split:ranks_per_node=3", 8, "try ranks_per_node=2"),
        ("allreduce", "node_split:ranks_per_node=0", 8, "ranks_per_node=0"),
        ("allreduce", "node_split:ranks_per_node=8x3", 64, "try ranks_per_node=8x2"),
        ("allreduce", "torus_bucket:shape=4x4", 24, "try shape=4x6"),
        ("allgather", "neighbor_exchange", 7, "ring takes any"),
        ("allreduce", "node_split:ranks_per_node=2,inter=rnig", 8, "did you mean 'ring'?"),
        ("allreduce", "node_split:inter=node_split:ranks_per_node=3", 16, "node_split refuses 4 ranks"),
    ],
)
def test_a_refusing_algorithm_names_its_constraint(collective, spec, n_ranks, said):
    with pytest.raises(InputError) as error:
        verify(registry.find(collective, spec), n_ranks)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("size", "options", "said"),
    [
        ("5XB", {}, "5XB"),
        (-1, {}, "-1"),
        (6, {}, "use 4 or 8"),
        ("1e30B", {}, "too large"),
        (8, {"model": "hokney"}, "unknown model 'hokney'; did you mean 'hockney'?"),
        (8, {"n_ranks": 0}, "n_ranks=0"),
        (8, {"n_ranks": -2}, "n_ranks=-2"),
        (8, {"n_ranks": 5}, "4 devices, too few for 5 ranks"),
        (8, {"root": 4}, "root=4 is not a rank of 4; use 0 to 3"),
        (8, {"root": -1}, "root=-1"),
        (8, {"dtype": "flot32"}, "unknown dtype 'flot32'"),
        (8, {"dtype": "O"}, "unknown dtype 'O'"),
        (8, {"dtype": "S0"}, "unknown dtype 'S0'"),
        (8, {"dtype": "f4,,"}, "unknown dtype 'f4,,'"),
    ],
)
def test_a_case_that_does_not_exist_is_refused(size, options, said):
    with pytest.raises(InputError) as error:
        simulate(registry.find("broadcast", "binomial"), topologies.find(STAR), size, **options)
    assert said in str(error.value)


def test_a_parameter_of_the_wrong_type_is_refused():
    with pytest.raises(InputError, match="inter=3"):
        registry.find("allreduce", "node_split").with_params(inter=3)
    with pytest.raises(InputError, match="segments=True"):
        registry.find("broadcast", "chain").with_params(segments=True)


def test_a_parameter_without_any_default_must_be_given():
    @algorithm("broadcast", chunks=1)
    def mine(rank, n_ranks, *, root, radix: int):
        yield [exchange(-1, -1, send=chunk(0), receive=chunk(0))]

    with pytest.raises(InputError, match=r"'mine' needs radix="):
        verify(mine, 4)


def test_open_parameters_are_chosen_for_the_case():
    node_split = registry.find("allreduce", "node_split")
    assert node_split.resolved(12).params == {
        "ranks_per_node": (3,),
        "intra": "ring",
        "inter": "rabenseifner",
        "segments": 1,
    }
    assert node_split.resolved(32, groups=8).params["inter"] == "rabenseifner"
    assert node_split.with_params(ranks_per_node=4).resolved(12).params["inter"] == "ring"
    two_levels = "node_split:ranks_per_node=8x4,intra=ring,inter=rabenseifner,segments=1"
    assert registry.find("allreduce", two_levels).spec == two_levels
    assert node_split.with_params(ranks_per_node=(8, 4)).resolved(64).spec == two_levels
    assert registry.find("broadcast", "chain").resolved(4, 2**20).params == {"segments": 8, "chains": 1}
    assert registry.find("broadcast", "chain:segments=3").resolved(4, 2**20).params == {"segments": 3, "chains": 1}
    with pytest.raises(RefusedError, match="ranks_per_node=8"):
        node_split.resolved(12, groups=8)


@pytest.mark.parametrize(
    ("spec", "n_bytes", "n_chunks"),
    [  # 128 KiB a segment of each half of the vector, in the pieces and segments that the stage works on
        ("node_split:ranks_per_node=4,inter=double_binary_tree", 2**23, 4 * 2 * 8),
        ("node_split:ranks_per_node=4,inter=double_binary_tree", 0, 4 * 2),
        ("multi_leader:ranks_per_node=4,leaders=2,inter=double_binary_tree", 2**23, 2 * 2 * 16),
        ("hierarchical:ranks_per_node=4,segments=2,inter=double_binary_tree", 2**23, 2 * 2 * 16),
        ("reduce_broadcast:reduce=chain,broadcast=chain", 2**23, 64),
        ("node_split:ranks_per_node=2,inter=node_split:inter=double_binary_tree", 2**23, 2 * 2 * 2 * 8),
    ],
)
def test_what_stages_leave_open_is_chosen_by_their_size(spec, n_bytes, n_chunks):
    chosen = registry.find("allreduce", spec).resolved(8 if "node_split:inter" not in spec else 16, n_bytes)
    assert chosen.space(8 if "node_split:inter" not in spec else 16).n_data == n_chunks
    assert "for_bytes" not in chosen.spec


def test_constraints_may_depend_on_parameters():
    def asked(spec, n_ranks=16):
        return {one.name for one in registry.find("allreduce", spec).resolved(n_ranks).constraints[:2]}

    apart, commutes = ROUNDS_APART.name, COMMUTATIVE.name
    assert apart in registry.find("allreduce", "node_split").conditions
    assert asked("trivance:variant=latency") == {commutes, apart}
    assert apart not in asked("trivance")
    assert apart in asked("recursive_multiplying:radix=3")
    assert apart not in asked("recursive_multiplying:radix=2")
    for outer in ("node_split:ranks_per_node=4", "hierarchical:ranks_per_node=2", "multi_leader:ranks_per_node=2"):
        assert apart in asked(f"{outer},inter=recursive_multiplying")
        assert apart not in asked(f"{outer},inter=ring")
        assert apart not in asked(f"{outer},inter=recursive_multiplying:radix=2")
    assert registry.find("allreduce", "multi_leader:inter=recursive_doubling").resolved(16).keeps_order
    assert not registry.find("allreduce", "multi_leader:inter=ring").resolved(16).keeps_order
    assert not registry.find("allreduce", "multi_leader").keeps_order, "not known yet"


def test_what_was_too_large_to_build_is_no_other_error():
    def factory(hosts: int) -> None:
        raise MemoryError("1 EiB")

    with pytest.raises(InputError, match=r"'f:hosts=9' is too large to build"):
        build("system", "f", factory, {"hosts": "9"})
