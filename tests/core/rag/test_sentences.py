"""Answers cut into sentences, in several scripts."""

import pytest

from core.rag.sentences import sentences, words


@pytest.mark.parametrize(
    "text, found",
    [
        (
            'Dr. Smith came. He said: "Go!" Then he left, e.g. at 3.5 km.',
            ["Dr. Smith came.", 'He said: "Go!"', "Then he left, e.g. at 3.5 km."],
        ),
        ("J. S. Mill wrote it... and more", ["J. S. Mill wrote it... and more"]),
        ("1. First thing\n- Second. Third!\n\n***\n## Head", ["First thing", "Second.", "Third!", "Head"]),
        ("你好。世界很大！是吗？", ["你好。", "世界很大！", "是吗？"]),
        ("مرحبا. كيف الحال؟ جيد", ["مرحبا.", "كيف الحال؟", "جيد"]),
        ("cut in the mid", ["cut in the mid"]),
        (" \n--\n", []),
    ],
)
def test_sentences(text: str, found: list[str]) -> None:
    assert sentences(text) == found


def test_words_are_runs_of_letters_and_single_signs_where_there_are_no_blanks() -> None:
    assert words("The cat, a Straße and “Việt Nam”: 3 don't.") == ["cat", "straße", "and", "việt", "nam", "3", "don", "t"]
    assert words("我爱GPT模型") == ["我", "爱", "gpt", "模", "型"]
    assert words("საქართველო Ελλάς") == ["საქართველო", "ελλάς"]
