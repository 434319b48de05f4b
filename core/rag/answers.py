"""What models answer with what pipelines found: the grid's tables, scores, comparisons, consistency and grounding."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from core import results
from core.answering.models import OWN, Model, find_models, own_adapters
from core.config import RagConfig
from core.errors import UserError
from core.metrics.batch import Measure
from core.models.choosing import GREEDY, Sampling
from core.models.load import BaseModel
from core.rag import PIPELINES, cosines, grounding
from core.rag.consistency import consistency
from core.rag.entailment import Entailment
from core.rag.grid import Given, Probe, Read, Reading, cell, fill
from core.rag.index import Index
from core.rag.pipelines import rank
from core.rag.questions import Asked
from core.rag.rankings import Rankings
from core.rag.scoring import scored
from core.rag.seen import seen
from core.results.table import Tables
from core.wording import count, listed
from core.workspace import Workspace


@dataclass(frozen=True)
class Answered:
    """The tables, and which questions they are about."""

    tables: Tables = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    """Ids of the questions that models answered."""
    seen: frozenset[str] = frozenset()
    """Ids of those that an adapter was trained on."""
    answers: Sequence[results.RagAnswer] = ()


def answer(
    config: RagConfig,
    index: Index,
    base: BaseModel,
    models: Sequence[Model],
    asked: Sequence[Asked],
    rankings: Rankings,
    workspace: Workspace,
) -> Answered:
    """Every generator's answer to every question that it may be asked, with every pipeline."""
    entailment = Entailment(config.nli_model) if config.nli_model else None
    known = seen([each.question for each in asked], models, workspace.say)
    chosen = _chosen(config, asked, known, models, workspace)
    probes = [probe for each in chosen for probe in _probes(each, config)]
    workspace.say(
        f"{count(len(models), 'generator')} and {count(len(config.answered), 'pipeline')} answer {count(len(probes), 'question')}: "
        f"{count(len(models) * len(config.answered) * len(probes), 'answer')}."
    )
    texts = {each.id: each.text for each in (*index.passages, *index.sections.values())}
    read = _read(config, index, asked, rankings, probes)
    given = fill(config, base, models, probes, read, texts, workspace)
    if short := sum(len(grounding.read(each.answer)) < len(_found(config, read, each)) for each in given):
        workspace.say(
            f"Careful: {count(short, 'answer')} read fewer passages than were found, since there is no room for more in the prompt."
        )
    workspace.say(f"Looking at {len(given):,} answers: what they rest on, and how alike they are.")
    cells = [
        results.Cell(cell(model.row.model, pipeline), model.row.model, model.row.role, pipeline)
        for model in models
        for pipeline in config.answered
    ]
    looked_at, grounded = _looked_at(config, given, texts, cosines.remembering(index.embed_model.embed), entailment)
    tables: Tables = {"cells": (cells, results.Cell), "models": (_as_models(models, cells), results.Model)}
    tables |= looked_at | scored(config, base, cells, chosen, given, grounded, workspace)
    answered, trained = frozenset(each.id for each in chosen), frozenset(each.id for each in asked if each.question in known)
    return Answered(tables, answered, trained, [each.answer for each in given])


def _looked_at(
    config: RagConfig, given: Sequence[Given], texts: Mapping[str, str], embed: cosines.Embed, entailment: Entailment | None
) -> tuple[Tables, list[Measure]]:
    """What answers rest on and how alike they are; and grounding as figures of the answers of variant ''."""
    made = [each.answer for each in given]
    support = grounding.support(made, texts, embed, entailment)
    tables: Tables = {
        "rag_answers": (made, results.RagAnswer),
        "support": (support, results.Support),
        "consistency": (consistency(made, embed, entailment, config.seed), results.Consistency),
    }
    depends = f"encoder:{config.encoder}" + (f"|nli:{config.nli_model}" if config.nli_model else "")
    return tables, grounding.measures([each for each in made if not each.variant], support, texts, embed, depends)


def generators(config: RagConfig, base: BaseModel, say: Callable[[str], None]) -> list[Model]:
    """Who answers, base first. Raises UserError for an unknown name."""
    names = [name for name in config.models if name != OWN]
    models = find_models(names, base, say, config.system_prompt) if names else []
    if OWN in config.models:
        models.append(own_adapters(base, say, config.system_prompt))
    return models


def _chosen(config: RagConfig, asked: Sequence[Asked], known: set[str], models: Sequence[Model], workspace: Workspace) -> list[Asked]:
    """The questions that models answer: none that an adapter was trained on, none that 'own' has no adapter for, at most `limit`."""
    if not asked:
        raise UserError("There is no question to answer: the base model wrote none that can be used. Type one, or give a file.")
    once = {each.question: each for each in reversed(asked)}
    if twice := len(asked) - len(once):
        workspace.say(f"Not answered: {count(twice, 'question')} of {len(asked):,} that stand in the same words before.")
    chosen = [each for each in asked if each.question not in known and once[each.question] is each]
    if left_out := sum(each.question in known for each in asked):
        workspace.say(f"Not answered: {count(left_out, 'question')} of {len(asked):,}, on which an adapter was trained.")
    owned = next((set(model.by_category) for model in models if model.by_category), None)
    if owned is not None and (others := [each for each in chosen if each.category not in owned]):
        chosen = [each for each in chosen if each.category in owned]
        kinds = listed(list(dict.fromkeys(each.category or "(none)" for each in others)))
        workspace.say(f"Not answered: {count(len(others), 'question')} of category {kinds}, for which 'own' has no adapter.")
    if not chosen:
        raise UserError(
            f"None of the {count(len(asked), 'question')} can be answered: adapters were trained on them, or 'own' has none for their "
            "category. Ask others, or choose other models."
        )
    if config.limit and config.limit < len(chosen):
        kept = set(random.Random(config.seed).sample(range(len(chosen)), config.limit))
        chosen = [each for place, each in enumerate(chosen) if place in kept]
    return chosen


def _probes(asked: Asked, config: RagConfig) -> list[Probe]:
    """The question as it stands, in other words, and drawn."""

    def probe(variant: str, text: str, sampling: Sampling = GREEDY) -> Probe:
        return Probe(asked.id, variant, text, asked.answer, asked.category, sampling)

    reworded = [probe(f"paraphrase {number}", text) for number, text in enumerate(asked.reworded(config.paraphrases), 1)]
    draws = range(1, config.draws + 1)
    drawn = [probe(f"draw {each}", asked.question, Sampling(config.temperature, seed=config.seed + each)) for each in draws]
    return [probe("", asked.question), *reworded, *drawn]


def _read(config: RagConfig, index: Index, asked: Sequence[Asked], rankings: Rankings, probes: Sequence[Probe]) -> Read:
    """What each pipeline found for each wording."""
    found = {(pipeline, each.question): rankings[pipeline][each.id] for pipeline in config.answered for each in asked}
    others = list(dict.fromkeys(probe.text for probe in probes if (config.answered[0], probe.text) not in found))
    if others:
        for pipeline in config.answered:
            ranked = rank(PIPELINES[pipeline].load()(index, config), others)
            found |= {(pipeline, text): ranking for text, ranking in zip(others, ranked, strict=True)}

    def read(pipeline: str, text: str) -> Reading:
        ranking = found[pipeline, text]
        return Reading(ranking.passages, ranking.seconds)

    return read


def _found(config: RagConfig, read: Read, given: Given) -> list[str]:
    """The passages that an answer should have read."""
    return read(given.answer.pipeline, given.answer.asked).passages[: config.top_k]


def _as_models(models: Sequence[Model], cells: Sequence[results.Cell]) -> list[results.Model]:
    """models.csv as judges and their audits read it: a cell is a model."""
    rows = {model.row.model: model.row for model in models}
    return [results.Model(each.model, each.role, "", rows[each.generator].path, rows[each.generator].content_hash) for each in cells]
