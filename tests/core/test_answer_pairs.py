"""Answers side by side against plain pandas: every filter, order and page; of a small table, and of a large one whose texts aren't held."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import answer_pairs, exports, findings, model_findings, queries, results, runs
from core.answer_pairs import ANY, NONE, SORTS, Filters, Pairs
from core.queries import OWN
from core.results import Answer, Flag, RouteWeight, parquet
from core.results import table as csv_table
from core.results.found import PAGE
from tests.pages import routed, sample

HOSTILE = ("'; DROP TABLE rows; --", "$text %_", "[a-z]+(.*)", "<b>**stars**</b>\nline", "ÄÖÜ", "")
SEARCHED = ("the", "THE", "äöü", "drop table", "%_", "[a-z]", "**stars", "no such words", "$model_0")


def changed(run: runs.Run) -> None:
    """Oddities in an evaluation: hostile texts, a loss that is missing, a question asked twice, two flags at once, ties of gains."""
    answers = results.read(run.path / "answers.csv", Answer)
    rows = answers.to_dict("records")
    for place, text in enumerate(HOSTILE):
        rows[place]["prediction"] = rows[-1 - place]["prediction"] = text
    rows[9]["reference_loss"] = rows[-9]["reference_loss"] = None
    rows.append({**rows[5], "prediction": "asked twice"})
    for row in rows[20:40]:
        row["reference_loss"] = float(row["reference_tokens"])
    results.write(run.path / "answers.csv", [Answer(**row) for row in rows], Answer)
    odd = np.random.default_rng(0).choice(len(rows), 120, replace=False)
    named = [(run.run_id, *(rows[place][name] for name in ("model", "category", "question"))) for place in odd]
    flags = [Flag(*each, flag, f"detail {nth}") for nth, each in enumerate(named) for flag in ("cut", "loop")[: 1 + nth % 2]]
    results.write(run.path / "flags.csv", flags, Flag)


@pytest.fixture(params=["small", "large"])
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> runs.Run:
    """An evaluation with a route and other matters; as large, parts and row groups are small enough to have several."""
    made = routed.evaluate()
    if request.param == "large":
        for module, name, value in ((csv_table, "LARGE", 50), (csv_table, "CHUNK", 37), (parquet, "PART", 256), (parquet, "GROUP", 16)):
            monkeypatch.setattr(module, name, value)
        weights = results.read(made.path / "route_weights.csv", RouteWeight)
        results.write(made.path / "route_weights.csv", [RouteWeight(**row) for row in weights.to_dict("records")], RouteWeight)
    changed(made)
    assert parquet.is_made(made.path / "answers.csv") == (request.param == "large")
    return made


@pytest.fixture
def whole(run: runs.Run) -> queries.Evaluation:
    """The same with all texts in memory."""
    found, answers = queries.evaluation(run), results.read(run.path / "answers.csv", Answer)
    other = answers["category"] == results.GENERAL
    return queries.Evaluation(run, found.models, answers[~other], found.scores, answers[other], found.comparisons, found.flags)


def side_by_side(answers: pd.DataFrame, base: str, models: "pd.Series[str]") -> pd.DataFrame:
    """By hand: the first answer of each to every question, with its row. `models`: who stands beside the base on each row's category."""
    keys = ["category", "question", "reference"]
    ours = answers[answers["model"] == models].drop_duplicates(keys).set_index(keys)
    rows = []
    for row in answers[answers["model"] == base].drop_duplicates(keys).itertuples():
        key = (row.category, row.question, row.reference)
        if key in ours.index:
            other = ours.loc[key]
            gain = row.reference_loss / row.reference_tokens - other["reference_loss"] / other["reference_tokens"]
            rows.append((*key, row.prediction, other["prediction"], other["model"], gain))
    return pd.DataFrame(rows, columns=[*keys, "base", "candidate", "model", "gain"])


def wanted(pairs: pd.DataFrame, filters: Filters) -> list[int]:
    """Numbers of the pairs that plain pandas leaves."""
    if filters.category != ANY:
        pairs = pairs[pairs["category"] == filters.category]
    if filters.flag != ANY:
        pairs = pairs[[not flags if filters.flag == NONE else filters.flag in flags for flags in pairs["flags"]]]
    if filters.text:
        columns = pairs[["question", "reference", "base", "candidate"]]
        pairs = pairs[columns.apply(lambda column: column.str.contains(filters.text, case=False, regex=False)).any(axis=1)]
    if filters.sort != "file":
        pairs = pairs.sort_values("gain", ascending=filters.sort == "smallest gain", kind="stable")
    return list(pairs.index)


@pytest.mark.parametrize("candidate", [OWN, "pooled-lora", routed.ROUTE])
def test_every_filter_order_and_page_is_as_plain_pandas_has_it(run: runs.Run, whole: queries.Evaluation, candidate: str) -> None:
    answers = whole.answers
    models = answers["category"].map(whole.own) if candidate == OWN else pd.Series(candidate, index=answers.index)
    plain = side_by_side(answers, "base", models)
    pd.testing.assert_frame_equal(queries.told(whole, queries.paired(whole, candidate)), plain, check_dtype=False)
    flags = results.read(run.path / "flags.csv", Flag)
    known = {key: dict(zip(part["flag"], part["detail"], strict=True)) for key, part in flags.groupby(["model", "category", "question"])}
    plain["flags"] = [known.get((row.model, row.category, row.question), {}) for row in plain.itertuples()]
    plain["base_flags"] = [known.get(("base", row.category, row.question), {}) for row in plain.itertuples()]
    pairs = Pairs(queries.evaluation(run), candidate)
    asked = [Filters(category, flag, sort=sort) for category in (ANY, "kural") for flag in (ANY, NONE, "cut", "loop") for sort in SORTS]
    for filters in [*asked, *(Filters(text=text) for text in SEARCHED), Filters("cynic", NONE, "the", "largest gain")]:
        found, numbers = pairs.where(filters), wanted(plain, filters)
        assert list(found) == numbers and len(found) == len(numbers), filters
        for page in range(1, found.pages + 1):
            shown = pairs.page(found, page)
            assert list(shown.index) == numbers[(page - 1) * PAGE : page * PAGE]
            pd.testing.assert_frame_equal(shown[plain.columns], plain.loc[shown.index], check_dtype=False)
    assert pairs.pair(7).drop("flags").to_dict() == plain.loc[7, shown.columns].drop("flags").to_dict()


def test_what_is_told_of_an_evaluation_needs_no_texts(run: runs.Run, whole: queries.Evaluation) -> None:
    found = queries.evaluation(run)
    assert found.has_texts == (not parquet.is_made(run.path / "answers.csv"))
    assert found.categories == whole.categories and found.compared == whole.compared
    ours, plain = (queries.gains(each, each.compared) for each in (found, whole))
    pd.testing.assert_frame_equal(ours, plain)
    assert findings.evaluation(found, ours) == findings.evaluation(whole, plain)
    pd.testing.assert_frame_equal(queries.matrix(found, "perplexity"), queries.matrix(whole, "perplexity"))
    weights = results.read(run.path / "route_weights.csv", RouteWeight)
    to_own = queries.led_to_own(weights)
    assert findings.route(found, routed.ROUTE, to_own) == findings.route(whole, routed.ROUTE, to_own)
    assert model_findings.legend(found, "perplexity", False) == model_findings.legend(whole, "perplexity", False)
    for candidate in found.compared:
        chosen, by_hand = (
            queries.examples(found, candidate),
            queries.best_median_worst(queries.told(whole, queries.paired(whole, candidate))),
        )
        assert [(label, row.to_dict()) for label, row in chosen] == [(label, row.to_dict()) for label, row in by_hand]


def test_files_to_take_away_have_all_texts(run: runs.Run, whole: queries.Evaluation) -> None:
    ours, plain = (exports.answers(each) for each in (queries.evaluation(run), whole))
    assert list(ours) == list(plain)
    for name in ours:
        pd.testing.assert_frame_equal(ours[name], plain[name])


def test_flags_are_counted(run: runs.Run, whole: queries.Evaluation) -> None:
    flags, counts = results.read(run.path / "flags.csv", Flag), answer_pairs.flag_counts(queries.evaluation(run))
    plain = pd.crosstab(flags["model"], flags["flag"]).reindex(whole.models["model"], fill_value=0)
    assert counts["answers"].tolist() == [int((whole.answers["model"] == model).sum()) for model in whole.models["model"]]
    assert counts[["cut", "loop"]].to_numpy().tolist() == plain.to_numpy().tolist() and list(counts.index) == list(plain.index)


def test_of_a_large_table_no_text_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "LARGE", 50)
    run = sample.evaluate()
    found = queries.evaluation(run)
    assert set(found.answers) == {"model", "category", "question", "reference", "reference_loss", "reference_tokens", "finish"}
    assert found.answers["question"].dtype == found.answers["reference"].dtype == np.uint64
    pairs = Pairs(found, OWN)
    assert set(pairs._pairs) == {"category", "model", "base_place", "place", "gain"}
    assert Path(parquet.folder(run.path / "answers.csv")).is_dir()
