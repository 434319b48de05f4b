"""The tables of a comparison of RAG pipelines, as pages and findings read them. Light: pandas and numpy; no figure is made here anew."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import pandas as pd

from core import evaluated, queries, results
from core.queries import Evaluation
from core.rag import NONE, PIPELINES
from core.results import ALL
from core.results.asked import Asked
from core.runs import Run

OUTCOMES = {
    "rag": "RAG alone",
    "tuning": "tuning alone",
    "either": "either one",
    "both": "only both together",
    "none": "neither",
    "harm": "made worse",
}
"""What an outcome of fixes.csv is called: what mended the base model's answer."""


@dataclass(frozen=True)
class RagRun:
    """A finished comparison; each table is read when it is first asked for, and an absent one is empty."""

    run: Run

    def _read(self, name: str, row_type: type[results.Row]) -> pd.DataFrame:
        file = self.run.path / name
        return results.read(file, row_type) if file.exists() else pd.DataFrame(columns=row_type.columns())

    @cached_property
    def documents(self) -> pd.DataFrame:
        """Files of the folder."""
        return self._read("documents.csv", results.Document)

    @cached_property
    def passages(self) -> pd.DataFrame:
        """Passages and sections, by id."""
        return self._read("passages.csv", results.Passage).drop_duplicates("passage").set_index("passage", drop=False)

    @cached_property
    def questions(self) -> pd.DataFrame:
        """What was asked, by id."""
        return self._read("questions.csv", results.RagQuestion).set_index("question_id", drop=False)

    @cached_property
    def retrieved(self) -> Asked:
        """Rankings, which are asked and not read: every pipeline's for every question."""
        return Asked.opened(self.run.path / "retrieved.csv", results.Retrieved)

    @cached_property
    def graded(self) -> bool:
        """Whether it is known of any passage found how relevant it is."""
        return bool(self.retrieved.ask("SELECT count(grade) > 0 AS known FROM rows")["known"].iloc[0])

    @cached_property
    def retrieval(self) -> pd.DataFrame:
        """Figures of the rankings."""
        return self._read("retrieval_scores.csv", results.RetrievalScore)

    @cached_property
    def retrieval_tests(self) -> pd.DataFrame:
        """Paired comparisons of pipelines."""
        return self._read("retrieval_comparisons.csv", results.Comparison)

    @cached_property
    def overlaps(self) -> pd.DataFrame:
        """How much two pipelines find alike."""
        return self._read("overlaps.csv", results.Overlap)

    @cached_property
    def embeddings(self) -> pd.DataFrame:
        """Figures of the encoders' vectors."""
        return self._read("embeddings.csv", results.EmbeddingFigure)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Generators with pipelines."""
        return self._read("cells.csv", results.Cell)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """What the cells answered, with what they read."""
        return self._read("rag_answers.csv", results.RagAnswer)

    @cached_property
    def support(self) -> pd.DataFrame:
        """Sentences of answers with the passages that support them."""
        return self._read("support.csv", results.Support)

    @cached_property
    def consistency(self) -> pd.DataFrame:
        """How alike answers to one question are."""
        return self._read("consistency.csv", results.Consistency)

    @cached_property
    def fixes(self) -> pd.DataFrame:
        """Whether RAG or tuning mended an answer."""
        return self._read("fixes.csv", results.Fix)

    @cached_property
    def evaluation(self) -> Evaluation:
        """The answers as an evaluation whose models are the cells; the base model without passages is its baseline."""
        first = (self.cells["role"] == "base") & (self.cells["pipeline"] == NONE)
        models = pd.concat([self.cells[first], self.cells[~first]]).assign(category="", path="", content_hash="")
        tables = {name: self._read(f"{name}.csv", kind) for name, kind in (("scores", results.Score), ("comparisons", results.Comparison))}
        file = self.run.path / "answers.csv"
        answers = evaluated.counted(file) if file.exists() else self._read(file.name, results.Answer)
        return Evaluation(self.run, models, answers, **tables)

    @cached_property
    def pipelines(self) -> list[str]:
        """Those that were compared, 'none' first."""
        known = {
            *self.cells["pipeline"],
            *self.retrieved.ask("SELECT DISTINCT pipeline FROM rows")["pipeline"],
            *self.retrieval["pipeline"],
        }
        return [name for name in PIPELINES if name in known]

    @property
    def retrievers(self) -> list[str]:
        """The pipelines that find anything."""
        return [name for name in self.pipelines if name != NONE]

    @property
    def answered(self) -> list[str]:
        """The pipelines whose passages models answered with."""
        return [name for name in self.pipelines if name in set(self.cells["pipeline"])]

    @property
    def generators(self) -> list[str]:
        """Who answered, the base model first."""
        return list(dict.fromkeys(self.cells.sort_values("role", key=lambda role: role != "base", kind="stable")["generator"]))

    @property
    def metrics(self) -> list[str]:
        """What the answers were scored by: the metric of 'did it fix it?' first."""
        known = list(dict.fromkeys(self.evaluation.scores["metric"]))
        first = [name for name in dict.fromkeys(self.fixes["metric"]) if name in known]
        return list(dict.fromkeys([*first, *known]))

    @property
    def categories(self) -> list[str]:
        """Of the questions."""
        return [name for name in dict.fromkeys(self.questions["category"]) if name]


def finished() -> list[Run]:
    """Comparisons to show, newest first."""
    return queries.runs_with("rag", "questions.csv", done=True)


def grid(found: RagRun, metric: str) -> pd.DataFrame:
    """queries.matrix of the cells, with the generator and pipeline of each."""
    return queries.matrix(found.evaluation, metric).merge(found.cells[["model", "generator", "pipeline"]], on="model")


def ranked_by(found: RagRun) -> list[tuple[str, str]]:
    """(level, metric) of the retrieval figures, shares at the smallest k first as they stand in the table."""
    return list(dict.fromkeys(found.retrieval[["level", "metric"]].itertuples(index=False, name=None)))


def retrieval(found: RagRun, level: str, metric: str, category: str = ALL) -> pd.DataFrame:
    """One figure of each pipeline on one category, in the order of PIPELINES."""
    table = found.retrieval
    chosen = table[(table["level"] == level) & (table["metric"] == metric) & (table["category"] == category)]
    return chosen.set_index("pipeline", drop=False).reindex([name for name in found.retrievers if name in set(chosen["pipeline"])])


def overlap(found: RagRun, metric: str, question_id: str = ALL) -> pd.DataFrame:
    """[pipelines, pipelines] of one figure; NaN where it was not measured. What two have in common is the same either way round."""
    table = found.overlaps[(found.overlaps["metric"] == metric) & (found.overlaps["question_id"] == question_id)]
    square = table.pivot_table(index="pipeline", columns="other", values="value")
    names = [name for name in found.retrievers if name in {*square.index, *square.columns}]
    square = square.reindex(index=names, columns=names)
    return square if is_one_sided(metric) else square.where(square.notna(), square.T)


def is_one_sided(metric: str) -> bool:
    """Whether a figure of two pipelines says what the one finds and the other misses."""
    return metric.startswith("gold_missed")


def rankings(found: RagRun, question_id: str, most: int) -> dict[str, pd.DataFrame]:
    """By pipeline what it found for a question: Retrieved with the passage's text, and `alone`: no other pipeline found
    it so high (of passages; a section has no like)."""
    asked = "SELECT * EXCLUDE (place) FROM rows WHERE question_id = $question_id AND rank <= $most ORDER BY place"
    mine = found.retrieved.ask(asked, {"question_id": question_id, "most": most})
    texts = found.passages["text"].to_dict()
    mine = mine.assign(text=[texts.get(passage, "") for passage in mine["passage"]])
    mine["alone"] = ~mine["passage"].duplicated(keep=False) & mine["passage"].map(found.passages["kind"]).eq("passage")
    return {name: mine[mine["pipeline"] == name].sort_values("rank") for name in found.retrievers}


def disagreements(found: RagRun, one: str, other: str, most: int) -> pd.DataFrame:
    """Questions with a known gold: question_id, question, category, and whether each of two pipelines found a gold passage so high."""
    hit = "coalesce(bool_or(pipeline = {} AND rank <= $most AND grade > 0), false)"
    asked = (
        f"SELECT question_id, {hit.format('$one')} AS one, {hit.format('$other')} AS other FROM rows WHERE grade IS NOT NULL GROUP BY ALL"
    )
    hits = found.retrieved.ask(asked, {"one": one, "other": other, "most": most}).set_index("question_id")
    table = found.questions.loc[found.questions["question_id"].isin(hits.index), ["question_id", "question", "category"]]
    return table.assign(**{name: table["question_id"].map(hits[side]) for name, side in ((one, "one"), (other, "other"))})


def costs(found: RagRun) -> pd.DataFrame:
    """What a cell costs: model, generator, pipeline, answers, prompt_tokens (mean), and median seconds of retrieval and of answering."""
    plain = found.answers[found.answers["variant"] == ""]
    sums = plain.groupby(["model", "generator", "pipeline"], sort=False).agg(
        answers=("question_id", "size"),
        prompt_tokens=("prompt_tokens", "mean"),
        retrieval_seconds=("retrieval_seconds", "median"),
        answer_seconds=("seconds", "median"),
    )
    return sums.reset_index()


def group(document: str) -> str:
    """The group that a document belongs to: its folder; in none, its name without the number at its end."""
    path = PurePosixPath(document)
    if len(path.parts) > 1:
        return path.parts[0]
    return re.sub(r"[-_ .]*\d+$", "", path.stem) or path.stem


def places(found: RagRun) -> pd.DataFrame:
    """Passages on the map: document, group, text, x, y."""
    mapped = found.passages[(found.passages["kind"] == "passage") & found.passages["x"].notna()]
    return mapped[["document", "text", "x", "y"]].assign(group=[group(name) for name in mapped["document"]])


def outcomes(found: RagRun, metric: str) -> pd.DataFrame:
    """How often each outcome came out: generator, pipeline, outcome, questions, n."""
    mine = found.fixes[found.fixes["metric"] == metric]
    counted = mine.groupby(["generator", "pipeline", "outcome"], sort=False).size().rename("questions").reset_index()
    return counted.assign(n=counted.groupby(["generator", "pipeline"])["questions"].transform("sum"))


def answer_of(found: RagRun, generator: str, pipeline: str, question_id: str, variant: str = "") -> pd.Series | None:
    """One answer with what it read; None where it was not asked."""
    answers = found.answers
    same = (answers["generator"] == generator) & (answers["pipeline"] == pipeline) & (answers["variant"] == variant)
    mine = answers[same & (answers["question_id"] == question_id)]
    return mine.iloc[0] if len(mine) else None
