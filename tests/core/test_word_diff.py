from core.word_diff import differences


def test_words_that_are_shared_added_and_missing():
    found = differences("The union of two thieves.", "the union of three honest men")
    assert found == [("the union of ", "same"), ("two thieves. ", "missing"), ("three honest men", "added")]


def test_the_answer_stands_in_it_to_the_letter():
    text = "  One\n\ntwo  three; four\n"
    kept = "".join(piece for piece, kind in differences("two four five", text) if kind != "missing")
    assert kept == text


def test_missing_words_at_the_end_stand_apart():
    assert differences("the cat sat", "the cat") == [("the cat", "same"), (" sat ", "missing")]


def test_empty_texts():
    assert differences("", "") == []
    assert differences("a b", "") == [("a b ", "missing")]
    assert differences("", "a b") == [("a b", "added")]


def test_a_very_long_text_is_compared_in_its_first_words_and_whole():
    text = "word " * 5000
    assert "".join(piece for piece, kind in differences("word", text) if kind != "missing") == text
