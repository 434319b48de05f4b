"""report.zip: the page, the tables behind it, settings without secrets and absolute paths, hashes, verdicts in others' format."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from core import exports, paths, private
from core.judge import people
from core.judge.formats import llm_comparator
from core.report import data_hash
from core.report.sources import Sources
from core.runs import Run

CONTENTS = {
    "report.html": "The report. It opens in any browser, without a network.",
    "README.txt": "This file.",
    "bundle.json": "Which runs the report tells of, versions, and hashes of data and models.",
    "evaluation/": "models.csv, answers.csv, scores.csv (with intervals), comparisons.csv (paired tests), answer_scores.csv, flags.csv.",
    "answers/": "Question, reference and answer, a file for each model and category.",
    "judges/": "For each judge run: verdicts.csv, audit.csv (figures about the judge), themes.csv where judges gave reasons.",
    "llm_comparator/": "The verdicts of each judge for https://github.com/PAIR-code/llm-comparator (load the JSON there).",
    "training/": "For each training run: steps.csv (losses), validation_rows.csv.",
    "data/": "report.csv and leaks.csv: rows, splits, duplicates and leaks of the dataset.",
    "claims/": "claims.csv: what others claim, held against these runs.",
    "people/": "votes.csv: what people said. Names are left out.",
    "settings/": "For each run its settings, versions and times; for each adapter and merge how it was made (its recipe).",
}
"""What stands where in the zip; what a report lacks is left out."""
NAMED = "votes.csv"
"""The table that has people's names: never taken as it stands."""
NOTES = (
    "Tables are CSV in UTF-8; an empty cell is a missing value.",
    "Questions, answers and reasons stand as people and models wrote them. A spreadsheet may read a cell that begins with =, +, - or @",
    "as a formula: load such columns as text.",
)
KEPT = ("run_id", "verb", "parent", "config", "outputs", "versions", "created_at", "started_at", "finished_at")


def write(sources: Sources, page: Path, place: Path) -> Path:
    """Write the zip to `place`; `page` is report.html."""
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as made:
        made.write(page, "report.html")
        for name, content in _files(sources):
            if isinstance(content, Path):
                made.write(content, name)
            else:
                made.writestr(name, content)
        names = made.namelist()
        made.writestr("README.txt", _readme(names))
    return place


def _files(sources: Sources) -> Iterator[tuple[str, Path | str]]:
    """Name and content of each file but the page and the README."""
    yield from _tables("evaluation", sources.evaluation.run)
    for name, table in exports.answers(sources.evaluation).items():
        yield f"answers/{name}", _csv(table)
    for each in sources.judged:
        yield from _tables(f"judges/{each.run.run_id}", each.run)
        if not (each.run.path / "audit.csv").exists():
            yield f"judges/{each.run.run_id}/audit.csv", _csv(private.removed_from_table(each.card))
        for judge in each.judges:
            name = private.removed_from(judge)
            rows = each.rows[each.rows["judge"] == judge].assign(judge=name)
            yield f"llm_comparator/{each.run.run_id}_{paths.slug(name)}.json", llm_comparator.exported(rows)
    for run in sources.trainings:
        yield from _tables(f"training/{run.run_id}", run)
    for folder, about in (("data", sources.data), ("claims", sources.claims)):
        if about:
            yield from _tables(folder, about)
    if len(sources.votes):
        yield "people/votes.csv", _csv(people.nameless(sources.votes))
    yield from _settings(sources)


def _tables(folder: str, run: Run) -> Iterator[tuple[str, Path | str]]:
    yield from ((f"{folder}/{file.name}", _table(file)) for file in sorted(run.path.glob("*.csv")) if file.name != NAMED)


def _table(file: Path) -> Path | str:
    """The file as it stands, unless something in it has to be left out."""
    if not set(private.NOTED) & set(pd.read_csv(file, nrows=0).columns):
        return file
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    cleaned = private.removed_from_table(table)
    return file if cleaned.equals(table) else _csv(cleaned)


def _settings(sources: Sources) -> Iterator[tuple[str, str]]:
    for run in sources.runs:
        yield f"settings/{run.run_id}.json", _json({name: getattr(run, name) for name in KEPT})
    for model, info in sources.made.items():
        yield f"settings/models/{paths.slug(model)}.json", _json(info)
    models = sources.evaluation.models
    yield (
        "bundle.json",
        _json(
            {
                "evaluation": sources.evaluation.run.run_id,
                "runs": [run.run_id for run in sources.runs],
                "versions": {run.run_id: run.versions for run in sources.runs},
                "data": {"name": sources.dataset} | _hashes(sources),
                "models": dict(zip(models["model"], models["content_hash"], strict=True)),
            }
        ),
    )


def _hashes(sources: Sources) -> dict[str, Any]:
    """Hashes of the file and its rows as they are now, and of the rows that were evaluated where that is on record."""
    found = data_hash.of(sources)
    hashes = {"sha256": found.sha256, "rows_hash": found.rows, "rows_hash_recorded": found.recorded}
    changed = found.changed if found.file and found.recorded else None
    return {name: digest or None for name, digest in hashes.items()} | {"changed": changed, "note": found.note}


def _readme(names: list[str]) -> str:
    there = {name: what for name, what in CONTENTS.items() if name == "README.txt" or any(each.startswith(name) for each in names)}
    width = max(map(len, there))
    lines = [f"{name:<{width}}  {what}" for name, what in there.items()]
    return "\n".join(["What is in this folder", "", *lines, "", *NOTES, ""])


def _json(value: Any) -> str:
    return json.dumps(private.removed(value), indent=1, ensure_ascii=False, default=str) + "\n"


def _csv(table: pd.DataFrame) -> str:
    return str(table.to_csv(index=False))
