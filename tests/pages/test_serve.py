"""The Serve page on a real engine with a tiny base: what it says is what the engine says of itself; and every state without one."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from streamlit.testing.v1 import AppTest

from core import paths, serving
from core.config import ServeConfig
from core.config.serve import KEY_VARIABLE
from core.jobs import locks
from core.serve import client, resident
from core.serve.snippets import SNIPPETS, Asked
from tests.pages import tiny_mix
from tests.pages.conftest import Open
from tests.pages.test_pages import words

SECRET = "a-key-that-no-page-may-show"


@pytest.fixture(scope="module")
def engine_home(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_data: Path) -> Iterator[Path]:
    """A home with four adapters and an engine that runs as long as this file's tests."""
    with tiny_mix.home_with_engine(
        tmp_path_factory.mktemp("engine"), tiny_base, tiny_data, requests_per_minute=9000, max_body_mb=3
    ) as home:
        yield home


@pytest.fixture
def live(engine_home: Path, monkeypatch: pytest.MonkeyPatch) -> resident.Engine:
    """The test's LYCEUM_HOME is the one with the engine."""
    monkeypatch.setenv("LYCEUM_HOME", str(engine_home))
    engine = resident.find()
    assert engine
    return engine


def ask(engine: resident.Engine, model: str, tokens: int = 8) -> None:
    """One answer."""
    body = {"model": model, "messages": [{"role": "user", "content": f"Why {time.monotonic()}?"}], "max_tokens": tokens, "temperature": 0}
    httpx.post(f"{engine.address}/v1/chat/completions", json=body, timeout=60).raise_for_status()


def until(at: AppTest, what: Callable[[], bool], seconds: float = 60) -> AppTest:
    """Look again, as the page does by itself, until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, words(at)
        time.sleep(0.3)
        at.run()
    assert not at.exception, at.exception
    return at


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def keys(at: AppTest) -> list[str | None]:
    return [button.key for button in at.button]


def test_the_finding_and_figures_are_the_engines(live: resident.Engine, open_page: Open, tiny_base: Path) -> None:
    ask(live, "base"), ask(live, "cynic-lora", 400)
    at = open_page("serve")
    assert not at.exception and not at.error
    health = client.health(live)
    assert (
        words(at).splitlines()[0] == f"Lyceum's engine answers on {tiny_base.name}: nothing under way; 5 models offered, the base included."
    )
    assert float(metrics(at)["Tokens per second"]) > 0 and metrics(at)["Answers under way"] == "0"
    assert f"{health['tokens']:,} tokens since the start." in words(at) and "none waiting, 64 places." in words(at)
    table = at.dataframe[0].value.set_index("model")["in the bank"]
    assert list(table.index) == ["base", "cynic-lora", "hacker-lora", "lexicon-lora", "pooled-lora"]
    assert table["cynic-lora"] == "rank 4" and table["base"] == "–"
    (picture,) = at.get("plotly_chart")
    assert "tokens per second" in picture.proto.spec
    at.run()
    assert len(at.session_state["serve.past"][1]) >= 2, "the picture grows with each look"


def test_answers_under_way_are_counted(live: resident.Engine, open_page: Open) -> None:
    rows = [{"key": str(nth), "question": f"Why {nth} at {time.monotonic()}?"} for nth in range(200)]
    answers = client.answers(live, "test", rows, max_new_tokens=900)
    next(answers)
    at = open_page("serve")
    under_way, waiting = client.health(live)["answers"], client.health(live)["waiting"]
    answers.close()
    assert 0 < under_way <= int(metrics(at)["Answers under way"]) <= 200
    assert re.search(r"\d+ answers under way at [\d.,]+ tokens per second", words(at))
    assert not waiting or re.search(r"[1-9]\d* waiting, 64 places", words(at))


def test_snippets_have_the_address_and_the_chosen_model(live: resident.Engine, open_page: Open) -> None:
    at = open_page("serve")
    mix = "mix:cynic-lora=0.5,hacker-lora=0.5"
    assert mix in at.selectbox(key="serve_model").options
    for model in ("base", mix):
        at.selectbox(key="serve_model").set_value(model).run()
        shown = [each.value for each in at.code]
        for name, (_, write) in SNIPPETS.items():
            assert write(Asked(live.address, model)).strip() in shown, name
    assert [tab.label for tab in at.tabs] == list(SNIPPETS)


def test_limits_and_keys_are_said(live: resident.Engine, open_page: Open) -> None:
    at = open_page("serve")
    limits = at.table[0].value.set_index("limit")["value"]
    assert limits["Requests a minute"] == "9,000 per address" and limits["Size of a request"] == "3.00 MB"
    assert limits["Context"] == "1,024 tokens" and limits["Answers waiting"] == "1,024"
    assert f"this machine alone. No key is needed, because {KEY_VARIABLE} was not set" in words(at)
    assert live.token not in repr(at), "the home's token is shown nowhere"


def test_a_job_beside_the_engine_is_said(live: resident.Engine, open_page: Open) -> None:
    lane = locks.take("device")
    at = open_page("serve")
    os.close(lane)
    assert "A job computes on this machine too" in words(at)


@pytest.fixture
def tiny_home(home: Path, tiny_base: Path, tiny_data: Path) -> Iterator[Path]:
    """A home of this test alone with adapters and no engine."""
    tiny_mix.write(home, tiny_base, tiny_data)
    yield home
    resident.stop()


def start(at: AppTest, base_model: Path) -> AppTest:
    """Choose the base model, and press the button."""
    at.selectbox(key="serve.base_model").set_value(str(base_model)).run()
    at.button(key="serve.submit").click().run()
    assert not at.exception, at.exception
    return at


def test_it_is_started_and_stopped_from_the_page(
    tiny_home: Path, open_page: Open, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    model = Path(shutil.copytree(tiny_base, paths.models() / "tiny"))
    at = open_page("serve")
    assert "No engine runs." in words(at) and "about 1.2 GB of memory" in words(at)
    start(at, model)
    assert "The engine is starting" in words(at) or resident.find()
    until(at, lambda: any(button.key == "serve.stop" for button in at.button))
    found = resident.find()
    assert found and found.base_model == str(model)
    assert "Every request needs a key" in words(at) and "per key" not in at.table[0].value["value"].tolist()[0]
    everything = [*(code.value for code in at.code), words(at)]
    assert not any(SECRET in each or found.token in each for each in everything)
    assert all(KEY_VARIABLE in code.value for code in at.code if found.address in code.value), "snippets read the key"
    at.button(key="serve.stop").click().run(timeout=60)
    assert resident.find() is None and "No engine runs." in words(at) and "serve.submit" in keys(at)
    assert "The engine answers on" in "".join(code.value for code in at.code), "what it said last can be read"


def test_a_start_that_fails_says_why_with_the_log(tiny_home: Path, open_page: Open, tiny_base: Path) -> None:
    broken = Path(shutil.copytree(tiny_base, paths.models() / "broken"))
    (broken / "model.safetensors").unlink()
    at = start(open_page("serve"), broken)
    until(at, lambda: bool(at.error))
    assert "The engine did not start." in words(at) and "broken" in words(at)
    assert "broken" in "".join(code.value for code in at.code) and "serve.submit" in keys(at), "it can be tried again"
    assert "Traceback" not in words(at)


def test_an_engine_that_somebody_else_starts_is_waited_for(home: Path, open_page: Open) -> None:
    held = locks.take(resident.LOCK)
    resident.log().parent.mkdir(parents=True, exist_ok=True)
    resident.log().write_text("reading <b>weights</b>\n")
    at = open_page("serve")
    assert "The engine is starting" in words(at) and at.code[0].value == "reading <b>weights</b>" and "serve.submit" not in keys(at)
    os.close(held)
    at.run()
    assert "serve.submit" in keys(at)


def test_a_killed_engine_can_be_started_again(tiny_home: Path, open_page: Open, tiny_base: Path) -> None:
    engine = resident.start(ServeConfig(base_model=str(tiny_base)))
    at = open_page("serve")
    os.kill(engine.pid, signal.SIGKILL)
    until(at, lambda: "serve.submit" in keys(at))
    assert "No engine runs." in words(at)


def test_other_machines_need_a_key_before_the_button(home: Path, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    at = open_page("serve")
    at.text_input(key="serve.host").set_value("0.0.0.0").run()
    assert "0.0.0.0 is open to other machines, so the engine needs a key." in words(at) and "serve.submit" not in keys(at)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    at.run()
    assert "serve.submit" in keys(at) and any("--host 0.0.0.0 --detach" in code.value for code in at.code)
    at.text_input(key="serve.host").set_value("http://x/").run()
    assert "is no host" in words(at) and "serve.submit" not in keys(at)


def test_vllm_says_what_it_takes_and_a_job_is_told_beforehand(home: Path, open_page: Open) -> None:
    lane = locks.take("device")
    at = open_page("serve")
    at.selectbox(key="serve.engine").set_value("vllm").run()
    os.close(lane)
    assert "make vllm" in words(at) and "A job computes at the moment" in words(at)
    assert any("--engine vllm" in code.value for code in at.code)


def test_speeds_older_than_the_picture_are_forgotten() -> None:
    past = [(0.0, 5.0), (500.0, 6.0)]
    assert serving.kept(past, {"tokens_per_second": 7}, now=serving.KEPT_SECONDS + 1.0) == [(500.0, 6.0), (601.0, 7.0)]
