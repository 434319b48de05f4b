"""Asking under bad conditions: nothing is lost, doubled, invented or asked twice, and limits and budgets hold. Real clients, real HTTP."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core import paths, results, runs
from core.errors import UserError
from core.judge.run import run
from core.models import chat, pace
from core.workspace import Workspace
from tests.core.judge.conftest import KEY, REFERENCE, ROWS, Judge, settings
from tests.servers import Answer, ChatServer, breaks, drips, empty, honest, html, refuses, says, shown

WORDS = ("virtue", "is", "knowledge", "courage", "plain", "luck")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """40 pairs; the right verdict is by words shared with the reference."""
    path, chance = tmp_path / "many.csv", random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as handle:
        out = csv.writer(handle)
        out.writerow(["model", "category", "question", "reference", "prediction"])
        for number in range(40):
            for model in ("base", "tuned"):
                words = chance.sample(WORDS, 3)
                out.writerow([model, "ethics", f"q{number}", "virtue is knowledge", " ".join(words)])
    return path


def right(row: Any) -> str:
    base, candidate = (len(set(row.reference.split()) & set(text.split())) for text in (row.base_prediction, row.candidate_prediction))
    return "tie" if base == candidate else "base" if base > candidate else "fine-tuned"


def asked(server: ChatServer) -> Counter[str]:
    return Counter(json.dumps(request["messages"]) for request in server.requests)


def test_chaos_loses_doubles_and_invents_nothing(judge: Judge, many: Path) -> None:
    bad = [
        refuses(429, "slow down", Retry_After="0.05"),
        refuses(429, "slow down"),
        refuses(500, "down"),
        html(502),
        html(),
        empty(),
        breaks(),
    ]
    chance, lock, answered = random.Random(1), threading.Lock(), Counter[str]()

    def respond(request: dict[str, Any], nth: int) -> Answer:
        with lock:
            if chance.random() < 0.3:
                return chance.choice(bad)
            answered[json.dumps(request["messages"])] += 1
            return honest(request, nth)

    with ChatServer(respond) as server:
        outputs, table, _ = judge(server, answers=str(many), concurrency=8, retries=10, timeout_seconds=5)
        assert list(table["verdict"]) == [right(row) for row in table.itertuples()] and len(table) == 40
        assert set(answered.values()) == {1} and len(answered) == 80 == outputs["requests"]
        assert outputs["tokens"] == 80 * 37 == outputs["spent_tokens"]
        before = len(server.requests), server.listed
        again, _, _ = judge(server, answers=str(many), concurrency=8)
        assert (len(server.requests), server.listed) == before and again["requests"] == 0 and again["counts"] == outputs["counts"]


def test_a_killed_run_goes_on_and_asks_nothing_twice(many: Path, home: Path) -> None:
    answered, lock = Counter[str](), threading.Lock()

    def slowly(request: dict[str, Any], nth: int) -> Answer:
        time.sleep(0.02)
        return honest(request, nth)

    with ChatServer(slowly) as server:
        config = settings(many, server, concurrency=2, timeout_seconds=20)
        workspace = Workspace(runs.create("judge", config.model_dump()))
        command = f"from core import config, runs; from core.judge.run import run; found = runs.read({workspace.run.run_id!r}); "
        command += "from core.workspace import Workspace; run(config.JudgeConfig(**found.config), Workspace(found))"
        child = subprocess.Popen([sys.executable, "-c", command], cwd=paths.PROJECT, env=os.environ | {"OPENAI_API_KEY": KEY})
        until = time.monotonic() + 60
        while len(server.requests) < 20 and time.monotonic() < until:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
        with lock:
            killed_at = len(server.requests)
        run(config, workspace)
        answered = asked(server)
    table = results.read(workspace.path / "verdicts.csv", results.Verdict)
    assert list(table["verdict"]) == [right(row) for row in table.itertuples()] and len(table) == 40
    under_way = sum(number - 1 for number in answered.values())
    assert 20 <= killed_at < 80 and len(answered) == 80 and under_way <= 2


def test_eight_at_once_are_over_six_times_as_quick(many: Path) -> None:
    def late(request: dict[str, Any], nth: int) -> Answer:
        return says("tie", delay=0.2)

    with ChatServer(late) as server:
        config = settings(many, server, concurrency=8, timeout_seconds=20, backend="openai")
        run(config, Workspace(runs.create("judge", config.model_dump())))
        took = server.times[-1] - server.times[0] + 0.2
    assert 80 * 0.2 / took >= 4  # 8 on a quiet machine


def test_minutes_are_kept_against_a_server_that_counts(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MINUTE", 0.5)
    with ChatServer() as server:
        judge(server, requests_per_minute=3, concurrency=8, timeout_seconds=20)
    assert all(later - first >= 0.45 for first, later in zip(server.times, server.times[3:], strict=False)) and len(server.requests) == 8


def test_a_server_without_room_is_waited_for_and_no_retry_is_used_up(judge: Judge) -> None:
    opens = time.monotonic() + 1.0

    def full(request: dict[str, Any], nth: int) -> Answer:
        return refuses(429, "tokens per minute") if time.monotonic() < opens else honest(request, nth)

    with ChatServer(full) as server:
        outputs, table, _ = judge(server, retries=1, concurrency=4, timeout_seconds=20)
    assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS] and outputs["failed"] == 0


def test_a_server_that_never_has_room_ends_the_call(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "PATIENCE", 0.2)
    with ChatServer(lambda request, nth: refuses(429, "no")) as server, pytest.raises(UserError, match="None of the 4 pairs.*HTTP 429: no"):
        judge(server, retries=1, concurrency=4)


def test_a_day_that_is_over_leaves_the_rest_for_tomorrow(judge: Judge, file: Path) -> None:
    with ChatServer() as server:
        config = settings(file, server, requests_per_day=5, concurrency=1)
        workspace = Workspace(runs.create("judge", config.model_dump()))
        with pytest.raises(UserError, match=r"2 of 4 pairs are judged, the rest is not: requests_per_day=5 is reached.*--resume"):
            run(config, workspace)
        assert len(server.requests) == 5
        table = results.read(workspace.path / "verdicts.csv", results.Verdict)
        assert Counter(table["verdict"])["not asked"] == 2 and not (table["verdict"] == "failed").any()
        with pytest.raises(UserError, match=r"0 of 4 pairs are judged, the rest is not: requests_per_day=5 is reached"):
            judge(server, requests_per_day=5, seed=1)
        _, table, _ = judge(server, workspace, requests_per_day=8, concurrency=1)
    assert len(server.requests) == 8 and list(table["verdict"]) == [verdict for _, _, verdict in ROWS]


def test_a_server_that_asks_to_come_back_tomorrow_ends_the_asking(judge: Judge) -> None:
    with (
        ChatServer(lambda request, nth: refuses(429, "day", Retry_After="7200") if nth >= 4 else honest(request, nth)) as server,
        pytest.raises(UserError, match=r"2 of 4 pairs are judged.*HTTP 429: day; it asks to wait 7200 seconds"),
    ):
        judge(server, concurrency=1)
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"budget_tokens": 1000}, "budget_tokens=1000 is used up"),
        ({"budget_money": 0.02, "price_in": 20, "price_out": 50}, "budget_money=0.02"),
    ],
    ids=["tokens", "money"],
)
def test_a_budget_is_not_overspent_and_what_is_left_is_said(judge: Judge, many: Path, fields: dict[str, Any], sentence: str) -> None:
    with ChatServer() as server:
        outputs, table, workspace = judge(server, answers=str(many), max_tokens=8, concurrency=4, timeout_seconds=20, **fields)
    spent = len(server.requests) * 37
    assert outputs["spent_tokens"] == spent and outputs["not_asked"] == (table["verdict"] == "not asked").sum() > 0
    assert sentence in outputs["ended"] and table["reason"].str.contains(sentence).sum() == outputs["not_asked"]
    if "budget_tokens" in fields:
        assert 700 <= spent <= 1000
    else:
        cost = len(server.requests) * (36 * 20 + 1 * 50) / 1e6
        assert outputs["spent_money"] == pytest.approx(cost) and 0.013 <= cost <= 0.02 and table["cost"].sum() <= cost + 1e-9
    said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    assert any("80 calls, about" in message for message in said)
    counted = table[table["verdict"] != "not asked"]
    assert [right(row) for row in counted.itertuples()] == list(counted["verdict"])


def unmetered(request: dict[str, Any], nth: int) -> Answer:
    body = json.loads(honest(request, nth).body)
    return Answer(json.dumps(body | {"usage": None}).encode())


def test_a_resumed_run_keeps_its_budget_where_the_server_says_no_tokens(judge: Judge, many: Path) -> None:
    fields = {"answers": str(many), "budget_tokens": 4000, "concurrency": 1, "timeout_seconds": 20}
    with ChatServer(unmetered) as server:
        outputs, _, workspace = judge(server, **fields)
        asked_once, spent = len(server.requests), outputs["spent_tokens"]
        again, table, _ = judge(server, workspace, **fields)
        assert len(server.requests) == asked_once > 2 and again["spent_tokens"] == spent <= 4000
    assert table["tokens"].isna().all() and again["not_asked"] == outputs["not_asked"] > 0


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"budget_tokens": 20}, r"budget_tokens=20 is too small: the first call may take up to \d+ tokens, 256 of them for the reply"),
        ({"budget_money": 0.001, "price_in": 20, "price_out": 50}, r"budget_money=0.001 is too small.*up to \d+ tokens, 0\.0\d+ in money"),
    ],
    ids=["tokens", "money"],
)
def test_a_budget_without_room_for_one_call_is_refused_at_once(judge: Judge, fields: dict[str, Any], sentence: str) -> None:
    with ChatServer() as server, pytest.raises(UserError, match=sentence):
        judge(server, **fields)
    assert not server.requests


def test_money_needs_prices(judge: Judge) -> None:
    with ChatServer() as server, pytest.raises(UserError, match="budget_money=1 can't be kept without prices"):
        judge(server, budget_money=1)


def test_asking_stops_early_when_the_interval_is_clear(judge: Judge, many: Path) -> None:
    def biased(request: dict[str, Any], nth: int) -> Answer:
        return says("A" if shown(request)["answer_A"] == tuned[shown(request)["question"]] else "B")

    with many.open(encoding="utf-8") as handle:
        tuned = {row["question"]: row["prediction"] for row in csv.DictReader(handle) if row["model"] == "tuned"}
    with ChatServer(biased) as server:
        outputs, table, _ = judge(server, answers=str(many), stop_early=True, concurrency=1, timeout_seconds=20)
        assert 5 <= outputs["judged"] <= 12 and outputs["not_asked"] == 40 - outputs["judged"]
        assert "clears 50 %" in outputs["ended"] and len(server.requests) == 2 * outputs["judged"]


def test_repeats_are_asked_again_and_kept_apart(judge: Judge) -> None:
    with ChatServer() as server:
        outputs, table, _ = judge(server, repeats=3, concurrency=2, timeout_seconds=20)
        assert len(server.requests) == 24 and list(table["repeat"]) == [0] * 4 + [1] * 4 + [2] * 4
        judge(server, repeats=2, timeout_seconds=20)
        assert len(server.requests) == 24
    assert outputs["pairs"] == 12


def test_several_judges_each_give_verdicts(judge: Judge) -> None:
    with ChatServer(models=["judge-1", "judge-2"]) as server:
        outputs, table, _ = judge(server, judge_model="judge-1,judge-2")
        names = [f"{model} at {server.root.removeprefix('http://')}" for model in ("judge-1", "judge-2")]
        assert list(dict.fromkeys(table["judge"])) == names == list(outputs["judges"]) and len(table) == 8 and len(server.requests) == 16
        assert outputs["judges"][names[0]]["win_rate"] == 0.5 and (outputs["win_rate_high"] - outputs["win_rate_low"]) > 0.6
        with pytest.raises(UserError, match="is named twice"):
            judge(server, judge_model="judge-1,judge-1")
        with pytest.raises(UserError, match="2 backends .* and 3 models"):
            judge(server, backend="openai,similarity", judge_model="a,b,c", base_url=server.url)


def test_equal_questions_are_asked_once(judge: Judge, file: Path) -> None:
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, *lines[1:]]) + "\n")
    with ChatServer() as server:
        _, table, _ = judge(server, concurrency=8, timeout_seconds=20)
    assert len(table) == 8 and len(server.requests) == 8 == len(asked(server)) and table["pair"].is_unique


def test_a_prompt_with_reasons_keeps_them(judge: Judge) -> None:
    def reasoned(request: dict[str, Any], nth: int) -> Answer:
        choice = json.loads(honest(request, nth).body)["choices"][0]["message"]["content"]
        return says("Sure!" if shown(request)["question"] == "equal" else json.dumps({"reasons": f"It is {choice}.", "verdict": choice}))

    with ChatServer(reasoned) as server:
        _, table, _ = judge(server, prompt="rubric")
    assert list(table["verdict"]) == ["fine-tuned", "base", "unparsed", "fine-tuned"]
    assert table["rationale"][0] == "It is B.\nIt is A." and table["rationale"][2] == ""
    assert "not one JSON object" in table["reason"][2]


def test_a_prompt_without_reference_judges_rows_without_one(judge: Judge, file: Path) -> None:
    file.write_text(file.read_text().replace(f",{REFERENCE},", ",,"))
    with ChatServer(lambda request, nth: says("tie")) as server:
        outputs, table, _ = judge(server, prompt="preference")
    assert outputs["judged"] == 4 and set(table["reference"]) == {""} and set(table["prompt"]) == {"preference"}
    assert all("reference" not in shown(request) for request in server.requests)


def test_a_reply_that_drips_longer_than_the_timeout_is_no_reply(judge: Judge) -> None:
    with ChatServer(lambda request, nth: drips(0.02) if nth == 0 else honest(request, nth)) as server:
        outputs, table, workspace = judge(server, concurrency=1)
    assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS] and outputs["retries"] == 1
    assert "no reply within 0.4 seconds" in runs.read_events(workspace.run.run_id, "retry")[0]["reason"]


def test_the_audit_card_is_written(judge: Judge) -> None:
    with ChatServer() as server:
        outputs, _, workspace = judge(server)
    card = results.read(workspace.path / "audit.csv", results.AuditFigure)
    assert {"flip_rate", "first_position_rate"} <= set(card["figure"]) and outputs["light"] == "green"
