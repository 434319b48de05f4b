"""Judging from end to end: the real clients against a server that is told how to behave. No verdict is invented."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core import results, runs
from core.errors import UserError
from core.judge import asking
from core.judge.run import run
from core.workspace import Workspace
from tests.core.judge.conftest import KEY, REFERENCE, ROWS, Judge, settings
from tests.servers import Answer, ChatServer, breaks, empty, hangs, honest, html, refuses, says, shown


def said(workspace: Workspace) -> str:
    return " ".join(event["message"] for event in runs.read_events(workspace.run.run_id, "say"))


@pytest.mark.parametrize("backend", ["openai", "groq"])
def test_a_good_judge_is_believed(judge: Judge, backend: str) -> None:
    with ChatServer(key=KEY) as server:
        outputs, table, workspace = judge(server, backend=backend)
    assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS]
    assert list(table["question"]) == [question for question, _, _ in ROWS]
    assert (table["first_verdict"] == table["second_verdict"]).all()
    assert list(table["first_reply"]) == ["B", "A", "tie", "B"] and list(table["second_reply"]) == ["A", "B", "tie", "A"]
    assert outputs["counts"] == {"fine-tuned": 2, "base": 1, "tie": 1, "unparsed": 0, "failed": 0, "not asked": 0}
    assert outputs["win_rate"] == 0.5 and outputs["flips"] == 0 and outputs["tokens"] == 8 * 37
    # Wilson for 2 of 4 at z = 1.96: centre .5, half width 1.96 / (1 + z2/4) * sqrt(1/16 + z2/64)
    assert outputs["win_rate_low"] == pytest.approx(0.15004, abs=1e-4) and outputs["win_rate_high"] == pytest.approx(0.84996, abs=1e-4)
    assert outputs["judge"] == f"judge-1 at {server.root.removeprefix('http://')}" == table["judge"][0]
    assert (workspace.path.parents[1] / outputs["verdicts"]).is_file()
    json.dumps(outputs)


def test_the_models_are_blind_and_shown_in_both_orders(judge: Judge) -> None:
    with ChatServer() as server:
        judge(server, concurrency=1, max_tokens=99, seed=5)
    assert len(server.requests) == 8
    for first, second in zip(server.requests[::2], server.requests[1::2], strict=True):  # the two orders of a pair follow one another
        one, other = shown(first), shown(second)
        assert (one["answer_A"], one["answer_B"]) == (other["answer_B"], other["answer_A"]) and one["question"] == other["question"]
        assert one["answer_A"] == ("virtue" if one["question"] == "equal" else "virtue is courage")
    asked = [shown(request)["question"] for request in server.requests[::2]]
    assert sorted(asked) == sorted(question for question, _, _ in ROWS) and asked != [question for question, _, _ in ROWS]
    for request in server.requests:
        assert (request["temperature"], request["model"], request["max_tokens"], request["seed"]) == (0, "judge-1", 99, 5)
        text = json.dumps(request["messages"]).lower()
        assert not any(word in text for word in ("tuned", "base", "candidate"))


def test_groq_has_its_own_default_and_thinks_little(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer(models=["openai/gpt-oss-20b", "another"]) as server:
        monkeypatch.setenv("GROQ_BASE_URL", server.root)
        _, table, _ = judge(server, backend="groq", judge_model=None, base_url=None)
    assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS]
    sent = server.requests[0]
    assert (sent["model"], sent["reasoning_effort"], sent["max_completion_tokens"]) == ("openai/gpt-oss-20b", "low", 256)


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_that_looks_at_the_place_alone_only_ties(judge: Judge, letter: str) -> None:
    with ChatServer(lambda request, nth: says(letter)) as server:
        outputs, table, _ = judge(server)
    assert set(table["verdict"]) == {"tie"}
    assert set(table["first_verdict"]) == {"base" if letter == "A" else "fine-tuned"}
    assert outputs["flips"] == 4 and outputs["flip_rate"] == 1.0 and outputs["win_rate"] == 0.0


@pytest.mark.parametrize(
    "bad",
    [refuses(429, "slow down", Retry_After="0.3"), refuses(500, "down"), html(502), html(), empty(), breaks(), hangs()],
    ids=["429", "500", "html 502", "html", "empty", "broken", "hangs"],
)
def test_what_may_pass_is_asked_again(judge: Judge, bad: Answer) -> None:
    with ChatServer(lambda request, nth: bad if nth in (1, 4) else honest(request, nth)) as server:
        outputs, table, workspace = judge(server)
    assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS]
    assert outputs["retries"] == 2 and len(server.requests) == 10
    assert len(runs.read_events(workspace.run.run_id, "retry")) == 2


def test_late_is_not_never(judge: Judge) -> None:
    def late(request: dict[str, Any], nth: int) -> Answer:
        return says(json.loads(honest(request, nth).body)["choices"][0]["message"]["content"], delay=0.2)

    with ChatServer(late) as server:
        outputs, table, _ = judge(server, timeout_seconds=5)
    assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS] and outputs["retries"] == 0
    assert (table["seconds"] >= 0.4).all()


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (says("I would say A."), "unparsed", "not one of the words A, B, tie"),
        (says(""), "unparsed", "the reply is empty"),
        (says("", finish="length"), "unparsed", "cut at max_tokens=256"),
        (html(), "failed", r"the reply is no JSON: it begins '<html>.*\(tried 3 times\)"),
        (hangs(), "failed", r"no reply within 0.4 seconds \(tried 3 times\)"),
        (refuses(400, "context is too long"), "failed", "HTTP 400: context is too long"),
    ],
    ids=["chatty", "empty", "cut", "html", "hangs", "400"],
)
@pytest.mark.parametrize("which", ["answer_A", "answer_B"], ids=["in one order", "in the other"])
def test_one_bad_order_is_recorded_and_never_a_score(judge: Judge, answer: Answer, verdict: str, reason: str, which: str) -> None:
    def respond(request: dict[str, Any], nth: int) -> Answer:
        return answer if shown(request)[which] == "no idea" else honest(request, nth)

    with ChatServer(respond) as server:
        outputs, table, _ = judge(server)
    bad = table[table["question"] == "worse"].iloc[0]
    assert bad["verdict"] == verdict and outputs["counts"][verdict] == 1
    order, good = ("candidate first", "first_verdict") if which == "answer_A" else ("base first", "second_verdict")
    assert bad[good] == "base" and pd.Series([bad["reason"]]).str.contains(f"^{order}: .*{reason}").all()
    assert outputs["counts"]["fine-tuned"] == 2 and outputs["judged"] == 3
    if verdict == "unparsed":
        assert "I would say A." in (bad["first_reply"], bad["second_reply"]) or bad["first_reply"] == "" or bad["second_reply"] == ""


def test_rubbish_throughout_leaves_no_verdict(judge: Judge) -> None:
    with ChatServer(lambda request, nth: says("The best answer is both.")) as server:
        outputs, table, workspace = judge(server)
    assert set(table["verdict"]) == {"unparsed"} and set(table["first_reply"]) == {"The best answer is both."}
    assert outputs["win_rate"] is None and outputs["flip_rate"] is None and outputs["judged"] == 0
    assert "no pair could be judged (4 unparsed, 0 failed)" in said(workspace)


def test_a_server_that_dies_midway_leaves_what_there_is_and_can_be_resumed(
    judge: Judge, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "DEAD_AFTER", 2)

    def dying(request: dict[str, Any], nth: int) -> Answer:
        if nth == 2:
            server.stop_listening()
        return honest(request, nth)

    with ChatServer(dying) as server:
        config = settings(file, server, concurrency=1)
        workspace = Workspace(runs.create("judge", config.model_dump()))
        with pytest.raises(UserError, match=f"1 of 4 pairs are judged, the rest is not: 2 calls in a row.*--resume {workspace.run.run_id}"):
            run(config, workspace)
    table = results.read(workspace.path / "verdicts.csv", results.Verdict)
    right = {question: verdict for question, _, verdict in ROWS}
    judged = table[~table["verdict"].isin(["failed", "not asked"])]
    assert list(judged["verdict"]) == [right[question] for question in judged["question"]] and len(judged) == 1
    assert set(table["verdict"]) > {"failed", "not asked"}
    assert table["reason"].str.contains("not asked: 2 calls in a row had failed before it, the last one with: the connection failed").any()
    unasked = table[table["verdict"] == "not asked"].iloc[0]
    assert (unasked["first_verdict"], unasked["second_verdict"], unasked["first_reply"]) == ("", "", "")


def test_nothing_judged_fails_and_resuming_asks_only_what_is_missing(judge: Judge, file: Path) -> None:
    with ChatServer(lambda request, nth: refuses(503, "down")) as server:
        config = settings(file, server, retries=0, concurrency=1)
        workspace = Workspace(runs.create("judge", config.model_dump()))
        with pytest.raises(UserError, match=f"None of the 4 pairs could be judged.*HTTP 503: down.*--resume {workspace.run.run_id}"):
            run(config, workspace)
        table = results.read(workspace.path / "verdicts.csv", results.Verdict)
        assert set(table["verdict"]) == {"failed"} and (table["reason"] == "HTTP 503: down").all()
        server.respond = lambda request, nth: honest(request, nth) if shown(request)["question"] != "worse" else refuses(503, "down")
        asked = len(server.requests)
        outputs, table, _ = judge(server, workspace, retries=0)
        assert outputs["failed"] == 1 and len(server.requests) == asked + 8 and outputs["requests"] == 6
        server.respond = honest
        outputs, table, _ = judge(server, workspace)
        assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS] and len(server.requests) == asked + 10
        listed = server.listed
        outputs, again, _ = judge(server)
        assert len(server.requests) == asked + 10 and server.listed == listed and outputs["requests"] == 0
        pd.testing.assert_frame_equal(again.drop(columns="run"), table.drop(columns="run"))
        judge(server, seed=1)
        assert len(server.requests) == asked + 18


@pytest.mark.parametrize("backend", ["openai", "groq"])
def test_what_is_wrong_from_the_start_is_said_at_once(judge: Judge, backend: str) -> None:
    retired = r"doesn't offer the model 'judge-1' \(retired, .*It offers: judge-2, llama-9"
    with ChatServer(models=["llama-9", "judge-2"]) as server, pytest.raises(UserError, match=retired):
        judge(server, backend=backend)
    with ChatServer(key="another") as server:
        with pytest.raises(UserError, match=rf"refuses the key in {backend.upper()}_API_KEY \(HTTP 401.*\[key\]") as refused:
            judge(server, backend=backend)
        assert KEY not in str(refused.value)
    with pytest.raises(UserError, match="No judge answers at .*the connection failed.* Check base_url"):
        judge(server, backend=backend)
    with pytest.raises(UserError, match="No judge answers at .*missing an 'http://'"):
        judge(server, backend=backend, base_url="127.0.0.1:8000/v1")
    assert not server.requests


@pytest.mark.parametrize("code", ["model_not_found", "model_decommissioned"])
def test_a_model_that_is_retired_midway_is_named_with_what_is_offered(judge: Judge, code: str) -> None:
    def retire(request: dict[str, Any], nth: int) -> Answer:
        if nth < 2:
            return honest(request, nth)
        server.models = ["judge-2", "llama-9"]
        body = {"error": {"message": "The model `judge-1` has been decommissioned", "code": code}}
        return Answer(json.dumps(body).encode(), 404 if code == "model_not_found" else 400)

    with (
        ChatServer(retire) as server,
        pytest.raises(UserError, match="1 of 4 pairs are judged.*no longer has the model 'judge-1'.*It offers: judge-2, llama-9"),
    ):
        judge(server, concurrency=1)
    assert len(server.requests) == 3


def test_servers_with_no_or_odd_lists_of_models_are_asked_anyway(judge: Judge) -> None:
    for models in (None, html(), refuses(501, "Unsupported method"), Answer(b'{"object": "list"}')):
        with ChatServer(models=models) as server:
            _, table, _ = judge(server)
        assert list(table["verdict"]) == [verdict for _, _, verdict in ROWS]
        with ChatServer(models=models) as server, pytest.raises(UserError, match="judge_model is empty.*doesn't say which models"):
            judge(server, judge_model=None)


def test_the_only_model_of_a_server_is_taken(judge: Judge) -> None:
    with ChatServer(models=["mine"]) as server:
        assert judge(server, judge_model=None)[0]["judge"].startswith("mine at 127.0.0.1:")
    with ChatServer(models=["one", "two"]) as server, pytest.raises(UserError, match="It offers: one, two"):
        judge(server, judge_model=None)


def test_keys_are_asked_for_and_optional_on_ones_own_server(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY")
    monkeypatch.delenv("OPENAI_API_KEY")
    with ChatServer(key="none") as server:
        assert judge(server)[0]["judged"] == 4
        with pytest.raises(UserError, match="GROQ_API_KEY is not set"):
            judge(server, backend="groq")
        with pytest.raises(UserError, match="neither a base_url nor a key"):
            judge(server, base_url=None)


def test_keys_appear_nowhere(judge: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    with ChatServer(lambda request, nth: refuses(400, f"bad key {KEY}") if nth == 1 else honest(request, nth), key=KEY) as server:
        outputs, _, workspace = judge(server, concurrency=1)
    written = "".join(path.read_text() for path in workspace.path.rglob("*") if path.is_file())
    assert "bad key [key]" in written
    captured = capsys.readouterr()
    assert KEY not in written + json.dumps(outputs) + captured.out + captured.err


def test_an_empty_reference_is_not_judged(judge: Judge, file: Path) -> None:
    file.write_text(file.read_text().replace("worse,virtue is knowledge", "worse,"))
    with ChatServer() as server:
        outputs, table, _ = judge(server)
    assert outputs["failed"] == 1 and len(server.requests) == 6
    assert table["reason"][1] == asking.NO_REFERENCE


def test_no_reference_at_all_is_said_at_once(judge: Judge, file: Path) -> None:
    file.write_text(file.read_text().replace(f",{REFERENCE},", ",,"))
    with ChatServer() as server:
        with pytest.raises(UserError, match=r"None of the 4 pairs has a reference, and the prompt 'meaning' needs one.*prompt=preference"):
            judge(server)
        with pytest.raises(UserError, match=r"the judge 'similarity.* needs one.*language model.*prompt=preference"):
            judge(server, backend="similarity", base_url=None)
        assert not server.requests and not server.listed


def test_half_a_character_is_unparsed_and_breaks_nothing(judge: Judge) -> None:
    def half(request: dict[str, Any], nth: int) -> Answer:
        return says("A \ud83d") if shown(request)["question"] == "worse" else honest(request, nth)

    with ChatServer(half) as server:
        outputs, table, _ = judge(server)
    assert list(table["verdict"]) == ["fine-tuned", "unparsed", "tie", "fine-tuned"] and outputs["unparsed"] == 1
    assert table["first_reply"][1] == table["second_reply"][1] == "A ?"
