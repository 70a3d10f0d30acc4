"""Workloads from the ``config.json`` of Hugging Face models: BERT, GPT-2 and Llama."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commsim.errors import InputError, UnknownNameError, unknown_name
from experiments.workloads.json_file import content_of, json_object
from experiments.workloads.layers import Layers
from experiments.workloads.transformers import Extents, bert_layers, gpt2_layers, llama_layers, transformer
from experiments.workloads.workload import Workload

_ABSENT: Any = object()


@dataclass(frozen=True)
class _Config:
    """A file's keys, asked for by name and kind."""

    path: Path
    values: Mapping[str, Any]

    def number(self, key: str, default: int | None = _ABSENT) -> Any:
        """A positive whole number; null and absent are the default."""
        value = self.values.get(key)
        if value is None and default is not _ABSENT:
            return default
        if type(value) is not int or value < 1:
            raise InputError(f"{self.path}: {key!r} is {value!r}; a positive whole number is needed")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.path}: {key!r} is {value!r}; true or false is needed")
        return value

    def require(self, **known: Any) -> None:
        """Refuse values that would mean tensors which are not known here; an absent key has the known value."""
        for key, value in known.items():
            if self.values.get(key, value) != value:
                raise InputError(f"{self.path}: {key!r} is {self.values[key]!r}; only {value!r} is known")

    def architecture(self, known: Mapping[str, dict[str, bool]]) -> dict[str, bool]:
        """What the class that the file names has; the first known one where it names none."""
        named = self.values.get("architectures") or [next(iter(known))]
        if not isinstance(named, list) or str(named[0]) not in known:
            raise unknown_name(
                f"architecture in {self.path}:", str(named[0] if isinstance(named, list) else named), known
            )
        return known[str(named[0])]


def _bert(config: _Config, sequence_length: int | None) -> tuple[Layers, Extents]:
    config.require(tie_word_embeddings=True, type_vocab_size=2, add_cross_attention=False)
    config.require(position_embedding_type="absolute")
    of = Extents(
        config.number("vocab_size"),
        config.number("max_position_embeddings"),
        config.number("hidden_size"),
        config.number("num_hidden_layers"),
        config.number("num_attention_heads"),
        config.number("intermediate_size"),
        sequence_length=sequence_length,
    )
    heads = config.architecture(
        {
            "BertForPreTraining": {},
            "BertForMaskedLM": {"pooler": False, "next_sentence": False},
            "BertForNextSentencePrediction": {"words": False},
            "BertModel": {"words": False, "next_sentence": False},
        }
    )
    return bert_layers(of, **heads), of


def _gpt2(config: _Config, sequence_length: int | None) -> tuple[Layers, Extents]:
    config.require(add_cross_attention=False)
    hidden = config.number("n_embd")
    of = Extents(
        config.number("vocab_size"),
        config.number("n_positions"),
        hidden,
        config.number("n_layer"),
        config.number("n_head"),
        config.number("n_inner", 4 * hidden),
        tied=config.flag("tie_word_embeddings", True),
        sequence_length=sequence_length,
    )
    heads = config.architecture({"GPT2LMHeadModel": {}, "GPT2Model": {"output": False}})
    return gpt2_layers(of, **heads), of


def _llama(config: _Config, sequence_length: int | None) -> tuple[Layers, Extents]:
    of = Extents(
        config.number("vocab_size"),
        config.number("max_position_embeddings"),
        config.number("hidden_size"),
        config.number("num_hidden_layers"),
        config.number("num_attention_heads"),
        config.number("intermediate_size"),
        config.number("num_key_value_heads", None),
        config.number("head_dim", None),
        tied=config.flag("tie_word_embeddings", False),
        attention_bias=config.flag("attention_bias", False),
        inner_bias=config.flag("mlp_bias", False),
        sequence_length=sequence_length,
    )
    heads = config.architecture({"LlamaForCausalLM": {}, "LlamaModel": {"output": False}})
    return llama_layers(of, **heads), of


MODEL_TYPES: Mapping[str, Callable[[_Config, int | None], tuple[Layers, Extents]]] = {
    "bert": _bert,
    "gpt2": _gpt2,
    "llama": _llama,
}


def read_hf_config(path: Path, sequence_length: int | None = None, dtype: str | None = None) -> Workload:
    """The network that a ``config.json`` describes.

    Without a `dtype`, gradients have the file's (``torch_dtype``, in newer files ``dtype``), or else float32.

    Raises
    ------
    InputError
        For a file that cannot be read, lacks a key or holds a value that cannot be; names file and key.
    UnknownNameError
        For a model type or architecture that is not known; names the known ones.
    """
    config = _Config(path, json_object(content_of(path), path))
    kind = str(config.values.get("model_type"))
    if kind not in MODEL_TYPES:
        raise UnknownNameError(f"{path}: model_type {kind!r} is not known; known: {', '.join(MODEL_TYPES)}")
    said = config.values.get("torch_dtype") or config.values.get("dtype") or "float32"
    try:
        layers, of = MODEL_TYPES[kind](config, sequence_length)
        source = f"{path.name}, model_type {kind!r}; names of transformers"
        return transformer(str(path), layers, of.tokens, source).in_dtype(dtype or str(said).removeprefix("torch."))
    except InputError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from None
