"""The verdict browser's table against plain pandas: every filter, sort, page, slice and extreme; small, large, and hostile texts."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import judging, results, verdict_index, verdict_table
from core.errors import UserError
from core.judge.answers import Pair
from core.results import Flag, Theme, Verdict, parquet
from core.results import table as csv_table
from core.results.asked import Asked
from core.verdict_table import ANY, EXACT, ORDERS, PAGE, PEOPLE, SORTS, Filters, VerdictTable
from tests.core.plain_verdicts import Plain
from tests.pages import sample

HOSTILE = (
    *('it\'s "quoted"', "100 % of_it", "'; DROP TABLE marks; --", "$text $low", "a\x00b", "line\nbreak\r\nand\ttab", "[a-z]+(.*)\\d", ""),
    *("👩‍👩‍👧 emoji", "مرحبا بالعالم", "\u202eevil", "ÄÖÜ straße", "**stars** <b>", "word " * 10_000, "None", "NA", "  blank  ", ","),
)
SEARCHED = (
    *(
        "it's",
        '"',
        "%",
        "_",
        "100 %",
        "drop table",
        "'; DROP TABLE marks; --",
        "$text",
        "\x00",
        "b\x00",
        "\n",
        "\r\nand",
        "[a-z]+",
        "\\d",
        ".",
    ),
    *("👩‍👩‍👧", "👧", "مرحبا", "\u202e", "äöü", "STRASSE", "straße", "stars", "<b>"),
    *("word " * 9_000, "no such", "none", "na", "a", "ab", "bla"),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("home")))
        return VerdictTable.opened(sample.judge().path / "verdicts.csv").everything()


@pytest.fixture(scope="module")
def beside(rows):
    first = rows.iloc[0]
    flags = pd.DataFrame([Flag("r", "base", first["category"], first["question"], "loop"), Flag("r", "other", "cynic", "none", "cut")])
    themes = pd.DataFrame([Theme("r", row.judge, row.pair, 0, "vague, long") for row in rows.head(5).itertuples()])
    return flags, themes


@pytest.fixture(scope="module")
def table(rows, beside):
    return VerdictTable.of(rows, *asked(*beside))


def asked(flags: pd.DataFrame, themes: pd.DataFrame) -> tuple[Asked, Asked]:
    return Asked(flags, Flag), Asked(themes, Theme)


def made(rows: pd.DataFrame) -> list[Verdict]:
    known = rows.astype(object).where(rows.notna(), None)
    return [Verdict(**record) for record in known.to_dict("records")]


CASES = {
    "category": Filters(category="kural"),
    "candidate": Filters(candidate="cynic-lora"),
    "verdict": Filters(verdict="base"),
    "judge": Filters(judge="nobody"),
    "agree": Filters(orders="agree"),
    "disagree": Filters(orders="disagree"),
    "flag": Filters(flag="loop"),
    "any flag": Filters(flag="any"),
    "no such flag": Filters(flag="empty"),
    "theme": Filters(theme="vague, long"),
    "score": Filters(low=0.2, high=0.4),
    "both": Filters(category="kural", verdict="tie"),
    **{f"length {name}": Filters(length=name) for name in judging.LENGTHS},
    **{sort: Filters(sort=sort, orders="agree") for sort in SORTS},
}


@pytest.mark.parametrize("name", CASES)
def test_every_filter_keeps_what_it_says(rows, beside, table, name):
    plain = Plain(rows, *beside)
    assert list(table.where(CASES[name])) == plain.where(CASES[name])


@pytest.mark.parametrize("text", ["railroad", "THE", "as an assistant", "(", "[a-z]", "\\", "ü", "no such words", "**stars**", "$x$"])
def test_a_text_is_found_in_any_of_four_places_in_whatever_case_and_as_it_stands(rows, beside, table, text):
    assert list(table.where(Filters(text=text))) == Plain(rows, *beside).where(Filters(text=text))


@pytest.mark.parametrize("wanted", PEOPLE)
def test_people_who_agree_and_who_do_not(rows, beside, table, wanted):
    said = pd.Series({rows["pair"][place]: "fine-tuned" for place in range(10)})
    filters = Filters(people=wanted)
    assert list(table.where(filters, said)) == Plain(rows, *beside).where(filters, said)
    assert wanted == ANY or not len(table.where(filters))


def test_pages_are_of_fifty_rows_in_the_order_asked_for(rows, table):
    found = table.where(Filters(sort="largest score difference"))
    pages = [table.page(found, number) for number in range(1, found.pages + 1)]
    assert [len(page) for page in pages] == [50, 50, 50, 11]
    together = pd.concat(pages)
    assert together["score_difference"].is_monotonic_decreasing and sorted(together.index) == list(range(161))
    assert table.where(Filters(judge="nobody")).pages == 1 and (together.loc[7, "question"]) == rows["question"][7]


def test_one_row_is_whole(rows, table):
    assert dict(table.row(70)[Verdict.columns()].fillna("")) == dict(rows.iloc[70].fillna(""))
    assert table.flags_of(0) == ["loop"] and not table.flags_of(160)
    found = table.where(Filters(verdict="tie"))
    assert [place for place in range(161) if place in found] == list(found)


def test_slices_by_length_stand_in_its_order_and_flags_may_overlap(rows, table):
    found, whole = table.sliced("length")
    assert list(found["slice"]) == [name for name in judging.LENGTHS if name in set(found["slice"])]
    assert found["n"].sum() == 159 and whole == pytest.approx((rows["verdict"] == "fine-tuned").sum() / 159)
    flags, _ = table.sliced("flag")
    assert list(flags["slice"]) == ["loop"] and list(flags["n"]) == [1], "of a flag that no row has there is nothing to say"
    assert table.sliced("category", "nobody")[0].empty


def test_older_tables_get_the_ids_that_newer_ones_have(rows, beside):
    older = pd.concat([rows.assign(pair=""), rows.head(3).assign(pair="")], ignore_index=True)
    found = VerdictTable.of(older, *asked(*beside)).everything()
    columns = [name for name in Pair.__dataclass_fields__ if name != "nth"]
    keys = [Pair(*texts, nth=int(place >= 161)).key for place, texts in enumerate(older[columns].itertuples(index=False))]
    assert list(found["pair"]) == keys and found["pair"].is_unique


def test_a_sample_takes_whole_questions(rows):
    often = pd.concat([rows, rows.assign(judge="another")], ignore_index=True)
    part = verdict_table.sample(often, 100)
    assert 60 < len(part) < 140 and (part.groupby("pair").size() == 2).all()
    assert verdict_table.sample(rows, 1000) is rows


def test_a_table_without_rows(rows, beside):
    empty = VerdictTable.of(rows.head(0), *asked(*beside))
    assert not len(empty) and not list(empty.where(Filters(text="a"))) and not empty.has_references
    assert empty.sliced("category")[0].empty and not len(empty.extremes()[0])


WORDS = st.lists(st.sampled_from(["alpha", "Beta", "gamma", "delta", "beta,", "ALPHA", "the", "of"]), max_size=6).map(" ".join)
TEXT = st.one_of(WORDS, st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8", max_codepoint=0x2FF), max_size=8))
WORD = st.sampled_from(["fine-tuned", "base", "tie", "unparsed", "failed"])
ROW = st.fixed_dictionaries(
    {
        **dict.fromkeys(("question", "reference", "base_prediction", "candidate_prediction"), TEXT),
        **dict.fromkeys(("verdict", "first_verdict", "second_verdict"), WORD),
        "category": st.sampled_from(["one", "two", "it's"]),
        "candidate": st.sampled_from(["a", "b"]),
        "judge": st.sampled_from(["x", "y'; DROP TABLE marks"]),
        "repeat": st.integers(0, 1),
    }
)


def filters_of(plain: Plain) -> st.SearchStrategy[Filters]:
    """Filters with values of a table, and with others."""
    each = {name: st.sampled_from([ANY, ANY, "nobody", *dict.fromkeys(plain.rows[name])]) for name in EXACT}
    bounds = st.sampled_from([-1.0, -0.2, 0.0, 0.3, 1.0])
    return st.builds(
        Filters,
        **each,
        orders=st.sampled_from(ORDERS),
        length=st.sampled_from([ANY, ANY, ANY, *judging.LENGTHS]),
        flag=st.sampled_from([ANY, ANY, ANY, "any", "loop", "it's"]),
        theme=st.sampled_from([ANY, ANY, ANY, "vague"]),
        people=st.sampled_from(PEOPLE),
        text=st.one_of(st.just(""), st.sampled_from(SEARCHED), TEXT),
        low=bounds,
        high=bounds,
        sort=st.sampled_from(list(SORTS)),
    )


def compared(table: VerdictTable, plain: Plain, filters: Filters, said: "pd.Series[str]") -> None:
    """Rows, their number, every page."""
    wanted, found = plain.where(filters, said), table.where(filters, said)
    assert list(found) == wanted and len(found) == len(wanted)
    assert found.pages == max(1, -(-len(wanted) // PAGE))
    for number in range(1, found.pages + 1):
        page = table.page(found, number)
        here = wanted[(number - 1) * PAGE : number * PAGE]
        assert list(page.index) == here
        assert list(page["question"]) == list(plain.rows["question"][here])
        assert list(page["score_difference"]) == list(plain.difference[here])


@pytest.mark.parametrize("large", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_table_answers_any_question_as_plain_pandas_does(data, large, rows, tmp_path_factory, monkeypatch):
    drawn = data.draw(st.lists(ROW, min_size=1, max_size=120))
    frame = pd.DataFrame([{**rows.iloc[0], **row, "pair": f"p{number}"} for number, row in enumerate(drawn)], columns=Verdict.columns())
    first = frame.iloc[0]
    flags = pd.DataFrame([Flag("r", first["candidate"], first["category"], first["question"], name) for name in ("loop", "it's")])
    themes = pd.DataFrame([Theme("r", first["judge"], pair, 0, "vague") for pair in ("p0", "p1")])
    plain = Plain(frame, flags, themes)
    said = pd.Series({f"p{number}": word for number, word in enumerate(["fine-tuned", "tie", "base"] * 9)})
    opened = (
        as_large(frame, flags, themes, tmp_path_factory.mktemp("run"), monkeypatch)
        if large
        else VerdictTable.of(frame, *asked(flags, themes))
    )
    for _ in range(6):
        compared(opened, plain, data.draw(filters_of(plain)), said)
    best, worst = opened.extremes()
    assert (list(best.index), list(worst.index)) == plain.extremes()
    by, judge = (
        data.draw(st.sampled_from(["category", "candidate", "length", "flag", "theme", "repeat"])),
        data.draw(st.sampled_from([ANY, "x"])),
    )
    found, whole = opened.sliced(by, judge)
    wanted = plain.sliced(by, judge)
    assert set(found["slice"]) == set(wanted.index) and (whole == pytest.approx(plain.whole(judge), nan_ok=True) or not len(found))
    for row in found.itertuples():
        assert [getattr(row, name) for name in wanted.columns] == pytest.approx(list(wanted.loc[row.slice]), nan_ok=True)


def as_large(frame: pd.DataFrame, flags: pd.DataFrame, themes: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch) -> VerdictTable:
    """The same by files, parts and row groups being small enough to have several."""
    for module, name, value in ((csv_table, "LARGE", 0), (csv_table, "CHUNK", 7), (parquet, "PART", 32), (parquet, "GROUP", 8)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(verdict_index, "GROUP", 16)
    results.write(folder / "verdicts.csv", made(frame), Verdict)
    results.write(folder / "flags.csv", [Flag(**each) for each in flags.to_dict("records")], Flag)
    results.write(folder / "themes.csv", [Theme(**each) for each in themes.to_dict("records")], Theme)
    return VerdictTable.opened(folder / "verdicts.csv", folder / "flags.csv", folder / "themes.csv")


@pytest.mark.parametrize("text", SEARCHED)
def test_hostile_texts_are_searched_as_they_stand(rows, beside, text):
    frame = pd.DataFrame([{**rows.iloc[0], "candidate_prediction": each, "pair": each[:9]} for each in HOSTILE], columns=Verdict.columns())
    opened, plain = VerdictTable.of(frame, *asked(*beside)), Plain(frame, *beside)
    assert list(opened.where(Filters(text=text))) == plain.where(Filters(text=text))
    assert list(opened.where(Filters(category=text, judge=text, flag=text, theme=text, length=text))) == []
    assert len(opened.where(Filters())) == len(HOSTILE), "nothing was dropped"


def test_a_large_table_is_made_once_and_anew_when_its_csv_has_changed(rows, beside, tmp_path, monkeypatch):
    first = as_large(rows, *beside, tmp_path, monkeypatch)
    file = tmp_path / "verdicts.csv"
    assert len(first) == 161 and len(list((tmp_path / "verdicts.parquet").glob("part-*"))) == 6
    made_at = (tmp_path / "verdicts.index" / "of.json").stat().st_mtime_ns
    assert len(VerdictTable.opened(file)) == 161 and (tmp_path / "verdicts.index" / "of.json").stat().st_mtime_ns == made_at
    results.write(file, made(rows.head(40)), Verdict)
    assert len(VerdictTable.opened(file)) == 40
    assert not [each.name for each in tmp_path.iterdir() if re.match(r"\.", each.name)], "nothing half-made is left"
    assert list(np.asarray(VerdictTable.opened(file).counted("length")["judge"])) == list(rows["judge"].head(40))


@pytest.mark.parametrize("left", ["cut", "empty", "gone"])
def test_what_is_damaged_is_made_anew_from_the_csv(rows, beside, tmp_path, monkeypatch, left):
    table = as_large(rows, *beside, tmp_path, monkeypatch)
    file = tmp_path / "verdicts.csv"
    whole = table.take(list(range(len(rows))))
    made = [each for each in tmp_path.rglob("*") if each.is_file() and each.parent != tmp_path]
    assert len(made) > 6
    for each in made:
        if left == "gone":
            each.unlink()
        else:
            each.write_bytes(each.read_bytes()[: each.stat().st_size // 2 if left == "cut" else 0])
        again = VerdictTable.opened(file, tmp_path / "flags.csv", tmp_path / "themes.csv")
        pd.testing.assert_frame_equal(again.take(list(range(len(again)))), whole)
        assert verdict_index.is_made(file), each.name
    file.unlink()
    with pytest.raises(UserError, match="verdicts.csv can't be read: it is gone"):
        VerdictTable.opened(file)
