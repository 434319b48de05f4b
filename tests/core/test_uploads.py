from pathlib import Path

import pytest

from core import uploads
from core.errors import UserError


@pytest.mark.parametrize("name", ["../../evil.jsonl", "/etc/passwd.json", "..\\..\\up.csv", "a b ü.PARQUET", "plain.jsonl"])
def test_an_upload_never_leaves_its_folder(home: Path, name: str) -> None:
    place = uploads.keep(name, b"{}")
    assert place.parent == home / "data" / "uploads" and place.read_bytes() == b"{}"
    assert uploads.listing() == [place]


@pytest.mark.parametrize("name", ["model.pkl", "noending", "x.jsonl.sh"])
def test_other_formats_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="ends in none of json, jsonl, csv, parquet"):
        uploads.keep(name, b"")


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_MB", 1)
    with pytest.raises(UserError, match="2 MB, more than 1"):
        uploads.keep("a.csv", b"x" * 2**21)
    assert uploads.listing() == []
