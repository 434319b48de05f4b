"""The data card of data/seven_schools.jsonl: seven_schools.template, filled with what is counted in the file and its shipped report.

Sections follow the dataset card of the Hugging Face hub and Gebru et al. 2018, Datasheets for Datasets, arXiv:1803.09010.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from string import Template

import pandas as pd

from core.data.split import SPLITS, split_of
from core.wording import three
from docs.hooks.tables import table

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATE = Path(__file__).with_name("seven_schools.template")
DATA = PROJECT / "data" / "seven_schools.jsonl"
REPORT = PROJECT / "results" / "20261122-173432-087-data-78bb"
"""The shipped report on the data."""


@cache
def sources() -> dict[str, list[str]]:
    """By category: text, package and licence, as data/README.md says."""
    text = (PROJECT / "data" / "README.md").read_text(encoding="utf-8")
    body = re.search(r"^\| category \| text \| package .*\n\|[-|]+\|\n((?:\|.*\n)*)", text, re.MULTILINE)
    assert body, "data/README.md has no table of sources"
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in body[1].splitlines()]
    return {row[0]: row[1:] for row in rows}


def source(category: str) -> str:
    """The text that a category was made from."""
    return sources()[category][0]


def text() -> str:
    """The whole card."""
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    report = pd.read_csv(REPORT / "report.csv")
    whole = report[(report["category"] == "(all)") & report["split"].isna()].set_index("figure")["value"]
    filled = {
        "rows": f"{len(rows):,}",
        "categories": len({row["category"] for row in rows}),
        "mean": three(whole["tokens_mean"]),
        "most": three(whole["tokens_p95"]),
        "longest": three(whole["tokens_max"]),
        "counts": _counts(rows),
        "sources": _sources(),
        "shared": _shared(rows),
        "leaks": _leaks(),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(filled)


def _counts(rows: list[dict[str, str]]) -> str:
    """Rows by category and split."""
    counted = Counter((row["category"], split_of(row["question"])) for row in rows)
    lines = [[name, *(counted[name, split] for split in SPLITS)] for name in dict.fromkeys(row["category"] for row in rows)]
    totals = ["all", *(sum(column) for column in list(zip(*lines, strict=True))[1:])]
    return table(["category", *SPLITS, "rows"], [[name, *map(str, each), str(sum(each))] for name, *each in [*lines, totals]])


def _sources() -> str:
    """The table of data/README.md."""
    rows = [[name, *cells[:-1], cells[-1].replace("below", "in `data/README.md`")] for name, cells in sources().items()]
    return table(["category", "text", "taken from", "licence"], rows)


def _shared(rows: list[dict[str, str]]) -> int:
    """Questions that stand in more than one category."""
    asked: dict[str, set[str]] = {}
    for row in rows:
        asked.setdefault(row["question"].casefold().strip(" ?."), set()).add(row["category"])
    return sum(len(names) > 1 for names in asked.values())


def _leaks() -> str:
    found = pd.read_csv(REPORT / "leaks.csv")
    return "; ".join(f'"{one}" and "{other}"' for one, other in zip(found["question"], found["other_question"], strict=True))
