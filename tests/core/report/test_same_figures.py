"""The shipped results' bundle: what the page shows, what the tables in the zip hold, and what the app says are the same figures."""

import html
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from core import paths
from core.wording import percent, plain, signed, three
from tests.core.report.material import report_of
from tests.pages.conftest import APP

ALL = "(all)"
Rows = list[list[str]]


@dataclass(frozen=True)
class Bundle:
    """A bundle, read."""

    home: Path
    page: str
    tables: dict[str, list[Rows]]
    """By what a table is called: the rows of each of that name, heads first."""
    csv: dict[str, pd.DataFrame]
    """The zip's tables."""
    figures: dict[str, dict[str, list[dict[str, list[list[str]]]]]]


class Tables(HTMLParser):
    """The tables of a page: label -> rows of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[Rows]] = {}
        self.rows: Rows = []
        self.cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "div" and said.get("class") == "scroll" and said.get("aria-label"):
            self.label = str(said["aria-label"])
        if tag == "table":
            self.rows = []
            self.found.setdefault(self.label, []).append(self.rows)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self.cell is not None:
            self.rows[-1].append("".join(self.cell))
            self.cell = None

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    home = tmp_path_factory.mktemp("shipped")
    for folder in ("adapters", "merged_adapters"):
        (home / folder).symlink_to(paths.PROJECT / folder)
    (home / "results").mkdir()
    for run in (paths.PROJECT / "results").iterdir():
        if run.is_dir() and not run.name.startswith("."):
            (home / "results" / run.name).symlink_to(run)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(home))
        page, packed, _ = report_of()
        tables = Tables()
        tables.feed(re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL))
        with zipfile.ZipFile(packed) as zipped:
            csv = {
                name: pd.read_csv(BytesIO(zipped.read(name)), keep_default_na=False, na_values={"value": "", "low": "", "high": ""})
                for name in zipped.namelist()
                if name.endswith(".csv") and not name.startswith(("answers/", "training/"))
            }
        found = re.search(r'id="figure-data">(.*?)</script>', page, flags=re.DOTALL)
        yield Bundle(home, page, tables.found, csv, json.loads(found[1]) if found else {})


def test_every_score_is_that_of_scores_csv(bundle: Bundle) -> None:
    scores = bundle.csv["evaluation/scores.csv"]
    known = {(row.metric, row.category, row.model): row for row in scores.itertuples()}
    seen = 0
    for metric in dict.fromkeys(scores["metric"]):
        for category, model, value, span, n, _ in bundle.tables[f"{metric} of every model"][0][1:]:
            row = known[metric, category, model]
            assert (value, n) == (three(row.value), f"{row.n:,}")
            assert span == (three(None) if pd.isna(row.low) else f"{three(row.low)} to {three(row.high)}")
            seen += 1
    assert seen == len(scores) > 1000


def test_the_heat_map_shows_the_same(bundle: Bundle) -> None:
    scores = bundle.csv["evaluation/scores.csv"]
    known = scores[scores["metric"] == "perplexity"].set_index(["category", "model"])["value"]
    heat = bundle.figures["matrix-0"]["data"][0]
    for category, row in zip(heat["y"], heat["text"], strict=True):
        for model, text in zip(heat["x"], row, strict=True):
            assert str(text).split(" ")[0] == three(known[str(category), str(model)])


def test_every_drop_is_that_of_comparisons_csv(bundle: Bundle) -> None:
    tests = bundle.csv["evaluation/comparisons.csv"]
    tests = tests[(tests["metric"] == "perplexity") & (tests["baseline"] == "base")].set_index(["category", "model"])
    rows = bundle.tables["Perplexity"][0][1:]
    assert len(rows) == 4 * 8
    for category, model, _, _, drop, span, n in rows:
        row = tests.loc[(category, model)]
        assert drop == signed(-float(row["difference"])) and n == f"{int(row['n']):,}"
        assert span == f"{signed(-float(row['high']))} to {signed(-float(row['low']))}"


def test_every_outcome_is_counted_from_verdicts_csv(bundle: Bundle) -> None:
    counted = []
    for name, verdicts in bundle.csv.items():
        if not name.endswith("/verdicts.csv"):
            continue
        for judge, mine in verdicts.groupby("judge", sort=False):
            wins, ties, losses = ((mine["verdict"] == word).sum() for word in ("fine-tuned", "tie", "base"))
            counted.append((str(judge), f"{len(mine):,}", f"{wins:,}", f"{ties:,}", f"{losses:,}", percent(wins / len(mine))))
    told = [(judge, n, *numbers, rate.split(" (")[0]) for _, judge, n, *numbers, _, rate, _ in bundle.tables["Judged pairs"][0][1:]]
    assert len(told) == len(counted) == 6
    withheld = [row for row in told if "withheld" in row]
    assert len(withheld) == 1 and withheld[0][0].startswith("Qwen")
    assert sorted(set(told) - set(withheld)) == sorted(row for row in counted if not row[0].startswith("Qwen"))


def test_the_audit_is_that_of_audit_csv(bundle: Bundle) -> None:
    figures = pd.concat(table for name, table in bundle.csv.items() if name.endswith("/audit.csv"))
    qwen = figures[(figures["judge"].str.startswith("Qwen")) & (figures["figure"] == "flip_rate")].iloc[0]
    rows = next(table for label, tables in bundle.tables.items() if label.startswith("Audit of Qwen") for table in tables)
    flips = next(row for row in rows if row[0] == "Order changed the verdict")
    assert flips[1:4] == [percent(qwen["value"]), f"{percent(qwen['low'])} to {percent(qwen['high'])}, n {qwen['n']}", "red"]


def test_the_app_says_the_same(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_HOME", str(bundle.home))
    at = AppTest.from_file(str(APP), default_timeout=120).run()
    claim, judged = (
        html.unescape(text)
        for text in re.findall(r'<p class="claim">(.*?)</p>.*?</div><p class="quiet">.*?</p><p>(.*?)</p>', bundle.page)[0]
    )
    said = [each.value for each in at.markdown]
    assert plain(claim) in said
    assert "perplexity 27.8 against 58.8" in claim
    assert all(sentence in judged for sentence in ("35 won, 28 lost, 7 tied of 70 questions", "Qwen"))
    tiles = re.findall(r"<div><span>(.*?)</span><span>(.*?)</span><span>(.*?) \((.*?)\)</span></div>", bundle.page)
    metrics = [(each.label.replace("\\", ""), each.value, each.delta.replace("-", "−")) for each in at.metric]
    assert [(label, value, change) for label, value, change, _ in tiles] == metrics != []
    examples = re.findall(r'<article class="example"><h3>(\w+): (\S+) nats per token', bundle.page)
    assert [f"**{label}** ({gain} nats per token)" for label, gain in examples] == [
        text.split(" · ")[0] for text in said if "nats per token)" in text
    ]
