"""The grid: every generator answers every question with what every pipeline found, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from core import results
from core.answering.ask import Asking, Questions, Reply, ask
from core.answering.models import Model
from core.config import RagConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import QA
from core.models.choosing import GREEDY, Sampling
from core.models.load import BaseModel
from core.rag.prompts import fitting
from core.results.rag import BETWEEN, SEPARATOR
from core.workspace import Workspace


@dataclass(frozen=True)
class Probe:
    """A question in one wording, answered greedily or drawn."""

    question_id: str
    variant: str
    """As in rag_answers.csv."""
    text: str
    reference: str
    category: str
    sampling: Sampling = GREEDY


@dataclass(frozen=True)
class Given:
    """An answer of a cell, and its loss on the reference: 0 of 0 tokens where there is none."""

    answer: results.RagAnswer
    reference_loss: float
    reference_tokens: int


@dataclass(frozen=True)
class Reading:
    """What a pipeline found for a question: passages, best first, and how long that took."""

    passages: list[str]
    """Ids."""
    seconds: float


Read = Callable[[str, str], Reading]
"""(pipeline, question's text) -> what was found."""


def cell(generator: str, pipeline: str) -> str:
    """The name of a cell of the grid."""
    return f"{generator}{BETWEEN}{pipeline}"


def fill(
    config: RagConfig,
    base: BaseModel,
    models: Sequence[Model],
    probes: Sequence[Probe],
    read: Read,
    texts: Mapping[str, str],
    workspace: Workspace,
) -> list[Given]:
    """All cells' answers to all probes, pipeline by pipeline. `texts`: each passage's text by its id."""
    prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
    for probe in probes:
        fitting(prompter, probe.text, probe.category, [], room(config, base))
    asked = [
        _asked(config, base, prompter, pipeline, probe, read(pipeline, probe.text), texts)
        for pipeline in config.answered
        for probe in probes
    ]
    rows = [QA(each.probe.text, each.probe.reference, each.probe.category, "test") for each in asked]
    kinds = [each.pipeline for each in asked]
    questions = Questions(rows, partial(_encoded, config, asked), [each.probe.sampling for each in asked], kinds)
    replies, _ = ask(Asking(config, models, questions), base, workspace)
    prompts = [len(each.prompt) for each in questions.encode(base)]
    return [_given(workspace.run.run_id, models[reply.model], asked[reply.question], reply, prompts[reply.question]) for reply in replies]


def room(config: RagConfig, base: BaseModel) -> int:
    """Tokens that a prompt may have, beside its answer."""
    context = getattr(base.model.config.get_text_config(), "max_position_embeddings", None)
    return min(config.max_seq_length, context or config.max_seq_length) - config.max_new_tokens


@dataclass(frozen=True)
class _Asked:
    """A probe as a pipeline's passages make it."""

    pipeline: str
    probe: Probe
    reading: Reading
    text: str
    """The user's message."""
    used: list[str]
    """Ids of the passages that it has."""


def _asked(
    config: RagConfig, base: BaseModel, prompter: Prompter, pipeline: str, probe: Probe, reading: Reading, texts: Mapping[str, str]
) -> _Asked:
    """With the passages that fit beside the answer, best first."""
    found = reading.passages[: config.top_k]
    text, most = fitting(prompter, probe.text, probe.category, [texts[passage] for passage in found], room(config, base))
    return _Asked(pipeline, probe, reading, text, list(found[:most]))


def _encoded(config: RagConfig, asked: Sequence[_Asked], base: BaseModel) -> list[Encoded]:
    """References are measured where the question stands as it is and has one."""
    prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
    encoded = prompter.encode_all([(each.text, each.probe.reference, each.probe.category) for each in asked])
    measured = [bool(each.probe.reference) and not each.probe.variant and "perplexity" in config.metrics for each in asked]
    return [each if wanted else Encoded(each.prompt, [], cut=False) for each, wanted in zip(encoded, measured, strict=True)]


def _given(run: str, model: Model, asked: _Asked, reply: Reply, prompt_tokens: int) -> Given:
    made = results.RagAnswer(
        run,
        cell(model.row.model, asked.pipeline),
        model.row.model,
        asked.pipeline,
        asked.probe.question_id,
        asked.probe.variant,
        asked.probe.text,
        reply.text,
        reply.finish,
        prompt_tokens,
        SEPARATOR.join(asked.used),
        asked.reading.seconds,
        reply.seconds,
    )
    return Given(made, reply.reference_loss, reply.reference_tokens)
