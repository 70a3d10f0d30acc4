"""Results as nccl-tests and OSU print them, for programs that read those; and the words of theirs that readers need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commsim.collective import COLLECTIVES
from commsim.result import Result
from commsim.simulate import item_bytes
from commsim.units import gigabytes_per_second, microseconds

NCCL_TESTS = {
    "all_reduce": "allreduce",
    "all_gather": "allgather",
    "reduce_scatter": "reduce_scatter",
    "broadcast": "broadcast",
    "reduce": "reduce",
    "alltoall": "alltoall",
    "alltoallv": "alltoallv",
    "gather": "gather",
    "scatter": "scatter",
}
NCCL_TYPES = {"float": "float32", "double": "float64", "half": "float16", "bfloat16": "float16"}
OSU_BLOCKS = ("allgather", "gather", "scatter", "alltoall")  # OSU counts what one rank has for one other
OSU_TITLES = {"alltoall": "All-to-All Personalized Exchange", "alltoallv": "All-to-Allv Personalized Exchange"}

_NOT_RUN = f"  {'N/A':>7}  {'N/A':>6}  {'N/A':>6}  {'N/A':>5}"


def nccl_tests(results: Sequence[Result], facts: Mapping[str, Any]) -> str:
    """A block of nccl-tests for each algorithm, which its head names.

    The half of a row that was not run (out of place, or in place) is ``N/A``, as nccl-tests' of what it did not check.
    """
    return "".join(_nccl_block(own, facts) for own in _by_spec(results).values())


def _nccl_block(results: Sequence[Result], facts: Mapping[str, Any]) -> str:
    first, wrong = results[0], sum(result.n_wrong or 0 for result in results)
    verdict = f"{wrong} {'FAILED' if wrong else 'OK'}" if first.is_measured else "N/A"
    test = {collective: name for name, collective in NCCL_TESTS.items()}.get(first.collective, first.collective)
    busbw = sum(gigabytes_per_second(result.busbw_Bps) for result in results) / len(results)
    lines = [
        f"# Collective test starting: {test}_perf",
        f"# algorithm: {first.spec}",
        f"# ranks: {first.n_ranks}",
        *(f"# {key}: {value}" for key, value in facts.items() if key != "ranks"),
        "#",
        f"# {'':>10}  {'':>12}  {'':>8}  {'':>6}  {'':>6}           out-of-place                       in-place",
        _nccl_head(("size", "count", "type", "redop", "root"), ("time", "algbw", "busbw", "#wrong")),
        _nccl_head(("(B)", "(elements)", "", "", ""), ("(us)", "(GB/s)", "(GB/s)", "")),
        *map(_nccl_row, results),
        f"# Out of bounds values : {verdict}",
        f"# Avg bus bandwidth    : {busbw:g}",
        "#",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _nccl_head(of_row: Sequence[str], of_run: Sequence[str]) -> str:
    size, count, kind, redop, root = of_row
    time, algbw, busbw, wrong = of_run
    run = f"  {time:>7}  {algbw:>6}  {busbw:>6} {wrong:>6}"
    return f"# {size:>10}  {count:>12}  {kind:>8}  {redop:>6}  {root:>6}{run}{run}"


def _nccl_row(result: Result) -> str:
    types = {ours: theirs for theirs, ours in NCCL_TYPES.items() if theirs != "bfloat16"}
    blocks = result.n_ranks if COLLECTIVES[result.collective].block_each else 1  # a call's count is that of a block
    count = result.n_bytes // item_bytes(result.dtype) // blocks
    us = microseconds(result.time_s)
    time = f"{us:7.0f}" if us >= 10000 else f"{us:7.1f}" if us >= 100 else f"{us:7.2f}"
    rates = "  ".join(f"{gigabytes_per_second(rate):6.2f}" for rate in (result.algbw_Bps, result.busbw_Bps))
    ran = f"  {time}  {rates}  {'N/A' if result.n_wrong is None else result.n_wrong:>5}"
    halves = _NOT_RUN + ran if result.in_place else ran + _NOT_RUN
    return (
        f"{result.n_bytes:>12}  {count:>12}  {types.get(result.dtype, result.dtype):>8}  {result.op or 'none':>6}  "
        f"{-1 if result.root is None else result.root:>6}{halves}"
    )


def osu(results: Sequence[Result]) -> str:
    """A block of OSU for each algorithm, which its title names; sizes as OSU counts them, barriers without one."""
    return "".join(_osu_block(own) for own in _by_spec(results).values())


def _osu_block(results: Sequence[Result]) -> str:
    first = results[0]
    latency = "Median Latency(us)" if first.is_measured else "Latency(us)"
    title = OSU_TITLES.get(first.collective, first.collective.capitalize())
    lines = [f"# OSU-style {title} Latency, algorithm {first.spec}", f"# Ranks: {first.n_ranks}"]
    if first.collective == "barrier":
        lines += [f"# {latency}", *(f"{microseconds(one.time_s):.2f}" for one in results)]
    else:
        blocks = first.n_ranks if first.collective in OSU_BLOCKS else 1
        lines.append(f"{'# Size':<10}{latency:>25}")
        lines += [f"{one.n_bytes // blocks:<10}{microseconds(one.time_s):>25.2f}" for one in results]
    return "\n".join(lines) + "\n"


def _by_spec(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.spec, []).append(result)
    return found
