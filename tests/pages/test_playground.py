"""The playground on a real engine with a tiny base: what stands in its columns is what the engine answers, and text stays text."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core import paths, playground, playground_charts, saved_questions
from core.config import DrawingConfig
from core.playground import Play, fold
from core.serve import client, resident
from pages import playback
from tests.pages import tiny_mix
from tests.pages.conftest import APP, Open
from tests.pages.test_pages import words

MIX = "mix:cynic-lora=0.5,lexicon-lora=0.7"
SHORT = {"max_tokens": "10", "temperature": "0"}
QUESTION = "What is a friend?"


def columns(at: AppTest, turn: int = 0) -> list[dict[str, Any]]:
    """The columns of a question."""
    sent = [json.loads(each.proto.json) for each in at.get("bidi_component") if each.proto.component_name.endswith("playground")]
    return sent[-1 - turn]["columns"]  # the newest question stands first


def settled(at: AppTest, seconds: float = 60) -> AppTest:
    """The page once everything has been answered."""
    until = time.monotonic() + seconds
    while any(not each.done for each in at.session_state["playback"].values()):
        assert time.monotonic() < until, "the engine does not come to an end"
        time.sleep(0.05)
    at.run()
    assert not at.exception, at.exception
    return at


def ask(at: AppTest, question: str) -> AppTest:
    return settled(at.chat_input(key="playground.question").set_value(question).run())


def opened(*models: str, **query: str) -> AppTest:
    """The page by a link."""
    at = AppTest.from_file(str(APP), default_timeout=120)
    at.query_params.update({"model": list(models), **query})
    return at.switch_page("pages/playground.py").run()


def engines(model: str, *questions: str, system: str = "", tokens: int = 10) -> list[str]:
    """What the engine answers."""
    found = resident.find()
    assert found
    play = Play(questions=questions, system_prompt=system, drawing=DrawingConfig(temperature=0, max_tokens=tokens))
    return [answer.text for answer in fold([], list(playground.stream(found, play, model, {})), len(questions))]


def press(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click().run()
    return at


def test_four_columns_answer_and_go_on_with_their_own_answers(live: Path) -> None:
    models = ("base", "cynic-lora", "pooled-lora", MIX)
    at = ask(opened(*models, **SHORT), QUESTION)
    at = ask(at, "And then?")
    systems = {"cynic-lora": "Answer as a cynic."}
    for turn in (0, 1):
        shown = columns(at, turn)
        assert [column["model"] for column in shown] == list(models)
        for column in shown:
            text = engines(column["model"], QUESTION, "And then?", system=systems.get(column["model"], ""))[turn]
            assert column["text"] == text and column["state"] == "length"
            assert "".join(span[0] for span in column["spans"]) == text
            assert all(0 <= span[1] <= 1 and " %" in span[2] for span in column["spans"])
    newest, oldest = columns(at, 1), columns(at, 0)
    assert [(part["name"], part["weight"]) for part in newest[3]["parts"]] == [("cynic-lora", 0.5), ("lexicon-lora", 0.7)]
    assert newest[1]["system"] == "System: Answer as a cynic." and newest[0]["system"] == "No system prompt"
    assert not any(column["about"] for column in oldest), "who they are stands once"
    assert len({column["text"] for column in newest}) == 4, "the four differ, or this shows nothing"


def test_a_link_reopens_the_state_and_asks_when_its_button_is_pressed(live: Path) -> None:
    at = ask(ask(opened("base", MIX, **SHORT, preset="creative", seed="3", category="cynic"), QUESTION), "And then?")
    texts = [[column["text"] for column in columns(at, turn)] for turn in (0, 1)]
    link = {name: at.query_params[name] for name in at.query_params}
    assert (link["question"], link["model"], link["seed"]) == ([QUESTION, "And then?"], ["base", MIX], "3")
    again = AppTest.from_file(str(APP), default_timeout=120)
    again.query_params.update(link)
    again.switch_page("pages/playground.py").run()
    assert again.multiselect(key="playground.models").value == ["base", MIX]
    assert again.number_input(key="playground.max_tokens").value == 10 and again.number_input(key="playground.seed").value == 3
    assert again.selectbox(key="playground.category").value == "cynic"
    assert again.text_area(key="playground.system_prompt").value == tiny_mix.SYSTEM_PROMPT
    assert [text.value for text in again.text] == ["2. And then?", f"1. {QUESTION}"]
    assert {column["said"] for turn in (0, 1) for column in columns(again, turn)} == {"not asked yet"}
    assert "playback" not in again.session_state or not again.session_state["playback"], "nothing was asked"
    settled(press(again, "playground.missing"))
    assert [[column["text"] for column in columns(again, turn)] for turn in (0, 1)] == texts


def test_a_bad_link_and_a_bad_model_are_sentences_and_the_others_go_on(live: Path) -> None:
    at = opened("base", temperature="9")
    assert "This link can't be read: temperature=9" in words(at) and not at.exception
    at = ask(opened("nobody", "mix:cynic-lora=much", "base", **SHORT), QUESTION)
    first, second, third = columns(at)
    assert first["state"] == second["state"] == "error" and "offers no model 'nobody'" in first["said"] and "'much'" in second["said"]
    assert third["text"] == engines("base", QUESTION)[0]
    assert at.button(key="playground.missing").label == "Get 2 missing answers"


def test_a_column_that_joins_later_answers_all_questions(live: Path) -> None:
    at = ask(opened("base", **SHORT), QUESTION)
    text = columns(at)[0]["text"]
    at.multiselect(key="playground.parts").set_value(["cynic-lora", "hacker-lora"]).run()
    at.number_input(key="playground.weight.hacker-lora").set_value(-0.25).run()
    settled(press(at, "playground.add"))
    name = "mix:cynic-lora=0.5,hacker-lora=-0.25"
    assert [column["model"] for column in columns(at)] == ["base", name]
    settled(press(at, "playground.missing"))
    assert [column["text"] for column in columns(at)] == [text, engines(name, QUESTION)[0]]
    settled(press(at, "playground.again"))
    assert columns(at)[0]["text"] == text
    press(at, "playground.new")
    assert not at.text and "question" not in at.query_params


def test_stop_breaks_off_and_the_talk_goes_on(live: Path) -> None:
    at = opened("base", "cynic-lora", max_tokens="900", temperature="1", seed="5")
    at.chat_input(key="playground.question").set_value("A long story, please.").run()
    until = time.monotonic() + 30
    while not all(each.first for each in at.session_state["playback"].values()):
        assert time.monotonic() < until
        time.sleep(0.02)
    press(at, "playground.stop")
    assert not at.exception
    shown = columns(at)
    assert [column["state"] for column in shown] == ["stopped"] * 2 and all(column["text"] for column in shown)
    found = resident.find()
    assert found
    while client.health(found)["answers"]:
        assert time.monotonic() < until, "their places are free again"
        time.sleep(0.05)
    at.number_input(key="playground.max_tokens").set_value(5).run()
    ask(at, "And then?")
    assert [column["text"] for column in columns(at, 0)] == [column["text"] for column in shown]
    assert [column["state"] for column in columns(at, 1)] == ["length"] * 2


def test_demo_prompts_begin_a_conversation_in_their_category(live: Path) -> None:
    at = opened("base", **SHORT)
    at.selectbox(key="playground.demos").set_value("cynic").run()
    question = at.button(key="playground.demo.cynic.0").label.replace("\\", "")
    settled(press(at, "playground.demo.cynic.0"))
    assert [text.value for text in at.text] == [question]
    assert at.selectbox(key="playground.category").value == "cynic" and columns(at)[0]["system"] == "System: Answer as a cynic."
    assert columns(at)[0]["text"] == engines("base", question, system="Answer as a cynic.")[0]


def test_an_answer_is_saved_once(live: Path) -> None:
    at = ask(opened("base", "cynic-lora", **SHORT), QUESTION)
    at.selectbox(key="playground.save.whose").set_value("cynic-lora").run()
    press(at, "playground.save")
    assert "Saved." in words(at) and "1 question saved" in words(at)
    (row,) = saved_questions.rows()
    text = columns(at)[1]["text"].strip()
    assert (row["question"], row["answer"], row["category"], row["model"]) == (QUESTION, text, "general", "cynic-lora")
    assert f"--data {paths.home() / 'data/uploads/saved_questions.jsonl'} --split all" in "".join(code.value for code in at.code)
    press(at, "playground.save")
    assert "is saved in category 'general' already" in words(at) and len(saved_questions.rows()) == 1


def test_why_a_word_was_said_is_told_by_the_adapters_shares(live: Path) -> None:
    asked = (f"{word} is {thing}?" for word in ("What", "Who", "Where") for thing in ("law", "a friend", "wealth", "the sea"))
    question = next(each for each in asked if "\ufffd" not in engines(MIX, each, tokens=4)[0])
    at = ask(opened("base", MIX, temperature="0", max_tokens="4"), question)
    assert len(at.selectbox(key="playground.why.answer").options) == 1 and "Click a word in an answer" in words(at)
    at.selectbox(key="playground.why.token").set_value(2).run()
    settled(press(at, "playground.explain"))
    found = resident.find()
    assert found
    text = columns(at)[1]["text"]
    asked = {"model": MIX, "messages": [{"role": "user", "content": question}], "answer": text, "token": 2}
    shares = client.shares(found, asked)
    assert set(shares["shares"]) == {"cynic-lora", "lexicon-lora"}
    assert playground_charts.said(shares) in words(at)
    (bars,) = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    assert dict(zip(bars["y"], bars["x"], strict=True)) == pytest.approx(shares["shares"], abs=1e-4)
    scored = columns(at)[1]["spans"][2]
    assert 1 - scored[1] == pytest.approx(math.exp(shares["mix"]), abs=2e-3), "the word's probability is that of its hover"


def test_base_alone_has_no_shares(live: Path) -> None:
    assert "Base has no adapters, so there is nothing to share" in words(ask(opened("base", **SHORT), QUESTION))


def test_hostile_texts_are_text(live: Path) -> None:
    hostile = "<script>document.title='hacked'</script><b>bold</b> **stars** $x$ :red[colour]"
    at = ask(opened("base", **SHORT), hostile)
    assert [text.value for text in at.text] == [hostile]
    assert not [element for element in at.markdown if "<script>" in element.value or element.allow_html]


def test_without_an_engine_a_question_waits_for_its_start(home: Path, tiny_base: Path, tiny_data: Path) -> None:
    tiny_mix.write(home, tiny_base, tiny_data)
    at = opened("base", "cynic-lora", **SHORT)
    assert "The engine is not running." in words(at) and not at.exception
    at.chat_input(key="playground.question").set_value(QUESTION).run()
    assert {column["said"] for column in columns(at)} == {"not asked yet"}
    try:
        settled(press(at, "engine.start"))
        assert [column["text"] for column in columns(at)] == [
            engines("base", QUESTION)[0],
            engines("cynic-lora", QUESTION, system="Answer as a cynic.")[0],
        ]
    finally:
        resident.stop()


def test_without_adapters_base_stands_alone_and_training_is_near(home: Path, open_page: Open) -> None:
    at = open_page("playground")
    assert "Ask the base model" in words(at) and not at.exception
    assert [column["model"] for column in columns(at)] == ["base"]
    assert at.multiselect(key="playground.models").options == ["base"]


def test_a_dropped_stream_no_longer_counts_as_going(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()

    def read() -> Iterator[playback.Event]:
        gate.wait(10)
        yield {"text": "late"}

    monkeypatch.setattr(playback, "_slots", lambda slots={}: slots)  # noqa: B006
    found = playback.play("slot", 1, read)
    assert playback.going(("slot",))
    found.drop()
    assert not playback.going(("slot",)) and not found.done
    gate.set()
