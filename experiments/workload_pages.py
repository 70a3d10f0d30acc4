"""The table of docs/workloads.md: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.listing import Wanted, listed
from experiments.marks import between_marks

PAGE = Path(__file__).parents[1] / "docs" / "workloads.md"
COLUMNS = {
    "workload": "workload",
    "parameters": "parameters",
    "tensors": "tensors",
    "n_bytes": "float32 gradients, bytes",
    "largest": "largest tensor",
    "buckets": "DDP buckets",
    "flops": "forward FLOPs of a sample",
    "sample": "sample",
}


def table() -> str:
    """A row for each built-in workload."""
    rows = listed("workloads", Wanted())
    head = [" | ".join(COLUMNS.values()), " | ".join("---:" if _is_count(rows[0][key]) else "---" for key in COLUMNS)]
    body = (" | ".join(_cell(row[key]) for key in COLUMNS) for row in rows)
    return "".join(f"| {line} |\n" for line in (*head, *body))


def _is_count(value: object) -> bool:
    return isinstance(value, int)


def _cell(value: object) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def with_table(page: str) -> str:
    """The page with the table as it is now."""
    return between_marks(page, "table", table())


def main() -> None:
    """Write it."""
    PAGE.write_text(with_table(PAGE.read_text()))
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
