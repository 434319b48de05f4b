"""The live console on a real engine with a tiny base: what it plays is what the engine answers, and nothing is written before Bake."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core import console, paths, runs
from core.config import MergeConfig
from core.jobs import locks
from core.serve import client, resident
from core.workspace import Workspace
from pages import merge_console
from tests.pages import tiny_mix
from tests.pages.conftest import Open
from tests.pages.test_pages import words

QUESTION = "What is a friend?"
SHORT = {"question": QUESTION, "category": "cynic", "max_new_tokens": "12", "limit": "2"}
WEIGHTS = (0.9, -0.2, 0.4)


@pytest.fixture
def tiny_home(home: Path, tiny_base: Path, tiny_data: Path) -> Path:
    """A home of this test alone with three adapters and no engine."""
    tiny_mix.write(home, tiny_base, tiny_data)
    return home


def cards(at: AppTest, place: int = 0) -> dict[str, dict[str, Any]]:
    """The cards of a pinned question, by role."""
    sent = [json.loads(each.proto.json) for each in at.get("bidi_component") if each.proto.component_name.endswith("answers")]
    return {card["role"]: card for card in sent[place]["cards"]}


def settled(at: AppTest, seconds: float = 60) -> AppTest:
    """The page once everything has been answered."""
    until = time.monotonic() + seconds
    while any(not each.done for each in at.session_state["playback"].values()):
        assert time.monotonic() < until, "the engine does not come to an end"
        time.sleep(0.05)
    at.run()
    assert not at.exception, at.exception
    return at


def spoken(mix: MergeConfig | None, tokens: int = 12, question: str = QUESTION, category: str = "cynic") -> str:
    """What the engine says to a question."""
    engine = resident.find()
    assert engine
    row = {"key": "x", "question": question, "category": category, "mix": console.request(mix)}
    events = client.answers(engine, f"test-{time.monotonic()}", [row], system_prompt=tiny_mix.SYSTEM_PROMPT, max_new_tokens=tokens)
    return "".join(event.get("text", "") for event in events)


def move(at: AppTest, **weights: float) -> AppTest:
    """Move sliders: move(at, cynic=0.5)."""
    for category, weight in weights.items():
        at.slider(key=f"weight.{category}-lora").set_value(weight)
    return at.run()


def test_answers_stand_in_order_and_are_the_engines(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **SHORT))
    found = cards(at)
    assert list(found) == ["base", "own", "pooled", "mix"], "no reference: the question is not in the data"
    mix = MergeConfig(adapters=tiny_mix.ADAPTERS, weights=WEIGHTS)
    for role, played in (("base", None), ("own", console.alone("cynic-lora")), ("pooled", console.alone("pooled-lora")), ("mix", mix)):
        assert found[role]["parts"] == [spoken(played)], role
    assert len({card["parts"][0] for card in found.values()}) == 4, "the four differ, or this shows nothing"
    assert "by its weights alone, exactly" in words(at)


def test_a_move_changes_the_answer_the_losses_and_the_link_and_undo_takes_it_back(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **SHORT))
    before, said = cards(at)["mix"]["parts"], losses(at)
    settled(move(at, cynic=-0.5, lexicon=1.0))
    assert cards(at)["mix"]["parts"] == [spoken(MergeConfig(adapters=tiny_mix.ADAPTERS, weights=(-0.5, 1.0, 0.4)))] != before
    assert losses(at)["mix"] != said["mix"] and losses(at)["base"] == said["base"]
    assert at.query_params["weights"] == "-0.5,1,0.4"
    at.button(key="merge.undo").click().run()
    settled(at)
    assert at.slider(key="weight.lexicon-lora").value == -0.2 and cards(at)["mix"]["parts"] == before


def losses(at: AppTest) -> dict[str, float]:
    """Mean loss by model, as the page says it."""
    said = next(text for text in words(at).splitlines() if text.startswith("Mean validation loss"))
    return {name: float(value) for name, value in re.findall(r"(?:: |; )([a-z -]+) ([0-9.]+) \(", said)}


def test_losses_are_the_engines_on_validation_rows_and_own_adapters_on_their_own(live: Path, open_page: Open, tiny_data: Path) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", **SHORT))
    engine = resident.find()
    mixes = [None, *(console.alone(name) for name in tiny_mix.ADAPTERS)]
    only = [None, *([category] for category in tiny_mix.CATEGORIES)]
    asked = {"data": str(tiny_data), "system_prompt": tiny_mix.SYSTEM_PROMPT, "max_seq_length": 256, "limit": 2, "categories": only}
    newest = {}
    for event in client.losses(engine, "test", [console.request(mix) for mix in mixes], **asked):
        if "loss" in event:
            newest[event["mix"], event["category"]] = event["loss"]
    base = [loss for (mix, _), loss in newest.items() if mix == 0]
    own = [loss for (mix, _), loss in newest.items() if mix > 0]
    assert len(base) == len(own) == 3
    assert losses(at)["base"] == pytest.approx(sum(base) / 3, abs=6e-3)
    assert losses(at)["own adapters"] == pytest.approx(sum(own) / 3, abs=6e-3)


def test_continue_goes_on_where_the_old_mix_stopped_and_marks_the_seam(live: Path, open_page: Open) -> None:
    long = {**SHORT, "max_new_tokens": "900"}  # so that it is still being written when the move comes
    at = open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **long)
    at.toggle(key="play.going_on").set_value(True).run()
    until = time.monotonic() + 30
    while not any("".join(cards(at)["mix"]["parts"])):
        assert time.monotonic() < until
        at.run()
    move(at, cynic=-0.5)
    settled(at)
    first, second = cards(at)["mix"]["parts"]
    whole = spoken(MergeConfig(adapters=tiny_mix.ADAPTERS, weights=WEIGHTS), tokens=900)
    assert first and whole.startswith(first) and second and second != whole[len(first) :]


def test_a_strategy_that_is_no_sum_is_previewed_and_says_so(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **SHORT))
    at.selectbox(key="merge.strategy").set_value("ties").run()
    settled(at)
    assert at.number_input(key="merge.density").value == console.FIRST_DENSITY
    assert "**Preview.**" in words(at) and "First words after" in words(at)
    mix = MergeConfig(adapters=tiny_mix.ADAPTERS, weights=WEIGHTS, strategy="ties", density=0.5)
    assert cards(at)["mix"]["parts"] == [spoken(mix)]
    assert not paths.merged_adapters().exists() and not runs.listing(), "nothing is written, and no job ran"


def test_two_mixes_stand_beside_each_other_and_are_swapped(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **SHORT))
    first = cards(at)["mix"]["parts"]
    at.button(key="merge.hold").click().run()
    settled(move(at, cynic=-0.5))
    second = cards(at)["mix"]["parts"]
    assert list(cards(at)) == ["base", "own", "pooled", "held", "mix"]
    assert cards(at)["held"]["parts"] == first != second and cards(at)["held"]["title"] == "Mix A"
    at.button(key="merge.swap").click().run()
    settled(at)
    assert (cards(at)["held"]["parts"], cards(at)["mix"]["parts"]) == (second, first)
    assert at.slider(key="weight.cynic-lora").value == 0.9
    at.button(key="merge.drop").click().run()
    assert "held" not in cards(settled(at))


def test_presets_move_the_sliders(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **SHORT))
    at.menu_button(key="merge.presets").click("Own adapter of question 1: cynic-lora").run()
    assert [slider.value for slider in at.slider] == [1.0, 0.0, 0.0]
    assert cards(settled(at))["mix"]["parts"] == cards(at)["own"]["parts"]
    at.menu_button(key="merge.presets").click("Even: 1/n each").run()
    assert "weights" not in at.query_params, "no weights stand for 1/n each, exactly"


def test_pinned_questions_outlive_the_session(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora", **SHORT))
    at.text_area(key="play.text").set_value("Why is the sky blue?")
    at.selectbox(key="play.category").set_value("hacker")
    at.button(key="play.pin").click().run()
    settled(at)
    assert cards(at, 1)["own"]["title"] == "hacker-lora"
    again = open_page("merge")
    assert again.multiselect(key="play.pinned").value == [f"cynic: {QUESTION}", "hacker: Why is the sky blue?"]
    console.pin([])


def test_validation_questions_come_with_their_reference(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", max_new_tokens="4", limit="1"))
    assert list(cards(at))[0] == "reference" and len(cards(at)["reference"]["parts"][0]) > 10


def test_one_button_starts_the_engine_and_a_killed_one_takes_nothing_along(tiny_home: Path, open_page: Open, tiny_base: Path) -> None:
    at = open_page("merge", adapters="cynic-lora,lexicon-lora", **SHORT)
    assert "The engine is not running" in words(at) and "merge.submit" in [button.key for button in at.button], "baking needs no engine"
    at.button(key="engine.start").click().run(timeout=120)
    try:
        assert not at.error, [error.value for error in at.error]
        found = resident.find()
        assert found and found.base_model == str(tiny_base)
        before = cards(settled(at, 120))["mix"]["parts"]
        assert before[0] and "The engine is not running" not in words(at)
        os.kill(found.pid, signal.SIGKILL)
        until = time.monotonic() + 10
        while resident.find():
            assert time.monotonic() < until
        at.run()
    finally:
        resident.stop()
    assert not at.exception and "The engine is not running" in words(at)
    assert cards(at)["mix"]["parts"] == before


def test_what_the_engine_refuses_is_said_and_can_be_asked_again(live: Path, open_page: Open) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,no-such-lora", **SHORT))
    assert "There is no adapter 'no-such-lora'" in words(at)
    assert cards(at)["base"]["parts"] == [spoken(None)], "the rest is answered"
    at.button(key="console.again").click().run()
    assert "There is no adapter 'no-such-lora'" in words(settled(at))
    at.multiselect(key="merge.adapters").set_value(["cynic-lora"]).run()
    assert "no-such-lora" not in words(settled(at))


def test_a_link_that_cannot_be_read_gets_a_sentence(tiny_home: Path, open_page: Open) -> None:
    at = open_page("merge", adapters="cynic-lora,lexicon-lora", weights="much,0.5")
    assert not at.exception and "This link can't be read: weights" in words(at)
    assert at.slider(key="weight.hacker-lora").value == 0.33, "the first mix stands there"


def test_a_job_that_slows_the_engine_is_said(live: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = threading.Event()

    def silent(*_: object, **__: object) -> Iterator[dict[str, Any]]:
        enough.wait(60)
        yield from ()

    monkeypatch.setattr(client, "answers", silent)
    monkeypatch.setattr(merge_console, "SLOW", 0.0)
    merge_console._busy.clear()
    held = locks.take("device")
    at = open_page("merge", adapters="cynic-lora", **SHORT)
    os.close(held)
    enough.set()
    merge_console._busy.clear()
    assert "A job computes on this machine too" in words(at)


def test_a_fresh_merge_is_shown_with_its_fidelity_and_its_before_and_after(live: Path, open_page: Open, bake: Callable[..., None]) -> None:
    at = settled(open_page("merge", adapters="cynic-lora,lexicon-lora,hacker-lora", weights="0.9,-0.2,0.4", **SHORT))
    at.button(key="merge.submit").click().run()
    bake(runs.listing("merge")[0])
    at.run()
    settled(at)
    assert at.selectbox(key="merged").value == "linear_merged_adapter"
    assert {metric.label for metric in at.metric} >= {"Distance from the exact sum", "Energy kept", "Sign conflict"}
    pictures = {each.proto.id.rpartition("-")[2] for each in at.get("plotly_chart")}
    assert {"cosine", "by_layer", "recipe", "losses"} <= pictures
    assert "from the folder: 1 of 1 answer" in words(at)
    found = cards(at, 1)
    assert list(found) == ["base", "mix", "baked"] and found["mix"]["parts"] == found["baked"]["parts"] == cards(at)["mix"]["parts"]


@pytest.fixture
def bake() -> Iterator[Callable[..., None]]:
    """Do a submitted merge in this process, as a worker would; what it wrote goes away with the test."""
    import shutil

    def do(run: runs.Run) -> None:
        from core.merge.run import run as merge

        runs.update(run.run_id, status="running", started_at=runs.now())
        outputs = merge(MergeConfig(**run.config), Workspace(run))
        runs.update(run.run_id, status="done", finished_at=runs.now(), outputs=outputs)

    yield do
    shutil.rmtree(paths.merged_adapters(), ignore_errors=True)
    for run in runs.listing():
        runs.remove(run.run_id)
