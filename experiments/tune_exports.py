"""Decision tables in the forms of MPI libraries and NCCL, for the algorithms that they have too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from collectives.registry import find
from collectives.tuning import Rule, Table
from commsim import Algorithm
from commsim.collective import collective_named
from commsim.errors import InputError, RefusedError
from experiments.tune import Timed, table

Names = Mapping[str, Mapping[str, str]]
"""By collective, what a library calls the algorithms that it runs as this library does."""

OPEN_MPI_IDS = {
    "allgather": 0,
    "allreduce": 2,
    "alltoall": 3,
    "barrier": 6,
    "broadcast": 7,
    "gather": 9,
    "reduce": 11,
    "reduce_scatter": 12,
    "scatter": 15,
}
"""Numbers of ``coll_base_functions.h``. The size of a message is there, as here, that of the whole vector."""
OPEN_MPI: Names = {  # what `ompi_info --param coll tuned --level 9` of 5.0 lists; later versions add to it
    "allgather": {"bruck": "2", "recursive_doubling": "3", "ring": "4", "neighbor_exchange": "5", "sparbit": "7"},
    "allreduce": {"linear": "1", "recursive_doubling": "3", "ring": "4", "ring_segmented": "5", "rabenseifner": "6"},
    "alltoall": {"linear": "1", "pairwise": "2", "bruck": "3"},
    "barrier": {"recursive_doubling": "3", "dissemination": "4"},
    "broadcast": {
        "linear": "1",
        "chain": "3",
        "split_binary": "4",
        "kary_tree": "5",
        "binomial": "6",
        "knomial": "7",
        "scatter_recursive_doubling": "8",
        "scatter_allgather": "9",
    },
    "gather": {"linear": "1", "binomial": "2"},
    "reduce": {
        "linear": "1",
        "chain": "3",
        "kary_tree": "4",
        "binomial": "5",
        "in_order_binary": "6",
        "scatter_gather": "7",
    },
    "reduce_scatter": {"recursive_halving": "2", "ring": "3", "butterfly": "4"},
    "scatter": {"linear": "1", "binomial": "2"},
}
MPICH: Names = {  # of coll_algorithms.txt of 5.0: those without parameters
    "allgather": {"bruck": "brucks", "recursive_doubling": "recursive_doubling", "ring": "ring"},
    "allreduce": {
        "recursive_doubling": "recursive_doubling",
        "ring": "ring",
        "rabenseifner": "reduce_scatter_allgather",
    },
    "alltoall": {"bruck": "brucks", "pairwise": "pairwise", "linear_windowed": "scattered"},
    "broadcast": {
        "binomial": "binomial",
        "scatter_recursive_doubling": "scatter_recursive_doubling_allgather",
        "scatter_allgather": "scatter_ring_allgather",
    },
    "reduce": {"binomial": "binomial", "scatter_gather": "reduce_scatter_gather"},
    "reduce_scatter": {
        "pairwise": "pairwise",
        "recursive_doubling": "recursive_doubling",
        "recursive_halving": "recursive_halving",
    },
}
MPICH_WORDS = {"broadcast": "bcast"}
MPICH_FALLBACK = {  # takes every case that the conditions below keep from others
    "allgather": "ring",
    "allreduce": "recursive_doubling",
    "alltoall": "pairwise_sendrecv_replace",
    "broadcast": "binomial",
    "reduce": "binomial",
    "reduce_scatter": "recursive_doubling",
}
POWER_OF_TWO = ("comm_size=pow2", "comm_size=any")
COMMUTATIVE = ("is_commutative=yes", "is_commutative=no")
BUILT_IN = ("is_op_built_in=yes", "is_op_built_in=no")
MANY_ELEMENTS = ("count=any", "count<pow2")
MPICH_CONDITIONS: Mapping[tuple[str, str], Sequence[tuple[str, str]]] = {  # where it holds, and where it does not
    ("allgather", "recursive_doubling"): [POWER_OF_TWO],
    ("allreduce", "reduce_scatter_allgather"): [BUILT_IN, MANY_ELEMENTS],
    ("allreduce", "ring"): [COMMUTATIVE],
    **{
        ("alltoall", name): [("is_sendbuf_inplace=no", "is_sendbuf_inplace=yes")] for name in MPICH["alltoall"].values()
    },
    ("broadcast", "scatter_recursive_doubling_allgather"): [POWER_OF_TWO],
    ("reduce", "reduce_scatter_gather"): [BUILT_IN, MANY_ELEMENTS],
    ("reduce_scatter", "pairwise"): [COMMUTATIVE],
    ("reduce_scatter", "recursive_halving"): [COMMUTATIVE],
}
MPICH_BASE = "mpich_5.0_generic.json"  # maint/tuning/coll/mpir/generic.json of MPICH 5.0.2: its own decisions
NCCL: Names = {
    "allgather": {"ring": "ring"},
    "allreduce": {"ring": "ring", "nccl_tree": "tree"},
    "broadcast": {"chain": "ring"},
    "reduce": {"chain": "ring"},
    "reduce_scatter": {"ring": "ring"},
}
NCCL_WORDS = {"reduce_scatter": "reducescatter"}
MOST_BYTES = 2**62


def _open_mpi(made: Table) -> str:
    """Classic dynamic rules."""
    kinds = sorted({rule.collective for rule in made.rules}, key=OPEN_MPI_IDS.__getitem__)
    lines = [f"{len(kinds)} # collectives"]
    for kind in kinds:
        by_ranks = _by_ranks(made, kind)
        lines += [f"{OPEN_MPI_IDS[kind]} # {kind}", f"{len(by_ranks)} # communicator sizes"]
        for n_ranks, rules in by_ranks.items():
            own = [line for rule, end in zip(rules, _ends(rules), strict=True) for line in _in_segments(rule, end)]
            lines += [f"{n_ranks} # ranks", f"{len(own)} # message sizes: bytes, algorithm, fan, segment", *own]
    return "\n".join(lines) + "\n"


def _in_segments(rule: Rule, end: int) -> list[str]:
    """Lines of a rule: one, or one for each size of segments that its algorithm takes."""
    name, one = OPEN_MPI[rule.collective][find(rule.collective, rule.algorithms[0]).name], rule.algorithms[0]
    sizes = [rule.n_bytes, *(4**power for power in range(1, 16) if rule.n_bytes < 4**power < end)]
    lines: list[str] = []
    before = None
    for n_bytes in sizes:
        segment = _segment_bytes(rule.collective, one, rule.n_ranks, n_bytes)
        lines += [f"{n_bytes} {name} 0 {segment}"] if segment != before else []
        before = segment
    return lines


def _segment_bytes(collective: str, spec: str, n_ranks: int, n_bytes: int) -> int:
    """Of an algorithm that cuts a vector of that size into segments, the next power of two; 0 where it does not."""
    one = find(collective, spec).resolved(n_ranks, n_bytes)
    if one.params.get("segments", 1) == 1:
        return 0
    return 1 << (-(-n_bytes // one.space(n_ranks).n_data) - 1).bit_length()


def _mpich(made: Table, base: Mapping[str, Any]) -> str:
    """JSON of ``MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE``: MPICH's own, but for what is decided here."""
    tree = dict(base)
    for kind in sorted({rule.collective for rule in made.rules}):
        by_ranks = _by_ranks(made, kind)
        # the whole vector: where MPICH's calls name a block, it is the total over ranks
        size = "total_msg_size" if collective_named(kind).block_each else "avg_msg_size"
        branches: dict[str, Any] = {}
        for after, rules in zip([*list(by_ranks)[1:], None], by_ranks.values(), strict=True):
            sizes = {
                f"{size}=any" if end == MOST_BYTES else f"{size}<{end}": _mpich_leaf(rule)
                for rule, end in zip(rules, _ends(rules), strict=True)
            }
            if branches and sizes == list(branches.values())[-1]:
                branches.popitem()
            branches["comm_size=any" if after is None else f"comm_size<{after}"] = sizes
        word = f"collective={MPICH_WORDS.get(kind, kind)}"
        tree[word] = {**tree.get(word, {}), "comm_type=intra": branches}
    return json.dumps(tree, indent=1) + "\n"


def _mpich_leaf(rule: Rule) -> dict[str, Any]:
    """The algorithm where its conditions hold, and what takes every case elsewhere."""
    call = f"algorithm=MPIR_{MPICH_WORDS.get(rule.collective, rule.collective).capitalize()}_intra_"
    name = MPICH[rule.collective][find(rule.collective, rule.algorithms[0]).name]
    leaf: dict[str, Any] = {call + name: {}}
    otherwise: dict[str, Any] = {call + MPICH_FALLBACK[rule.collective]: {}}
    for holds, fails in reversed(MPICH_CONDITIONS.get((rule.collective, name), ())):
        # tests are asked in order: what holds anywhere comes last
        leaf = {fails: otherwise, holds: leaf} if holds.endswith("=any") else {holds: leaf, fails: otherwise}
    return leaf


def _nccl(made: Table, channels: int) -> str:
    """CSV of NCCL's example tuner plugin (``NCCL_TUNER_CONFIG_FILE``): the first row that fits wins.

    The plugin gives a call that no row fits one channel: the last rows of a collective take any number of ranks.
    """
    lines = [
        "# protocol simple everywhere: it is what was simulated; ll and ll128 are faster for small messages",
        "# collective,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks",
    ]
    for kind, names in NCCL.items():
        by_ranks = _by_ranks(made, kind)
        anywhere = by_ranks[max(by_ranks)] if by_ranks else [Rule(kind, 1, 0, (next(iter(names)),))]
        own = {n_ranks: rules for n_ranks, rules in by_ranks.items() if not _same(rules, anywhere)}
        for n_ranks, rules in {**own, -1: anywhere}.items():
            lines += [
                f"{NCCL_WORDS.get(kind, kind)},{rule.n_bytes},{end - 1 if end < MOST_BYTES else end},"
                f"{names[find(kind, rule.algorithms[0]).name]},simple,{channels},-1,{n_ranks}"
                for rule, end in zip(rules, _ends(rules), strict=True)
            ]
    return "\n".join(lines) + "\n"


def _by_ranks(made: Table, kind: str) -> dict[int, list[Rule]]:
    own = [rule for rule in made.rules if rule.collective == kind]
    return {n: [rule for rule in own if rule.n_ranks == n] for n in sorted({rule.n_ranks for rule in own})}


def _same(some: Sequence[Rule], others: Sequence[Rule]) -> bool:
    """Whether both take the same from the same sizes on."""
    return [(one.n_bytes, one.algorithms[0]) for one in some] == [(one.n_bytes, one.algorithms[0]) for one in others]


def _ends(rules: Sequence[Rule]) -> list[int]:
    """Where each rule's sizes end: where the next begins."""
    return [*(later.n_bytes for _, later in pairwise(rules)), MOST_BYTES]


@dataclass(frozen=True)
class Export:
    """A library: its names of the algorithms that it has, and how its file is written."""

    names: Names
    written: Callable[..., str]

    def has(self, algorithm: Algorithm) -> bool:
        """Whether the library runs this, with these parameters: it has none but the size of segments."""
        plain = find(algorithm.collective.name, algorithm.name).params
        fixed = {key: value for key, value in algorithm.params.items() if key != "segments"}
        known = algorithm.name in self.names.get(algorithm.collective.name, {})
        return known and all(plain.get(key) == value for key, value in fixed.items())


EXPORTS = {"openmpi": Export(OPEN_MPI, _open_mpi), "mpich": Export(MPICH, _mpich), "nccl": Export(NCCL, _nccl)}


def exported(rows: Sequence[Timed], library: str, channels: int | None = None, base: Path | None = None) -> str:
    """The decision of the algorithms that a library has too, in its own form and names.

    Parameters
    ----------
    rows : sequence of Timed
    library : str
        "openmpi", "mpich" or "nccl".
    channels : int, optional
        NCCL's, which its plugin sets to one where they are not said.
    base : Path, optional
        MPICH's own decisions, those of 5.0 if it is not given: its file stands for all of them.

    Raises
    ------
    InputError
        If `base` is no such file.
    RefusedError
        If the library has none of the algorithms, or channels are missing.
    """
    export = EXPORTS[library]
    more: dict[str, Any] = {}
    if library == "nccl":
        if channels is None:
            raise RefusedError("--for nccl needs --channels N: NCCL's example plugin takes one where none are said")
        more = {"channels": channels}
    if library == "mpich":
        more = {"base": _read_base(base)}
    own = [row for row in rows if export.has(find(row.collective, row.spec))]
    if not own:
        raise RefusedError(f"{library} has none of these algorithms, or not as something that can be chosen")
    rules: list[Rule] = []
    for rule in table(own).rules:
        before = [(last.collective, last.n_ranks, last.algorithms[0]) for last in rules[-1:]]
        if before != [(rule.collective, rule.n_ranks, rule.algorithms[0])]:
            rules.append(rule)
    return export.written(Table(tuple(rules)), **more)


def _read_base(path: Path | None) -> dict[str, Any]:
    shipped = files("experiments") / "data" / MPICH_BASE
    try:
        tree = json.loads((path or shipped).read_text())
        if not any(key.startswith("collective=") for key in tree):
            raise ValueError("no key begins with collective=")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"--base {path}: not MPICH's generic.json ({error})") from None
    return dict(tree)
