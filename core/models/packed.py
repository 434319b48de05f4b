"""Models on packed batches: every layer sees [1, tokens] without padding, and attention takes the rows apart."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from core.data.packing import Layout, Packed

ATTENTION = "lyceum_packed"
ARCHITECTURES = (
    *("llama", "mistral", "ministral3", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma3_text", "smollm3", "olmo", "olmo2", "olmo3"),
    *("granite", "starcoder2", "cohere", "cohere2", "glm4", "gpt_neox"),
)
"""Model types that are tested to give the same losses packed as row by row; others go through padded batches."""


def can_pack(model: Any) -> bool:
    """Whether the model takes packed batches: a tested architecture."""
    return model.config.model_type in ARCHITECTURES


def use_packed_attention(model: Any) -> None:
    """Make the model's attention take packed batches."""
    AttentionInterface.register(ATTENTION, attention)
    model.set_attn_implementation(ATTENTION)


def last_hidden(model: Any, batch: Packed) -> Tensor:
    """States that the output layer sees, [flattened tokens, hidden]."""
    decoder = model.get_decoder()
    if batch.layout is None:
        states = decoder(input_ids=batch.ids, use_cache=False).last_hidden_state
    else:
        states = decoder(input_ids=batch.ids, position_ids=batch.positions, layout=batch.layout, use_cache=False).last_hidden_state
    return states.flatten(0, 1)


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each row (transformers' AttentionInterface): [1, heads, tokens, size] -> [1, tokens, heads, size]."""
    compute = torch.float32 if query.device.type == "cpu" else query.dtype  # the CPU's bf16 kernel is the slower one
    outputs = []
    for places in layout.buckets:
        q, k, v = (_rows(states[0], places).to(compute) for states in (query, key, value))
        mask = _window(places.shape[1], sliding_window, query.device)
        grouped = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=grouped)
        outputs.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, layout.restore)[None].to(query.dtype), None


def _rows(states: Tensor, places: Tensor) -> Tensor:
    """[heads, tokens, size] -> [rows, heads, width, size]"""
    return states.index_select(1, places.flatten()).unflatten(1, places.shape).transpose(0, 1)


def _window(width: int, sliding_window: int | None, device: torch.device) -> Tensor | None:
    """The causal mask of a sliding window, where a row is longer than it: each token sees itself and the window - 1 before it."""
    if sliding_window is None or width <= sliding_window:
        return None
    seen = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    return seen & ~seen.tril(-sliding_window)
