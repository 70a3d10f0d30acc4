"""Communication-layer simulator: the types, the verification, the network models. Knows no product and no algorithm."""

from commsim.algorithm import COMMUTATIVE, ROUNDS_APART, Algorithm, Constraint, Groups, algorithm
from commsim.disturbance import Disturbance
from commsim.errors import CommsimError
from commsim.from_schedule import job_of
from commsim.goal import read_goal
from commsim.graphs import from_networkx
from commsim.groups import within
from commsim.link_changes import LinkChange, changed
from commsim.placement import placed
from commsim.program import (
    PROC_NULL,
    Exchange,
    Lanes,
    Program,
    Rank,
    Repeat,
    Step,
    direct,
    exchange,
    fabric_multicast,
    fabric_reduce,
    fan_in,
    fan_out,
    lanes,
    repeat,
    where,
)
from commsim.result import Result, Timeline
from commsim.schedule import Schedule
from commsim.selection import DATA, OUTPUT, SCRATCH, Selection, Window, chunk, chunks, listed
from commsim.simulate import simulate
from commsim.system import Endpoint, System
from commsim.topology import Links, Topology
from commsim.traffic import Job, Traffic, TrafficResult, share_fabric
from commsim.traffic_file import read_traffic
from commsim.verify import Verification, execute_in_process, same_program, verify

__all__ = [
    "COMMUTATIVE",
    "DATA",
    "OUTPUT",
    "PROC_NULL",
    "ROUNDS_APART",
    "SCRATCH",
    "Algorithm",
    "CommsimError",
    "Constraint",
    "Disturbance",
    "Endpoint",
    "Exchange",
    "Groups",
    "Job",
    "Lanes",
    "LinkChange",
    "Links",
    "Program",
    "Rank",
    "Repeat",
    "Result",
    "Schedule",
    "Selection",
    "Step",
    "System",
    "Timeline",
    "Topology",
    "Traffic",
    "TrafficResult",
    "Verification",
    "Window",
    "algorithm",
    "changed",
    "chunk",
    "chunks",
    "direct",
    "exchange",
    "execute_in_process",
    "fabric_multicast",
    "fabric_reduce",
    "fan_in",
    "fan_out",
    "from_networkx",
    "job_of",
    "lanes",
    "listed",
    "placed",
    "read_goal",
    "read_traffic",
    "repeat",
    "same_program",
    "share_fabric",
    "simulate",
    "verify",
    "where",
    "within",
]
