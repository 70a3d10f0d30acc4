"""What --skew, --straggler, --jitter and --seed say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from commsim import Disturbance

Skew = Annotated[
    str | None,
    typer.Option("--skew", help="ranks start uniformly within a TIME, or at those of FILE, a line for each rank"),
]
Stragglers = Annotated[
    list[str] | None,
    typer.Option("--straggler", help="RANK=FACTOR: its overheads and reductions take longer; repeatable"),
]
Jitter = Annotated[str | None, typer.Option("--jitter", help="5%: mean stretch of each message's overhead, latency")]


def disturbance(
    skew: str | None, stragglers: Sequence[str] | None, jitter: str | None, seed: int | None
) -> Disturbance:
    """The disturbance that was asked for.

    Raises
    ------
    InputError
        Naming option and value, or file and line.
    """
    from commsim import Disturbance
    from commsim.units import parse_share, parse_time

    is_file = skew is not None and Path(skew).is_file()
    return Disturbance(
        skew_s=parse_time(skew) if skew is not None and not is_file else 0.0,
        start_s=_starts(Path(skew)) if skew is not None and is_file else (),
        stragglers=tuple(map(_straggler, stragglers or ())),
        jitter=0.0 if jitter is None else parse_share(jitter),
        seed=seed or 0,
    )


def _straggler(text: str) -> tuple[int, float]:
    from commsim.errors import InputError

    rank, _, factor = text.partition("=")
    try:
        return int(rank), float(factor)
    except ValueError:
        raise InputError(f"--straggler {text}: write it like 3=1.5, a rank and a factor of at least 1") from None


def _starts(path: Path) -> tuple[float, ...]:
    from commsim.errors import InputError
    from commsim.units import parse_time

    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--skew {path}: cannot be read ({error})") from None
    starts = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            starts += [parse_time(text)] if text else []
        except InputError as error:
            raise InputError(f"--skew {path}, line {number}: {error}") from None
    if not starts:
        raise InputError(f"--skew {path}: it is empty; one time for each rank, like 3us")
    return tuple(starts)
