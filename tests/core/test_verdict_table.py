import numpy as np
import pandas as pd
import pytest

from core import results, verdict_table
from core.judge.answers import Pair
from core.results import Flag, Theme, Verdict
from core.verdict_table import Filters, VerdictTable
from tests.pages import sample


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("home")))
        found = results.read(sample.judge().path / "verdicts.csv", Verdict)
    return verdict_table.ready(found)


@pytest.fixture(scope="module")
def table(rows):
    first = rows.iloc[0]
    flags = pd.DataFrame([Flag("r", "base", first["category"], first["question"], "loop"), Flag("r", "other", "cynic", "none", "cut")])
    themes = pd.DataFrame([Theme("r", row.judge, row.pair, 0, "vague, long") for row in rows.head(5).itertuples()])
    return VerdictTable(rows, verdict_table.flagged(rows, flags), verdict_table.themed(rows, themes))


def _where(rows, keep):
    return list(np.flatnonzero(np.asarray(keep)))


def test_every_filter_keeps_what_it_says(rows, table):
    cases = {
        "category": (Filters(category="kural"), rows["category"] == "kural"),
        "candidate": (Filters(candidate="cynic-lora"), rows["candidate"] == "cynic-lora"),
        "verdict": (Filters(verdict="base"), rows["verdict"] == "base"),
        "judge": (Filters(judge="nobody"), rows["judge"] == "nobody"),
        "agree": (Filters(orders="agree"), rows["first_verdict"] == rows["second_verdict"]),
        "disagree": (Filters(orders="disagree"), rows["first_verdict"] != rows["second_verdict"]),
        "flag": (Filters(flag="loop"), rows["question"] == rows["question"][0]),
        "any flag": (Filters(flag="any"), rows["question"] == rows["question"][0]),
        "no such flag": (Filters(flag="empty"), rows["question"] == "no such question"),
        "theme": (Filters(theme="vague, long"), rows.index < 5),
        "score": (Filters(low=0.2, high=0.4), (table.difference >= 0.2) & (table.difference <= 0.4)),
        "both": (Filters(category="kural", verdict="tie"), (rows["category"] == "kural") & (rows["verdict"] == "tie")),
    }
    for name, (filters, keep) in cases.items():
        assert list(table.where(filters)) == _where(rows, keep), name
    assert sum(len(table.where(Filters(length=name))) for name in dict.fromkeys(table.length)) == len(rows)


@pytest.mark.parametrize("text", ["railroad", "THE", "as an assistant", "(", "[a-z]", "\\", "ü", "no such words", "**stars**", "$x$"])
def test_a_text_is_found_in_any_of_four_places_in_whatever_case_and_as_it_stands(rows, table, text):
    columns = rows[list(verdict_table.TEXTS)]
    keep = columns.apply(lambda column: column.str.lower().str.contains(text.lower(), regex=False)).any(axis=1)
    assert list(table.where(Filters(text=text))) == _where(rows, keep)


def test_people_who_agree_and_who_do_not(rows, table):
    said = pd.Series({rows["pair"][place]: "fine-tuned" for place in range(10)})
    voted = table.where(Filters(people="voted"), said)
    assert list(voted) == list(range(10))
    agree, disagree = (set(table.where(Filters(people=word), said)) for word in ("agree", "disagree"))
    assert agree == {place for place in range(10) if rows["verdict"][place] == "fine-tuned"}
    judged = {place for place in range(10) if rows["verdict"][place] in ("fine-tuned", "base", "tie")}
    assert disagree == judged - agree and not len(table.where(Filters(people="voted")))


def test_pages_are_of_fifty_rows_in_the_order_asked_for(rows, table):
    found = table.where(Filters(sort="largest score difference"))
    pages = [table.page(found, number) for number in range(1, table.pages(found) + 1)]
    assert [len(page) for page in pages] == [50, 50, 50, 11]
    together = pd.concat(pages)
    assert together["score_difference"].is_monotonic_decreasing and sorted(together.index) == list(range(161))
    assert table.pages(found[:0]) == 1 and (together.loc[7, "question"]) == rows["question"][7]


def test_best_and_worst_are_sure_and_ranked(rows, table):
    best, worst = table.extremes(np.arange(len(rows)))
    assert set(rows["verdict"][best]) == {"fine-tuned"} and set(rows["verdict"][worst]) == {"base"}
    wins = np.flatnonzero((rows["verdict"] == "fine-tuned") & (rows["first_verdict"] == rows["second_verdict"]))
    assert table.difference[best[0]] == table.difference[wins].max()


def test_slices_by_length_stand_in_its_order_and_flags_may_overlap(rows, table):
    found, whole = table.sliced("length")
    assert list(found["slice"]) == [name for name in verdict_table.judging.LENGTHS if name in set(table.length)]
    assert found["n"].sum() == 159 and whole == pytest.approx((rows["verdict"] == "fine-tuned").sum() / 159)
    flags, _ = table.sliced("flag")
    assert list(flags["slice"]) == ["loop"] and list(flags["n"]) == [1], "of a flag that no row has there is nothing to say"
    assert table.sliced("category", "nobody")[0].empty


def test_older_tables_get_the_ids_that_newer_ones_have(rows):
    first = rows.iloc[0]
    texts = [first[name] for name in ("base", "candidate", "category", "question", "reference", "base_prediction", "candidate_prediction")]
    assert first["pair"] == Pair(*texts).key and rows["pair"].is_unique


def test_a_sample_takes_whole_questions(rows):
    often = pd.concat([rows, rows.assign(judge="another")], ignore_index=True)
    part = verdict_table.sample(often, 100)
    assert 60 < len(part) < 140 and (part.groupby("pair").size() == 2).all()
    assert verdict_table.sample(rows, 1000) is rows
