"""Compare RAG pipelines on a folder of documents: what each finds, and what models answer with it."""

from collections.abc import Sequence
from typing import Any

from core import paths, rag_findings, results
from core.config import RagConfig
from core.errors import shown
from core.models.load import BaseModel, load
from core.rag import NONE, PIPELINES, differences, embedding_quality, grounding, retrieval
from core.rag.answers import Answered, answer, generators
from core.rag.index import Index, open_index
from core.rag.pipelines import rank
from core.rag.questions import TYPED, Asked, check_ids, read_questions
from core.rag.rankings import Rankings
from core.rag.relevance import Relevance, grades
from core.rag.writing import generate
from core.rag_tables import RagRun
from core.results.rag import SEPARATOR
from core.results.table import Tables
from core.wording import count, listed
from core.workspace import Workspace

HEADLINE = ("hit_rate@5", "mrr", "ndcg@10")
"""Figures of each pipeline that a run ends with."""
_TOLD = 400
"""Characters of an answer that are told."""


def run(config: RagConfig, workspace: Workspace) -> dict[str, Any]:
    """Write the tables of core/results/rag.py, each as CSV: what was found, and where models answer what they made of it.

    Returns their paths, the headline figures of each pipeline, and what the index took.
    """
    asked = read_questions(config)
    base = _base(config)
    models = generators(config, base, workspace.say) if base is not None and config.models else []
    index = open_index(config, workspace.progress, workspace.say)
    _tell(index, workspace)
    if config.generate_questions:
        assert base is not None
        asked += generate(config, index, base, workspace)
        check_ids(asked)
    relevance = grades(index, asked, config)
    for note in relevance.notes:
        workspace.say(note)
    rankings = _rank(config, index, asked, workspace)
    tables = _found(config, index, asked, relevance, rankings, workspace)
    answered = Answered()
    if base is not None and models:
        answered = answer(config, index, base, models, asked, rankings, workspace)
    tables |= answered.tables | {"questions": (_questions(workspace, asked, relevance, answered), results.RagQuestion)}
    written = {name: results.write(workspace.path / f"{name}.csv", *each) for name, each in tables.items()}
    for line in _typed(answered, index):
        workspace.say(line)
    finding = rag_findings.headline(RagRun(workspace.run))
    workspace.say(finding)
    return {name: paths.shown(path) for name, path in written.items()} | _headline(index, tables) | {"finding": finding}


def _base(config: RagConfig) -> BaseModel | None:
    """The base model, where anything is answered or written by it."""
    if not (config.models or config.generate_questions):
        return None
    return load(config.base_model, quantization=config.quantization, precision=config.precision, device=config.device)


def _tell(index: Index, workspace: Workspace) -> None:
    """What is indexed; what was refused is told while the folder is read."""
    statuses = [document.status for document in index.documents if document.status != "refused"]
    documents = f"{count(len(statuses), 'document')} ({statuses.count('indexed'):,} embedded now, {statuses.count('kept'):,} kept)"
    workspace.say(f"{count(len(index.passages), 'passage')} of {documents}. Opened in {index.seconds:.1f} s.")


def _rank(config: RagConfig, index: Index, asked: Sequence[Asked], workspace: Workspace) -> Rankings:
    """What each pipeline finds for each question."""
    total, rankings = len(config.pipelines) * len(asked), {}
    for place, name in enumerate(config.pipelines):
        before = place * len(asked)

        def progress(done: int, before: int = before, name: str = name) -> None:
            workspace.progress(before + done, total, "rankings", name)

        found = rank(PIPELINES[name].load()(index, config), [each.question for each in asked], progress)
        rankings[name] = {each.id: ranking for each, ranking in zip(asked, found, strict=True)}
    return rankings


def _found(
    config: RagConfig,
    index: Index,
    asked: Sequence[Asked],
    relevance: Relevance,
    rankings: Rankings,
    workspace: Workspace,
) -> Tables:
    """The tables of what was found."""
    run_id = workspace.run.run_id
    return {
        "documents": ([results.Document(**{**vars(each), "run": run_id}) for each in index.documents], results.Document),
        "passages": (_passages(index), results.Passage),
        "retrieved": (retrieval.table(run_id, rankings, relevance), results.Retrieved),
        "retrieval_scores": (retrieval.score(run_id, rankings, relevance, asked, config, index), results.RetrievalScore),
        "retrieval_comparisons": (retrieval.compare(run_id, rankings, relevance, asked, config), results.Comparison),
        "overlaps": (differences.overlaps(run_id, rankings, config, relevance), results.Overlap),
        "embeddings": (embedding_quality.figures(run_id, index, asked, relevance, config, workspace.say), results.EmbeddingFigure),
    }


def _passages(index: Index) -> list[results.Passage]:
    """Passages with their places on the map, then the sections that they stand in."""
    rows = [
        results.Passage(each.id, each.document, "passage", each.start, each.end, each.tokens, each.text, float(x), float(y))
        for each, (x, y) in zip(index.passages, embedding_quality.places(index), strict=True)
    ]
    return rows + [
        results.Passage(each.id, each.document, "section", each.start, each.end, each.tokens, each.text) for each in index.sections.values()
    ]


def _questions(workspace: Workspace, asked: Sequence[Asked], relevance: Relevance, answered: Answered) -> list[results.RagQuestion]:
    return [
        results.RagQuestion(
            workspace.run.run_id,
            each.id,
            each.question,
            each.answer,
            each.category,
            each.source,
            SEPARATOR.join(_relevant(relevance.documents.get(each.id, {}))),
            SEPARATOR.join(_relevant(relevance.passages.get(each.id, {}))),
            int(each.id in answered.seen),
            int(each.id in answered.asked),
        )
        for each in asked
    ]


def _relevant(grades: dict[str, float]) -> list[str]:
    return [name for name, grade in grades.items() if grade > 0]


def _typed(answered: Answered, index: Index) -> list[str]:
    """What each cell answered to the question that a person typed, and which documents it read."""
    lines = []
    for each in answered.answers:
        if each.question_id == TYPED and not each.variant:
            read = [(index.sections.get(passage) or index.by_id[passage]).document for passage in grounding.read(each)]
            said = shown(" ".join(each.prediction.split()), _TOLD) or "(nothing)"
            lines.append(f"{each.model}{f', having read {listed(list(dict.fromkeys(read)))}' if read else ''}: {said}")
    return lines


def _headline(index: Index, tables: Tables) -> dict[str, Any]:
    """Each pipeline's figures on all questions together, and the index."""
    figures: dict[str, dict[str, float | None]] = {}
    for row in tables["retrieval_scores"][0]:
        assert isinstance(row, results.RetrievalScore)
        if row.category == results.ALL and row.metric in HEADLINE and row.pipeline != NONE:
            figures.setdefault(f"{row.metric} of {row.level}s", {})[row.pipeline] = row.value
    return figures | {"index_passages": len(index.passages), "index_seconds": round(index.seconds, 3), "index": index.folder.name}
