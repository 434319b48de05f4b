"""report.zip: the page, the tables behind it, settings without secrets and absolute paths, hashes, verdicts in others' format."""

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from core import exports, paths
from core.judge.formats import llm_comparator
from core.report.method import data_hash
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
SECRETS = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
"""How the names of environment variables end whose values are never written."""
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
    yield from _tables("evaluation", sources.evaluation.run, skip=("models.csv",))
    yield "evaluation/models.csv", _csv(sources.evaluation.models.assign(path=[_clean(path) for path in sources.evaluation.models["path"]]))
    for name, table in exports.answers(sources.evaluation).items():
        yield f"answers/{name}", _csv(table)
    for each in sources.judged:
        yield from _tables(f"judges/{each.run.run_id}", each.run)
        if not (each.run.path / "audit.csv").exists():
            yield f"judges/{each.run.run_id}/audit.csv", _csv(each.card)
        for judge in each.judges:
            rows = each.rows[each.rows["judge"] == judge]
            yield f"llm_comparator/{each.run.run_id}_{paths.slug(judge)}.json", llm_comparator.exported(rows)
    for run in sources.trainings:
        yield from _tables(f"training/{run.run_id}", run)
    for folder, about in (("data", sources.data), ("claims", sources.claims)):
        if about:
            yield from _tables(folder, about)
    if len(sources.votes):
        yield "people/votes.csv", _csv(_nameless(sources.votes))
    yield from _settings(sources)


def _tables(folder: str, run: Run, skip: tuple[str, ...] = ()) -> Iterator[tuple[str, Path]]:
    yield from ((f"{folder}/{file.name}", file) for file in sorted(run.path.glob("*.csv")) if file.name not in skip)


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
                "data": {"name": sources.dataset, "sha256": data_hash(sources) or None, "rows_hash": _rows_hash(sources)},
                "models": dict(zip(models["model"], models["content_hash"], strict=True)),
            }
        ),
    )


def _rows_hash(sources: Sources) -> str | None:
    return sources.data.outputs.get("source_hash") if sources.data else None


def _nameless(votes: pd.DataFrame) -> pd.DataFrame:
    """Votes whose reviewers have numbers in place of names."""
    return votes.assign(reviewer=[f"reviewer {number + 1}" for number in pd.factorize(votes["reviewer"])[0]])


def _readme(names: list[str]) -> str:
    there = {name: what for name, what in CONTENTS.items() if name == "README.txt" or any(each.startswith(name) for each in names)}
    width = max(map(len, there))
    lines = [f"{name:<{width}}  {what}" for name, what in there.items()]
    return "\n".join(["What is in this folder", "", *lines, "", "Tables are CSV in UTF-8; an empty cell is a missing value.", ""])


def _json(value: Any) -> str:
    return json.dumps(_clean(value), indent=1, ensure_ascii=False, default=str) + "\n"


def _csv(table: pd.DataFrame) -> str:
    return str(table.to_csv(index=False))


def _clean(value: Any) -> Any:
    """Settings without secrets, addresses' passwords and this machine's folders."""
    if isinstance(value, Mapping):
        return {key: _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return _clean_text(value) if isinstance(value, str) else value


def _clean_text(text: str) -> str:
    for secret in _secrets():
        text = text.replace(secret, "(removed)")
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        address = urlsplit(text)
        return f"{address.scheme}://{address.hostname}" + (f":{address.port}" if address.port else "") + address.path
    if text.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", text):
        return re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return text.replace(str(paths.home()), "").replace(str(Path.home()), "~")


def _secrets() -> list[str]:
    return [value for name, value in os.environ.items() if SECRETS.search(name) and len(value) >= 8]
