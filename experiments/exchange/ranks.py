"""`commsim exchange` on real ranks: agree on the case, compute alone, exchange with each algorithm, check."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.mpi import LibraryPlan, load_mpi, ranks_per_node
from collectives.plan import Plan
from collectives.registry import find as find_algorithm
from commsim import Algorithm
from commsim.collective import collective_named
from commsim.errors import CommsimError, InputError, RefusedError
from commsim.result import Result
from commsim.topology import Floats
from experiments.choose import LIBRARY
from experiments.exchange import buffers
from experiments.exchange.compute import Asked, compute_of
from experiments.exchange.networks import GeneratedData, NumpyStep, can_learn
from experiments.exchange.results import Exchange, Exchanged
from experiments.exchange.runner import Channel, Runner, StepTimes, Work
from experiments.exchange.step import EmulatedStep, Gradients, Step
from experiments.exchange.torch_step import TorchStep, sample_shape
from experiments.measure import host_facts, wrong_elements
from experiments.policies import Call, Compute, Policy
from experiments.policies import find as find_policy
from experiments.progress import track
from experiments.ranks import agreed, describe
from experiments.workloads import Workload
from experiments.workloads import find as find_workload

if TYPE_CHECKING:
    from mpi4py import MPI

SWITCH_S = 2e-4  # between Python's threads: the communication thread must not wait for 5 ms to begin a message


@dataclass(frozen=True)
class Case:
    """What was asked for, found and checked; making it does not communicate."""

    asked: Asked
    workload: Workload
    policy: Policy
    algorithms: tuple[str | None, ...]
    n_ranks: int
    groups: int | None

    @property
    def per_node(self) -> int:
        """Ranks of a node, to a policy with calls within and across nodes.

        Raises
        ------
        RefusedError
            If nodes have not equally many.
        """
        found = self.asked.per_node or self.groups
        if found is None or found < 1 or self.n_ranks % found:
            said = (
                "hosts have not equally many ranks"
                if found is None
                else f"{self.n_ranks} ranks are no nodes of {found}"
            )
            raise RefusedError(f"policy {self.policy.name!r} has calls within and across nodes: {said}; use --per-node")
        return found

    def members(self, rank: int) -> buffers.Members:
        """The place of a rank in the groups that calls are for."""
        found = {"data": (rank, self.n_ranks)}
        if any(call.group != "data" for call in self.calls):
            each = self.per_node
            found |= {"node": (rank % each, each), "across": (rank // each, self.n_ranks // each)}
        return found

    @cached_property
    def nominal(self) -> Compute:
        """The compute as it is before it is measured."""
        return compute_of(self.asked, self.workload, self.policy.n_passes)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Of a step, at nominal times."""
        return self.policy.calls(self.nominal)

    @property
    def learns(self) -> bool:
        """Whether a real network computes, instead of an emulation."""
        return self.asked.is_module or (can_learn(self.workload) and self.asked.compute_s is None)

    def algorithm(self, call: Call, spec: str | None, n_bytes: int) -> Algorithm | None:
        """Who carries a call: what was asked for where it sums gradients up, else the policy's own; None: the library.

        Raises
        ------
        RefusedError
            If it cannot take the call.
        """
        if spec is not None and call.collective == "allreduce":
            return None if spec == LIBRARY else self._resolved(call, spec, n_bytes)
        if spec == LIBRARY:
            return None
        for own in (call.algorithm, *self.policy.backend.algorithms.get(call.collective, ())):
            try:
                if own is not None:
                    return self._resolved(call, own, n_bytes)
            except RefusedError as error:
                refused = error
        raise refused

    def _resolved(self, call: Call, spec: str, n_bytes: int) -> Algorithm:
        size = self.members(0)[call.group][1]
        return find_algorithm(call.collective, spec).resolved(
            size, n_bytes, self.groups if size == self.n_ranks else None
        )


def prepared(asked: Asked, n_ranks: int, groups: int | None) -> Case:
    """The case, if it can be.

    Raises
    ------
    CommsimError
    """
    workload, policy = find_workload(asked.workload), find_policy(asked.policy)
    case = Case(asked, workload, policy, asked.algorithms, n_ranks, groups)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // (groups or n_ranks)
    buffers.require_memory(workload.gradient_bytes, workload.name, memory)
    if asked.is_module:
        sample_shape(asked.input_shape, asked.samples(workload, learns=True))
        if policy.n_passes > 1:
            raise RefusedError(f"policy {policy.name!r} accumulates passes; a module of PyTorch has one in a step")
    if asked.samples(workload, case.learns) < policy.n_passes:
        raise RefusedError(
            f"{asked.samples(workload, case.learns)} samples cannot be split in {policy.n_passes} passes; use more"
        )
    calls, _ = case.calls, case.members(0)
    if not case.learns or policy.wire is None:
        for spec in asked.algorithms:
            for call in calls:
                case.algorithm(call, spec, call.n_bytes)
    return case


class Loop:
    """A training loop of one case on this rank.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    case : Case
    channel : Channel
    """

    def __init__(self, comm: MPI.Comm, case: Case, channel: Channel) -> None:
        self._comm, self._case, self._channel = comm, case, channel
        self.step = self._made(case.nominal)
        self.compute = self._alone(case.nominal) if case.learns else case.nominal
        calls = case.policy.calls(self.compute)
        if case.learns:  # the descent needs all gradients, whatever the policy would still hide behind the next step
            calls = tuple(replace(call, before=min(call.before, self.compute.optimizer)) for call in calls)
        self._comms, members = {"data": comm}, case.members(comm.rank)
        for group in [name for name in members if name != "data"]:  # in one order on all ranks
            colour = comm.rank - members["node"][0] if group == "node" else members["node"][0]
            self._comms[group] = comm.Split(colour, comm.rank)
        self._members = members
        self.buckets = buffers.buckets(case.policy, calls, members)
        self.gradients = buffers.places(case.workload, self.buckets)
        if case.learns:
            buffers.require_learning(case.policy, case.workload, self.buckets)
        else:
            self.step = EmulatedStep(self.compute, {call.after for call in calls})
        self.runner = Runner(calls, self.compute.n_operations, channel)

    def _made(self, nominal: Compute) -> Step:
        """The step with weights as they are at first."""
        case, rank, n_ranks = self._case, self._comm.rank, self._comm.size
        samples = case.asked.samples(case.workload, case.learns)
        if case.asked.is_module:
            shape = sample_shape(case.asked.input_shape, samples)
            return TorchStep(
                case.asked.workload, case.workload, shape, rank=rank, n_ranks=n_ranks, seed=case.asked.seed
            )
        if case.learns:
            data = GeneratedData(case.workload, samples * n_ranks, rank, n_ranks, case.asked.seed)
            return NumpyStep(case.workload, data, seed=case.asked.seed, n_passes=nominal.n_passes)
        return EmulatedStep(nominal)

    def _alone(self, nominal: Compute) -> Compute:
        """The compute as it is measured without any exchange."""
        own = {t.name: np.zeros(t.shape, buffers.numpy_type(t)) for t in self._case.workload.gradients}
        times = self._solo(Runner((), nominal.n_operations, self._channel), own, self._case.asked.warmup + 3)
        self.step = self._made(nominal)
        n = nominal.n_layers
        once = np.reshape(times[:-1], (nominal.n_passes, 2 * n)).mean(axis=0).tolist()
        forward, backward = tuple(once[:n]), tuple(once[n:][::-1])
        source = "measured on the ranks"
        return Compute(self._case.workload, forward, backward, times[-1], nominal.n_passes, source)

    def _solo(self, runner: Runner, gradients: Gradients, n_steps: int) -> list[float]:
        """Seconds of each operation: the slowest rank's, the median of the steps after the first."""
        ends = []
        for _ in range(max(n_steps, 2)):
            self._comm.Barrier()
            ends.append(runner.run(self.step, gradients, None).operation_s)
        durations = np.diff(np.maximum.accumulate(np.array(ends[1:]), axis=1), axis=1, prepend=0.0)
        slowest = np.median(durations, axis=0)
        self._comm.Allreduce(load_mpi().IN_PLACE, slowest, load_mpi().MAX)
        return [float(seconds) for seconds in slowest]

    def operation_s(self, n_steps: int) -> Floats:
        """How long the operations take where nothing is exchanged."""
        if self._case.learns:
            return np.array(self.compute.durations_s)
        return np.array(self._solo(self.runner, self.gradients, n_steps))

    def exchanged(self, spec: str | None, iterations: int, warmup: int) -> Exchanged:
        """Steps whose allreduces are by one algorithm."""
        plans, results = self.plans(spec)
        times = []
        for _ in track(range(warmup + iterations), "exchanging", warmup + iterations, shown=self._comm.rank == 0):
            self._comm.Barrier()
            times.append(self.runner.run(self.step, self.gradients, self.works(plans)))
        n_wrong = [self._wrong(bucket, plan) for bucket, plan in zip(self.buckets, plans, strict=True)]
        for plan in plans:
            plan.free()
        return self._slowest(times[warmup:], results, n_wrong)

    def plans(self, spec: str | None) -> tuple[list[Plan | LibraryPlan], list[Algorithm | None]]:
        """A plan for each call, and its algorithm."""
        plans: list[Plan | LibraryPlan] = []
        algorithms = []
        for bucket in self.buckets:
            one = self._case.algorithm(bucket.call, spec, bucket.buffer.nbytes)
            kind, root = collective_named(bucket.call.collective), bucket.call.root
            comm = self._comms[bucket.call.group]
            if one is None:
                plans.append(LibraryPlan(kind, comm, bucket.buffer, root=root))
            else:
                plans.append(Plan(one, comm, bucket.buffer, root=root))
            algorithms.append(one)
        return plans, algorithms

    def works(self, plans: Sequence[Plan | LibraryPlan]) -> list[Work]:
        """What runs the calls; vectors of an emulated accelerator are written anew before, as its copies do."""
        runs = [self._run(bucket, plan) for bucket, plan in zip(self.buckets, plans, strict=True)]
        if self._case.learns:
            return [Work(run) for run in runs]
        return [
            Work(run, None if bucket.call.follows is not None else partial(bucket.buffer.fill, 1))
            for run, bucket in zip(runs, self.buckets, strict=True)
        ]

    def _run(self, bucket: buffers.Bucket, plan: Plan | LibraryPlan) -> Callable[[], object]:
        """The call; what the library scatters elsewhere is put where the calls that follow look for it."""
        if isinstance(plan, Plan) or bucket.call.collective != "reduce_scatter":
            return plan.run
        block = buffers.own_block(bucket.buffer, self._members[bucket.call.group])

        def run() -> None:
            plan.run()
            np.copyto(block, plan.result)

        return run

    def _wrong(self, bucket: buffers.Bucket, plan: Plan | LibraryPlan) -> int:
        kind, comm = collective_named(bucket.call.collective), self._comms[bucket.call.group]
        wrong = wrong_elements(comm, kind, plan, bucket.buffer, root=bucket.call.root)
        return int(self._comm.allreduce(wrong, load_mpi().MAX))

    def _slowest(
        self, times: Sequence[StepTimes], algorithms: Sequence[Algorithm | None], n_wrong: Sequence[int]
    ) -> Exchanged:
        MPI = load_mpi()
        keys = ("ready_s", "start_s", "end_s", "stage_s", "step_s", "exposed_s")
        found = {key: np.array([getattr(one, key) for one in times]) for key in keys}
        for values in found.values():
            self._comm.Allreduce(MPI.IN_PLACE, values, MPI.MAX)
        seconds = found["end_s"] - found["start_s"]
        results = tuple(
            _result(bucket, one, self._members[bucket.call.group][1], seconds[:, place], n_wrong[place])
            for place, (bucket, one) in enumerate(zip(self.buckets, algorithms, strict=True))
        )
        return Exchanged(results, **found)


def _result(bucket: buffers.Bucket, one: Algorithm | None, n_ranks: int, seconds: Floats, n_wrong: int) -> Result:
    kind = collective_named(bucket.call.collective)
    return Result(
        collective=kind.name,
        algorithm=one.name if one else LIBRARY,
        params=one.params if one else {},
        root=bucket.call.root if kind.rooted else None,
        op="sum" if kind.reduces else None,
        dtype=str(bucket.buffer.dtype),
        n_ranks=n_ranks,
        n_bytes=bucket.buffer.nbytes,
        time_s=float(np.median(seconds)),
        time_min_s=float(seconds.min()),
        time_p99_s=float(np.quantile(seconds, 0.99)),
        n_wrong=n_wrong,
        finish_s=seconds,
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """One thread of BLAS for each rank, and threads of Python that give way quickly."""
    from threadpoolctl import threadpool_limits

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with threadpool_limits(1):
            yield
    finally:
        sys.setswitchinterval(before_s)


def _said_by_rank_0(comm: MPI.Comm) -> Callable[[int], int]:
    """From a number of this rank's to rank 0's."""
    own, number = comm.Dup(), np.zeros(1, dtype=np.int64)

    def agree(place: int) -> int:
        number[0] = place
        own.Bcast(number, 0)
        return int(number[0])

    return agree


def exchange_on_ranks(comm: MPI.Comm, asked: Asked) -> Exchange:
    """Run the loop; every rank calls this and gets the same times.

    Raises
    ------
    AgreedError
        On every rank alike, before anything runs.
    """
    groups, facts = ranks_per_node(comm), host_facts(comm)
    case = agreed(comm, lambda: prepared(asked, comm.size, groups))
    with _undisturbed(), Channel(_said_by_rank_0(comm)) as channel:
        loop = Loop(comm, case, channel)
        operation_s = loop.operation_s(asked.warmup + 3)
        measured = []
        for spec in case.algorithms:
            measured.append(loop.exchanged(spec, asked.iterations, asked.warmup))
        said = {"ranks": describe(facts), "compute": loop.compute.source, **_losses(comm, loop.step)}
    calls = tuple(bucket.call for bucket in loop.buckets)
    return Exchange(asked.workload, asked.policy, comm.size, calls, operation_s, tuple(measured), said)


def _losses(comm: MPI.Comm, step: Step) -> dict[str, str]:
    """The first and the last loss over all ranks, of a network that learns."""
    own = getattr(step, "losses", None)
    if not own:
        return {}
    first, last = (comm.allreduce(value) for value in (own[0], own[-1]))
    return {"loss": f"{first:.6g} in the first step, {last:.6g} in step {len(own)}"}


def losses(comm: MPI.Comm, case: Case, spec: str | None, n_steps: int) -> list[float]:
    """The loss of each step of a new training, over all ranks of the communicator; exchanged by one algorithm."""
    with _undisturbed(), Channel(_said_by_rank_0(comm)) as channel:
        loop = Loop(comm, case, channel)
        plans, _ = loop.plans(spec)
        for _ in range(n_steps):
            loop.runner.run(loop.step, loop.gradients, loop.works(plans))
        for plan in plans:
            plan.free()
    found: Any = loop.step
    return [float(comm.allreduce(value)) for value in found.losses]


def require_same_losses(comm: MPI.Comm, asked: Asked, n_steps: int) -> dict[str, float]:
    """Train three times: with each algorithm, with the MPI library's allreduce, on one rank with all samples.

    Returns
    -------
    dict
        The largest relative difference of a loss from that of one rank, by what exchanged.

    Raises
    ------
    AgreedError, CommsimError
        If the network cannot be trained on one rank here.
    """
    groups = ranks_per_node(comm)

    def prepare() -> Case:
        case = prepared(asked, comm.size, groups)
        if not case.learns or asked.is_module:
            raise InputError(f"--check: {asked.workload} cannot be trained on one rank here; take cifar10_quick or mlp")
        return case

    case = agreed(comm, prepare)
    alone = load_mpi().COMM_SELF
    samples = asked.samples(case.workload, learns=True) * comm.size
    plain = replace(find_policy("one_bucket"), wire=case.policy.wire)
    whole = Case(replace(asked.with_batch(samples), per_node=None), case.workload, plain, (None,), 1, 1)
    wanted = np.array(losses(alone, whole, None, n_steps))
    found = {}
    for spec in dict.fromkeys((*case.algorithms, LIBRARY)):
        got = np.array(losses(comm, case, spec, n_steps))
        found[spec or "the policy's own"] = float(np.max(np.abs(got - wanted) / np.abs(wanted)))
    return found


__all__ = ["Asked", "CommsimError", "exchange_on_ranks", "require_same_losses"]
