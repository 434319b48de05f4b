"""The rows of the bundle's verdict browser: each text once, each verdict as numbers of texts and names.

What does not fit is cut or left out by rule, and said; the zip has all.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from core import judging, verdict_findings, verdict_table, word_overlap
from core.report.sources import Sources
from core.wording import count

MOST_BYTES = 7_500_000
"""Of all texts together as JSON."""
MOST_VERDICTS = 5_000
CAPS = (1_100_000, 200_000, 50_000, 20_000, 8_000, 4_000, 2_000, 1_000)
"""Characters that a text may have: the first of these with which all fit, else fewer verdicts with the last."""
NAMES = ("run", "judge", "base", "candidate", "category", "length")
WORDS = ("verdict", "first", "second")
"""Outcomes, as they are told: of the pair, with the base shown first, with the candidate shown first."""
TEXTS = ("question", "reference", "base_prediction", "candidate_prediction", "first_reply", "second_reply", "rationale", "reason")
COLUMNS = (*NAMES, *WORDS, "difference", *TEXTS)


@dataclass
class Numbered:
    """Each different value once, and the number that it has."""

    known: dict[str, int] = field(default_factory=dict)

    def number(self, value: str) -> int:
        """Its number, from 0."""
        return self.known.setdefault(value, len(self.known))

    def numbers(self, values: Iterable[str]) -> list[int]:
        """The number of each."""
        return [self.number(str(value)) for value in values]


def browser(sources: Sources) -> dict[str, Any]:
    """`columns`, `rows`, `names` by column, `texts`, `cut` (number of a text -> its whole length), `said` (what is left out), `red`."""
    whole = _rows(sources)
    rows = verdict_table.sample(whole, MOST_VERDICTS) if len(whole) > MOST_VERDICTS else whole
    cap = _cap(rows)
    while cap is None:
        rows = verdict_table.sample(rows, len(rows) // 2)
        cap = _cap(rows)
    return {**_numbered(rows, cap), "said": _said(whole, rows, cap), "red": [name for name, red in _red(sources).items() if red]}


def _rows(sources: Sources) -> pd.DataFrame:
    """All verdicts with `length` and `difference`, newest run first."""
    parts = []
    for each in sources.judged:
        texts = [each.rows[name] for name in ("reference", "base_prediction", "candidate_prediction")]
        (base_f1, candidate_f1), (base, candidate) = word_overlap.f1(*texts)
        run = pd.Series(f"{each.run.run_id[-4:]}", index=each.rows.index)
        made = each.rows.assign(run=run, length=judging.length_names(candidate, base), difference=(candidate_f1 - base_f1).round(3))
        outcomes = {name: made[column].map(verdict_findings.outcome) for name, column in _OUTCOMES.items()}
        parts.append(made.assign(**outcomes))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


_OUTCOMES = {"first": "first_verdict", "second": "second_verdict", "verdict": "verdict"}


def _cap(rows: pd.DataFrame) -> int | None:
    """Characters that a text may have so that all fit; None where not even the smallest cap is enough."""
    sizes = [(len(text), len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))) for text in _different(rows)]
    room = MOST_BYTES - 80 * len(rows)
    return next((cap for cap in CAPS if sum(min(size, size * cap // max(1, length)) for length, size in sizes) <= room), None)


def _different(rows: pd.DataFrame) -> set[str]:
    return {str(text) for name in TEXTS for text in rows[name]}


def _numbered(rows: pd.DataFrame, cap: int) -> dict[str, Any]:
    texts, names = Numbered(), {name: Numbered() for name in (*NAMES, *WORDS)}
    columns = {name: numbered.numbers(rows[name]) for name, numbered in names.items()}
    columns |= {"difference": rows["difference"].tolist()} | {name: texts.numbers(rows[name]) for name in TEXTS}
    return {
        "columns": list(COLUMNS),
        "rows": [list(row) for row in zip(*(columns[name] for name in COLUMNS), strict=True)],
        "names": {name: list(numbered.known) for name, numbered in names.items()},
        "texts": [text[:cap] for text in texts.known],
        "cut": {number: len(text) for text, number in texts.known.items() if len(text) > cap},
    }


def _said(whole: pd.DataFrame, rows: pd.DataFrame, cap: int) -> str:
    parts = []
    if len(rows) < len(whole):
        parts.append(f"Here are {len(rows):,} of {count(len(whole), 'verdict')}, those on questions drawn by chance.")
    if longer := sum(len(text) > cap for text in _different(rows)):
        parts.append(f"{count(longer, 'text is', 'texts are')} cut at {cap:,} characters.")
    return " ".join([*parts, "The zip has all." if parts else ""]).strip()


def _red(sources: Sources) -> dict[str, bool]:
    return {name: judged.withheld for each in sources.judged for name, judged in each.judges.items()}
