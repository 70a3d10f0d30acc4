"""Language models and the vision transformer, by their published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from commsim.errors import unknown_name
from experiments.workloads.transformers import (
    Extents,
    bert_layers,
    gpt2_layers,
    llama_layers,
    transformer,
    vit_layers,
)
from experiments.workloads.workload import Workload

BERT = {
    "base": Extents(30522, 512, 768, 12, 12, 3072),
    "large": Extents(30522, 512, 1024, 24, 16, 4096),
}
"""Devlin et al. 2019, section 3; the vocabulary of bert-base-uncased."""


def _gpt(hidden: int, layers: int, heads: int, positions: int = 1024) -> Extents:
    return Extents(50257, positions, hidden, layers, heads, 4 * hidden)


GPT2 = {
    "small": _gpt(768, 12, 12),
    "medium": _gpt(1024, 24, 16),
    "large": _gpt(1280, 36, 20),
    "xl": _gpt(1600, 48, 25),
}
"""Radford et al. 2019, table 2; heads from the config.json of the published models."""

GPT3 = {"175b": _gpt(12288, 96, 96, positions=2048)}
"""Brown et al. 2020, table 2.1."""


def _llama(hidden: int, layers: int, heads: int, inner: int, key_value_heads: int) -> Extents:
    return Extents(32000, 4096, hidden, layers, heads, inner, key_value_heads, tied=False)


LLAMA2 = {
    "7b": _llama(4096, 32, 32, 11008, 32),
    "13b": _llama(5120, 40, 40, 13824, 40),
    "70b": _llama(8192, 80, 64, 28672, 8),
}
"""Touvron et al. 2023 (Llama 2), table 1; inner widths from the config.json of the published models."""

LLAMA3 = {
    size: replace(extents, vocabulary=128256, positions=8192)
    for size, extents in {
        "8b": _llama(4096, 32, 32, 14336, 8),
        "70b": _llama(8192, 80, 64, 28672, 8),
        "405b": _llama(16384, 126, 128, 53248, 8),
    }.items()
}
"""Grattafiori et al. 2024 (The Llama 3 Herd of Models), table 3; pre-trained on sequences of 8192 tokens."""


def _of(family: str, sizes: Mapping[str, Extents], size: str, sequence_length: int | None) -> Extents:
    if size not in sizes:
        raise unknown_name(f"size of {family}:", size, sizes)
    return replace(sizes[size], sequence_length=sequence_length)


def bert(size: str = "large", sequence_length: int | None = None) -> Workload:
    """BERT with both pre-training heads, the output tied to the embedding."""
    of = _of("bert", BERT, size, sequence_length)
    source = "Devlin et al. 2019, section 3; names of transformers.BertForPreTraining"
    return transformer("bert", bert_layers(of), of.tokens, source)


def gpt2(size: str = "small", sequence_length: int | None = None) -> Workload:
    """GPT-2, the output tied to the embedding."""
    of = _of("gpt2", GPT2, size, sequence_length)
    return transformer(
        "gpt2", gpt2_layers(of), of.tokens, "Radford et al. 2019, table 2; names of transformers.GPT2LMHeadModel"
    )


def gpt3(size: str = "175b", sequence_length: int | None = None) -> Workload:
    """GPT-3 with GPT-2's layers; its sparse attention is counted as dense."""
    of = _of("gpt3", GPT3, size, sequence_length)
    source = "Brown et al. 2020, table 2.1, with GPT-2's layers; names of transformers.GPT2LMHeadModel"
    return transformer("gpt3", gpt2_layers(of), of.tokens, source)


def llama2(size: str = "7b", sequence_length: int | None = None) -> Workload:
    """Llama 2."""
    of = _of("llama2", LLAMA2, size, sequence_length)
    source = "Touvron et al. 2023 (Llama 2), table 1; names of transformers.LlamaForCausalLM"
    return transformer("llama2", llama_layers(of), of.tokens, source)


def llama3(size: str = "8b", sequence_length: int | None = None) -> Workload:
    """Llama 3 and, in the size 405b, 3.1."""
    of = _of("llama3", LLAMA3, size, sequence_length)
    source = "Grattafiori et al. 2024 (Llama 3), table 3; names of transformers.LlamaForCausalLM"
    return transformer("llama3", llama_layers(of), of.tokens, source)


def vit_b_16() -> Workload:
    """Vision transformer ViT-B/16."""
    source = "Dosovitskiy et al. 2021, table 1; names of torchvision.models.vit_b_16"
    return Workload("vit_b_16", tuple(vit_layers(768, 12, 3072, patch=16)), source=source)
