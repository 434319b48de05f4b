"""Large tables: Parquet beside the CSV says the same as the CSV, appears whole or not at all, and is asked by the same SQL."""

from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import results
from core.errors import UserError
from core.results import Answer, Retrieved, Row, Verdict, parquet, table
from core.results.asked import Asked

TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12),
    st.sampled_from(["None", "NA", "", '"', "a,b\nc", "é" * 9_000]),
)
KINDS = {
    str: TEXTS,
    int: st.integers(0, 9),
    float: st.floats(0, 9),
    int | None: st.none() | st.integers(0, 9),
    float | None: st.none() | st.floats(0, 9),
}


def rows_of(row_type: type[Row]) -> "st.SearchStrategy[list[Row]]":
    return st.lists(st.builds(row_type, **{each.name: KINDS[each.type] for each in fields(row_type)}), max_size=40)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts as large is small here, and parts and groups are smaller."""
    for module, name, value in ((table, "LARGE", 3), (table, "CHUNK", 5), (parquet, "PART", 16), (parquet, "GROUP", 4)):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


def answers(number: int) -> list[Answer]:
    return [Answer("r", "m", "c", f"question {place}", "ref", "a, 'quoted' \"answer\"\n", 1.5, 3, "stop") for place in range(number)]


@pytest.mark.parametrize("row_type", [Answer, Verdict, Retrieved])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_parquet_says_what_the_csv_says(data, row_type, tmp_path_factory) -> None:
    file, rows = tmp_path_factory.mktemp("run") / "table.csv", data.draw(rows_of(row_type))
    with pytest.MonkeyPatch.context() as patched:
        for module, name, value in ((table, "CHUNK", 5), (parquet, "PART", 16), (parquet, "GROUP", 4)):
            patched.setattr(module, name, value)
        results.write(file, rows, row_type)
        made = parquet.made(file, row_type)
        read = pd.concat(parquet.pieces(made, row_type.columns(), 7), ignore_index=True)
        pd.testing.assert_frame_equal(read, results.read(file, row_type), check_dtype=False)
        places = data.draw(st.lists(st.integers(0, max(0, len(rows) - 1)), max_size=5, unique=True)) if rows else []
        taken = parquet.take(made, places, row_type.columns())
        assert list(taken.index) == places
        pd.testing.assert_frame_equal(taken.reset_index(drop=True), read.iloc[places].reset_index(drop=True), check_dtype=False)


def test_a_table_is_large_by_its_rows(small, folder: Path) -> None:
    results.write(folder / "answers.csv", iter(answers(3)), Answer)
    assert not parquet.is_large(folder / "answers.csv", Answer) and not parquet.folder(folder / "answers.csv").exists()
    results.write(folder / "answers.csv", iter(answers(40)), Answer)
    assert parquet.is_made(folder / "answers.csv")
    assert [file.name for file in sorted(folder.iterdir())] == ["answers.csv", "answers.parquet"]
    assert len(parquet.files(folder / "answers.parquet")) == 3
    results.write(folder / "answers.csv", answers(2), Answer)
    assert [file.name for file in folder.iterdir()] == ["answers.csv"], "a table that is small again has no Parquet"


def test_a_table_that_grows_is_made_anew_when_it_is_asked(small, folder: Path) -> None:
    file = folder / "answers.csv"
    for number in (4, 2):
        results.append(file, answers(number), Answer)
    assert parquet.is_large(file, Answer) and not parquet.is_made(file)
    assert Asked.opened(file, Answer).ask("SELECT count(*) AS n FROM rows")["n"].to_list() == [6]
    results.append(file, answers(1), Answer)
    assert not parquet.is_made(file)
    assert Asked.opened(file, Answer).ask("SELECT count(*) AS n FROM rows")["n"].to_list() == [7]


def test_what_breaks_off_leaves_nothing(small, folder: Path) -> None:
    def broken():
        yield from answers(9)
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        results.write(folder / "answers.csv", broken(), Answer)
    assert not list(folder.iterdir())
    results.append(folder / "answers.csv", answers(20), Answer)
    (folder / ".answers.parquet.999999").mkdir()
    with (folder / "answers.csv").open("a") as file:
        file.write('r,m,"never ends')
    with pytest.raises(UserError, match=r"answers.csv can't be read"):
        parquet.made(folder / "answers.csv", Answer)
    assert [each.name for each in folder.iterdir()] == ["answers.csv"], "what a killed process left is gone too"


@pytest.mark.parametrize("number", [2, 40])
def test_small_and_large_are_asked_alike_and_values_are_bound(small, folder: Path, number: int) -> None:
    hostile = "'; DROP TABLE rows; --"
    rows = [*answers(number), Answer("r", "m", "c", hostile, "ref", "", 2.0, 4, "stop")]
    results.write(folder / "answers.csv", rows, Answer)
    asked = Asked.opened(folder / "answers.csv", Answer)
    assert bool(asked.files) == (number == 40) and asked.columns == Answer.columns()
    found = asked.ask("SELECT place, reference_loss FROM rows WHERE question = $question", {"question": hostile})
    assert found.to_dict("records") == [{"place": number, "reference_loss": 2.0}]
    assert asked.ask("SELECT place FROM rows ORDER BY place")["place"].to_list() == list(range(number + 1))
