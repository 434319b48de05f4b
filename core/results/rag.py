"""The tables of a comparison of RAG pipelines. Answers, scores and comparisons have the schemas of an evaluation; their model is a cell.

A cell is a generator with a pipeline, such as `own + hybrid`; `base + none` is the base model without retrieval.
"""

from dataclasses import dataclass

from core.results.table import Row

BETWEEN = " + "
"""What stands between generator and pipeline in a cell's name; no other model's name has it."""
SEPARATOR = " | "
"""Between several ids in one place of a table."""


def parts(ids: str) -> list[str]:
    """The ids in one place of a table."""
    return [part for part in ids.split(SEPARATOR) if part]


@dataclass(frozen=True)
class Document(Row):
    """documents.csv: a file of the folder, indexed or refused."""

    run: str
    document: str
    """Path relative to the folder; of a corpus.jsonl the document's id."""
    bytes: int
    passages: int
    status: str
    """indexed (embedded now), kept (was in the index already), or refused."""
    reason: str = ""
    """Why it was refused, in a sentence."""


@dataclass(frozen=True)
class Passage(Row):
    """passages.csv: what the pipelines find."""

    passage: str
    """Its id: the same for the same document, place and text."""
    document: str
    kind: str
    """passage, or section: what pipeline 'parent' hands over."""
    start: int
    """First character in the document's text."""
    end: int
    tokens: int
    text: str
    x: float | None = None
    """Place on the map: the first two principal components of the embeddings."""
    y: float | None = None


@dataclass(frozen=True)
class RagQuestion(Row):
    """questions.csv: what was asked."""

    run: str
    question_id: str
    question: str
    answer: str
    """Reference; empty: none known."""
    category: str
    source: str
    """typed, file, or generated (by the base model from its gold passage)."""
    gold_documents: str
    """Documents that hold the answer, separated by ' | '; empty: not known."""
    gold_passages: str
    """Ids of passages that hold it, separated by ' | '; empty: not known."""
    seen: int
    """1 where an adapter that answers was trained on this question."""
    answered: int
    """1 where models answered it; retrieval is scored on all questions with gold."""


@dataclass(frozen=True)
class Retrieved(Row):
    """retrieved.csv: one passage in the ranking of one pipeline for one question."""

    run: str
    pipeline: str
    question_id: str
    rank: int
    """From 1."""
    passage: str
    document: str
    score: float
    grade: float | None
    """Relevance: 0 is none; empty: not known."""


@dataclass(frozen=True)
class RetrievalScore(Row):
    """retrieval_scores.csv: one figure of one pipeline on one category. low and high: 95 % interval over questions."""

    run: str
    pipeline: str
    category: str
    level: str
    """passage or document: what had to be found."""
    metric: str
    value: float | None
    n: int
    low: float | None
    high: float | None
    signature: str
    reason: str = ""


@dataclass(frozen=True)
class Overlap(Row):
    """overlaps.csv: how much two pipelines find alike, for one question, or on the mean of all ('(all)')."""

    run: str
    pipeline: str
    other: str
    question_id: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class EmbeddingFigure(Row):
    """embeddings.csv: one figure of an encoder's vectors, or of two encoders' beside each other."""

    run: str
    encoder: str
    category: str
    metric: str
    value: float | None
    n: int
    low: float | None
    high: float | None
    signature: str
    reason: str = ""


@dataclass(frozen=True)
class Cell(Row):
    """cells.csv: the grid. Its name is the `model` of answers.csv, scores.csv and comparisons.csv."""

    model: str
    generator: str
    role: str
    """base, own, pooled, merged or route."""
    pipeline: str


@dataclass(frozen=True)
class RagAnswer(Row):
    """rag_answers.csv: one answer of one cell, with what it read."""

    run: str
    model: str
    """The cell."""
    generator: str
    pipeline: str
    question_id: str
    variant: str
    """Empty: the question as it stands; 'paraphrase 1', ...: in other words; 'draw 1', ...: drawn by chance."""
    asked: str
    """The question's words."""
    prediction: str
    finish: str
    prompt_tokens: int
    passages: str
    """Ids of the passages it read, best first, separated by ' | '."""
    retrieval_seconds: float
    seconds: float
    """Of the answers made side by side with it, per answer."""


@dataclass(frozen=True)
class Support(Row):
    """support.csv: one sentence of one answer, and the passage that supports it best."""

    run: str
    model: str
    question_id: str
    variant: str
    place: int
    """From 1."""
    sentence: str
    passage: str
    support: float
    supported: int
    entailment: float | None
    """Probability that the passage entails it; empty: no nli_model."""


@dataclass(frozen=True)
class Consistency(Row):
    """consistency.csv: how alike the answers to one question are ('(all)': the mean) when one thing changes and the rest is held."""

    run: str
    question_id: str
    over: str
    """What changes: pipelines, generators, paraphrases or draws."""
    held: str
    """What stays: the generator, the pipeline, or the cell."""
    metric: str
    """similarity, clusters, or contradictions."""
    value: float | None
    n: int
    low: float | None
    high: float | None
    reason: str = ""
    signature: str = ""
    """How it was taken: threshold of a cluster, NLI model, resamples."""


@dataclass(frozen=True)
class Fix(Row):
    """fixes.csv: did RAG or tuning fix it? One question, one tuned generator, one pipeline, by one metric of the answer."""

    run: str
    question_id: str
    generator: str
    pipeline: str
    metric: str
    neither: float
    """The base model without retrieval."""
    tuning: float
    """The generator without retrieval."""
    rag: float
    """The base model with the pipeline."""
    both: float
    outcome: str
    """rag, tuning, both (only together), either, none, or harm."""
