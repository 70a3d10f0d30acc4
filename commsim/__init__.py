"""Communication-layer simulator: the types, the verification, the network models. Knows no product and no algorithm."""

from commsim.algorithm import COMMUTATIVE, Algorithm, Constraint, algorithm
from commsim.errors import CommsimError
from commsim.program import (
    PROC_NULL,
    Selection,
    Window,
    chunk,
    chunks,
    exchange,
    fan_in,
    fan_out,
    where,
    within,
)
from commsim.result import Result, Timeline
from commsim.schedule import Schedule
from commsim.simulate import simulate
from commsim.system import Endpoint, System
from commsim.topology import Links, Topology
from commsim.verify import Verification, execute_in_process, same_program, verify

__all__ = [
    "COMMUTATIVE",
    "PROC_NULL",
    "Algorithm",
    "CommsimError",
    "Constraint",
    "Endpoint",
    "Links",
    "Result",
    "Schedule",
    "Selection",
    "System",
    "Timeline",
    "Topology",
    "Verification",
    "Window",
    "algorithm",
    "chunk",
    "chunks",
    "exchange",
    "execute_in_process",
    "fan_in",
    "fan_out",
    "same_program",
    "simulate",
    "verify",
    "where",
    "within",
]
