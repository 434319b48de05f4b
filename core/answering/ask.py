"""Every model's answer to every question, and its loss on the reference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core import results
from core.answering import alone
from core.answering.models import Model
from core.answering.side_by_side import SideBySide
from core.config import EvaluateConfig, RagConfig
from core.data.prompt import Encoded
from core.data.read import QA
from core.models.choosing import Sampling
from core.models.generate import Generation, generate
from core.models.load import BaseModel
from core.models.loss import row_losses
from core.runs import Workspace

Progress = Callable[[int, int, str], None]
"""Hears how many are done, of how many, and of what."""
Write = Callable[[Sequence[tuple[Model, int, list[int]]], Progress], list[Generation]]
"""Answers of models to questions, by their places, with the prompts' tokens."""


@dataclass(frozen=True)
class Questions:
    """What is asked."""

    rows: Sequence[QA]
    encode: Callable[[BaseModel], list[Encoded]]
    """The rows' tokens, by a model's tokenizer. A row without answer tokens has no loss."""
    samplings: Sequence[Sampling] | None = None
    """How each row's answer is drawn; None: greedy."""


@dataclass(frozen=True)
class Reply:
    """One model's answer to one question."""

    model: int
    """Place among the models."""
    question: int
    """Place among the questions."""
    generation: Generation
    reference_loss: float
    """Total loss of the reference answer, end token included, in nats; 0 where it has no tokens."""
    reference_tokens: int


def ask(
    config: EvaluateConfig | RagConfig,
    base: BaseModel,
    models: Sequence[Model],
    questions: Questions,
    workspace: Workspace,
    progress: Progress,
    write: Write | None = None,
) -> tuple[list[Reply], list[results.RouteWeight]]:
    """All replies, model by model, and what routes gave to their adapters. `write`: who writes the answers in place of `base`."""
    together = [place for place, model in enumerate(models) if not model.alone]
    replies, routed = _ask(config, base, models, together, questions, workspace, progress, write) if together else ([], [])
    for place, model in enumerate(models):
        if model.alone:
            workspace.say(f"{model.row.model} answers by itself: it can't stand beside others in one batch.")
            with alone.loaded(model.alone, base, config) as own:
                if own.tokenizer.get_vocab() != base.tokenizer.get_vocab():
                    workspace.say(
                        f"Careful: {model.row.model} has another tokenizer than {base.name}, so its perplexity counts other tokens."
                    )
                replies += _ask(config, own, models, [place], questions, workspace, progress)[0]
    return sorted(replies, key=lambda reply: reply.model), routed


def _ask(
    config: EvaluateConfig | RagConfig,
    base: BaseModel,
    models: Sequence[Model],
    places: Sequence[int],
    questions: Questions,
    workspace: Workspace,
    progress: Progress,
    write: Write | None = None,
) -> tuple[list[Reply], list[results.RouteWeight]]:
    """The answers of models that are mixes of adapters on `base`, side by side in each batch."""
    encoded = questions.encode(base)
    pairs = [(place, index) for place in places for index in range(len(encoded))]
    examples = [encoded[index] for _, index in pairs]
    side = SideBySide(base, [models[place] for place in places], questions.rows, encoded)
    losses = _losses(base, examples, side, lambda done, total: progress(done, total, "references"))
    if write:
        made = write([(models[place], index, encoded[index].prompt) for place, index in pairs], progress)
    else:
        made = generate(
            base,
            [example.prompt for example in examples],
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
            mixing=side.mixing,
            samplings=[questions.samplings[index] for _, index in pairs] if questions.samplings else None,
            progress=lambda done: progress(done, len(pairs), "answers"),
        )
    side.detach()
    replies = [
        Reply(place, index, generation, loss, len(encoded[index].answer))
        for (place, index), loss, generation in zip(pairs, losses, made, strict=True)
    ]
    return replies, side.route_weights(workspace.run.run_id)


def _losses(base: BaseModel, examples: Sequence[Encoded], side: SideBySide, progress: Callable[[int, int], None]) -> list[float]:
    """The loss of each reference; 0 without tokens."""
    rows = [row for row, example in enumerate(examples) if example.answer]
    found = row_losses(
        base,
        [examples[row] for row in rows],
        lambda places: side.mixing_of_references([rows[place] for place in places]),
        progress=lambda done: progress(done, len(rows)),
    )
    losses = dict(zip(rows, found, strict=True))
    return [losses.get(row, 0.0) for row in range(len(examples))]
