"""What a file of verdicts holds, and files that hold none."""

import pytest

from core.errors import UserError
from core.judge.formats.content import format_of, read


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '[{"a": "x"}, {"a": "\\ud800"}]', "record 2 holds half a character"),
        ("a.jsonl", '{"a": 1}\n{broken\n', "line 2: "),
        ("a.csv", "a,b\n1,2\n1,2,3\n", "Line 3 of .* has 3 cells, and its head has 2"),
        ("a.csv", "a,b,a\n1,2,3\n", "more than one column called a"),
    ],
)
def test_broken_files_are_told_with_the_place(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        read(tmp_path / name)


def test_whole_characters_in_escapes_and_quoted_line_ends_are_read(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": "\\ud83d\\ude00"}]')
    assert read(tmp_path / "a.json") == [{"a": "\U0001f600"}]
    (tmp_path / "a.csv").write_text('a,b\n"1\n\n2, 3",x\n\n')
    assert read(tmp_path / "a.csv") == [{"a": "1\n\n2, 3", "b": "x"}]


@pytest.mark.parametrize("text", ["", "[]", "no json", "[1, 2]", "\x00\x01", '{"a": 1'])
def test_a_file_without_records_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="Give a"):
        read(tmp_path / "a.json")


def test_an_unknown_format_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="in no known format of verdicts: it has foo. Known are: .*AlpacaEval"):
        format_of([{"foo": 1}], tmp_path)
