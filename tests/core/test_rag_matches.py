"""Words of a question in a passage."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.rag_matches import matches


@pytest.mark.parametrize(
    ("question", "text", "same"),
    [
        ("What do bees make?", "A bee makes honey, and the Bees know.", ["bee", "makes", "Bees"]),
        ("Who is it that was?", "It is that it was.", []),
        ("What is a man’s labour?", "A man labours; men's LABOUR", ["man", "labours", "LABOUR"]),
        ("Что такое мудрость?", "мудрость и труд", ["мудрость"]),
    ],
)
def test_words_of_the_question_are_found_by_their_stems(question: str, text: str, same: list[str]) -> None:
    assert [piece for piece, kind in matches(question, text) if kind == "same"] == same


@given(some.text(max_size=60), some.text(max_size=200))
def test_the_pieces_are_the_text(question: str, text: str) -> None:
    assert "".join(piece for piece, _ in matches(question, text)) == text
