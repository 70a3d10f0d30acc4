"""Finds policies by spec: ``"ddp:bucket=25MiB"``, ``"horovod:fusion=64MiB,cycle=5ms,over=mpi,wire=float16"``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from commsim.errors import unknown_name
from commsim.spec import build, split_spec
from experiments.policies import frameworks, replicated, sharded
from experiments.policies.backends import backend
from experiments.policies.policy import Policy

COMMON: Mapping[str, str] = {
    "over": "str | None",
    "wire": "str | None",
    "streams": "int | None",
    "accumulate": "int | None",
}
"""Keys that every policy has: what carries the calls, the type in which gradients travel, calls at once, passes before
the optimizer."""

_ATTRIBUTES = {"wire": "wire", "streams": "n_streams", "accumulate": "n_passes"}


def _with_common_keys(make: Callable[..., Policy]) -> Callable[..., Policy]:
    @wraps(make)
    def factory(over: str | None = None, **given: Any) -> Policy:
        own = {key: given.pop(key) for key in _ATTRIBUTES if given.get(key) is not None}
        policy = make(**given)
        changes: dict[str, Any] = {_ATTRIBUTES[key]: value for key, value in own.items()}
        if over is not None:
            changes["backend"] = backend(over)
        if policy.tuned is not None:
            tuned = policy.tuned
            changes["tuned"] = lambda latency_s, bandwidth_Bps: replace(tuned(latency_s, bandwidth_Bps), **changes)
        return replace(policy, **changes)

    kind = inspect.Parameter.KEYWORD_ONLY
    common = [inspect.Parameter(key, kind, default=None, annotation=text) for key, text in COMMON.items()]
    own = inspect.signature(make).parameters.values()
    factory.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    return factory


_MAKERS: tuple[Callable[..., Policy], ...] = (
    replicated.ddp,
    replicated.horovod,
    replicated.per_tensor,
    replicated.one_bucket,
    replicated.merged,
    replicated.prioritised,
    replicated.hierarchical,
    replicated.top_k,
    replicated.one_bit,
    sharded.zero,
    sharded.fsdp,
    sharded.parameter_server,
    *(make for make in frameworks.FRAMEWORKS if make is not replicated.horovod),
)

POLICIES: Mapping[str, Callable[..., Policy]] = {make.__name__: _with_common_keys(make) for make in _MAKERS}
"""Every policy by name."""


def find(spec: str) -> Policy:
    """The policy that a spec describes.

    Raises
    ------
    UnknownNameError
        For an unknown policy, key, backend or type; names the nearest.
    InputError
        For a value that is none.
    """
    name, values = split_spec(spec)
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    policy: Policy = build("policy", name, POLICIES[name], values)
    return replace(policy, name=spec)
