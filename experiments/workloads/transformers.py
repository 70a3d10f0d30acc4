"""Transformers as functions of their extents: BERT, GPT-2 (and GPT-3), Llama, ViT; `language.py` has their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from commsim.errors import InputError
from experiments.workloads.layers import (
    Image,
    Layers,
    convolution,
    embedding,
    layer,
    layer_norm,
    linear,
    scores,
)
from experiments.workloads.workload import Layer, Tensor, Workload

MOST_LAYERS = 10_000
"""More blocks than this are taken for a mistake."""


@dataclass(frozen=True)
class Extents:
    """What a transformer is as large as.

    Attributes
    ----------
    vocabulary, positions, hidden, layers, inner : int
        Rows of the embedding, longest sequence, width, blocks, width inside a block's feed-forward part.
    heads, key_value_heads, head_features : int or None
        Attention heads, those that keys and values have, features of each; by default all heads and hidden / heads.
    sequence_length : int or None
        Tokens of a sample; the longest by default.
    tied : bool
        The output product has the embedding's table.
    attention_bias, inner_bias : bool
        Llama's attention and feed-forward products have a bias.
    """

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    inner: int
    key_value_heads: int | None = None
    head_features: int | None = None
    sequence_length: int | None = None
    tied: bool = True
    attention_bias: bool = False
    inner_bias: bool = False

    def __post_init__(self) -> None:
        for name in ("vocabulary", "positions", "hidden", "layers", "heads", "inner"):
            if getattr(self, name) < 1:
                raise InputError(f"a transformer has {name} = {getattr(self, name)}; give at least 1")
        if self.layers > MOST_LAYERS:
            raise InputError(f"a transformer of {self.layers} layers; give at most {MOST_LAYERS}")
        if self.head_features is None and self.hidden % self.heads:
            raise InputError(f"hidden size {self.hidden} is no multiple of {self.heads} heads; say how wide a head is")
        if self.heads % (self.key_value_heads or self.heads):
            raise InputError(f"{self.heads} heads are no multiple of {self.key_value_heads} key-value heads")
        if not 1 <= self.tokens <= self.positions:
            raise InputError(f"a sequence of {self.tokens} tokens; this network takes 1 to {self.positions}")

    @property
    def tokens(self) -> int:
        """Tokens of a sample."""
        return self.positions if self.sequence_length is None else self.sequence_length

    @property
    def query_features(self) -> int:
        """Features of all heads."""
        return self.heads * self._features_of_head

    @property
    def key_value_features(self) -> int:
        """Features of all key-value heads."""
        return (self.key_value_heads or self.heads) * self._features_of_head

    @property
    def _features_of_head(self) -> int:
        return self.head_features or self.hidden // self.heads


def transformer(name: str, layers: Layers, tokens: int, source: str) -> Workload:
    """A workload whose sample is a sequence."""
    return Workload(name, tuple(layers), "sequence", source, tokens_per_sample=tokens)


def gpt2_layers(of: Extents, *, output: bool = True) -> Layers:
    """GPT-2, as Hugging Face names it: its products store (in, out). `output`: the product with the vocabulary."""
    h, n_rows = of.hidden, of.tokens
    yield from embedding("transformer.wte", of.vocabulary, h)
    yield from embedding("transformer.wpe", of.positions, h)
    for index in range(of.layers):
        block = f"transformer.h.{index}"
        yield from layer_norm(f"{block}.ln_1", h)
        yield from linear(f"{block}.attn.c_attn", h, 3 * h, n_rows=n_rows, turned=True)
        yield from scores(f"{block}.attn", n_rows, h)
        yield from linear(f"{block}.attn.c_proj", h, h, n_rows=n_rows, turned=True)
        yield from layer_norm(f"{block}.ln_2", h)
        yield from linear(f"{block}.mlp.c_fc", h, of.inner, n_rows=n_rows, turned=True)
        yield from linear(f"{block}.mlp.c_proj", of.inner, h, n_rows=n_rows, turned=True)
    yield from layer_norm("transformer.ln_f", h)
    if output:
        yield from _output(of)


def _output(of: Extents) -> Layers:
    """The product with the vocabulary: a table of its own, or the embedding's once more."""
    flops = 2 * of.tokens * of.hidden * of.vocabulary
    yield layer("lm_head", flops=flops, weight=None if of.tied else (of.vocabulary, of.hidden))


def llama_layers(of: Extents, *, output: bool = True) -> Layers:
    """Llama, as Hugging Face names it: rotary positions, grouped queries, a gated feed-forward part, no biases."""
    yield from embedding("model.embed_tokens", of.vocabulary, of.hidden)
    for index in range(of.layers):
        yield from _llama_block(f"model.layers.{index}", of)
    yield from layer_norm("model.norm", of.hidden, bias=False)
    if output:
        yield from _output(of)


def _llama_block(block: str, of: Extents) -> Layers:
    h, n_rows, wide = of.hidden, of.tokens, of.query_features
    yield from layer_norm(f"{block}.input_layernorm", h, bias=False)
    for word, n_out in {"q": wide, "k": of.key_value_features, "v": of.key_value_features}.items():
        yield from linear(f"{block}.self_attn.{word}_proj", h, n_out, n_rows=n_rows, bias=of.attention_bias)
    yield from scores(f"{block}.self_attn", n_rows, wide)
    yield from linear(f"{block}.self_attn.o_proj", wide, h, n_rows=n_rows, bias=of.attention_bias)
    yield from layer_norm(f"{block}.post_attention_layernorm", h, bias=False)
    for word, n_in, n_out in (("gate", h, of.inner), ("up", h, of.inner), ("down", of.inner, h)):
        yield from linear(f"{block}.mlp.{word}_proj", n_in, n_out, n_rows=n_rows, bias=of.inner_bias)


def bert_layers(of: Extents, *, pooler: bool = True, words: bool = True, next_sentence: bool = True) -> Layers:
    """BERT, as Hugging Face names it, with the heads that are asked for.

    `words` predicts masked words: counted for every token, as the implementation computes it. Its product with the
    vocabulary has the embedding's table and a bias of its own. `next_sentence` says whether two sentences follow each
    other.
    """
    h, n_rows = of.hidden, of.tokens
    for word, n_embedded in {"word": of.vocabulary, "position": of.positions, "token_type": 2}.items():
        yield from embedding(f"bert.embeddings.{word}_embeddings", n_embedded, h)
    yield from layer_norm("bert.embeddings.LayerNorm", h)
    for index in range(of.layers):
        yield from _bert_block(f"bert.encoder.layer.{index}", of)
    if pooler:
        yield from linear("bert.pooler.dense", h, h)
    if words:
        yield from linear("cls.predictions.transform.dense", h, h, n_rows=n_rows)
        yield from layer_norm("cls.predictions.transform.LayerNorm", h)
        flops = 2 * n_rows * h * of.vocabulary
        yield layer("cls.predictions", flops=flops, bias=(of.vocabulary,))
    if next_sentence:
        yield from linear("cls.seq_relationship", h, 2)


def _bert_block(block: str, of: Extents) -> Layers:
    h, n_rows = of.hidden, of.tokens
    for word in ("query", "key", "value"):
        yield from linear(f"{block}.attention.self.{word}", h, h, n_rows=n_rows)
    yield from scores(f"{block}.attention.self", n_rows, h)
    yield from linear(f"{block}.attention.output.dense", h, h, n_rows=n_rows)
    yield from layer_norm(f"{block}.attention.output.LayerNorm", h)
    yield from linear(f"{block}.intermediate.dense", h, of.inner, n_rows=n_rows)
    yield from linear(f"{block}.output.dense", of.inner, h, n_rows=n_rows)
    yield from layer_norm(f"{block}.output.LayerNorm", h)


def vit_layers(hidden: int, n_layers: int, inner: int, patch: int, n_classes: int = 1000) -> Layers:
    """Vision transformer on 224x224 images, as torchvision names it."""
    image = yield from convolution("conv_proj", Image(3, 224, 224), hidden, patch, stride=patch)
    n_rows = image.height * image.width + 1  # the class token
    yield Layer("class_token", (Tensor("class_token", (1, 1, hidden)),))
    yield layer("encoder", pos_embedding=(1, n_rows, hidden))
    for index in range(n_layers):
        block = f"encoder.layers.encoder_layer_{index}"
        yield from layer_norm(f"{block}.ln_1", hidden)
        flops = 2 * n_rows * hidden * 3 * hidden
        yield layer(
            f"{block}.self_attention", flops=flops, in_proj_weight=(3 * hidden, hidden), in_proj_bias=(3 * hidden,)
        )
        yield from scores(f"{block}.self_attention", n_rows, hidden)
        yield from linear(f"{block}.self_attention.out_proj", hidden, hidden, n_rows=n_rows)
        yield from layer_norm(f"{block}.ln_2", hidden)
        yield from linear(f"{block}.mlp.0", hidden, inner, n_rows=n_rows)
        yield from linear(f"{block}.mlp.3", inner, hidden, n_rows=n_rows)
    yield from layer_norm("encoder.ln", hidden)
    yield from linear("heads.head", hidden, n_classes)
