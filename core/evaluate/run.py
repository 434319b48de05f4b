"""Let base, adapters, merges and routes answer the same held-out questions, side by side in one batch, and score the answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from core import adapter, paths, results
from core.answering import by_vllm
from core.answering.ask import Asking, Progress, Questions, ask
from core.answering.models import Model, find_models
from core.answering.side_by_side import route_weights
from core.config import EvaluateConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import QA, read
from core.errors import UserError
from core.evaluate import general
from core.evaluate.compare import compare
from core.evaluate.flags import flag
from core.metrics import METRICS
from core.metrics.batch import of_answers
from core.metrics.scores import measure, of_each, score, table
from core.models.generate import Generation
from core.models.load import BaseModel, load
from core.results.table import Tables
from core.wording import count
from core.workspace import Workspace

ROUTE_WEIGHTS = "route_weights.csv"
EVERY = "all"
"""The split that is all rows; none of them is taken for one that adapters were trained on."""


def run(config: EvaluateConfig, workspace: Workspace) -> dict[str, Any]:
    """Write models, answers, scores, answer_scores, comparisons, flags and where there are routes route_weights, each as CSV.

    Return their paths and headline figures.
    """
    dataset = read(config)
    split = "" if config.split == EVERY else config.split
    categories = config.categories or tuple(dataset.categories)
    questions = dataset.select(split, categories, config.limit)
    if not questions:
        raise UserError(
            f"The {config.split} split of {config.data} has no row, so there is nothing to ask. Choose another split or more data."
        )
    others = general.questions(config, dataset, workspace.say)
    base = load(config.base_model, quantization=config.quantization, precision=config.precision, device=config.device)
    models = find_models(config.models, base, workspace.say, config.system_prompt)
    if not split:
        _refuse_learned(config, models)
    if config.engine == "vllm":
        models = by_vllm.able(config.models, models, workspace.say)
    _rehearse(config, base)
    strangers = dataset.strangers({model.row.model: [model.row.category] for model in models if model.row.category})
    for note in [*Prompter(base.tokenizer, config.system_prompt).notes(), *(f"Careful: {each}" for each in strangers)]:
        workspace.say(note)
    asked = f"{len(questions)} questions" + (f" and {len(others)} about other matters" if others else "")
    workspace.say(f"{count(len(models), 'model')} to answer {asked}: {', '.join(model.row.model for model in models)}.")
    with by_vllm.ready(config, workspace) as writer:
        answers = answer(config, base, models, [*questions, *others], workspace, writer)
    workspace.say(f"Scoring {len(answers)} answers: {', '.join(config.metrics)}.")
    empty = {category: dataset.empty_reason(category, split) for category in categories}
    empty |= {results.GENERAL: ""} if others else {}
    measures = measure(of_answers(answers, base, config.encoder, config.max_seq_length), config.metrics, workspace.say)
    scores, rows = score(answers, measures, empty, config.seed), [model.row for model in models]
    tables: Tables = {
        "models": (rows, results.Model),
        "answers": (answers, results.Answer),
        "scores": (scores, results.Score),
        "answer_scores": (of_each(answers, measures), results.AnswerScore),
        "comparisons": (compare(answers, rows, measures, config.seed), results.Comparison),
        "flags": (flag(answers, dataset.select("train") if split else []), results.Flag),
    }
    written = {name: results.write(workspace.path / f"{name}.csv", *each) for name, each in tables.items()}
    if (workspace.path / ROUTE_WEIGHTS).exists():
        written["route_weights"] = workspace.path / ROUTE_WEIGHTS
    for line in table(scores):
        workspace.say(line)
    by = {"source_hash": dataset.source_hash} | ({"answers_by": writer.version} if writer else {})
    return {name: str(path.relative_to(paths.home())) for name, path in written.items()} | _headline(scores) | by


def _refuse_learned(config: EvaluateConfig, models: Sequence[Model]) -> None:
    """Every row of a file is asked only of models that learned from another one."""
    asked = paths.data_file(config.data).resolve()
    for model in models:
        for folder in [*model.folders, *([model.alone] if model.alone else [])]:
            learned = (adapter.read_info(folder).get("config") or {}).get("data")
            if learned and paths.data_file(learned).resolve() == asked:
                raise UserError(
                    f"'{model.row.model}' was trained on rows of {config.data}, so split=all would ask what it has learned. Say split=test."
                )


def answer(
    config: EvaluateConfig,
    base: BaseModel,
    models: Sequence[Model],
    questions: Sequence[QA],
    workspace: Workspace,
    writer: "by_vllm.Writer | None" = None,
) -> list[results.Answer]:
    """Every model's answer to every question, model by model, and its loss on the reference. `writer`: who writes in place of `base`."""
    asking = Asking(config, models, Questions(questions, partial(_encoded, config, questions)))

    def write(wanted: Sequence[tuple[Model, int, list[int]]], progress: Progress) -> list[Generation]:
        assert writer
        named = [(by_vllm.name(model, questions[place]), prompt) for model, place, prompt in wanted]
        return writer.answers(named, config.max_new_tokens, config.batch_size, progress)

    replies, shares = ask(asking, base, workspace, write if writer else None)
    if shares:
        routed = route_weights(workspace.run.run_id, models, questions, shares)
        results.write(workspace.path / ROUTE_WEIGHTS, routed, results.RouteWeight)
    return [
        results.Answer(
            workspace.run.run_id,
            models[reply.model].row.model,
            questions[reply.question].category,
            questions[reply.question].question,
            questions[reply.question].answer,
            reply.text,
            reply.reference_loss,
            reply.reference_tokens,
            reply.finish,
        )
        for reply in replies
    ]


def _encoded(config: EvaluateConfig, questions: Sequence[QA], base: BaseModel) -> list[Encoded]:
    """Tokens of the questions and references. Those about other matters stand last and get no system prompt."""
    encoded = []
    for system_prompt, wanted in ((config.system_prompt, False), (None, True)):
        rows = [(row.question, row.answer, row.category) for row in questions if (row.category == results.GENERAL) == wanted]
        encoded += Prompter(base.tokenizer, system_prompt, config.max_seq_length).encode_all(rows)
    return encoded


def _rehearse(config: EvaluateConfig, base: BaseModel) -> None:
    """Score one made-up answer, so that an encoder that can't be loaded is said before an hour of answering, not after."""
    made_up = results.Answer("", "", "", "A question", "A reference.", "An answer.", 1.0, 1, "stop")
    batch = of_answers([made_up], base, config.encoder, config.max_seq_length)
    for name in config.metrics:
        METRICS[name].load()(batch)


def _headline(scores: Sequence[results.Score]) -> dict[str, Any]:
    """Each model's figure on all questions together, by metric."""
    figures: dict[str, dict[str, float | None]] = {}
    for row in scores:
        if row.category == results.ALL:
            figures.setdefault(row.metric, {})[row.model] = row.value
    return figures
