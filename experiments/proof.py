"""`commsim verify`: counts every contribution of algorithms over ranges of ranks, and says what was proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from commsim import Algorithm, same_program
from commsim import verify as verify_one
from commsim.errors import InputError, RefusedError
from experiments.progress import track


def rank_range(text: str) -> list[int]:
    """``"8"`` or ``"1:40"`` (both ends included) as a list.

    Raises
    ------
    InputError
        If it is neither, or empty.
    """
    first, colon, last = text.partition(":")
    if not first.isdecimal() or (colon and not last.isdecimal()):
        raise InputError(f"--ranks {text!r}: write it like 8 or 1:40")
    numbers = list(range(int(first), int(last if colon else first) + 1))
    if not numbers or numbers[0] < 1:
        raise InputError(f"--ranks {text!r}: must begin at 1 or more and not end below that")
    return numbers


def prove(algorithms: Sequence[Algorithm], numbers: Sequence[int], *, named: bool, own: bool) -> Iterator[str]:
    """One line for each algorithm; raises at the first that is wrong.

    Parameters
    ----------
    algorithms : sequence of Algorithm
    numbers : sequence of int
        Numbers of ranks; every root of each.
    named, own : bool
        Whether the algorithms were asked for by name, or are the user's: then a single refused number of ranks is an
        error. The user's are also checked to be the same for one rank as for all.
    """
    for algorithm in algorithms:
        n_messages = 0
        refused: list[int] = []
        for n_ranks in track(numbers, f"verifying {algorithm.name}", len(numbers)):
            try:
                for root in range(n_ranks) if algorithm.collective.rooted else [0]:
                    n_messages += verify_one(algorithm, n_ranks, root=root).n_messages
                for rank in sorted({0, 1 % n_ranks, n_ranks // 2, n_ranks - 1}) if own else []:
                    same_program(algorithm, n_ranks, rank)
            except RefusedError:
                if (named or own) and len(numbers) == 1:
                    raise
                refused.append(n_ranks)
        span = f"{numbers[0]}…{numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        roots = ", every root" if algorithm.collective.rooted else ""
        but = f"; refuses {', '.join(map(str, refused))}" if refused else ""
        if len(refused) == len(numbers):
            if named or own:
                raise RefusedError(f"{algorithm.spec} refuses every number of ranks in {span}")
            yield f"{algorithm.collective.name} {algorithm.spec}: refuses every number of ranks in {span}\n"
            continue
        yield (
            f"{algorithm.collective.name} {algorithm.spec}: right on {span} ranks{roots} "
            f"({n_messages} messages counted{but})\n"
        )
