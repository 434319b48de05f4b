"""TEST MATERIAL: evaluations that a bundle has to bear. No figure in here was measured."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from core import paths, results, runs
from core.config import ReportConfig
from core.judge import audit
from core.report import run as report
from core.results import ALL, Answer, AuditFigure, Comparison, Model, Score, Verdict
from core.runs import Run
from core.workspace import Workspace

BASE, TUNED = "base", "<img src=x onerror=alert(1)>"
LONG = "long " * 200_000
"""A line of 1 MB."""
HOSTILE = (
    "<script>document.title='hacked'</script>",
    "</script><script>document.title='hacked'</script><!-- <script>",
    "<img src=http://evil.example/x onerror=document.title='hacked'> <iframe src=http://evil.example></iframe>",
    "**bold** [link](javascript:alert(1)) ![x](http://evil.example/p.png) <meta http-equiv=refresh content='0;url=http://evil.example'>",
    "مرحبا بالعالم, שלום \u2028 \u2029 \0 &lt;b&gt; \u202e",
    LONG,
)
CATEGORIES = ("<b>bold</b> & <a href='http://evil.example'>a</a>", "</script><script>document.title='hacked'</script>", "2")


def report_of(config: ReportConfig | None = None) -> tuple[str, Path, Run]:
    """A report on the test's home: the page, the zip, and its run."""
    run = runs.create("report", (config or ReportConfig()).model_dump(mode="json"))
    outputs = report.run(config or ReportConfig(), Workspace(run))
    done = runs.update(run.run_id, status="done", outputs=outputs, started_at=runs.now(), finished_at=runs.now())
    return (paths.home() / outputs["html"]).read_text(encoding="utf-8"), paths.home() / outputs["zip"], done


def evaluate(
    categories: Sequence[str] = CATEGORIES,
    models: Sequence[tuple[str, str]] = ((BASE, "base"), (TUNED, "pooled")),
    texts: Sequence[str] = HOSTILE,
    loss: Callable[[str, int], float] = lambda role, place: (4.0 if role == "base" else 3.0) + 0.1 * place,
    compared: bool = False,
    **config: Any,
) -> Run:
    """An evaluation in which every model answers a question per text and category; `models`: names and roles.

    An own adapter is the one of the category at its place among them. `compared`: it has comparisons.csv, as runs of today do.
    """

    def fill(run: Run) -> dict[str, Any]:
        owned = iter(categories)
        made = [
            Model(name, role, next(owned) if role == "own" else "", f"adapters/{place}", "") for place, (name, role) in enumerate(models)
        ]
        answers = [
            Answer(run.run_id, name, category, f"{place}? {text[:300]}", text, text, 10 * loss(role, place), 10, "stop")
            for name, role in models
            for category in categories
            for place, text in enumerate(texts)
        ]
        results.write(run.path / "models.csv", made, Model)
        results.write(run.path / "answers.csv", answers, Answer)
        results.write(run.path / "scores.csv", _scores(run.run_id, answers, categories), Score)
        if compared:
            tested = (_comparison(run.run_id, name, category) for name, _ in models[1:] for category in (*categories, ALL))
            results.write(run.path / "comparisons.csv", tested, Comparison)
        return {"answers": f"results/{run.run_id}/answers.csv"}

    return _done("evaluate", {"data": "data/none.jsonl", "split": "test", **config}, fill)


def judge(
    evaluation: Run, judge: str = "similarity", word: Callable[[int], tuple[str, str]] = lambda place: ("fine-tuned",) * 2, times: int = 1
) -> Run:
    """Verdicts on the evaluation's first two models. `word`: of each place the words with the base and with the candidate shown first."""
    answers = results.read(evaluation.path / "answers.csv", Answer)
    base, candidate = list(dict.fromkeys(answers["model"]))[:2]
    pairs = answers[answers["model"] == base].merge(answers[answers["model"] == candidate], on=["category", "question", "reference"])

    def fill(run: Run) -> dict[str, Any]:
        rows = [_verdict(run.run_id, judge, base, candidate, place, row, word(place)) for place, row in enumerate(pairs.itertuples())]
        rows = [replace(row, question=f"{number} {row.question}" if number else row.question) for number in range(times) for row in rows]
        results.write(run.path / "verdicts.csv", rows, Verdict)
        card = audit.card(pd.DataFrame(rows, columns=Verdict.columns()), 0)
        results.write(run.path / "audit.csv", card, AuditFigure)
        return {"answers": evaluation.outputs["answers"], "base": base, "candidate": candidate, "judge": judge}

    return _done("judge", {"answers": evaluation.run_id, "base_url": "http://ada:secret99@judge.example:8000/v1?key=1"}, fill)


def _verdict(run: str, judge: str, base: str, candidate: str, place: int, row: Any, words: tuple[str, str]) -> Verdict:
    first, second = words
    return Verdict(
        run,
        judge,
        "meaning",
        base,
        candidate,
        row.category,
        row.question,
        row.reference,
        row.prediction_x,
        f"{row.prediction_y} candidate {place % 6}",
        first if first == second else "tie",
        first,
        second,
        HOSTILE[0],
        HOSTILE[1],
        12,
        0.5,
        pair=f"pair{place}",
        rationale=HOSTILE[2],
    )


def _comparison(run: str, model: str, category: str) -> Comparison:
    return Comparison(run, model, BASE, category, "perplexity", -12.3, -23.4, -1.23, 0.004, 0.04, 6)


def _scores(run: str, answers: Iterable[Answer], categories: Sequence[str]) -> Iterable[Score]:
    table = pd.DataFrame(list(answers), columns=Answer.columns())
    for model, mine in table.groupby("model", sort=False):
        for category in (*categories, ALL):
            part = mine if category == ALL else mine[mine["category"] == category]
            value = math.exp(part["reference_loss"].sum(skipna=False) / part["reference_tokens"].sum())
            known = None if math.isnan(value) else value
            low, high = (None, None) if known is None else (known * 0.9, known * 1.1)
            yield Score(run, str(model), category, "perplexity", known, len(part), low, high, "test material", "" if known else "no loss")
            yield Score(run, str(model), category, "bleu", 12.5, len(part), 10.0, 15.0, "test material")


def _done(verb: str, config: dict[str, Any], fill: Callable[[Run], dict[str, Any]]) -> Run:
    run = runs.create(verb, config)
    outputs = fill(run)
    return runs.update(run.run_id, status="done", outputs=outputs, started_at=runs.now(), finished_at=runs.now())
