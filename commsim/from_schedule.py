"""A collective as a job, beside others or alone; and as traffic, for files that other simulators read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from commsim.algorithm import Algorithm
from commsim.errors import RefusedError
from commsim.models.fluid import MessageTable, message_table
from commsim.simulate import prepared
from commsim.system import System
from commsim.traffic import Job, Traffic


def job_of(
    algorithm: Algorithm, system: System, n_bytes: int | str, *, root: int = 0, dtype: str = "float32", name: str = ""
) -> Job:
    """A collective on all ranks of a system, as :func:`commsim.simulate` would have it.

    Parameters
    ----------
    algorithm : Algorithm
    system : System
    n_bytes, root, dtype
        As in :func:`commsim.simulate`.
    name : str, optional
        What the job is called; the algorithm by default.
    """
    schedule, layout = prepared(algorithm, system, n_bytes, root=root, dtype=dtype)
    return Job(name or schedule.algorithm.spec, message_table(schedule, layout, system))


def traffic_of(job: Job) -> Traffic:
    """The same messages as operations that require each other; played, they take exactly as long.

    Where several operations wait for the same several others, an empty computation joins these.

    Raises
    ------
    RefusedError
        If switches reduce or copy for it: neither a table of messages nor GOAL knows that.
    """
    if job.table.joint is not None:
        raise RefusedError(f"{job.name} reduces or copies in the fabric, which neither CSV nor GOAL can say")
    return job.traffic if job.traffic is not None else _Operations(job).traffic()


class _Operations:
    """Two operations for each message, one for each reduction, and joints."""

    def __init__(self, job: Job) -> None:
        self._name, self._table = job.name, job.table
        self._rows: list[tuple[int, int, int, float, int, int, str, str]] = []
        self._names: list[str] = []
        self._requires: list[tuple[int, int]] = []
        self._waits: dict[int, list[int]] = defaultdict(list)  # of each gate, operations
        self._posts: dict[int, list[int]] = defaultdict(list)
        self._ranks: list[int] = []

    def traffic(self) -> Traffic:
        table = self._table
        reduced: dict[int, int] = {}  # of each gate, the operation of its last reduction so far
        for row, (src, dst, n_bytes, reduction_s, step) in enumerate(self._messages(table)):
            send = self._operation(src, f"send {row}")
            receive = send if src == dst else self._operation(dst, f"recv {row}")
            self._rows.append((src, dst, n_bytes, 0.0, send, receive, f"m{row}", f"step {step}"))
            posts, thens = (int(table.post_src[row]), int(table.post_dst[row])), int(table.then_src[row])
            for gate, operation in dict.fromkeys(zip(posts, (send, receive), strict=True)):
                self._posts[gate].append(operation)
            self._waits[thens].append(send)
            last = receive
            if reduction_s >= 0:
                last = self._operation(dst, f"reduce {row}")
                self._rows.append((dst, dst, 0, reduction_s, last, last, f"r{row}", f"step {step}"))
                earlier = reduced.get(posts[1])
                self._requires += [(last, one) for one in (receive, earlier) if one is not None]
                reduced[posts[1]] = last
            self._waits[int(table.then_dst[row])].append(last)
        self._order()
        return self._made()

    @staticmethod
    def _messages(table: MessageTable) -> Iterator[tuple[int, int, int, float, int]]:
        columns = (table.src, table.dst, table.n_bytes, table.reduction_s, table.step)
        return zip(*(column.tolist() for column in columns), strict=True)

    def _operation(self, rank: int, name: str) -> int:
        self._names.append(f"{name} of {self._name}")
        self._ranks.append(rank)
        return len(self._names) - 1

    def _order(self) -> None:
        """What a gate posts requires what it waits for; a gate that signals another has a lower number."""
        chained: dict[int, list[int]] = defaultdict(list)
        for one, other in zip(self._table.chain_from.tolist(), self._table.chain_to.tolist(), strict=True):
            chained[other].append(one)
        users = {gate: len(posts) for gate, posts in self._posts.items()}
        for gates in chained.values():
            for gate in gates:
                users[gate] = users.get(gate, 0) + 1
        before: dict[int, list[int]] = {}
        for gate in sorted({*self._waits, *self._posts, *chained}):
            found = [*self._waits[gate], *(one for earlier in chained[gate] for one in before.get(earlier, []))]
            found = list(dict.fromkeys(found))
            n_users = users.get(gate, 0)
            if len(found) * n_users > len(found) + n_users:
                joint = self._operation(self._ranks[found[0]], f"join {gate}")
                rank = self._ranks[joint]
                self._rows.append((rank, rank, 0, 0.0, joint, joint, f"j{gate}", "join"))
                self._requires += [(joint, one) for one in found]
                found = [joint]
            before[gate] = found
            self._requires += [(one, other) for one in self._posts[gate] for other in found]

    def _made(self) -> Traffic:
        columns = list(zip(*self._rows, strict=True)) or [()] * 8
        src, dst, n_bytes, compute_s, sender, receiver = columns[:6]
        whole = (np.array(column, dtype=np.int64) for column in (src, dst, n_bytes, sender, receiver))
        a, b, sizes, first, second = whole
        return Traffic(
            name=self._name,
            src=a,
            dst=b,
            n_bytes=sizes,
            compute_s=np.array(compute_s, dtype=np.float64),
            sender=first,
            receiver=second,
            ids=columns[6],
            labels=columns[7],
            operations=tuple(self._names),
            start_s=np.zeros(len(self._names)),
            requires=np.array(self._requires, dtype=np.int64).reshape(-1, 2),
            follows=np.empty((0, 2), dtype=np.int64),
        )
