"""Lyceum's own verdicts.csv, made elsewhere or by hand."""

from dataclasses import asdict

import pandas as pd
import pytest

from core.judge.formats import FORMATS
from core.judge.formats.content import format_of, read
from core.judge.formats.record import BadRecord
from tests.core.judge.synthetic import SyntheticJudge


@pytest.mark.parametrize(
    ("words", "read_as"),
    [
        (("WINNER", "", ""), ["unparsed", "", ""]),
        (("base", "weird", "fine-tuned"), ["unparsed", "unparsed", "fine-tuned"]),
        (("", "", ""), ["unparsed", "", ""]),
        (("tie", "base", "fine-tuned"), ["tie", "base", "fine-tuned"]),
    ],
)
def test_unknown_words_in_lyceums_table_are_unparsed(tmp_path, words, read_as):
    row = dict(zip(("verdict", "first_verdict", "second_verdict"), words, strict=True)) | {"judge": "j"}
    pd.DataFrame([row | {"base_prediction": "a", "candidate_prediction": "b"}]).to_csv(tmp_path / "v.csv", index=False)
    found = next(FORMATS["lyceum"].load()(read(tmp_path / "v.csv")))
    assert [found.verdict, found.first_verdict, found.second_verdict] == read_as
    assert bool(found.reason) == (list(words) != read_as)


@pytest.mark.parametrize(("column", "value"), [("tokens", "inf"), ("tokens", "many"), ("cost", "-inf")])
def test_numbers_of_lyceums_table_are_told_where_they_are_none(tmp_path, column, value):
    (tmp_path / "v.csv").write_text(f"judge,verdict,base_prediction,candidate_prediction,{column}\nj,tie,a,b,{value}\n")
    with pytest.raises(BadRecord, match=f"record 1 has '{value}' in '{column}'"):
        list(FORMATS["lyceum"].load()(read(tmp_path / "v.csv")))


def test_lyceums_own_table_reads_back(tmp_path):
    table = SyntheticJudge().verdicts(0, 5).assign(first_reply="A", second_reply="B", tokens=3, seconds=0.5, reason="", cost=None)
    table.drop(columns=["rationale", "cost"]).to_csv(tmp_path / "v.csv", index=False)
    held = read(tmp_path / "v.csv")
    rows = list(FORMATS[format_of(held, tmp_path)].load()(held))
    assert [asdict(row)["verdict"] for row in rows] == list(table["verdict"])
    assert (rows[0].tokens, rows[0].seconds, rows[0].cost, rows[0].rationale, rows[0].pair) == (3, 0.5, None, "", "p0")
