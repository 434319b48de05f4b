"""A million verdicts in the verdict browser: `python benchmarks/verdicts.py --rows 1000000`. What is measured: browsed.py.

A home is made with one judged run: --models models against the base on different questions, each answer different, words of the
sample data.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.browsed import CATEGORIES, Table, Texts, main
from core import results, runs
from core.results import AuditFigure, Verdict

CHANGES = {
    "filter by category": ("category", ["subject-07", "subject-31", "all"]),
    "filter by outcome": ("verdict", ["win", "loss", "tie", "all"]),
    "filter by orders": ("orders", ["disagree", "agree", "all"]),
    "filter by candidate": ("candidate", ["model-03", "model-11", "all"]),
    "filter by length": ("length", ["longer", "under half", "all"]),
    "filter by people": ("people", ["voted", "all"]),
    "sort": ("sort", ["largest score difference", "smallest score difference", "file"]),
}


def verdicts(run_id: str, rows: int, models: int, seed: int = 0) -> Iterator[Verdict]:
    """`models` candidates on each question; what a judge of some bias for the first place would say of them."""
    random = np.random.default_rng(seed)
    text = Texts(random)
    for question in range(-(-rows // models)):
        asked = f"{text(12)}, question {question}?"
        reference, base, category = text(30), text(35), f"subject-{question % CATEGORIES:02}"
        for model in range(min(models, rows - question * models)):
            first, second = random.choice(["base", "fine-tuned", "tie"], 2, p=[0.4, 0.45, 0.15])
            second = first if random.random() < 0.7 else second
            yield Verdict(
                run=run_id,
                judge="groq openai/gpt-oss-20b",
                prompt="meaning",
                base="base",
                candidate=f"model-{model:02}",
                category=category,
                question=asked,
                reference=reference,
                base_prediction=base,
                candidate_prediction=text(int(random.integers(15, 60))),
                verdict=first if first == second else "tie",
                first_verdict=first,
                second_verdict=second,
                first_reply='{"winner": "A"}',
                second_reply='{"winner": "B"}',
                tokens=int(random.integers(300, 900)),
                seconds=1.25,
                pair=f"{random.integers(0, 2**63):016x}",
            )


def fill(rows: int, models: int) -> Path:
    """A finished run whose verdicts.csv nobody has looked at yet."""
    run = runs.create("audit", {"verdicts": "elsewhere.csv"})
    results.append(run.path / "verdicts.csv", verdicts(run.run_id, rows, models), Verdict)
    figure = AuditFigure(run.run_id, "groq openai/gpt-oss-20b", "flip_rate", 0.2, 0.19, 0.21, rows, "green")
    results.write(run.path / "audit.csv", [figure], AuditFigure)
    outputs = {"judge": figure.judge, "base": "base", "candidate": "the candidates"}
    runs.update(run.run_id, status="done", started_at=runs.now(), finished_at=runs.now(), outputs=outputs)
    return run.path


TABLE = Table(
    page="judge",
    unit="verdicts",
    fill=fill,
    changes=CHANGES,
    order="sort",
    orders=("file", "largest score difference", "file"),
    middle={"sort": "largest score difference", "page": "10000"},
)

if __name__ == "__main__":
    sys.exit(main(TABLE, __doc__))
