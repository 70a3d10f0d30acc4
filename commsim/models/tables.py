"""Message tables put together: jobs that share one fabric are one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from commsim.models.fluid import MessageTable
from commsim.models.joint import Joint

GATES = ("post_src", "post_dst", "then_src", "then_dst", "last_gate", "chain_from", "chain_to")
PLAIN = ("src", "dst", "n_bytes", "overhead_s", "share", "eager", "reduction_s", "step")


def joined(tables: Sequence[MessageTable]) -> MessageTable:
    """All messages of the tables, row after row; nothing waits for another table's.

    ``last_gate`` then holds, after the gate that each rank ends with, those of the tables one after the other.
    """
    first = np.cumsum([0, *(table.n_gates for table in tables)])
    n_ranks = max(table.n_ranks for table in tables)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(table, name) + before for table, before in zip(tables, first, strict=False)])
        for name in GATES
    }
    columns.update({name: np.concatenate([getattr(table, name) for table in tables]) for name in PLAIN})
    ends = first[-1] + np.arange(n_ranks)
    own = [table.last_gate[: table.n_ranks] + before for table, before in zip(tables, first, strict=False)]
    columns["chain_from"] = np.concatenate([columns["chain_from"], *own])
    columns["chain_to"] = np.concatenate([columns["chain_to"], *(ends[: table.n_ranks] for table in tables)])
    columns["last_gate"] = np.concatenate([ends, columns["last_gate"]])
    return MessageTable(
        n_ranks=n_ranks,
        n_gates=int(first[-1]) + n_ranks,
        n_together=sum(table.n_together for table in tables),
        n_steps=max(table.n_steps for table in tables),
        **columns,
        **_given(tables, n_ranks),
    )


def _given(tables: Sequence[MessageTable], n_more: int) -> dict[str, Any]:
    """What only some tables have, with what stands for it in the others."""
    opens = [np.zeros(table.n_gates) if table.opens_s is None else table.opens_s for table in tables]
    receive = [table.overhead_s if table.receive_overhead_s is None else table.receive_overhead_s for table in tables]
    stretch = [np.ones(len(table.src)) if table.stretch is None else table.stretch for table in tables]
    return {
        "opens_s": np.concatenate([*opens, np.zeros(n_more)]),
        "receive_overhead_s": np.concatenate(receive),
        "stretch": np.concatenate(stretch),
        "joint": _joints(tables),
        "unit": np.concatenate([table.dst if table.unit is None else table.unit for table in tables]),
    }


def _joints(tables: Sequence[MessageTable]) -> Joint | None:
    rows = np.cumsum([0, *(len(table.src) for table in tables)])
    found = [
        replace(table.joint, row=table.joint.row + before)
        for table, before in zip(tables, rows, strict=False)
        if table.joint is not None
    ]
    if not found:
        return None
    row, src, dst, number = (
        np.concatenate([getattr(one, name) for one in found]) for name in ("row", "src", "dst", "number")
    )
    stretch = [np.ones(len(one.row)) if one.stretch is None else one.stretch for one in found]
    return Joint(row, src, dst, number, np.concatenate(stretch))
