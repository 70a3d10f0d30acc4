"""Decision tables in the forms of MPI libraries and NCCL, for the algorithms that they have too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from collectives.registry import find
from collectives.tuning import Rule, Table
from commsim.errors import RefusedError
from experiments.tune import Timed, table

OPEN_MPI_IDS = {"allgather": 0, "allreduce": 2, "broadcast": 7, "reduce": 11, "reduce_scatter": 12}
"""Numbers of ``coll_base_functions.h`` of the collectives whose message size there is the whole vector, as here."""
MPICH_NAMES = {  # of coll_algorithms.txt: those without parameters
    "allgather": ("brucks", "recursive_doubling", "ring"),
    "allreduce": ("recursive_doubling", "reduce_scatter_allgather", "ring"),
    "broadcast": ("binomial", "scatter_recursive_doubling_allgather", "scatter_ring_allgather"),
    "reduce": ("binomial", "reduce_scatter_gather"),
    "reduce_scatter": ("pairwise", "recursive_doubling", "recursive_halving"),
}
MPICH_WORDS = {"broadcast": "bcast"}
MPICH_FALLBACK = {  # takes every case
    "allgather": "ring",
    "allreduce": "recursive_doubling",
    "broadcast": "binomial",
    "reduce": "binomial",
    "reduce_scatter": "recursive_doubling",
}
NCCL_NAMES = {"Ring": "ring", "Tree": "tree"}
NCCL_COLLECTIVES = {"reduce_scatter": "reducescatter"}


def _open_mpi_name(collective: str, names: Any) -> str | None:
    found = re.match(r"(\d+) ", names.get("Open MPI", ""))
    return found[1] if found and collective in OPEN_MPI_IDS else None


def _mpich_name(collective: str, names: Any) -> str | None:
    own = [name.strip() for name in names.get("MPICH", "").split(",")]
    return next((name for name in own if name in MPICH_NAMES.get(collective, ())), None)


def _nccl_name(_: str, names: Any) -> str | None:
    return NCCL_NAMES.get(names.get("NCCL", "").split(",")[0])


def _open_mpi(made: Table) -> str:
    """Classic dynamic rules: ``--mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_dynamic_rules_filename FILE``."""
    kinds = sorted({rule.collective for rule in made.rules}, key=OPEN_MPI_IDS.__getitem__)
    lines = [f"{len(kinds)} # collectives"]
    for kind in kinds:
        by_ranks = _by_ranks(made, kind)
        lines += [f"{OPEN_MPI_IDS[kind]} # {kind}", f"{len(by_ranks)} # communicator sizes"]
        for n_ranks, rules in by_ranks.items():
            lines += [f"{n_ranks} # ranks", f"{len(rules)} # message sizes"]
            lines += [f"{rule.n_bytes} {rule.algorithms[0]} 0 0" for rule in rules]
    return "\n".join(lines) + "\n"


def _mpich(made: Table) -> str:
    """JSON of ``MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE``; it replaces the built-in file, so splice it into that."""
    tree: dict[str, Any] = {}
    for kind in sorted({rule.collective for rule in made.rules}):
        word = MPICH_WORDS.get(kind, kind)
        call = f"algorithm=MPIR_{word.capitalize()}_intra_"
        last: dict[str, Any] = {call + MPICH_FALLBACK[kind]: {}}
        by_ranks = list(_by_ranks(made, kind).items())
        branches: dict[str, Any] = {}
        for (_, rules), after in zip(by_ranks, [*(n for n, _ in by_ranks[1:]), None], strict=True):
            ends = [*(f"avg_msg_size<={later.n_bytes - 1}" for _, later in pairwise(rules)), "avg_msg_size=any"]
            sizes: dict[str, Any] = {
                end: {call + rule.algorithms[0]: {}} for end, rule in zip(ends, rules, strict=True)
            }
            if kind in ("allreduce", "reduce", "reduce_scatter"):
                sizes = {end: {"is_commutative=yes": leaf, "is_commutative=any": last} for end, leaf in sizes.items()}
            branches["comm_size=any" if after is None else f"comm_size<{after}"] = sizes
        tree[f"collective={word}"] = {"comm_type=intra": branches}
    return json.dumps(tree, indent=1) + "\n"


def _nccl(made: Table, channels: int) -> str:
    """CSV of NCCL's example tuner plugin (``NCCL_TUNER_CONFIG_FILE``), first match wins."""
    lines = ["# collective,min_bytes,max_bytes,algorithm,protocol,channels,nNodes,nRanks"]
    for kind in sorted({rule.collective for rule in made.rules}):
        for n_ranks, rules in _by_ranks(made, kind).items():
            ends = [*(later.n_bytes - 1 for _, later in pairwise(rules)), 2**62]
            word = NCCL_COLLECTIVES.get(kind, kind)
            lines += [
                f"{word},{rule.n_bytes},{end},{rule.algorithms[0]},simple,{channels},-1,{n_ranks}"
                for rule, end in zip(rules, ends, strict=True)
            ]
    return "\n".join(lines) + "\n"


def _by_ranks(made: Table, kind: str) -> dict[int, list[Rule]]:
    own = [rule for rule in made.rules if rule.collective == kind]
    return {n: [rule for rule in own if rule.n_ranks == n] for n in sorted({rule.n_ranks for rule in own})}


Namer = Callable[[str, Any], str | None]
EXPORTS: dict[str, tuple[Namer, Callable[..., str]]] = {
    "openmpi": (_open_mpi_name, _open_mpi),
    "mpich": (_mpich_name, _mpich),
    "nccl": (_nccl_name, _nccl),
}


def exported(rows: Sequence[Timed], library: str, channels: int | None = None) -> str:
    """The decision of the algorithms that a library has too, in its own form and names.

    Parameters
    ----------
    rows : sequence of Timed
    library : str
        "openmpi", "mpich" or "nccl".
    channels : int, optional
        NCCL's, which its plugin sets to one where they are not said.

    Raises
    ------
    RefusedError
        If the library has none of the algorithms, or channels are missing.
    """
    name_of, written = EXPORTS[library]
    if library == "nccl" and channels is None:
        raise RefusedError("--for nccl needs --channels N: NCCL's example plugin takes one channel where none are said")
    own = [(row, name_of(row.collective, find(row.collective, row.spec).names)) for row in rows]
    own = [(row, name) for row, name in own if name is not None]
    if not own:
        raise RefusedError(f"{library} has none of these algorithms, or not as something that can be chosen")
    made = table([row for row, _ in own])
    names = {(row.collective, row.spec): name for row, name in own}
    rules: list[Rule] = []
    for rule in made.rules:
        name = str(names[rule.collective, rule.algorithms[0]])
        before = [(last.collective, last.n_ranks, last.algorithms) for last in rules[-1:]]
        if before != [(rule.collective, rule.n_ranks, (name,))]:
            rules.append(_named(rule, name))
    return written(Table(tuple(rules)), *([channels] if library == "nccl" else []))


def _named(rule: Rule, name: str) -> Rule:
    """The rule with the library's name, which is none of ours."""
    renamed = object.__new__(Rule)
    renamed.__dict__.update({**rule.__dict__, "algorithms": (name,)})
    return renamed
