"""How a run goes through its memory: the device's default where there is plenty, else what the estimate says."""

from collections.abc import Sequence

from transformers import AutoConfig

from core.config import TrainConfig
from core.models.load import choose_device, resolve
from core.models.memory import available_bytes, stored_bytes
from core.train.cohort import Member
from core.train.estimate import LIBRARIES, Choice, Estimator
from core.train.passes import MICRO_BATCH_TOKENS

PLENTY = 2
"""Where so many times the rough need is free, nothing is estimated: an estimate of a small model takes as long as some of its steps."""
BYTES_PER_TRAINED_NUMBER = 24
"""Value, gradient, two moments and the best copy in fp32, and a margin."""
STATES_PER_LAYER = 40
"""Vectors as wide as the hidden size that a block keeps for a token, attention's and the norms' among them; a generous count."""


def choose(config: TrainConfig, members: Sequence[Member]) -> Choice:
    """The largest micro-batch up to the device's default, as many adapters side by side and as little recomputing as memory allows."""
    device = choose_device(config.device)
    if PLENTY * rough_need(config, len(members)) < available_bytes(device):
        tokens = config.micro_batch_tokens or MICRO_BATCH_TOKENS[device.type]
        return Choice(tokens, len(members), bool(config.gradient_checkpointing))
    return Estimator(config, members).choice()


def rough_need(config: TrainConfig, members: int) -> float:
    """Bytes of a run, from a model's dimensions: an upper bound for what transformers calls a decoder of equal blocks."""
    folder = resolve(config.base_model)
    model, weights = AutoConfig.from_pretrained(folder), 2 * stored_bytes(folder).total()  # bf16 files may be held in fp32
    hidden, inner, blocks = model.hidden_size, getattr(model, "intermediate_size", None) or 4 * model.hidden_size, model.num_hidden_layers
    trained = weights / 2 if config.method == "full" else blocks * (4 * 2 * hidden + 3 * (hidden + inner)) * (config.r + 1)
    tokens = config.micro_batch_tokens or MICRO_BATCH_TOKENS[choose_device(config.device).type]
    activations = 4 * tokens * blocks * (STATES_PER_LAYER * hidden + 8 * inner)
    return LIBRARIES + weights + members * BYTES_PER_TRAINED_NUMBER * trained + activations
