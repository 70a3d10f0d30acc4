"""Finds workloads by spec (``"gpt2:size=xl,dtype=bfloat16"``) or file (``config.json``, ``net.onnx`` …)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from typing import Any

from commsim.errors import unknown_name
from commsim.spec import build, split_spec
from experiments.workloads import densenet, inception, language, plain_convolutional, residual
from experiments.workloads.hf_config import read_hf_config
from experiments.workloads.importers import (
    all_ranks,
    chakra,
    ddp_logging,
    horovod_timeline,
    kineto,
    module,
    onnx_file,
    trace_events,
)
from experiments.workloads.safetensors_header import INDEX_ENDING, read_safetensors
from experiments.workloads.workload import Workload

_DTYPE = inspect.Parameter("dtype", inspect.Parameter.KEYWORD_ONLY, default="float32", annotation="str")


def _in_any_dtype(make: Callable[..., Workload]) -> Callable[..., Workload]:
    """The same with one more key, ``dtype``: the type of its gradients."""

    @wraps(make)
    def factory(*args: Any, dtype: str = "float32", **given: Any) -> Workload:
        return make(*args, **given).in_dtype(dtype)

    own = inspect.signature(make)
    factory.__signature__ = own.replace(parameters=[*own.parameters.values(), _DTYPE])  # type: ignore[attr-defined]
    return factory


WORKLOADS: Mapping[str, Callable[..., Workload]] = {
    make.__name__: _in_any_dtype(make)
    for make in (
        plain_convolutional.mlp,
        plain_convolutional.cifar10_quick,
        plain_convolutional.alexnet,
        plain_convolutional.vgg16,
        plain_convolutional.vgg19,
        residual.resnet18,
        residual.resnet50,
        residual.resnet101,
        residual.resnet152,
        inception.googlenet,
        inception.inception_v3,
        densenet.densenet121,
        language.vit_b_16,
        language.bert,
        language.gpt2,
        language.gpt3,
        language.llama2,
        language.llama3,
    )
}
"""Every built-in workload by name."""

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "alexnet": tuple(f"variant={name}" for name in ("torchvision", "caffe")),
    "inception_v3": tuple(f"auxiliary_heads={number}" for number in (1, 0)),
    **{
        family: tuple(f"size={size}" for size in sizes)
        for family, sizes in {
            "bert": language.BERT,
            "gpt2": language.GPT2,
            "gpt3": language.GPT3,
            "llama2": language.LLAMA2,
            "llama3": language.LLAMA3,
        }.items()
    },
}
"""The published forms of those that have several."""


Reader = Callable[..., Workload]


def _reader_of_json(path: Path) -> Reader:
    """Files that end alike are told apart by what is in them; what looks like none is a model's configuration."""
    if not path.is_file():
        return read_hf_config  # which says that there is none
    values = trace_events.parsed(path)
    if horovod_timeline.is_horovod(values):
        return horovod_timeline.read_horovod
    if kineto.is_kineto(values):
        return kineto.read_kineto
    if isinstance(values, dict) and ddp_logging.is_ddp_logging(values):
        return ddp_logging.read_ddp_logging
    return read_hf_config


READERS: Mapping[str, Callable[[Path], Reader]] = {
    ".safetensors": lambda _: read_safetensors,
    INDEX_ENDING: lambda _: read_safetensors,
    ".onnx": lambda _: onnx_file.read_onnx,
    ".et": lambda _: chakra.read_chakra,
    ".py": lambda _: module.read_module,
    ".json.gz": _reader_of_json,
    ".json": _reader_of_json,
}
"""Who reads a file, by its ending; the first that fits."""


def specs() -> Iterator[str]:
    """A spec for each form of each built-in workload."""
    for name in WORKLOADS:
        for variant in VARIANTS.get(name, ("",)):
            yield f"{name}:{variant}" if variant else name


def find(spec: str) -> Workload:
    """The workload that a spec or a file describes.

    A file ends in ``.json`` (a Hugging Face configuration, an index of safetensors, or what a trace recorded),
    ``.safetensors``, ``.onnx``, ``.et`` or ``.py``; it takes keys too: ``config.json:sequence_length=4096``. A star in
    the name of a trace stands for the rank.

    Raises
    ------
    UnknownNameError
        For an unknown workload, key or size; names the nearest.
    InputError
        For a value that is none, or a file that cannot be read.
    """
    name, values = split_spec(spec)
    workload: Workload = build("workload", name, factory_of(spec), values)
    return replace(workload, name=spec)


def is_file(name: str) -> bool:
    """Whether a name is that of a file."""
    return name.endswith(tuple(READERS))


def factory_of(spec: str) -> Reader:
    """What makes the workload of a spec or a file; its keys are its parameters.

    Raises
    ------
    UnknownNameError
        For an unknown workload; names the nearest.
    """
    name = split_spec(spec)[0]
    for ending, reader_of in READERS.items():
        if name.endswith(ending):
            if all_ranks.STAR in name:
                return all_ranks.for_all_ranks(name, reader_of)
            return partial(reader_of(Path(name)), Path(name))
    if name not in WORKLOADS:
        raise unknown_name("workload", name, WORKLOADS)
    return WORKLOADS[name]
