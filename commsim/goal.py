"""GOAL, the textual schedules of LogGOPSim (Hoefler, Schneider, Lumsdaine, HPDC 2010) and ATLAHS: read and written.

``num_ranks N``, then for each rank ``rank r { … }`` with ``label: send 8b to 3 tag 0``, ``label: recv 8b from 0 tag
0``, ``label: calc 100`` (nanoseconds; ``cpu 1`` on another processor), ``a requires b`` (a starts when b is done) and
``a irequires b`` (when b has started). Rank r is device r; the k-th send of a pair with a tag meets the k-th receive.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commsim.errors import InputError, unknown_name
from commsim.traffic import Traffic

NANOSECOND_S = 1e-9
MOST, MOST_PROCESSORS = 2**53, 1024
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_OPERATION = re.compile(r"(?:(\w+)\s*:\s*)?(send|recv|calc)\s+(\S+)((?:\s+[a-z]+\s+\S+)*)")
_ORDER = re.compile(r"(\w+)\s+(i?requires)\s+(\w+)")
_WORDS = {"send": ("to", "tag", "cpu", "nic"), "recv": ("from", "tag", "cpu", "nic"), "calc": ("cpu",)}


@dataclass(frozen=True)
class _Operation:
    rank: int
    label: str
    kind: str
    size: int  # bytes, or nanoseconds
    peer: int
    tag: int
    processor: int
    line: int

    @property
    def name(self) -> str:
        return f"rank {self.rank} {self.label}"


def read_goal(path: Path | str) -> Traffic:
    """A schedule.

    Raises
    ------
    InputError
        Naming file and line: what is no GOAL, a rank or label that is not there, a send without its receive.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return _Reader(path).read(_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text))


class _Reader:
    """One file: the operations so far, and their order."""

    def __init__(self, path: Path) -> None:
        self._path, self._line = path, 0
        self._n_ranks, self._rank = -1, -1
        self._seen: set[int] = set()
        self._labels: dict[str, int] = {}
        self._operations: list[_Operation] = []
        self._orders: list[tuple[str, str, str, int]] = []
        self._pairs: dict[str, list[tuple[int, int]]] = {"requires": [], "irequires": []}

    def read(self, text: str) -> Traffic:
        for number, line in enumerate(text.split("\n"), 1):
            self._line = number
            for statement in re.split(r";|(?<=[{])|(?=})|(?<=})", line):
                if statement.strip():
                    self._statement(" ".join(statement.split()))
        if self._rank >= 0:
            raise self._wrong(f"rank {self._rank} has no closing brace")
        if self._n_ranks < 0:
            raise InputError(f"{self._path}: it has no num_ranks; its first line is num_ranks N")
        return self._traffic()

    def _wrong(self, what: str, line: int | None = None) -> InputError:
        return InputError(f"{self._path}, line {line or self._line}: {what}")

    def _statement(self, text: str) -> None:
        if found := re.fullmatch(r"num_ranks (\d+)", text):
            self._n_ranks = int(found[1])
        elif found := re.fullmatch(r"rank (\d+) ?\{", text):
            self._open(int(found[1]))
        elif text == "}" and self._rank >= 0:
            self._close()
        elif self._rank < 0:
            raise self._wrong(f"{text!r} is neither num_ranks N nor rank R {{")
        elif found := _ORDER.fullmatch(text):
            self._orders.append((found[1], found[2], found[3], self._line))
        elif found := _OPERATION.fullmatch(text):
            self._operation(found)
        else:
            raise self._wrong(f"{text!r} is not GOAL; write send 8b to 3 tag 0, recv 8b from 0, calc 100, a requires b")

    def _open(self, rank: int) -> None:
        if not 0 <= rank < self._n_ranks:
            raise self._wrong(f"rank {rank} of num_ranks {max(self._n_ranks, 0)}")
        if self._rank >= 0 or rank in self._seen:
            raise self._wrong(f"rank {rank} stands twice" if rank in self._seen else f"rank {self._rank} is still open")
        self._rank = rank
        self._seen.add(rank)
        self._labels = {}

    def _close(self) -> None:
        """The labels of a rank are known now."""
        for one, word, other, line in self._orders:
            for label in (one, other):
                if label not in self._labels:
                    raise unknown_name(f"label of rank {self._rank} in {self._path}, line {line}:", label, self._labels)
            self._pairs[word].append((self._labels[one], self._labels[other]))
        self._orders, self._rank = [], -1

    def _operation(self, found: re.Match[str]) -> None:
        label, kind, size = found[1] or f"op{len(self._labels) + 1}", found[2], found[3]
        words = found[4].split()
        given = dict(zip(words[::2], words[1::2], strict=True))
        for word, value in given.items():
            if word not in _WORDS[kind]:
                raise unknown_name(f"word of {kind} in {self._path}, line {self._line}:", word, _WORDS[kind])
            if not value.isdecimal() or int(value) > MOST:
                raise self._wrong(f"{word} {value} is not a whole number from 0 to {MOST}")
            if words[::2].count(word) > 1:
                raise self._wrong(f"{word} stands twice")
        if int(given.get("cpu", 0)) >= MOST_PROCESSORS:
            raise self._wrong(f"cpu {given['cpu']}: a rank has at most {MOST_PROCESSORS}")
        if int(given.get("nic", 0)):
            raise self._wrong(
                f"nic {given['nic']}: the route of a message is the system's; write nic 0 or leave it out"
            )
        if label in self._labels:
            raise self._wrong(f"the label {label} stands twice in rank {self._rank}")
        if not re.fullmatch(r"\d+b?", size) or (kind == "calc" and size.endswith("b")):
            unit = "nanoseconds, such as 100" if kind == "calc" else "bytes, such as 8b"
            raise self._wrong(f"{kind} {size}: it takes a whole number of {unit}, zero or more")
        if int(size.rstrip("b")) > MOST:
            raise self._wrong(f"{kind} {size}: more than {MOST} is too much")
        peer = self._rank
        if kind != "calc":
            if _WORDS[kind][0] not in given:
                raise self._wrong(f"{kind} {size} names no rank: {_WORDS[kind][0]} R is missing")
            peer = int(given[_WORDS[kind][0]])
            if peer >= self._n_ranks:
                raise self._wrong(f"rank {peer} of num_ranks {self._n_ranks}")
        self._labels[label] = len(self._operations)
        tag, processor = int(given.get("tag", 0)), int(given.get("cpu", 0))
        self._operations.append(
            _Operation(self._rank, label, kind, int(size.rstrip("b")), peer, tag, processor, self._line)
        )

    def _traffic(self) -> Traffic:
        sends, receives = (self._by_pair(kind) for kind in ("send", "recv"))
        rows: list[tuple[int, int]] = []  # sender and receiver, operations
        for pair in dict.fromkeys([*sends, *receives]):
            self._meet(pair, sends[pair], receives[pair])
            rows += zip(sends[pair], receives[pair], strict=True)
        rows += [(number, number) for number, one in enumerate(self._operations) if one.kind == "calc"]
        rows.sort()
        ends = [(self._operations[a], self._operations[b]) for a, b in rows]
        sender, receiver = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        computes = [a.size * NANOSECOND_S if a.kind == "calc" else 0.0 for a, _ in ends]
        orders = {word: np.array(pairs, dtype=np.int64).reshape(-1, 2) for word, pairs in self._pairs.items()}
        return Traffic(
            name=str(self._path),
            src=np.array([a.rank for a, _ in ends], dtype=np.int64),
            dst=np.array([b.rank for _, b in ends], dtype=np.int64),
            n_bytes=np.array([0 if a.kind == "calc" else a.size for a, _ in ends], dtype=np.int64),
            compute_s=np.array(computes, dtype=np.float64),
            sender=sender,
            receiver=receiver,
            ids=tuple(f"{a.rank}.{a.label}" for a, _ in ends),
            labels=tuple("" if a.kind == "calc" else f"tag {a.tag}" for a, _ in ends),
            operations=tuple(one.name for one in self._operations),
            start_s=np.zeros(len(self._operations)),
            requires=orders["requires"],
            follows=orders["irequires"],
            processor=np.array([a.processor for a, _ in ends], dtype=np.int64),
        )

    def _by_pair(self, kind: str) -> dict[tuple[int, int, int], list[int]]:
        """Operations by source, destination and tag, in the order of the text."""
        found: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for number, one in enumerate(self._operations):
            if one.kind == kind:
                src, dst = (one.rank, one.peer) if kind == "send" else (one.peer, one.rank)
                found[src, dst, one.tag].append(number)
        return found

    def _meet(self, pair: tuple[int, int, int], sends: list[int], receives: list[int]) -> None:
        """Every send must have its receive, which takes at least as much."""
        src, dst, tag = pair
        kind, other = ("send", "recv") if len(sends) > len(receives) else ("recv", "send")
        longer, shorter = (sends, receives) if kind == "send" else (receives, sends)
        if len(longer) > len(shorter):
            lonely = self._operations[longer[len(shorter)]]
            raise self._wrong(
                f"{lonely.name}: {kind} from {src} to {dst} with tag {tag} has no {other}; there are {len(sends)} "
                f"sends and {len(receives)} receives of them",
                lonely.line,
            )
        for number, other_number in zip(sends, receives, strict=True):
            send, receive = self._operations[number], self._operations[other_number]
            if send.size > receive.size:
                raise self._wrong(
                    f"{receive.name} takes {receive.size} B, but {send.name} sends {send.size} B", receive.line
                )


def write_goal(traffic: Traffic, path: Path, n_ranks: int) -> None:
    """Write a schedule; times of computations are rounded to nanoseconds.

    Raises
    ------
    InputError
        For what GOAL does not know: starts at a given time, order between operations of different ranks.
    """
    lines: list[list[str]] = [[] for _ in range(n_ranks)]
    of_rank = np.empty(len(traffic.operations), dtype=np.int64)
    for row, (a, b) in enumerate(zip(traffic.sender.tolist(), traffic.receiver.tolist(), strict=True)):
        src, dst, n_bytes = int(traffic.src[row]), int(traffic.dst[row]), int(traffic.n_bytes[row])
        of_rank[a], of_rank[b] = src, dst
        compute_ns = round(float(traffic.compute_s[row]) / NANOSECOND_S)
        if src == dst:
            lines[src].append(f"l{a}: calc {compute_ns}")
        elif a == b or compute_ns:
            raise InputError(f"{path}: {traffic.ids[row]} is no send and receive of two ranks, which GOAL asks for")
        else:
            lines[src].append(f"l{a}: send {n_bytes}b to {dst} tag {row}")
            lines[dst].append(f"l{b}: recv {n_bytes}b from {src} tag {row}")
    if traffic.start_s.any():
        raise InputError(f"{path}: {traffic.name} starts operations at given times, which GOAL does not know")
    for word, pairs in (("requires", traffic.requires), ("irequires", traffic.follows)):
        for one, other in pairs.tolist():
            if of_rank[one] != of_rank[other]:
                names = f"{traffic.operations[one]} waits for {traffic.operations[other]}"
                raise InputError(f"{path}: {names} of another rank, which GOAL does not know")
            lines[of_rank[one]].append(f"l{one} {word} l{other}")
    with path.open("w") as file:
        file.write(f"num_ranks {n_ranks}\n")
        for rank, own in enumerate(lines):
            file.write("\n".join([f"\nrank {rank} {{", *own, "}"]) + "\n")
