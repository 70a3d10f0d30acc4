"""PyTorch modules, or whatever has their ``named_parameters()``: PyTorch itself is not needed here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from commsim.errors import InputError, unknown_name
from experiments.workloads.workload import Layer, Tensor, Workload


def from_module(module: Any, name: str = "module", dtype: str | None = None) -> Workload:
    """The parameters of a module in the order in which it registered them, which is nearly always the forward order.

    Parameters
    ----------
    module : torch.nn.Module
        Or any object with ``named_parameters()``, pairs of a name and what has ``shape`` and ``dtype``; parameters
        whose ``requires_grad`` is false, and what ``named_buffers()`` gives, are buffers. It may be on the ``meta``
        device.
    name : str
        Of the workload.
    dtype : str, optional
        Type of all gradients; by default each parameter's own.

    Raises
    ------
    InputError
        If it is no such object, or has no parameter that is trained.
    """
    if not callable(getattr(module, "named_parameters", None)):
        raise InputError(f"{name}: a {type(module).__name__} has no named_parameters(); a torch.nn.Module is needed")
    found = [_tensor(key, one, bool(getattr(one, "requires_grad", True))) for key, one in module.named_parameters()]
    buffers = getattr(module, "named_buffers", None)
    kept = [_tensor(key, one, trained=False) for key, one in buffers()] if callable(buffers) else []
    layers = tuple(_layers(found, kept))
    source = f"{type(module).__module__}.{type(module).__qualname__}, named_parameters()"
    workload = Workload(name, layers, "sample", source, counts_flops=False)
    return workload if dtype is None else workload.in_dtype(dtype)


def _tensor(name: str, one: Any, trained: bool) -> Tensor:
    return Tensor(name, tuple(int(extent) for extent in one.shape), str(one.dtype).removeprefix("torch."), trained)


def _layers(found: Iterable[Tensor], kept: Iterable[Tensor]) -> Iterable[Layer]:
    """A layer for each submodule that owns parameters, its buffers with it."""
    owned: dict[str, list[Tensor]] = {}
    for tensor in kept:
        owned.setdefault(_owner(tensor), []).append(tensor)
    for owner, tensors in groupby(found, _owner):
        yield Layer(owner, (*tensors, *owned.pop(owner, ())))
    for owner, rest in owned.items():
        yield Layer(owner, tuple(rest))


def _owner(tensor: Tensor) -> str:
    return tensor.name.rpartition(".")[0] or tensor.name


def read_module(path: Path, module: str = "model", dtype: str | None = None) -> Workload:
    """The network that a Python file has under the name `module`: a module, or what makes one without arguments.

    Raises
    ------
    InputError
        If the file cannot be read or run, or has no such thing.
    """
    return from_module(made_module(path, module), f"{path}:{module}", dtype)


def made_module(path: Path, name: str) -> Any:
    """What a Python file has under a name, called if it makes a module.

    Raises
    ------
    InputError
        If the file cannot be read or run, has no such name, or making it fails.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: cannot be imported")
    code = importlib.util.module_from_spec(spec)
    _run(f"{path}: while it was read", partial(spec.loader.exec_module, code))
    if not hasattr(code, name):
        raise unknown_name(f"module in {path}:", name, (key for key in vars(code) if not key.startswith("_")))
    found = getattr(code, name)
    if not isinstance(found, type) and callable(getattr(found, "named_parameters", None)):
        return found
    if not callable(found):
        raise InputError(
            f"{path}: {name!r} is a {type(found).__name__}; a torch.nn.Module, or what makes one, is needed"
        )
    return _run(f"{path}: {name}()", found)


def _run(what: str, act: Callable[[], Any]) -> Any:
    """Foreign code: whatever it raises is one line."""
    try:
        return act()
    except (Exception, SystemExit) as error:
        raise InputError(f"{what}: {type(error).__name__}: {error}") from None
