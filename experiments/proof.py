"""`commsim verify`: counts every contribution of algorithms over ranges of ranks, and says what was proven."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from commsim import Algorithm, Verification, same_program
from commsim import verify as verify_one
from commsim.errors import InputError, RefusedError, ScheduleError, VerificationError
from commsim.units import format_count
from experiments.choose import Choice, with_proposal
from experiments.progress import track, watched

EVERY_ROOT = 64
MOST_RANKS = 2**31 - 1  # that MPI can count


def rank_range(text: str) -> range:
    """``"8"`` or ``"1:40"``, both ends included.

    Raises
    ------
    InputError
        If it is neither, or empty.
    """
    first, colon, last = text.partition(":")
    if not first.isdecimal() or (colon and not last.isdecimal()):
        raise InputError(f"--ranks {text!r}: write it like 8 or 1:40")
    lowest, highest = int(first), int(last if colon else first)
    if not 1 <= lowest <= highest:
        raise InputError(f"--ranks {text!r}: must begin at 1 or more and not end below that")
    if highest > MOST_RANKS:
        raise InputError(f"--ranks {text!r}: at most {MOST_RANKS}")
    return range(lowest, highest + 1)


def prove(choice: Choice, numbers: Sequence[int]) -> Iterator[str]:
    """One line for each algorithm; raises at the first that is wrong.

    Parameters
    ----------
    choice : Choice
        An algorithm that was named, or the only one, must take some of the numbers. The user's are also checked to be
        the same for one rank as for all.
    numbers : sequence of int
        Numbers of ranks; of each every root, beyond 64 ranks four of them.
    """
    for algorithm in choice.algorithms:
        own = choice.is_own(algorithm)
        asked_for = not choice.lenient or len(choice.algorithms) == 1
        proofs: list[Verification] = []
        refused: dict[int, str] = {}
        for n_ranks in track(numbers, f"verifying {algorithm.name}", len(numbers)):
            try:
                roots = _roots(algorithm, n_ranks)
                proofs += [verify_one(watched(algorithm), n_ranks, root=root) for root in roots]
                for rank in sorted({0, 1 % n_ranks, n_ranks // 2, n_ranks - 1}) if own else []:
                    same_program(algorithm, n_ranks, rank, root=roots[-1])
            except RefusedError as error:
                if asked_for and len(numbers) == 1:
                    raise with_proposal(error, algorithm, n_ranks) from None
                refused[n_ranks] = str(error).removeprefix(f"{algorithm.name} refuses {format_count(n_ranks, 'rank')} ")
            except VerificationError:
                raise
            except ScheduleError as error:
                raise ScheduleError(f"{error} (on {format_count(n_ranks, 'rank')})") from None
        span = f"{numbers[0]}…{numbers[-1]} ranks" if len(numbers) > 1 else format_count(numbers[0], "rank")
        but = f"; refuses {_ranges([*refused])}" if refused else ""
        if not proofs:
            every = f"refuses every number of ranks in {span.removesuffix(' ranks')} {next(iter(refused.values()))}"
            if asked_for:
                raise RefusedError(f"{algorithm.spec} {every}")
            yield f"{algorithm.collective.name} {algorithm.spec}: {every}\n"
            continue
        yield f"{algorithm.collective.name} {algorithm.spec}: right on {span}{_how(algorithm, proofs)}{but})\n"


def _roots(algorithm: Algorithm, n_ranks: int) -> Sequence[int]:
    if not algorithm.collective.rooted:
        return [0]
    return range(n_ranks) if n_ranks <= EVERY_ROOT else sorted({0, 1, n_ranks // 2, n_ranks - 1})


def _how(algorithm: Algorithm, proofs: Sequence[Verification]) -> str:
    """What was proven, and by what."""
    most = max(proof.n_ranks for proof in proofs)
    roots = ""
    if algorithm.collective.rooted:
        roots = ", every root" if most <= EVERY_ROOT else f", every root up to {EVERY_ROOT} ranks, four beyond"
    means = {proof.means.split()[0] for proof in proofs}
    order = ", order of ranks kept" if any(proof.means.endswith("order") for proof in proofs) else ""
    by = " and ".join(sorted({"counting": "counted", "fingerprints": "by fingerprints"}[word] for word in means))
    return f"{roots}{order} ({format_count(sum(proof.n_messages for proof in proofs), 'message')} {by}"


def _ranges(numbers: Sequence[int]) -> str:
    """``1, 3, 5`` or, where they follow one another, ``2…7``."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(f"{g[0]}" if len(g) == 1 else f"{g[0]}…{g[-1]}" for g in groups)
