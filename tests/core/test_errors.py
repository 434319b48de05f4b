"""A full disk is the person's to mend, whoever says it."""

import errno

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from core.errors import UserError, explained, shown


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG])
def test_a_disk_that_cannot_be_written_is_the_persons_to_mend(code):
    error = explained(OSError(code, "?", "/somewhere/run.json"))
    assert isinstance(error, UserError) and str(error).startswith("/somewhere/run.json can't be written or read: ")


def test_a_full_disk_that_names_no_file_is_looked_for(monkeypatch):
    monkeypatch.setenv("LYCEUM_CACHE", "/proc")  # which has no space at all
    assert str(explained(OSError(errno.ENOSPC, "?"))).startswith("A file, probably in /proc, can't be written or read: No space")


def test_safetensors_says_it_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SafetensorError) as refused:
        save_file({"a": torch.zeros(1)}, tmp_path / "file" / "a.safetensors")
    assert "Not a directory" in str(explained(refused.value))


def test_other_errors_stay_what_they_are():
    for error in (ValueError("no"), FileNotFoundError(errno.ENOENT, "?"), UserError("so")):
        assert explained(error) is error


def test_values_in_a_sentence_are_short_and_can_be_printed():
    assert shown("plain") == "plain" and shown([1]) == "[1]" and shown("\ud800") == "\\ud800"
    assert shown("x" * 100) == "x" * 77 + "..."
