"""`commsim simulate`: every algorithm that was asked for, at every size, on one system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import commsim
import topologies
from commsim.collective import collective_named
from commsim.disturbance import NO_DISTURBANCE, Disturbance
from commsim.errors import ImpossibleResultError, RefusedError
from commsim.link_changes import degradation
from commsim.models import described
from commsim.units import format_count, format_money
from experiments.choose import ALL, acceptor, chosen, proven
from experiments.left_out import LeftOut, in_one_line
from experiments.options import require_meaning
from experiments.progress import track, watched
from experiments.sizes import volume


def predict(
    collective: str,
    text: str | None,
    file: str | None,
    *,
    system: str,
    sizes: tuple[str | None, str | None, str | None, int],
    matrix: Path | None,
    n_ranks: int | None,
    model: str,
    root: int,
    dtype: str,
    placement: str = "packed",
    seed: int | None = None,
    degrade: Sequence[str] = (),
    fail: Sequence[str] = (),
    disturbance: Disturbance = NO_DISTURBANCE,
    timeline: bool = False,
) -> tuple[list[commsim.Result], dict[str, Any], list[LeftOut], commsim.System]:
    """Results, facts for people, what was left out, and the system. Parameters as the command line has them.

    Raises
    ------
    InputError
        For what was written and cannot be meant, or what an algorithm that was named refuses.
    ImpossibleResultError
        If the model's answer is below a bound, and nothing else was asked for.
    """
    machine = as_asked(system, placement, seed, degrade, fail, disturbance)
    kind = collective_named(collective)
    require_meaning(kind, root=root, dtype=dtype)
    ranks = machine.n_places if n_ranks is None else n_ranks
    moved = volume(kind, ranks, dtype, sizes, matrix)
    groups = machine.ranks_per_node(ranks)
    choice = chosen(collective, text, file, acceptor(ranks, moved.sizes, groups, propose=text not in (None, ALL)))
    proof = proven(choice, ranks, moved.sizes, groups, root=root)
    results, left_out, impossible = [], list(choice.left_out), False
    cases = [(n_bytes, one) for n_bytes in moved.sizes for one in choice.algorithms]
    options: dict[str, Any] = {"n_ranks": ranks, "model": model, "root": root, "dtype": dtype, "counts": moved.counts}
    options |= {"disturbance": disturbance, "timeline": timeline}
    for n_bytes, one in track(cases, "simulating", len(cases), shown=len(cases) > 1):
        try:
            results.append(commsim.simulate(watched(one), machine, n_bytes, **options))
        except (ImpossibleResultError, RefusedError) as error:
            if not choice.lenient or len(choice.algorithms) == 1:
                raise
            left_out.append(LeftOut.of(one.name, error))
            impossible |= isinstance(error, ImpossibleResultError)
    if not results:
        kind_of_error = ImpossibleResultError if impossible else RefusedError
        raise kind_of_error("no algorithm takes this case: " + in_one_line(left_out))
    facts: dict[str, Any] = {
        "system": f"{machine.name}, {format_count(ranks, 'rank')}",
        "model": described(model, machine.endpoint),
    }
    if machine.placement != "packed":
        facts["placement"] = machine.placement + ("" if machine.seed is None else f", seed {machine.seed}")
    if not disturbance.is_none:
        facts["disturbance"] = str(disturbance)
    if machine.notes.get("oversubscribed"):
        facts["WARNING"] = "calibrated with more ranks than cores: do not trust its speed"
    if machine.price_usd is not None:
        assumed = f", ASSUMED: {machine.assumed['price']}" if "price" in machine.assumed else ""
        facts["price"] = f"{format_money(machine.price_usd)}{assumed}"
    facts.update(moved.notes)
    if proof:
        facts["your algorithms"] = proof
    return results, facts, left_out, machine


def as_asked(
    system: str,
    placement: str,
    seed: int | None,
    degrade: Sequence[str],
    fail: Sequence[str],
    disturbance: Disturbance = NO_DISTURBANCE,
) -> commsim.System:
    """The system with what --degrade and --fail say about its links, and its ranks placed.

    A seed is the placement's, unless it is drawn for something else alone.

    Raises
    ------
    InputError
    """
    changes = [*map(degradation, degrade), *(commsim.LinkChange(links, failed=True) for links in fail)]
    machine = topologies.find(system)
    machine = commsim.changed(machine, changes) if changes else machine
    of_placement = None if disturbance.is_drawn and placement != "random" else seed
    return commsim.placed(machine, placement, seed=of_placement)
