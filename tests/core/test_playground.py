"""The playground's state: its link brings it back, each model has a conversation of its own, answers fold as they come in."""

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import playground
from core.answer_tokens import Token
from core.config import DrawingConfig
from core.errors import UserError
from core.playground import Answer, Play, fold, from_link, messages, request, standing, system_message, to_link
from core.presets import GENERATION

USUAL = Play(models=("base", "cynic-lora"), system_prompt="Be a {category}.")
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
SAID = TEXT.filter(lambda text: text.strip())
DRAWINGS = st.builds(
    DrawingConfig,
    preset=st.sampled_from([None, *GENERATION]),
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0.01, 1),
    max_tokens=st.none() | st.integers(1, 8192),
    seed=st.none() | st.integers(0, 2**32 - 1),
)
PLAYS = st.builds(
    Play,
    models=st.lists(SAID, min_size=1, max_size=4, unique=True).map(tuple),
    questions=st.lists(SAID, max_size=5).map(tuple),
    system_prompt=TEXT,
    category=TEXT,
    drawing=DRAWINGS,
)


@given(PLAYS, PLAYS)
def test_a_link_brings_the_state_back_through_an_address(play, usual):
    params = parse_qs(urlencode(to_link(play, usual), doseq=True), keep_blank_values=True)
    assert from_link(params, usual) == play


def test_a_link_holds_what_differs_and_mixes_are_names():
    mix = "mix:cynic-lora=0.5,law=0.5"
    assert to_link(USUAL, USUAL) == {"model": ["base", "cynic-lora"]}
    play = Play(models=("base", mix), questions=("Why?",), system_prompt=USUAL.system_prompt, drawing=DrawingConfig(preset=None, seed=3))
    assert to_link(play, USUAL) == {"model": ["base", mix], "preset": "none", "seed": "3", "question": ["Why?"]}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"temperature": ["hot"]}, "temperature=hot can't be used"),
        ({"temperature": ["9"]}, "temperature=9 can't be used"),
        ({"preset": ["wild"]}, "preset=wild can't be used"),
        ({"model": list("abcde")}, "it names 5 models, and 4 stand side by side"),
    ],
)
def test_a_link_that_cannot_be_read_is_a_sentence(params, said):
    with pytest.raises(UserError) as error:
        from_link(params, USUAL)
    assert str(error.value).startswith("This link can't be read: ") and said in str(error.value)


def test_the_system_prompt_takes_the_chosen_category_or_an_adapters_own_and_else_is_left_out():
    own = {"cynic-lora": "cynic"}
    assert system_message(USUAL, "cynic-lora", own) == "Be a cynic."
    assert system_message(USUAL, "base", own) is None
    chosen = Play(system_prompt="Be a {category}.", category="hacker")
    assert [system_message(chosen, name, own) for name in ("base", "cynic-lora")] == ["Be a hacker."] * 2
    assert system_message(Play(system_prompt="Be brief."), "base", own) == "Be brief."
    assert system_message(Play(), "cynic-lora", own) is None


def test_only_adapters_of_one_category_have_one_of_their_own():
    infos = {"a": {"categories": ["x"]}, "b": {"role": "pooled", "categories": ["x"]}, "c": {"categories": ["x", "y"]}, "d": {}}
    assert playground.own_categories(infos) == {"a": "x"}


def test_a_conversation_alternates_and_ends_with_the_first_unanswered_question():
    assert messages("S", ["q1", "q2", "q3"], ["a1"]) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "q2"},
    ]
    assert messages(None, ["q1"], []) == [{"role": "user", "content": "q1"}]


def test_a_request_leaves_to_the_preset_what_nobody_typed():
    said = [{"role": "user", "content": "Why?"}]
    asked = request(DrawingConfig(preset="creative", seed=4), "base", said)
    assert asked["preset"] == "creative" and asked["seed"] == 4 and "temperature" not in asked and "top_p" not in asked
    assert asked["max_tokens"] == playground.LONGEST and (asked["logprobs"], asked["top_logprobs"]) == (True, 5)
    assert request(DrawingConfig(preset="longer"), "base", said)["max_tokens"] == GENERATION["longer"]["max_tokens"]
    plain = request(DrawingConfig(preset=None, max_tokens=7), "base", said, scored=False)
    assert plain["max_tokens"] == 7 and not {"preset", "logprobs", "seed"} & set(plain)


def test_every_preset_of_the_engine_can_be_chosen():
    assert [DrawingConfig(preset=name).preset for name in GENERATION] == list(GENERATION)


ONE = Token("a", -0.5, b"a")
DONE = {"done": "stop", "count": 2, "seconds": 1.0, "first": 0.5}


def test_answers_fold_turn_by_turn():
    events = [{"turn": 0, "text": "a", "tokens": (ONE,)}, {"turn": 0, "text": "b", "tokens": ()}, {"turn": 0, **DONE}]
    first, second = fold([], events, 2)
    assert (first.text, first.tokens, first.state, first.count, first.first) == ("ab", (ONE,), "stop", 2, 0.5)
    assert second == Answer()
    assert [each.state for each in fold([first], [{"turn": 1, "text": "c", "tokens": ()}], 2)] == ["stop", "writes"]


@pytest.mark.parametrize(
    ("text", "error", "ended", "state", "stands"),
    [
        ("a", None, False, "writes", False),
        ("a", None, True, "stopped", True),
        ("", None, True, "waits", False),
        ("a", "Gone.", True, "error", False),
        ("", "Gone.", True, "error", False),
    ],
)
def test_what_breaks_off_stands_only_where_it_has_words_and_no_error(text, error, ended, state, stands):
    events = [{"turn": 1, "text": text, "tokens": ()}] if text else []
    before = Answer("x", state="stop")
    found = fold([before], events, 3, error, ended)
    assert (found[1].state, found[1].stands, found[1].said) == (state, stands, error or "")
    assert found[2].state == "waits" and found[0] == before
    assert len(standing(found)) == 1 + stands


def told(tokens):
    return lambda engine, asked: {"tokens": tokens, "token": tokens[asked["token"]], "place": asked["token"]}


@pytest.mark.parametrize(
    ("pieces", "theirs", "clicked", "place"),
    [
        (["a", " b", "c"], ["a", " b", "c"], 2, 2),
        (["a", "<|end|>", " b", "c"], ["a", " b", "c"], 3, 2),
        (["a ", "b", "c"], ["a", " ", "b", "c"], 1, 2),
        (["\ufffd", " b", "c"], ["\ufffd", "\ufffd", "\ufffd", " b", "c"], 2, 4),
        (["ab", "c"], ["a", "bc"], 1, None),
    ],
)
def test_a_word_is_explained_where_it_stands_however_the_engine_reads_the_answer(monkeypatch, pieces, theirs, clicked, place):
    monkeypatch.setattr(playground.client, "shares", told(theirs))
    answer = Answer("".join(pieces).replace("<|end|>", ""), tuple(Token(each, -1.0, each.encode()) for each in pieces), "stop")
    if place is None:
        with pytest.raises(UserError, match="other tokens"):
            playground.explain(None, "x", [], answer, clicked)
    else:
        found = playground.explain(None, "x", [], answer, clicked)
        assert (found["place"], found["token"]) == (place, pieces[clicked])
