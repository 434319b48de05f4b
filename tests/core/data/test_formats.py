"""Every file that can't be read is refused by one clear sentence; every row that can't be used is counted with its reason."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.config import DataConfig
from core.data import formats, source
from core.data.read import Dataset, read
from core.errors import UserError

ROWS = [{"question": f"What is {n}?", "answer": f"It is {n}.", "category": "numbers"} for n in ("one", "two", "three")]
HEADER = "question,answer,category\n"


@pytest.fixture(autouse=True, params=["in memory", "on disk"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that is true of small sources is true of large ones."""
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    if request.param == "on disk":
        monkeypatch.setattr(source, "LARGE_BYTES", -1)


def given(folder: Path, name: str, content: str | bytes, **config: Any) -> Dataset:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(DataConfig(data=str(path), **config))


def texts(dataset: Dataset) -> list[tuple[str, str, str]]:
    return [(row.question, row.answer, row.category) for row in dataset.rows]


def counted(dataset: Dataset) -> dict[str, int]:
    return {reason: drop.count for reason, drop in dataset.dropped.items()}


EXPECTED = [(row["question"], row["answer"], row["category"]) for row in ROWS]


def as_csv(delimiter: str = ",") -> str:
    return "\n".join(delimiter.join(line) for line in [("question", "answer", "category"), *EXPECTED]) + "\n"


def as_lines() -> str:
    return "\n".join(json.dumps(row) for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(ROWS)),
        ("a.json", as_lines()),
        ("a.jsonl", as_lines() + "\n\n"),
        ("a.jsonl", as_lines().replace("\n", "\r\n")),
        ("a.ndjson", json.dumps(ROWS, indent=2)),
        ("A.CSV", as_csv()),
        ("a.csv", as_csv(";")),
        ("a.csv", as_csv().replace("\n", "\r\n") + "\r\n"),
        ("a.tsv", as_csv("\t")),
        ("bom.csv", b"\xef\xbb\xbf" + as_csv().encode()),
        ("bom.jsonl", b"\xef\xbb\xbf" + as_lines().encode()),
        ("utf16.csv", as_csv().encode("utf-16")),
        ("utf16be.jsonl", b"\xfe\xff" + as_lines().encode("utf-16-be")),
        ("utf32.json", json.dumps(ROWS).encode("utf-32")),
    ],
)
def test_each_text_format_gives_the_same_rows(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert texts(given(tmp_path, name, content)) == EXPECTED


def test_parquet_gives_the_same_rows_and_hash(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    dataset = read(DataConfig(data=str(tmp_path / "a.parquet")))
    assert texts(dataset) == EXPECTED
    assert dataset.source_hash == given(tmp_path, "a.csv", as_csv()).source_hash


REFUSED = {
    "empty.jsonl": ("", "empty"),
    "empty.parquet": ("", "empty"),
    "blank.csv": ("\n \n", "empty"),
    "nul.csv": (HEADER.encode() + b"a,b\0,c\n", "NUL byte in line 2"),
    "random.jsonl": (bytes(range(256)) * 8, "binary"),
    "utf16.jsonl": (as_lines().encode("utf-16-le"), "UTF-16"),
    "latin.csv": (HEADER.encode() + b"ok,ok,x\nCaf\xe9?,a,b\n", "0xe9 in line 3"),
    "cut.csv": (b"\xff\xfea\0b", "UTF-16"),
    "sheet.csv": (b"PK\x03\x04rest", "Excel"),
    "columns.csv": (HEADER + "", "no rows"),
    "list.json": ("[]", "no rows"),
    "object.json": (json.dumps(ROWS[0]), "'question', 'answer', 'category'"),
    "object.jsonl": ('{"data":\n [1]}', "Line 1"),
    "number.json": ("3", "not a list"),
    "broken.json": ('[{"question": "a"},\n {"question" "b"}]', "line 2"),
    "broken.jsonl": (as_lines() + '\n{"question": "a", "ans', "Line 4"),
    "deep.json": ("[" * 200_000, "JSON"),
    "long.jsonl": ('{"question": "a", "answer": ' + "1" * 5000 + "}", "Line 1"),
    "other.jsonl": ('{"text": "a", "label": "b"}', "text, label"),
    "nothing.jsonl": ('{"question": null, "answer": "b"}', "question is missing"),
    "scalars.jsonl": ('1\n"a"\nnull', "no question and answer columns"),
    "twice.csv": ("question,answer,answer\na,b,c\n", "more than one column called 'answer'"),
    "quote.csv": (HEADER + '"a,b,c\nd,e,f\n', "line"),
    "ragged.csv": (HEADER + "a,b\nc,d,e,f\n", "lines"),
    "bad.parquet": (b"PAR1 not really", "Parquet"),
    "data.xlsx": (b"PK\x03\x04", ".xlsx"),
    "noending": (as_csv(), "names no known format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_one_sentence(tmp_path: Path, name: str) -> None:
    content, says = REFUSED[name]
    with pytest.raises(UserError) as error:
        given(tmp_path, name, content)
    message = str(error.value)
    assert name in message
    assert says.rstrip("s") in message
    assert "\n" not in message and len(message) < 600


def test_a_parquet_with_bad_text_or_a_column_twice_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    bad_text = pa.Array.from_buffers(pa.string(), 1, pa.array(["ab"]).buffers()[:2] + [pa.py_buffer(b"\xff\xfe")])
    tables = {
        "text": pa.table({"question": bad_text, "answer": ["x"]}),
        "twice": pa.table([["a"], ["b"], ["c"]], names=["question", "answer", "answer"]),
    }
    for name, table in tables.items():
        parquet.write_table(table, tmp_path / f"{name}.parquet")
        with pytest.raises(UserError, match=f"{name}.parquet"):
            read(DataConfig(data=str(tmp_path / f"{name}.parquet")))


@pytest.mark.parametrize("data", ["nowhere.csv", "no/such/folder/file.json", "https://example.org/a b", "", "x" * 300 + ".csv", "no where"])
def test_a_missing_file_is_named(data: str) -> None:
    with pytest.raises(UserError) as error:
        read(DataConfig(data=data))
    assert data[:80] in str(error.value)


def test_a_folder_and_a_file_without_permission_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder"):
        read(DataConfig(data=str(tmp_path)))
    if os.geteuid():
        (tmp_path / "secret.csv").write_text(as_csv())
        (tmp_path / "secret.csv").chmod(0)
        with pytest.raises(UserError, match="permissions"):
            read(DataConfig(data=str(tmp_path / "secret.csv")))


def test_an_unknown_hub_id_offline_names_the_id_and_the_way_out() -> None:
    with pytest.raises(UserError) as error:
        read(DataConfig(data="nobody/no-such-dataset"))
    for part in ("nobody/no-such-dataset", "HF_HUB_OFFLINE", "file"):
        assert part in str(error.value)


def test_a_hub_dataset_is_read_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub can't be reached here: a dataset of that shape stands in for the download alone."""
    import datasets

    asked = []

    def load_dataset(*names: str | None) -> datasets.DatasetDict:
        asked.append(names)
        return datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS), test=datasets.Dataset.from_list(ROWS[:1]))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    dataset = read(DataConfig(data="some/set:main"))
    assert asked == [("some/set", "main")]
    assert texts(dataset) == EXPECTED
    assert "split train" in dataset.notes[0]


def test_rows_that_cannot_be_used_are_counted_with_reason_and_place(tmp_path: Path) -> None:
    bad = [
        '{"question": "", "answer": "a"}',
        '{"question": "q", "answer": NaN}',
        '{"question": "q", "answer": "nan"}',
        '{"question": "q"}',
        '{"question": "q", "answer": ["a"]}',
        '{"question": "q", "answer": "a\\u0000b"}',
        '{"question": "q\\ud800", "answer": "a"}',
        '["question", "answer"]',
    ]
    dataset = given(tmp_path, "a.jsonl", "\n".join([as_lines(), *bad]), category_column=None)
    assert len(dataset.rows) == 3
    assert counted(dataset) == {
        "the row is no object with columns": 1,
        "the question is missing (empty, null or NaN)": 1,
        "the answer is missing (empty, null or NaN)": 3,
        "the answer is no text but list": 1,
        "the answer holds a NUL character": 1,
        "the question holds half a character (a lone surrogate)": 1,
    }
    assert dataset.dropped["the answer is missing (empty, null or NaN)"].examples == ("line 5", "line 6", "line 7")


def test_ragged_lines_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    dataset = given(tmp_path, "a.csv", as_csv() + "a,b\nc,d,e,f\n")
    assert texts(dataset) == EXPECTED
    assert dataset.dropped["the line has not the header's 3 fields"].examples == ("line 5", "line 6")


def test_unusual_but_good_rows_are_kept(tmp_path: Path) -> None:
    rows = [
        ("مرحبا كيف حالك؟", "بخير، شكرا", "عربي"),
        ("What is 😀?", "👩‍👩‍👧‍👦 a family\u2028on two lines", "emoji"),
        ("How long?", "word " * 9_999 + "word", "long"),
        ("What is 'None'?", "None", "NA"),
        ('Quote "this", please', 'He said "a, b"\nand left.', "csv"),
    ]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("question", "answer", "category"), *rows])
    assert texts(read(DataConfig(data=str(tmp_path / "a.csv")))) == rows
    content = "\n".join(json.dumps({"question": q, "answer": a, "category": c}, ensure_ascii=False) for q, a, c in rows)
    assert texts(given(tmp_path, "a.jsonl", content)) == rows


def test_numbers_and_dates_become_their_text(tmp_path: Path) -> None:
    import datetime
    import decimal

    import pandas as pd

    content = '{"question": "6 x 7?", "answer": 42, "category": 1}\n{"question": "pi?", "answer": 3.14, "category": 1}\n'
    dataset = given(tmp_path, "a.jsonl", content + '{"question": "Sure?", "answer": true, "category": 1}')
    assert texts(dataset) == [("6 x 7?", "42", "1"), ("pi?", "3.14", "1"), ("Sure?", "true", "1")]
    frame = pd.DataFrame({"question": ["When?", "What?"], "answer": [datetime.date(2024, 2, 29), None]})
    frame.to_parquet(tmp_path / "a.parquet")
    assert [row.answer for row in read(DataConfig(data=str(tmp_path / "a.parquet"))).rows] == ["2024-02-29"]
    pd.DataFrame({"question": ["How much?"], "answer": [decimal.Decimal("1.50")]}).to_parquet(tmp_path / "b.parquet")
    assert [row.answer for row in read(DataConfig(data=str(tmp_path / "b.parquet"))).rows] == ["1.50"]
