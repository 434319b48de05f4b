"""Every model's answer to every question, and its loss on the reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core import results
from core.answering import alone
from core.answering.models import Model
from core.answering.side_by_side import SideBySide
from core.config import EvaluateConfig, RagConfig
from core.data.prompt import Encoded
from core.data.read import QA
from core.models.generate import Generation, generate
from core.models.load import BaseModel
from core.models.loss import row_losses
from core.runs import Workspace

Asking = EvaluateConfig | RagConfig
Encode = Callable[[BaseModel], list[Encoded]]
"""The tokens of the questions and references, by a model's tokenizer."""


@dataclass(frozen=True)
class Reply:
    """One model's answer to one question."""

    model: int
    """Place among the models."""
    question: int
    """Place among the questions."""
    generation: Generation
    reference_loss: float
    """Total loss of the reference answer, end token included, in nats."""
    reference_tokens: int


def ask(
    config: Asking,
    base: BaseModel,
    models: Sequence[Model],
    questions: Sequence[QA],
    encode: Encode,
    workspace: Workspace,
) -> tuple[list[Reply], list[results.RouteWeight]]:
    """All replies, model by model, and what routes gave to their adapters."""
    together = [place for place, model in enumerate(models) if not model.alone]
    replies, routed = _ask(config, base, models, together, questions, encode(base), workspace) if together else ([], [])
    for place, model in enumerate(models):
        if model.alone:
            replies += _ask_alone(config, base, models, place, model.alone, questions, encode, workspace)
    return sorted(replies, key=lambda reply: reply.model), routed


def _ask_alone(
    config: Asking,
    base: BaseModel,
    models: Sequence[Model],
    place: int,
    folder: Path,
    questions: Sequence[QA],
    encode: Encode,
    workspace: Workspace,
) -> list[Reply]:
    """The answers of a DoRA or a whole model, in batches of its own."""
    name = models[place].row.model
    workspace.say(f"{name} answers by itself: it can't stand beside others in one batch.")
    with alone.loaded(folder, base, config) as own:
        if own.tokenizer.get_vocab() != base.tokenizer.get_vocab():
            workspace.say(f"Careful: {name} has another tokenizer than {base.name}, so its perplexity counts other tokens.")
        return _ask(config, own, models, [place], questions, encode(own), workspace)[0]


def _ask(
    config: Asking,
    base: BaseModel,
    models: Sequence[Model],
    places: Sequence[int],
    questions: Sequence[QA],
    encoded: Sequence[Encoded],
    workspace: Workspace,
) -> tuple[list[Reply], list[results.RouteWeight]]:
    """The answers of models that are mixes of adapters on `base`, side by side in each batch."""
    pairs = [(place, index) for place in places for index in range(len(questions))]
    examples = [encoded[index] for _, index in pairs]
    side = SideBySide(base, [models[place] for place in places], questions, encoded)
    losses = row_losses(base, examples, side.mixing_of_references, progress=_progress(workspace, len(pairs), "references"))
    made = generate(
        base,
        [example.prompt for example in examples],
        max_new_tokens=config.max_new_tokens,
        batch_size=config.batch_size,
        mixing=side.mixing,
        progress=_progress(workspace, len(pairs), "answers"),
    )
    side.detach()
    replies = [
        Reply(place, index, generation, loss, len(encoded[index].answer))
        for (place, index), loss, generation in zip(pairs, losses, made, strict=True)
    ]
    return replies, side.route_weights(workspace.run.run_id)


def _progress(workspace: Workspace, total: int, unit: str) -> Callable[[int], None]:
    return lambda done: workspace.progress(done, total, unit)
