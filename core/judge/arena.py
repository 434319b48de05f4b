"""The arena: people compare two nameless answers. A round is a run whose pairs.csv says what is asked; votes.csv beside it takes the votes.

How votes are kept: core/judge/votes.py. What people said, in figures: core/judge/people.py. Light.
"""

import hashlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import paths, queries, results, runs
from core.config import ArenaConfig
from core.errors import UserError
from core.judge import answers
from core.judge.blind import MASK, blind
from core.judge.votes import UNDO, VOTES, append, appending, counted, made, named, read, read_locked, vote_openly, votes
from core.results import ArenaPair, Vote
from core.runs import Run
from core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sheet", "Standing", "named", "next_pair", "pairs", "rounds", "run", "standing", "undo", "vote", "vote_openly", "votes"]

PAIRS = "pairs.csv"
_NO_NAMES = (*paths.MODEL_WORDS, "bundled", "")
"""Names that are ordinary words and tell nothing."""


@dataclass(frozen=True)
class Sheet:
    """A pair as one reviewer sees it: nothing on it tells who wrote what."""

    pair: str
    question: str
    reference: str
    left: str
    right: str


@dataclass(frozen=True)
class Standing:
    """How far one reviewer is in a round."""

    done: int
    """Pairs voted on, skipped ones included."""
    skipped: int
    total: int
    last: str
    """The pair of the last vote that stands, which `undo` takes back; empty: none."""


def run(config: ArenaConfig, workspace: Workspace) -> dict[str, Any]:
    """Write pairs.csv, in random order, and return its path. Raises UserError when nothing can be paired."""
    file = answers.find(config)
    found = answers.pair(file, config)
    asked = list({each.key: each for each in found.pairs}.values())
    random.Random(config.seed).shuffle(asked)
    results.write(workspace.path / PAIRS, (ArenaPair(**each.columns) for each in asked), ArenaPair)
    workspace.say(f"A round of {len(asked)} questions is open on the Arena page. {found.note}".rstrip())
    return {
        "pairs": str((workspace.path / PAIRS).relative_to(paths.home())),
        "answers": paths.shown(file),
        "base": config.base,
        "candidate": config.candidate,
        "questions": len(asked),
        "names": _names(file, asked),
        "note": found.note,
    }


def rounds() -> list[Run]:
    """Open rounds, newest first. Their outputs name models: of them, reviewers see the date and `questions` alone."""
    return queries.runs_with("arena", PAIRS)


def pairs(round_id: str) -> "pd.DataFrame":
    """What a round asks, in its order: the columns of results.ArenaPair."""
    file = runs.folder(round_id) / PAIRS
    if not file.exists():
        raise UserError(f"There is no round '{round_id}' of the arena in {paths.results()}. Open one with: python -m core arena")
    return results.read(file, ArenaPair)


def next_pair(round_id: str, reviewer: str) -> Sheet | None:
    """The first pair that this reviewer has not voted on; None after the last. One order for all, so that votes meet on the same pairs."""
    asked, voted = pairs(round_id), set(_votes_of(round_id, reviewer)["pair"])
    left = asked[~asked["pair"].isin(voted)]
    return _sheet(round_id, reviewer, left.iloc[0].to_dict()) if len(left) else None


def standing(round_id: str, reviewer: str) -> Standing:
    """How far a reviewer is."""
    given = _votes_of(round_id, reviewer)
    last = str(given["pair"].iloc[-1]) if len(given) else ""
    return Standing(len(given), int((given["choice"] == "skip").sum()), len(pairs(round_id)), last)


def vote(round_id: str, reviewer: str, pair: str, choice: str, seconds: float = 0.0, reason: str = "") -> Vote | None:
    """Append a vote and return it. None, and nothing is written, where the reviewer has voted on the pair: a key hit twice counts once.

    `choice`: one of CHOICES. Raises UserError for a pair that the round doesn't ask.
    """
    asked = {row["pair"]: row for row in pairs(round_id).to_dict("records")}
    if pair not in asked:
        raise UserError(f"Round '{round_id}' does not ask about the pair '{pair}'. Reload the page to vote on one that it asks about.")
    row = made(round_id, reviewer, asked[pair], left_of(round_id, reviewer, pair), choice, seconds, reason)
    with appending(round_id) as file:
        if pair in set(_votes_of(round_id, reviewer, locked=True)["pair"]):
            return None
        append(file, row)
    return row


def undo(round_id: str, reviewer: str, pair: str) -> Vote | None:
    """Take the vote on `pair` back by a row of its own; None where that is not the reviewer's last vote (any more)."""
    with appending(round_id) as file:
        given = _votes_of(round_id, reviewer, locked=True)
        if given.empty or given["pair"].iloc[-1] != pair:
            return None
        last = given.iloc[-1].to_dict()
        row = made(round_id, reviewer, last, last["left"], UNDO)
        append(file, row)
    return row


def left_of(round_id: str, reviewer: str, pair: str) -> str:
    """Whose answer stands on the left, base or candidate: by chance for each reviewer and pair, and the same after a reload."""
    return ("base", "candidate")[hashlib.sha256("\n".join((round_id, named(reviewer), pair)).encode()).digest()[0] % 2]


def _names(file: Path, asked: Iterable[answers.Pair]) -> list[str]:
    """What must not be read in a text: names of the models, and of the folders or hub ids that they come from."""
    names = {name for pair in asked for name in (pair.base, pair.candidate)}
    if (listed := file.with_name("models.csv")).is_file():
        models = results.read(listed, results.Model)
        names |= {*models["model"], *(Path(path).name for path in models["path"])}
    return sorted(names.difference(_NO_NAMES))


def _sheet(round_id: str, reviewer: str, asked: dict[str, str]) -> Sheet:
    names = runs.read(round_id).outputs["names"]
    spoken_of = f"{asked['question']} {asked['reference']}"
    question, reference, *both = (
        _nameless(asked[text], names, spoken_of) for text in ("question", "reference", "base_prediction", "candidate_prediction")
    )
    left, right = both if left_of(round_id, reviewer, asked["pair"]) == "base" else both[::-1]
    return Sheet(asked["pair"], question, reference, left, right)


def _nameless(text: str, names: list[str], spoken_of: str) -> str:
    """A text without telltales. Stricter than for a judge: a name goes from within a longer one too ('Wombat-1B' from 'Wombat-1B-chat'),

    and one that is an ordinary word goes everywhere, unless question or reference speak of it.
    """
    ordinary = [name for name in names if re.fullmatch(r"[a-z]+", name)]
    gone = [rf"\b{name}\b" for name in ordinary if not re.search(rf"\b{name}\b", spoken_of, re.IGNORECASE)]
    for name in sorted(set(names).difference(ordinary), key=len, reverse=True):
        apart = r"[-_\s]+".join(map(re.escape, re.split(r"[-_\s]+", name)))
        gone.append(rf"{apart}(?:[-_.]\w+)*" if len(name) > 3 else rf"\b{apart}\b")
    return re.sub("|".join(gone), MASK, blind(text, names), flags=re.IGNORECASE) if gone else blind(text, names)


def _votes_of(round_id: str, reviewer: str, locked: bool = False) -> "pd.DataFrame":
    rows = (read_locked if locked else read)(runs.folder(round_id) / VOTES)
    return counted(rows[rows["reviewer"] == named(reviewer)])
