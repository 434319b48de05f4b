"""What is taken out of texts before others see them."""

import pytest

from core import private, read_only


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("base:/home/ada/models/x@7ef9|quantization:none", "base:x@7ef9|quantization:none"),
        ("base:/home/ada lovelace/my models/x@7ef9", "base:x@7ef9"),
        ("base:/model@1", "base:model@1"),
        ("No '/home/ada/y.csv' here, nor ~/z.csv.", "No 'y.csv' here, nor z.csv."),
        (r"base:C:\Users\Ada L\x@1", "base:x@1"),
        ("/home/ada/my data.csv", "my data.csv"),
        ("file:///home/ada/x", "x"),
        ("see file:///home/ada/x now", "see x now"),
        ("http://ada:p@ss@judge.example:8000/v1?key=1", "http://judge.example:8000/v1"),
        ("asked http://ada:pw@judge.example/v1?key=1 twice", "asked http://judge.example/v1 twice"),
        ("Use sk-verysecret.", "Use (removed)."),
    ],
)
def test_what_stays_here(text: str, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "sk-verysecret")
    assert private.removed({"each": [text]}) == {"each": [left]}


@pytest.mark.parametrize("text", ["data/x.csv", "yes/no, 1/2/3 and </b>", "~5 tokens/second", "base:Owner/Name@7|x", "hf://datasets/a/b"])
def test_what_is_no_folder_of_the_machine(text: str) -> None:
    assert private.removed_from(text) == text


def test_pages_tell_all_to_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    assert private.shown("in /home/ada/x") == "in /home/ada/x"
    monkeypatch.setenv(read_only.VARIABLE, "1")
    assert private.shown("in /home/ada/x") == "in x"
