"""What is odd about an answer, and what is not."""

import pytest

from core.data.read import QA
from core.evaluate.flags import flag
from core.evaluate.languages import switched
from core.results import Answer

QUESTION = "What does the word freedom mean to a cynic?"
REFERENCE = "Exemption from the stress of authority in a beggarly half dozen of restraint's infinite multitude of methods."
PLAIN = "It is the state of being free, which most people praise and few of them have ever tried for long."
TRAINING = [
    QA("What is a bore?", "A person who talks when you wish him to listen to you for once in his life.", "cynic", "train"),
    QA("What is a bride?", "A woman with a fine prospect of happiness behind her.", "cynic", "train"),
    QA("Who?", "Nobody in particular.", "cynic", "train"),
]


def flags(prediction, finish="stop", question=QUESTION):
    found = flag([Answer("run", "model", "cynic", question, REFERENCE, prediction, 1.0, 1, finish)], TRAINING)
    assert all((row.run, row.model, row.category, row.question) == ("run", "model", "cynic", question) for row in found)
    return {row.flag: row.detail for row in found}


def test_a_plain_answer_and_the_reference_have_none():
    assert flags(PLAIN) == flags(REFERENCE) == {}


@pytest.mark.parametrize("prediction", ["", "  \n\t"])
def test_empty(prediction):
    assert flags(prediction, "length") == {"empty": ""}


def test_cut():
    assert list(flags(PLAIN, "length")) == ["cut"]


@pytest.mark.parametrize(
    ("prediction", "times"),
    [
        ("The wise are wise. " * 5, "5 times"),
        (f"{PLAIN} And so it goes on, and so it goes on, and so it goes on, and so", "3 times"),
        ("no " * 20, "20 times"),
        ("生命生命生命生命生命生命", "6 times"),
    ],
)
def test_a_phrase_over_and_over_is_a_loop(prediction, times):
    assert times in flags(prediction)["loop"]


def test_a_loop_with_small_changes_is_one():
    prediction = " ".join(f"The man who has no {word} is a man of the law." for word in ("craving", "desire", "sorrow", "anger", "fear"))
    assert "runs of four words" in flags(prediction)["loop"]


@pytest.mark.parametrize("prediction", ["Ha, ha, ha.", "He came, he saw, and he left as he came.", f"{PLAIN} {PLAIN}"])
def test_saying_a_thing_twice_is_no_loop(prediction):
    assert "loop" not in flags(prediction)


def test_copying_the_question():
    assert "copies_question" in flags("What does the word freedom mean to a cynic?")
    assert "copies_question" in flags("The word freedom mean to a cynic is what it does.")
    assert "copies_question" not in flags(f"What does the word freedom mean to a cynic? {PLAIN} {PLAIN}")
    assert flags("a", question="") == {}


def test_copying_a_training_answer():
    whole = flags("A person who talks when you wish him to listen to you for once in his life!")
    assert whole == {"memorised": "the answer to 'What is a bore?' (cynic)"}
    part = flags("Well: a person who talks when you wish him to listen to you.")["memorised"]
    assert "of its words, from the answer to 'What is a bore?'" in part
    assert flags("Nobody in particular.") == {}, "three words are nobody's"
    assert flags("A person who talks, and a woman with a fine prospect, as they say of people.") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Свобода это осознанная необходимость", "Cyrillic"),
        ("自由とは責任のことである", "Cjk"),
        ("Freiheit ist das, was man nicht hat, und wer sie hat, der will sie auch nicht für immer behalten.", "German"),
        ("La liberté est une chose que les hommes cherchent et qui ne dure pas pour tous.", "French"),
        (f"{PLAIN} Aber die Leute wissen nicht, was das ist, und sie wollen es auch nicht für immer.", "German"),
        (f"{PLAIN} 自由とは責任のことであると人は言うがそれは違うのである。", "Cjk"),
    ],
)
def test_another_language(text, said):
    assert said in flags(text)["other_language"]


@pytest.mark.parametrize(
    "text", ["The man who has no craving, who has no desire, who has no sorrow. " * 8, f"{PLAIN} Café, naïve, Ὅμηρος.", "42", "das Ding"]
)
def test_the_same_language(text):
    assert switched(text, f"{QUESTION} {REFERENCE}") == ""


def test_an_answer_in_the_language_of_the_question_is_none_of_another():
    assert switched("Das ist die Freiheit, und wer sie hat, der will sie nicht.", "Was ist Freiheit? Das, was man nicht hat.") == ""
