"""Measured rows of any program: what `commsim run` wrote, nccl-tests' and OSU's text, CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from commsim.collective import COLLECTIVES, collective_named
from commsim.errors import CommsimError, InputError
from commsim.result import Result
from commsim.units import parse_bytes, parse_time
from experiments.choose import LIBRARY
from experiments.foreign_forms import NCCL_TESTS, NCCL_TYPES, OSU_BLOCKS
from experiments.output import read_results

OSU = {"bcast": "broadcast", "allreduce": "allreduce", "reduce": "reduce", "reduce_scatter": "reduce_scatter"}
OSU |= {"all-to-all": "alltoall", "all-to-allv": "alltoallv"}
OSU_TYPES = {"CHAR": "int8", "INT": "int32", "FLOAT": "float32"}
SIZE_COLUMNS = ("n_bytes", "size_B", "bytes", "size")
TIME_COLUMNS = {"time_s": "s", "time_us": "us", "time_ms": "ms", "oop_us": "us", "ip_us": "us", "latency_us": "us"}
RANK_COLUMNS = ("n_ranks", "ranks", "np")

_RANK = re.compile(r"#\s+Rank\s+\d+\b.*\bPid\b", re.IGNORECASE)
_NCCL_TEST = re.compile(r"\b(" + "|".join(NCCL_TESTS) + r")(?:_perf|_test)?\b")
_TABLE = re.compile(r"#\s+size\b.*\balgorithm\b.*\bbusbw\b")  # the head of our own
_FACT = re.compile(r"#\s*(collective|algorithm|ranks|all rows):\s*(\S.*)", re.IGNORECASE)
_OSU_TYPE = re.compile(r"#\s*Datatype:\s*MPI_(\w+)")
_OSU_TITLE = re.compile(
    r"#\s*OSU(-style)?\s+(?:MPI(?:-\S+)?\s+)?([\w-]+).*?Latency(?: Test)?(?:.*, algorithm (\S+))?", re.I
)


@dataclass(frozen=True)
class Told:
    """What a file of another program may not say, as the user has it; None: the file must."""

    collective: str | None = None
    n_ranks: int | None = None


def read_measured(path: Path, told: Told = Told()) -> list[Result]:
    """Results of a file; where the algorithm is not known, it is ``library``.

    Raises
    ------
    InputError
        Naming the file, and what is wrong or missing.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    if not text.strip():
        raise InputError(f"{path}: it is empty")
    lines = text.splitlines()
    header = next(csv.reader(line for line in lines if line.strip() and not line.startswith("#")), [])
    try:
        if path.suffix == ".json" or {"params", "time_s", "n_bytes"} <= set(header):
            return read_results(path)
        if any(word in header for word in SIZE_COLUMNS):
            rows = list(_of_csv(lines, told))
        elif any(map(_TABLE.match, lines)):
            rows = list(_of_table(lines, told))
        elif "busbw" in text:
            rows = list(_of_nccl_tests(lines, told))
        elif _OSU_TITLE.search(text):
            rows = list(_of_osu(lines, told))
        else:
            return read_results(path)  # it says what is wrong
    except CommsimError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path}: a row that cannot be read ({error})") from None
    if not rows:
        raise InputError(f"{path}: it has no row of a measurement")
    return rows


def _result(
    told: Told, collective: str | None, n_ranks: int | None, n_bytes: int, time_s: float, **more: object
) -> Result:
    kind, ranks = told.collective or collective, told.n_ranks or n_ranks
    if kind is None:
        raise InputError(f"it does not say which collective it is: --collective NAME, of {', '.join(COLLECTIVES)}")
    if ranks is None:
        raise InputError("it does not say on how many ranks it ran: --ranks N")
    own = {"algorithm": LIBRARY, "n_wrong": 0, "root": 0 if collective_named(kind).rooted else None, **more}
    return Result(collective=kind, n_ranks=ranks, n_bytes=n_bytes, time_s=time_s, **own)  # type: ignore[arg-type]


def _of_nccl_tests(lines: Sequence[str], told: Told) -> Iterator[Result]:
    """Of each row the better of out of place and in place: one of them is an outlier in many a good run."""
    named = [match[1] for line in lines if line.startswith("#") and (match := _NCCL_TEST.search(line))]
    named += [match[1] for line in lines[:5] if (match := _NCCL_TEST.search(line))]
    collective = NCCL_TESTS[named[0]] if named else None
    n_ranks, spec = sum(bool(_RANK.search(line)) for line in lines) or None, LIBRARY
    for line in lines:
        if fact := _FACT.match(line):
            n_ranks = int(fact[2].split()[0]) if fact[1] == "ranks" else n_ranks
            spec = fact[2] if fact[1] == "algorithm" else spec
        words = line.split()
        if line.startswith("#") or len(words) < 8 or not (words[0].isdigit() and words[1].isdigit()):
            continue
        figures = words[-8:] if len(words) >= 11 else words[-4:]
        runs = [figures[i : i + 4] for i in range(0, len(figures), 4) if figures[i] != "N/A"]
        time_s = min(parse_time(f"{run[0]}us") for run in runs)
        checked = [int(float(run[3])) for run in runs if run[3] != "N/A"]
        own: dict[str, object] = {"dtype": NCCL_TYPES.get(words[2], words[2]), "n_wrong": sum(checked)}
        if spec != LIBRARY:  # ours, which were not measured where nothing was checked
            name, params = _split(told.collective or collective, spec)
            own |= {"algorithm": name, "params": params, "n_wrong": sum(checked) if checked else None}
        yield _result(told, collective, n_ranks, int(words[0]), time_s, **own)


def _of_table(lines: Sequence[str], told: Told) -> Iterator[Result]:
    """What `commsim run` printed, or wrote with ``-o FILE.txt``."""
    facts = {match[1].lower(): match[2] for line in lines if (match := _FACT.match(line))}
    same = dict(pair.split(" ", 1) for pair in facts.get("all rows", "").split(", ") if " " in pair)
    titles = next(line for line in lines if _TABLE.match(line)).lstrip("# ").split()
    if "#wrong" not in titles:
        raise InputError("it was simulated, not measured on real ranks")
    collective = facts.get("collective", "").partition(",")[0] or None
    n_ranks = int(facts["ranks"].split()[0]) if "ranks" in facts else None
    for line in lines:
        words = line.lstrip("* ").split()
        if line.startswith("#") or len(words) != len(titles):
            continue
        row = {**same, **dict(zip(titles, words, strict=True))}
        if "…" in row["algorithm"]:
            raise InputError(f"{row['algorithm']}: names were cut to the width of a terminal; write it with -o FILE")
        name, params = _split(told.collective or collective, row["algorithm"])
        own: dict[str, object] = {"algorithm": name, "params": params, "dtype": row["type"]}
        own |= {"n_wrong": int(row["#wrong"]), "op": None if row.get("redop", "-") == "-" else row["redop"]}
        own |= {"root": int(row["root"])} if row.get("root", "-") != "-" else {}
        yield _result(told, collective, n_ranks, int(row["size"]), parse_time(f"{row['time']}us"), **own)


def _of_osu(lines: Sequence[str], told: Told) -> Iterator[Result]:
    """Of chars, if it does not say of what: a size of 1 B is none of floats."""
    collective, algorithm, blocks, dtype, n_ranks = None, LIBRARY, False, "float32", told.n_ranks
    for line in lines:
        if (fact := _FACT.match(line)) and fact[1].lower() == "ranks":
            n_ranks = told.n_ranks or int(fact[2])
        if kind := _OSU_TYPE.match(line.strip()):
            dtype = OSU_TYPES.get(kind[1], dtype)
        if title := _OSU_TITLE.match(line.strip()):
            word = title[2].lower()
            collective = OSU.get(word, word)
            blocks = collective in OSU_BLOCKS
            dtype = "float32" if title[1] else "int8"
            algorithm = title[3] or LIBRARY
            if collective not in COLLECTIVES and told.collective is None:
                raise InputError(f"{title[2]!r} is no collective")
        words = line.split()
        if collective == "barrier" and len(words) == 1 and line[0] != "#":
            words = ["0", *words]  # it has no size
        if len(words) >= 2 and words[0].isdigit():
            factor = (n_ranks or 0) if blocks else 1
            name, params = _split(told.collective or collective, algorithm)
            time_s = parse_time(f"{words[1]}us")
            n_bytes = int(words[0]) * factor
            yield _result(told, collective, n_ranks, n_bytes, time_s, algorithm=name, params=params, dtype=dtype)


def _split(collective: str | None, spec: str) -> tuple[str, Mapping[str, object]]:
    from collectives.registry import find

    if spec == LIBRARY or ":" not in spec or collective is None:
        return spec, {}
    found = find(collective, spec)
    return found.name, found.params


def _of_csv(lines: Sequence[str], told: Told) -> Iterator[Result]:
    text = "\n".join(line for line in lines if not line.startswith("#"))
    for row in csv.DictReader(io.StringIO(text)):
        size = next(row[word] for word in SIZE_COLUMNS if word in row)
        times = [f"{row[word]}{unit}" for word, unit in TIME_COLUMNS.items() if row.get(word)]
        if not times:
            raise InputError(f"it has no column of times: {', '.join(TIME_COLUMNS)}")
        collective = row.get("collective")
        name, params = _split(told.collective or collective, row.get("algorithm") or LIBRARY)
        ranks = next((int(row[word]) for word in RANK_COLUMNS if row.get(word)), None)
        n_bytes = parse_bytes(int(size) if size.isdigit() else size)
        time_s = min(parse_time(time) for time in times)
        yield _result(told, collective, ranks, n_bytes, time_s, algorithm=name, params=params)
