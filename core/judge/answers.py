"""Which answers are judged: an answers.csv is found, read and paired. It may come from an evaluation here, or from anywhere else."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from core import paths, results, runs
from core.config import PairsConfig
from core.errors import UserError
from core.judge.formats.answers import foreign
from core.judge.formats.content import check_csv

COLUMNS = ("model", "category", "question", "reference", "prediction")
"""What an answers table must have; other columns may be there or not."""
OWN = "own"


@dataclass(frozen=True)
class Pair:
    """Two models' answers to one question."""

    base: str
    candidate: str
    category: str
    question: str
    reference: str
    base_prediction: str
    candidate_prediction: str
    nth: int = 0
    """How often the same question with the same reference stood before it."""

    @property
    def key(self) -> str:
        """An id by content, the same in every run: of category, question, reference, both answers and `nth`; not of the models' names."""
        texts = [self.category, self.question, self.reference, self.base_prediction, self.candidate_prediction, self.nth]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]

    @property
    def columns(self) -> dict[str, Any]:
        """What verdicts.csv and pairs.csv say of the pair."""
        return {"pair": self.key} | {each.name: getattr(self, each.name) for each in fields(self) if each.name != "nth"}


@dataclass(frozen=True)
class Pairs:
    """What is to be judged."""

    pairs: list[Pair]
    note: str
    """What was left out, and which categories have several own adapters; often empty."""


def find(config: PairsConfig) -> Path:
    """The answers.csv of a run, of the newest finished evaluation ('last'), or at a path."""
    if config.answers == "last":
        done = [run.path / "answers.csv" for run in runs.listing("evaluate", "done")]
        if not done:
            raise UserError("No evaluation is finished yet, so there are no last answers. Run: python -m core evaluate")
        return done[0]
    given = Path(config.answers).expanduser()
    for place in (paths.results() / given / "answers.csv", given / "answers.csv", given):
        if place.is_file() or (place.is_dir() and any(place.glob("*.json"))):
            return place
    raise UserError(
        f"There are no answers at '{config.answers}': it is neither a run in {paths.results()} that has an answers.csv, nor a file. "
        "Give the run id of an evaluation, a path to an answers.csv, or 'last'."
    )


def pair(file: Path, config: PairsConfig) -> Pairs:
    """Base and candidate answers to the same (category, question, reference), at most `limit` questions per category.

    Candidate 'own' is every own adapter of the row's category, as models.csv beside the answers says.
    A question that stands several times is paired in the order of the file. Raises UserError when nothing can be paired.
    """
    rows = _read(file)
    models = list(dict.fromkeys(row["model"] for row in rows))
    if config.base not in models:
        raise UserError(f"{file} has no answers of the base '{config.base}'. It has answers of: {', '.join(models)}. Name one as base.")
    candidates = _candidates(file, models, rows, config)
    theirs: dict[str, dict[tuple[Any, ...], str]] = {}
    for model in (config.base, *{name for names in candidates.values() for name in names}):
        theirs[model] = _by_question(row for row in rows if row["model"] == model)
    pairs, left_out = [], Counter[str]()
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for (category, question, reference, nth), base_prediction in theirs[config.base].items():
        for candidate in candidates.get(category, ()):
            prediction = theirs[candidate].get((category, question, reference, nth))
            if prediction is None:
                left_out[candidate] += 1
            elif config.limit is None or taken[category, candidate] < config.limit:
                taken[category, candidate] += 1
                pairs.append(Pair(config.base, candidate, category, question, reference, base_prediction, prediction, nth))
    if not pairs:
        raise UserError(
            f"{file} has no question that both '{config.base}' and '{config.candidate}' answered (same category, question and reference), "
            f"so nothing can be judged. It has {_counts(rows)}."
        )
    asked = list(dict.fromkeys(row["category"] for row in rows if row["model"] == config.base))
    return Pairs(pairs, _note(left_out, {category: candidates.get(category, []) for category in asked}))


def _read(file: Path) -> list[dict[str, Any]]:
    import pandas as pd

    if (others := foreign(file)) is not None:
        return others
    try:
        check_csv(file)
        table = results.parse(file, results.Answer)
    except pd.errors.EmptyDataError:
        raise UserError(f"{file} is empty, so there is nothing to judge. Evaluate again, or give another file.") from None
    except (UnicodeDecodeError, pd.errors.ParserError, ValueError) as error:
        raise UserError(f"{file} can't be read as a CSV table in UTF-8 ({error}). Save it again as such.") from None
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        there = [str(column) for column in pd.read_csv(file, nrows=0).columns]
        raise UserError(
            f"{file} has no column {', '.join(missing)}; it has: {', '.join(there)[:300]}. Answers need the columns {', '.join(COLUMNS)}."
        )
    if table.empty:
        raise UserError(f"{file} has columns but no rows, so there is nothing to judge. Evaluate again, or give another file.")
    asked = table[table["category"] != results.GENERAL]  # asked to see what was forgotten, which a mean of verdicts would hide
    rows: list[dict[str, Any]] = asked[list(COLUMNS)].to_dict("records")
    return rows


def _candidates(file: Path, models: list[str], rows: list[dict[str, Any]], config: PairsConfig) -> Mapping[str, list[str]]:
    """Category -> the models to be judged on it."""
    if config.candidate != OWN:
        if config.candidate not in models:
            raise UserError(
                f"{file} has no answers of the candidate '{config.candidate}'. It has answers of: {', '.join(models)}. "
                "Name one of them as candidate."
            )
        return {row["category"]: [config.candidate] for row in rows}
    listed = file.with_name("models.csv")
    others = ", ".join(model for model in models if model != config.base) or "none"
    if not listed.is_file():
        raise UserError(
            f"There is no models.csv beside {file} to say which adapter is whose own. "
            f"Name a candidate; its models besides the base: {others}."
        )
    own: dict[str, list[str]] = defaultdict(list)
    for model in results.read(listed, results.Model).to_dict("records"):
        if model["role"] == "own" and model["category"] and model["model"] in models:
            own[model["category"]].append(model["model"])
    if not own:
        raise UserError(f"{listed} names no category's own adapter. Name a candidate; the models besides the base: {others}.")
    return own


def _by_question(rows: Any) -> dict[tuple[Any, ...], str]:
    """(category, question, reference, nth time) -> prediction, in the file's order."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = {}
    for row in rows:
        key = (row["category"], row["question"], row["reference"])
        found[(*key, seen[key])] = row["prediction"]
        seen[key] += 1
    return found


def _counts(rows: list[dict[str, Any]]) -> str:
    counted = Counter((row["model"], row["category"]) for row in rows)
    shown = [f"{n} of {model} in {category}" for (model, category), n in counted.most_common(12)]
    return ", ".join(shown) + (", ..." if len(counted) > 12 else "")


def _note(unanswered: Counter[str], candidates: dict[str, list[str]]) -> str:
    parts = [f"Left out: {n} questions that {model} did not answer." for model, n in unanswered.items()]
    without = [category for category, models in candidates.items() if not models]
    if without:
        parts.append(f"Left out: {', '.join(without)}, which have no own adapter among the answers.")
    parts += [
        f"Category {category} has several own adapters, each is judged: {', '.join(models)}."
        for category, models in candidates.items()
        if len(models) > 1
    ]
    return " ".join(parts)
