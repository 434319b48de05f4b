"""A million answers on the Evaluate page: `python benchmarks/answers.py --rows 1000000`. What is measured: browsed.py.

A home is made with one evaluation: the base, own adapters of the first categories, a pooled adapter and merges, --models in all, on the
same questions; words of the sample data, one answer in twenty with a flag. Figures in its scores and comparisons are made up.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.browsed import CATEGORIES, Table, Texts, main
from core import results, runs
from core.results import ALL, Answer, Comparison, Flag, Model, Score

NAMES = [f"subject-{place:02}" for place in range(CATEGORIES)]
CHANGES = {
    "filter by category": ("category", ["subject-07", "subject-31", "all"]),
    "filter by flag": ("flag", ["repeats itself", "none", "all"]),
    "another model": ("model", ["merge-03", "subject-11-lora", "own adapter of the category"]),
    "sort": ("order", ["largest gain", "smallest gain", "file"]),
    "another metric": ("metric", ["bleu", "perplexity"]),
}


def models(number: int) -> list[Model]:
    """The base, own adapters, a pooled one, and merges."""
    own = [Model(f"{name}-lora", "own", name, "", "") for name in NAMES[: number * 4 // 5]]
    rest = [Model("pooled-lora", "pooled", "", "", ""), *(Model(f"merge-{place:02}", "merged", "", "", "") for place in range(number))]
    return [Model("base", "base", "", "", ""), *own, *rest][:number]


def answers(run: str, rows: int, named: list[Model], flags: list[Flag], seed: int = 0) -> Iterator[Answer]:
    """Model by model, as an evaluation writes them; flags go into `flags`."""
    random = np.random.default_rng(seed)
    text = Texts(random)
    asked = [(NAMES[nth % CATEGORIES], f"{text(12)}, question {nth}?", text(30)) for nth in range(rows // len(named))]
    for model in named:
        for category, question, reference in asked:
            loss = float(random.normal(60 if model.category == category else 80, 9))
            yield Answer(run, model.model, category, question, reference, text(int(random.integers(15, 60))), loss, 40, "stop")
            if random.random() < 0.05:
                flags.append(Flag(run, model.model, category, question, random.choice(["loop", "cut"]), "'of the' 4 times in a row"))


def fill(rows: int, number: int) -> None:
    """A finished evaluation."""
    run, named = runs.create("evaluate", {"models": ["all"], "data": "elsewhere.jsonl"}), models(number)
    flags: list[Flag] = []
    results.write(run.path / "answers.csv", answers(run.run_id, rows, named, flags), Answer)
    cells = [(model.model, category) for model in named for category in (*NAMES, ALL)]
    scores = [Score(run.run_id, *cell, metric, 7.0, 500, 6.5, 7.5, "made up") for metric in ("perplexity", "bleu") for cell in cells]
    tests = [
        Comparison(run.run_id, model, "base", category, metric, -0.5, -0.7, -0.3, 0.01, 0.04, 500)
        for metric in ("perplexity", "bleu")
        for model, category in [*cells, *(("own", category) for category in (*NAMES, ALL))]
        if model != "base"
    ]
    tables = {"models": (named, Model), "scores": (scores, Score), "comparisons": (tests, Comparison), "flags": (flags, Flag)}
    for name, (made, row_type) in tables.items():
        results.write(run.path / f"{name}.csv", made, row_type)
    runs.update(run.run_id, status="done", started_at=runs.now(), finished_at=runs.now())


TABLE = Table(
    page="evaluate",
    unit="answers",
    fill=fill,
    changes=CHANGES,
    order="order",
    orders=("file", "largest gain", "file"),
    middle={"order": "largest gain", "page": "200"},
)

if __name__ == "__main__":
    sys.exit(main(TABLE, __doc__))
