"""The arena: rounds, sheets without names, votes of many at once, undo, and what people said in figures."""

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from core import paths, results, runs
from core.config import ArenaConfig
from core.errors import UserError
from core.judge import answers, arena, people, votes
from core.results import Answer, Model, Vote
from core.workspace import Workspace

ANSWERS = {
    "plain-base": "As an answer: {n}.",
    "Okapi-7B": "I am okapi 7b, or Wombat-1.5B-chat.v2, so {n}!",
    "numbat": "Numbat says {n}<|im_end|>",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Answers of a base and two own adapters to 30 questions."""
    rows = [
        Answer("r", model, "animals", f"What is {n}?", f"ref {n}", said.format(n=n), 1.0, 2, "stop")
        for model, said in ANSWERS.items()
        for n in range(30)
    ]
    own = [Model(name, "own", "animals", f"adapters/{name}", "0") for name in ("Okapi-7B", "numbat")]
    results.write(tmp_path / "answers.csv", rows, Answer)
    results.write(tmp_path / "models.csv", [Model("plain-base", "base", "", "models/Wombat-1.5B", "0"), *own], Model)
    return tmp_path


@pytest.fixture
def opened(folder: Path) -> str:
    """A round on them."""
    return start(folder)


def start(folder: Path, **fields: object) -> str:
    config = ArenaConfig(answers=str(folder), base="plain-base", **fields)
    run = runs.create("arena", config.model_dump(mode="json"))
    runs.update(run.run_id, status="done", outputs=arena.run(config, Workspace(run)))
    return run.run_id


def vote_all(round_id: str, reviewer: str, choices: str) -> list[str]:
    """Vote on as many pairs as there are letters: l, r, t or s; the pairs."""
    words, pairs = {"l": "left", "r": "right", "t": "tie", "s": "skip"}, []
    for letter in choices:
        sheet = arena.next_pair(round_id, reviewer)
        assert sheet and arena.vote(round_id, reviewer, sheet.pair, words[letter])
        pairs.append(sheet.pair)
    return pairs


def test_a_round_asks_each_pair_once_in_an_order_of_its_seed(folder: Path, opened: str) -> None:
    pairs = arena.pairs(opened)
    assert Counter(pairs["candidate"]) == {"Okapi-7B": 20, "numbat": 20}, "20 questions per category and model unless limit says otherwise"
    expected = {pair.key for pair in answers.pair(folder / "answers.csv", ArenaConfig(answers=str(folder), base="plain-base")).pairs}
    assert set(pairs["pair"]) == expected, "ids are those of judges' verdicts"
    assert list(pairs["question"]) != sorted(pairs["question"])
    assert list(arena.pairs(start(folder))["pair"]) == list(pairs["pair"]) != list(arena.pairs(start(folder, seed=1))["pair"])
    assert [run.outputs["questions"] for run in arena.rounds()] == [40, 40, 40]


def test_two_models_that_answered_the_same_are_asked_about_once(folder: Path) -> None:
    table = results.read(folder / "answers.csv", Answer)
    table.loc[table["model"] == "numbat", "prediction"] = list(table.loc[table["model"] == "Okapi-7B", "prediction"])
    table.to_csv(folder / "answers.csv", index=False)
    assert len(arena.pairs(start(folder))) == 20


def test_a_sheet_names_nobody(opened: str) -> None:
    shown = []
    while (sheet := arena.next_pair(opened, "Ada")) is not None:
        shown.append(" ".join((sheet.pair, sheet.question, sheet.reference, sheet.left, sheet.right)))
        arena.vote(opened, "Ada", sheet.pair, "tie")
    text = "\n".join(shown).lower()
    assert len(shown) == 40 and "what is 3?" in text and "ref 3" in text
    assert not [name for name in ("okapi", "numbat", "wombat", "chat", "plain-base", "im_end") if name in text]


def test_a_name_that_is_a_word_of_the_question_stays(folder: Path) -> None:
    table = results.read(folder / "answers.csv", Answer)
    table["question"] = table["question"].str.replace("What is", "What does a numbat say of")
    table.to_csv(folder / "answers.csv", index=False)
    round_id = start(folder, candidate="numbat")
    sheet = arena.next_pair(round_id, "Ada")
    assert sheet and "Numbat says" in sheet.left + sheet.right


def test_sides_are_by_chance_for_each_reviewer_and_stay(opened: str) -> None:
    table = arena.pairs(opened).set_index("pair")
    sides = {name: [arena.left_of(opened, name, pair) for pair in table.index] for name in ("Ada", "Bo", "Chen")}
    assert len({tuple(side) for side in sides.values()}) == 3
    assert 25 < Counter(sum(sides.values(), []))["base"] < 95, "120 fair coins leave this range once in ten billion rounds"
    for name in sides:
        sheet = arena.next_pair(opened, name)
        assert sheet and sheet == arena.next_pair(opened, f"  {name} ")
        base_left = table["base_prediction"][sheet.pair] == sheet.left
        assert base_left == (arena.left_of(opened, name, sheet.pair) == "base")


@pytest.mark.parametrize(("choice", "left", "verdict"), [
    ("left", "base", "base"), ("left", "candidate", "fine-tuned"), ("right", "base", "fine-tuned"), ("right", "candidate", "base"),
    ("tie", "base", "tie"), ("skip", "candidate", ""),
])  # fmt: skip
def test_a_choice_is_a_verdict_by_the_side(opened: str, choice: str, left: str, verdict: str) -> None:
    name = next(name for name in map(str, range(100)) if arena.left_of(opened, name, arena.pairs(opened)["pair"][0]) == left)
    sheet = arena.next_pair(opened, name)
    assert sheet
    vote = arena.vote(opened, name, sheet.pair, choice, 3.14159, " because\n it is ")
    assert vote and (vote.left, vote.choice, vote.verdict, vote.seconds, vote.reason) == (left, choice, verdict, 3.1, "because it is")
    kept = results.read(runs.folder(opened) / "votes.csv", Vote)
    assert kept.iloc[0].to_dict() == {column: getattr(vote, column) for column in Vote.columns()}


def test_a_second_vote_on_a_pair_is_none_and_undo_takes_the_last_back(opened: str) -> None:
    first, second = vote_all(opened, "Ada", "ls")
    assert arena.vote(opened, "Ada", first, "right") is None and arena.vote(opened, "Ada", second, "right") is None
    assert arena.standing(opened, "Ada") == arena.Standing(2, 1, 40, second)
    assert arena.undo(opened, "Ada", first) is None, "only the last"
    assert arena.undo(opened, "Ada", second) and arena.undo(opened, "Ada", second) is None
    assert arena.standing(opened, "Ada") == arena.Standing(1, 0, 40, first)
    assert vote_all(opened, "Ada", "r") == [second]
    rows = results.read(runs.folder(opened) / "votes.csv", Vote)
    assert list(rows["choice"]) == ["left", "skip", "undo", "right"], "rows are only added"
    assert list(arena.votes()["choice"]) == ["left", "right"]
    assert arena.standing(opened, "Bo").done == 0


def test_votes_of_all_rounds_count_once_per_reviewer_and_pair(folder: Path, opened: str) -> None:
    vote_all(opened, "Ada", "lls")
    again = start(folder)
    pairs = vote_all(again, "Ada", "rt")
    table = arena.votes()
    assert list(table["pair"]) == pairs and set(table["round"]) == {again} and table["blind"].all()
    arena.undo(again, "Ada", pairs[1])
    assert list(arena.votes()["round"]) == [opened, again], "what the later round took back stands in the earlier"


@pytest.mark.parametrize("damage", [b"at,round", b'at,round\n"cut', b"\xff\xfe"])
def test_a_damaged_file_of_votes_hides_no_others(opened: str, damage: bytes) -> None:
    arena.vote(opened, "Ada", arena.pairs(opened)["pair"][0], "left")
    other = runs.create("arena", {}).path
    (other / "votes.csv").write_bytes(damage)
    assert list(arena.votes()["reviewer"]) == ["Ada"]


def test_a_vote_beside_a_verdict_is_not_blind(opened: str) -> None:
    judged = runs.create("judge", {})
    verdict = {"run": judged.run_id, "judge": "j", **arena.pairs(opened).iloc[0].to_dict()}
    assert [votes.vote_openly(verdict, "Ada", word).verdict for word in ("tie", "base", "fine-tuned")] == ["tie", "base", "fine-tuned"]
    table = arena.votes()
    assert list(table["verdict"]) == ["fine-tuned"] and not table["blind"].any()


def test_what_can_not_be_a_vote_is_said(opened: str) -> None:
    pair = arena.pairs(opened)["pair"][0]
    for ask, said in (
        (lambda: arena.vote(opened, "Ada", "nothing", "left"), "does not ask about the pair 'nothing'"),
        (lambda: arena.vote(opened, " \n", pair, "left"), "Say who you are"),
        (lambda: arena.vote(opened, "Ada", pair, "LEFT"), "can't be 'LEFT'. Choose one of: left, right, tie, skip"),
        (lambda: arena.next_pair("none-arena-0", "Ada"), "There is no round 'none-arena-0'"),
        (lambda: arena.next_pair("../x", "Ada"), "can't be used"),
    ):
        with pytest.raises(UserError, match=said):
            ask()
    assert arena.votes().empty


def test_five_processes_at_once_lose_and_double_nothing(folder: Path) -> None:
    opened = start(folder, limit=10)
    script = (
        "import sys; from core.judge import arena\n"
        "while (sheet := arena.next_pair(sys.argv[1], sys.argv[2])) is not None:\n"
        "    arena.vote(sys.argv[1], sys.argv[2], sheet.pair, 'left', 1.0, 'long, \"quoted\" ' * 500)\n"
    )
    names = ("Ada", "Bo", "Chen", "Dara", "Dara")  # the last two are one reviewer in two places
    started = [subprocess.Popen([sys.executable, "-c", script, opened, name], cwd=paths.PROJECT) for name in names]
    assert [each.wait(100) for each in started] == [0] * 5
    rows = results.read(runs.folder(opened) / "votes.csv", Vote)
    assert len(rows) == 80 and not rows.duplicated(["reviewer", "pair"]).any()
    assert list(rows.columns) == Vote.columns() and (rows["reason"].str.len() > 5000).all()


def test_a_full_disk_leaves_the_votes_as_they_were(opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = arena.pairs(opened)["pair"]
    vote_all(opened, "Ada", "l")
    before, write = (runs.folder(opened) / "votes.csv").read_bytes(), votes.os.write
    monkeypatch.setattr(votes.os, "write", lambda descriptor, content: write(descriptor, content[:20]))
    with pytest.raises(UserError, match="No space left"):
        arena.vote(opened, "Ada", second, "right")
    assert (runs.folder(opened) / "votes.csv").read_bytes() == before


def given(*rows: tuple[str, str, str]) -> pd.DataFrame:
    """Votes as (reviewer, pair, verdict)."""
    made = [Vote("2026-01-01", "r", who, pair, "b", "c", "x", f"Q {pair}", "base", "left", word, 1.0) for who, pair, word in rows]
    return pd.DataFrame(made)


def test_people_in_figures() -> None:
    words = ["fine-tuned", "base", "tie", "fine-tuned", "fine-tuned", "base", "tie", "base"]
    theirs = ["fine-tuned", "base", "base", "fine-tuned", "tie", "base", "tie", "fine-tuned"]
    votes_of = [("Ada", f"p{n}", word) for n, word in enumerate(words)] + [("Bo", f"p{n}", word) for n, word in enumerate(theirs)]
    table = given(*votes_of, ("Chen", "p99", "tie"))
    rate = people.win_rate(table)
    assert (rate.value, rate.n) == (6 / 17, 17) and rate.low < 6 / 17 < rate.high
    couple = people.agreement(table)
    assert couple[["one", "other", "n", "same"]].values.tolist() == [["Ada", "Bo", 8, 5 / 8]]
    order = ["base", "fine-tuned", "tie"]
    cross = pd.crosstab(pd.Categorical(words, order), pd.Categorical(theirs, order)).to_numpy()
    reference = cohens_kappa(cross)
    assert math.isclose(couple["kappa"][0], reference.kappa) and math.isclose(couple["low"][0], reference.kappa_low)
    differ = people.disagreements(table)
    assert set(differ["pair"]) == {"p2", "p4", "p7"}
    assert list(differ.columns) == [
        "pair",
        "category",
        "question",
        "fine-tuned",
        "tie",
        "base",
    ]
    assert "3 people gave 17 votes on 9 pairs" in people.finding(table) and "62 % of the time (8 comparisons)" in people.finding(table)
    assert people.finding(table.iloc[:0]) == "Nobody has voted yet." and people.agreement(table.iloc[:0]).empty
    assert "No pair was seen by two people" in people.finding(given(("Ada", "p", "tie")))
