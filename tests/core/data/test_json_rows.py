"""A list that is decoded through a window is what the standard library decodes as a whole."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data import json_rows
from core.errors import UserError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "rows.json"


def items(file: Path, text: str, block: int) -> list:
    file.write_text(text, encoding="utf-8", newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_BLOCK", block)
        return [value for _, value in json_rows.items(file, "utf-8")]


@given(values=st.lists(VALUES, max_size=8), block=st.integers(1, 40), indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
def test_any_list_is_decoded_whatever_the_window(file: Path, values: list, block: int, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    assert items(file, f" \r\n{text}\n ", block) == json.loads(text)


@given(values=st.lists(VALUES, min_size=1, max_size=4), block=st.integers(1, 40), cut=st.integers(1, 200), other=st.sampled_from('x]}",: \n'))
def test_an_error_is_the_one_of_the_whole_text(file: Path, values: list, block: int, cut: int, other: str) -> None:
    text = json.dumps(values, indent=1)
    for broken in (text[: -min(cut, len(text) - 1)], text[: cut % len(text)] + other + text[cut % len(text) + 1 :]):
        if not broken.startswith("["):
            continue
        try:
            expected = json.loads(broken)
        except json.JSONDecodeError as error:
            with pytest.raises(UserError) as raised:
                items(file, broken, block)
            assert f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}." in str(raised.value)
        else:
            assert items(file, broken, block) == expected


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "LONGEST", 1000)
    with pytest.raises(UserError, match="Unterminated string starting at in line 2, column 14"):
        items(file, '[{"question": "a", "answer": "b"},\n{"question": "' + "a, " * 10_000 + "]", 100)
