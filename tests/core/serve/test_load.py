"""Twenty clients for five seconds: the load of benchmarks/load.py, small. And its referee, who must tell wrong answers from right ones."""

import asyncio
import time

import pytest

from benchmarks import load, tiny
from benchmarks.load_answers import GUEST, Answer, Asked, Referee, Shelf
from benchmarks.load_clients import Result


def test_twenty_clients_get_right_answers_and_leave_nothing_behind():
    with tiny.engine(precision="fp32", side_by_side=8) as engine:
        report = asyncio.run(load.load(engine, clients=20, seconds=5, questions=1, tokens=24, seed=0))
    assert not report.faults, "\n".join(report.faults)
    assert report.counts["right"] > 40 and report.counts["broken off"] >= 4
    assert report.counts.get("refused: the adapter was away", 0) < report.counts["right"]
    assert report.after.files <= report.before.files + load.MORE_FILES and report.memory


@pytest.fixture
def rules(home):
    """What two variants of the guest say, at certain times."""
    shelf = Shelf(_states=[(0.0, None), (10.0, 0), (20.0, 1)], _ends=[11.0, 21.0])
    answers = {("base", "?", None, None): Answer((b"a", b"b", b"c"), (1.0, 1e-5, 1.0))}
    answers |= {(GUEST, "?", None, each): Answer((b"g", b"0123"[each : each + 1]), (1.0, 1.0)) for each in (0, 1)}
    return Referee(("base", GUEST), ("?",), 3, shelf, answers)


@pytest.mark.parametrize(
    ("text", "tokens", "verdict"),
    [("abc", 3, "right"), ("axx", 3, "near tie"), ("xbc", 3, "wrong"), ("ab", 2, "wrong"), ("abc", 2, "wrong"), ("abx", 3, "wrong")],
)
def test_an_answer_is_held_against_the_known_one(rules, text, tokens, verdict):
    asked = Asked("base", "?", None, 3)
    assert rules.verdict(asked, text, tokens, 0.0, 1.0) == verdict
    assert rules.verdict(Asked("base", "?", None, 2), "ab", 2, 0.0, 1.0) == "right"


def test_a_replaced_adapter_may_only_say_what_it_was_at_the_time(rules):
    asked = Asked(GUEST, "?", None, 2)
    assert rules.verdict(asked, "g0", 2, 12.0, 13.0) == "right"
    assert rules.verdict(asked, "g1", 2, 12.0, 13.0) == "wrong" and rules.verdict(asked, "g1", 2, 12.0, 20.5) == "right"
    assert rules.verdict(asked, "g0", 2, 22.0, 23.0) == "wrong" and rules.verdict(asked, "g0", 2, 20.5, 23.0) == "right"
    assert rules.away(asked, 1.0, 2.0) and not rules.away(asked, 12.0, 13.0) and rules.away(asked, 19.0, 20.5)
    assert not rules.away(Asked("base", "?", None, 2), 1.0, 2.0)


def test_growing_memory_and_open_files_are_faults():
    assert load.slope([(0.0, 100.0), (60.0, 103.0), (120.0, 106.0)]) == pytest.approx(3.0)
    assert load.slope([(0.0, 1.0)]) is None
    report = load.Report(clients=1, seconds=load.MEMORY_SECONDS, memory=[(each, 100.0 + each) for each in range(120)])
    report.before, report.after = load.Process(5, 9, 100.0), load.Process(5 + load.POOL + 1, 9 + load.MORE_FILES + 1, 200.0)

    class Nobody:
        results = [Result("wrong", time.monotonic(), said="it says 'x'")]

    load.summed(report, Nobody())
    assert len(report.faults) == 4 and report.faults[0] == "it says 'x'"
