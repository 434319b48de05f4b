"""Text is checked block by block, with the sentences of a look at the whole."""

from pathlib import Path

import pytest

from core.data import texts
from core.errors import UserError


@pytest.fixture(autouse=True, params=[1, 3, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_BLOCK", request.param)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_characters_that_lie_across_blocks_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("\n \nschöne Grüße 😀\n".encode(encoding))
    assert texts.encoding(tmp_path / "a.csv") == encoding
    assert "".join(texts.head(tmp_path / "a.csv", encoding))[:1] == "s"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a\nb\nCaf\xe9?\n", "no UTF-8 text: byte 0xe9 in line 3 "),
        (b"a\nb\nCaf\xc3", "no UTF-8 text: byte 0xc3 in line 3 "),
        (b"a\xe9\nb\nc\0d", "NUL byte in line 3:"),
        (b" \n\t \n", r"is empty \(5 bytes\)"),
        (b"", r"is empty \(0 bytes\)"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=says):
        texts.encoding(tmp_path / "a.csv")
