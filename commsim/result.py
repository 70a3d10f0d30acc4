"""Result: what a simulation and a measurement both return, so that nothing after it asks where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from commsim.collective import collective_named
from commsim.selection import Ints
from commsim.spec import join_spec
from commsim.topology import Floats

SIMULATED_COLUMNS = (
    *("collective", "algorithm", "params", "root", "op", "dtype", "in_place", "system", "placement", "seed", "model"),
    *("library", "engine", "n_ranks", "n_bytes", "time_s", "algbw_Bps", "busbw_Bps", "bound_s", "bottleneck"),
    *("n_messages", "wall_s", "disturbance"),
)
MEASURED_COLUMNS = (
    *("collective", "algorithm", "params", "root", "op", "dtype", "in_place", "n_ranks", "n_bytes", "time_s"),
    *("time_min_s", "time_p99_s", "algbw_Bps", "busbw_Bps", "n_wrong"),
)


@dataclass(frozen=True, eq=False)
class Timeline:
    """One row a message, arrays (n,): when it was posted by its later end and when it was delivered."""

    step: Ints
    src: Ints
    dst: Ints
    n_bytes: Ints
    start_s: Floats
    end_s: Floats


@dataclass(frozen=True, eq=False)
class Result:
    """One collective of one size, simulated or measured. What does not apply is None.

    Attributes
    ----------
    time_s : float
        Simulated: when the last rank ends. Measured: the slowest rank's, median over iterations.
    finish_s : array or None
        Per rank (simulated), or per iteration the slowest rank's (measured).
    link_bytes, link_busy_s : array or None
        Per directed link of the topology: bytes carried, and the time that they take at its full bandwidth.
    bottleneck : str or None
        The link or unit that bounds the time, with its busy share.
    bound_s : float or None
        A time that no schedule can beat on this system.
    in_network : bool or None
        Whether switches reduce or copy for it: `bound_s` is then that of a network that does.
    disturbance : str or None
        Late starts, slow ranks and jitter of the simulation.
    n_wrong : int or None
        Elements that were wrong after the measured runs, over all ranks.
    """

    collective: str
    algorithm: str
    n_ranks: int
    n_bytes: int
    time_s: float
    params: Mapping[str, Any] = field(default_factory=dict)
    root: int | None = None
    op: str | None = None
    dtype: str = "float32"
    system: str | None = None
    placement: str | None = None
    seed: int | None = None
    model: str | None = None
    library: str | None = None
    engine: str | None = None
    bound_s: float | None = None
    bottleneck: str | None = None
    n_messages: int | None = None
    wall_s: float | None = None
    disturbance: str | None = None
    time_min_s: float | None = None
    time_p99_s: float | None = None
    in_network: bool | None = None
    n_wrong: int | None = None
    finish_s: Floats | None = None
    link_bytes: Floats | None = None
    link_busy_s: Floats | None = None
    timeline: Timeline | None = None

    @property
    def spec(self) -> str:
        """The algorithm with its parameters, as users write it."""
        return join_spec(self.algorithm, self.params)

    @property
    def in_place(self) -> bool:
        """Whether the result lies where the data lay: everywhere but in the alltoalls."""
        return not collective_named(self.collective).has_output

    @property
    def algbw_Bps(self) -> float:
        """Bytes of the vector per second; 0 where nothing took any time."""
        return self.n_bytes / self.time_s if self.time_s > 0 else 0.0

    @property
    def busbw_Bps(self) -> float:
        """Algorithm bandwidth times the collective's factor, as nccl-tests counts it."""
        return self.algbw_Bps * collective_named(self.collective).busbw_factor(self.n_ranks)

    @property
    def is_measured(self) -> bool:
        """Whether real ranks ran it."""
        return self.n_wrong is not None

    def row(self) -> dict[str, Any]:
        """The columns that files and tables show, in order."""
        columns = MEASURED_COLUMNS if self.is_measured else SIMULATED_COLUMNS
        return {column: _plain(getattr(self, column)) for column in columns}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
