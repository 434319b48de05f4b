"""What an adapter takes, by closed formulas: numbers that train, bytes on disk, and memory to train, from the base model's shape alone.

Counts are exact and equal PEFT's `print_trainable_parameters`. Memory is what `core/train` holds: exact but for activations, which are
counted for a decoder of Llama's layout and left out temporaries, so `python -m core plan` (which traces the real code) says more.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from core.model_shapes import Shape

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
"""Per number, by precision."""
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight: half a byte, a byte per 64 weights, and four per 256 of those (double quantisation, arXiv:2305.14314)."""
RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Plan:
    """What trains, on what."""

    shape: Shape
    method: str = "lora"
    r: int = 8
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    base: str = "bf16"
    """How the base model is held: fp32, bf16, fp16 or nf4. Method qlora: always nf4; full: always fp32."""
    tokens: int = 1024
    """Tokens of one forward and backward pass."""
    recompute: bool = False
    """Gradient checkpointing."""

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(in, out) of the target layers of one block."""
        return [self.shape.linears[name] for name in self.targets]


def _lora(plan: Plan) -> int:
    """A [r, in] and B [out, r] of each target layer (arXiv:2106.09685)."""
    return plan.shape.layers * sum(plan.r * (inside + out) for inside, out in plan.layers)


def _only_b(plan: Plan) -> int:
    """B alone (LoRA-FA, arXiv:2308.03303)."""
    return plan.shape.layers * sum(plan.r * out for _, out in plan.layers)


def _with_magnitudes(plan: Plan) -> int:
    """LoRA and a number per output (DoRA, arXiv:2402.09353)."""
    return _lora(plan) + plan.shape.layers * sum(out for _, out in plan.layers)


def _vectors(plan: Plan) -> int:
    """d [r] and b [out] of each target layer (VeRA, arXiv:2310.11454)."""
    return plan.shape.layers * sum(plan.r + out for _, out in plan.layers)


TRAINED: dict[str, Callable[[Plan], int]] = {
    "lora": _lora,
    "qlora": _lora,
    "lora_plus": _lora,
    "lora_fa": _only_b,
    "vera": _vectors,
    "delta_lora": _lora,
    "dora": _with_magnitudes,
    "full": lambda plan: plan.shape.parameters,
}
"""Numbers that train, by method. A method without a formula is counted by `python -m core plan`."""


def trained(plan: Plan) -> int:
    """Numbers that train."""
    return TRAINED[plan.method](plan)


def share(plan: Plan) -> float:
    """Of all numbers, those of the adapter among them, as PEFT prints it; 1 for full fine-tuning."""
    count = trained(plan)
    return 1.0 if plan.method == "full" else count / (plan.shape.parameters + count)


def frozen(plan: Plan) -> int:
    """Numbers beside the layers that a method holds and does not train."""
    if plan.method == "vera":  # one random pair, as wide as the widest target layers
        return plan.r * (max(inside for inside, _ in plan.layers) + max(out for _, out in plan.layers))
    if plan.method == "lora_fa":
        return _lora(plan) - _only_b(plan)
    return trained(plan) if plan.method == "delta_lora" else 0  # the factors when W began to change


def on_disk(plan: Plan, precision: str = "fp32") -> int:
    """Bytes of what is saved. Delta-LoRA: a LoRA of twice the rank."""
    return round((trained(plan) + frozen(plan)) * BYTES[precision])


def memory(plan: Plan) -> dict[str, float]:
    """Bytes to train, by what they are for: weights, adapters (values, gradients, the best so far), optimiser (AdamW), activations."""
    count = trained(plan)
    copies = 2 if plan.method == "delta_lora" else 1  # they belong to the best so far as well
    beside = count * 4 if plan.method == "full" else count * 12 + frozen(plan) * 4 * copies
    return {"weights": _weights(plan), "adapters": beside, "optimiser": count * 8, "activations": _activations(plan)}


def over_ranks(plan: Plan) -> list[tuple[int, int, float]]:
    """(rank, numbers that train, bytes to train) for the usual ranks."""
    plans = [replace(plan, r=rank) for rank in RANKS]
    return [(each.r, trained(each), sum(memory(each).values())) for each in plans]


def held_as(plan: Plan) -> str:
    """How the base model is held, as the method wants it."""
    return {"full": "fp32", "qlora": "nf4"}.get(plan.method, plan.base)


def _weights(plan: Plan) -> float:
    """The base model; embeddings and norms stay in 16 bit where the linear layers are in 4."""
    how, every, packed = held_as(plan), plan.shape.parameters, plan.shape.linear_weights
    return packed * NF4 + (every - packed) * 2 if how == "nf4" else every * BYTES[how]


def _activations(plan: Plan) -> float:
    """What the forward pass keeps for the backward pass; with recomputation the input of each block, and one block's at a time."""
    shape, block = plan.shape, _kept_per_token(plan)
    if plan.recompute:
        return plan.tokens * (shape.layers * shape.hidden * _width(plan) + block)
    return plan.tokens * shape.layers * block


def _width(plan: Plan) -> float:
    """Bytes of a number in the products: 4-bit bases compute in 16 bit; a whole model in 32."""
    return BYTES.get(held_as(plan), 2.0)


def _kept_per_token(plan: Plan) -> float:
    """Bytes that one block keeps of one token.

    Of the base: norms, queries, keys, values, the attention's result, and gate, silu and product of the MLP. Norms and rotations are also
    kept in 32 bit. Then the inputs of layers whose A (or W) trains, what comes out of A, and for DoRA the outputs.
    """
    shape, width = plan.shape, _width(plan)
    always = width * (3 * shape.mlp + 2 * shape.hidden + 2 * shape.queries + 2 * shape.keys)
    if width < 4:
        always += 4 * (shape.hidden + shape.queries + shape.keys)
    inner = 0 if plan.method == "full" else plan.r * len(plan.targets)
    outputs = sum(out for _, out in plan.layers) if plan.method == "dora" else 0
    return always + width * (_inputs(plan) + inner + outputs)


def _inputs(plan: Plan) -> int:
    """Widths of the layer inputs that are kept because of what trains; layers that read the same tensor share it."""
    shape = plan.shape
    readers = {
        ("q_proj", "k_proj", "v_proj"): shape.hidden,
        ("o_proj",): shape.queries,
        ("gate_proj", "up_proj"): shape.hidden,
        ("down_proj",): shape.mlp,
    }
    if plan.method == "lora_fa":  # A is frozen: its input is not needed
        return 0
    return sum(width for names, width in readers.items() if plan.method == "full" or set(names) & set(plan.targets))
