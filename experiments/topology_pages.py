"""The pictures of docs/topologies.md: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

import topologies
from experiments.figures.style import save_small
from experiments.figures.topology import network

FOLDER = Path(__file__).parents[1] / "docs" / "topologies"
PICTURES = {
    "dgx_h100": "dgx_h100:nodes=2",
    "dragonfly": "dragonfly:hosts_per_router=2,bandwidth=25GB/s,latency=500ns",
}


def main() -> None:
    """Draw them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, spec in PICTURES.items():
        save_small(network(topologies.find(spec)), FOLDER / f"{name}.svg")
    sys.stdout.write(f"{len(PICTURES)} pictures in {FOLDER}\n")


if __name__ == "__main__":
    main()
