"""Shapes of known base models: what is needed to count their weights, without any of them.

All have Llama's layout: in each block q, k, v, o of the attention and gate, up, down of the MLP; an embedding; an output layer, which
the tied ones share with the embedding. The figures are those of each model's config.json; a test holds the totals against published ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
MODEL_TYPES = ("llama", "mistral", "smollm3", "qwen2", "qwen3")
"""Of a config.json from which the linear layers can be told."""


@dataclass(frozen=True)
class Shape:
    """A decoder of Llama's layout."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool = False
    """Whether the output layer is the embedding."""
    qkv_bias: bool = False
    qk_norm: bool = False
    """Whether queries and keys have a norm of their own, of `head_size` weights each."""
    norms: int = 2
    """Norms per block, of `hidden` weights each."""
    source: str = ""
    """Whose config.json these figures are: a name on huggingface.co."""

    @property
    def queries(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_size

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each linear layer of a block."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.mlp),
            "up_proj": (self.hidden, self.mlp),
            "down_proj": (self.mlp, self.hidden),
        }

    @property
    def linear_weights(self) -> int:
        """Weights of all blocks' linear layers: what 4-bit loading packs."""
        return self.layers * sum(inside * out for inside, out in self.linears.values())

    @property
    def parameters(self) -> int:
        """All weights, tied ones once."""
        biases = self.qkv_bias * (self.queries + 2 * self.keys)
        block = biases + self.norms * self.hidden + self.qk_norm * 2 * self.head_size
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_weights + self.layers * block + embeddings + self.hidden


def of_config(config: Mapping[str, Any]) -> Shape:
    """The shape that a config.json of MODEL_TYPES says; biases and norms as in Llama."""
    heads = config["num_attention_heads"]
    return Shape(
        hidden=config["hidden_size"],
        mlp=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or config["hidden_size"] // heads,
        vocabulary=config["vocab_size"],
        tied=config.get("tie_word_embeddings", False),
    )


SHAPES = {
    "SmolLM2-135M": Shape(576, 1536, 30, 9, 3, 64, 49_152, tied=True, source="HuggingFaceTB/SmolLM2-135M-Instruct"),
    "Qwen3-0.6B": Shape(1024, 3072, 28, 16, 8, 128, 151_936, tied=True, qk_norm=True, source="Qwen/Qwen3-0.6B"),
    "Gemma-3-1B": Shape(1152, 6912, 26, 4, 1, 256, 262_144, tied=True, qk_norm=True, norms=4, source="google/gemma-3-1b-it"),
    "TinyLlama-1.1B": Shape(2048, 5632, 22, 32, 4, 64, 32_000, source="TinyLlama/TinyLlama-1.1B-Chat-v1.0"),
    "Llama-3.2-1B": Shape(2048, 8192, 16, 32, 8, 64, 128_256, tied=True, source="meta-llama/Llama-3.2-1B-Instruct"),
    "Qwen2.5-1.5B": Shape(1536, 8960, 28, 12, 2, 128, 151_936, tied=True, qkv_bias=True, source="Qwen/Qwen2.5-1.5B-Instruct"),
    "SmolLM3-3B": Shape(2048, 11_008, 36, 16, 4, 128, 128_256, tied=True, source="HuggingFaceTB/SmolLM3-3B"),
    "Qwen3-4B": Shape(2560, 9728, 36, 32, 8, 128, 151_936, tied=True, qk_norm=True, source="Qwen/Qwen3-4B"),
    "Llama-2-7B": Shape(4096, 11_008, 32, 32, 32, 128, 32_000, source="meta-llama/Llama-2-7b-hf"),
    "Mistral-7B": Shape(4096, 14_336, 32, 32, 8, 128, 32_768, source="mistralai/Mistral-7B-Instruct-v0.3"),
}
"""Smallest first. The bundled one is the first."""
