"""What verdicts say about their judge, each a share with its interval: order, length, failures, agreement with itself.

Light: pandas and numpy. The unit is the reply where a figure is about how a judge answers, the pair where it is about what comes of it.
A pair that was asked in neither order on record (imported) counts as one reply, of unknown order.
Rows about the same question are dependent: both orders, several candidates, judges and repeats. Intervals allow for it (core/stats.py).
"""

import numpy as np
import pandas as pd

from core.stats import NOTHING, Estimate, clustered, clustered_sums

DECIDED = ("base", "fine-tuned")
JUDGED = ("fine-tuned", "tie", "base")
"""Verdicts that count in a win rate: won, tied, lost."""
NOT_ASKED = "not asked"


def questions(verdicts: pd.DataFrame) -> np.ndarray:
    """A number for each question: rows with the same category, question and reference share it. [rows]"""
    codes = np.zeros(len(verdicts), dtype=np.int64)
    for column in ("category", "question", "reference"):
        places, found = pd.factorize(verdicts[column])
        codes = pd.factorize(codes * len(found) + places)[0]
    return codes


def lengths(verdicts: pd.DataFrame) -> np.ndarray:
    """[n] characters of the candidate's answer less those of the base's: len(text), as AlpacaEval counts (arXiv:2404.04475).

    A table that has numbers in place of texts (VerdictTable.counted) has them counted.
    """
    if "length_difference" in verdicts:
        return np.asarray(verdicts["length_difference"])
    return np.asarray(verdicts["candidate_prediction"].str.len() - verdicts["base_prediction"].str.len())


def replies(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row per reply: word, first (whose answer stood first: base, fine-tuned, or empty: not on record), longer (the same), question."""
    longer = np.select([lengths(verdicts) > 0, lengths(verdicts) < 0], ["fine-tuned", "base"], "")
    table = pd.DataFrame({"longer": longer, "question": questions(verdicts)}, index=verdicts.index)
    first, second = verdicts["first_verdict"], verdicts["second_verdict"]
    asked = [
        table.assign(word=first, first="base")[(first != "").to_numpy()],
        table.assign(word=second, first="fine-tuned")[(second != "").to_numpy()],
        table.assign(word=verdicts["verdict"], first="")[((first == "") & (second == "")).to_numpy()],
    ]
    found = pd.concat(asked, ignore_index=True)
    return found[found["word"] != NOT_ASKED]


def share_of_words(asked: pd.DataFrame, word: str) -> Estimate:
    """Replies with this word, of all replies."""
    return clustered((asked["word"] == word).to_numpy(), asked["question"])


def first_position(asked: pd.DataFrame) -> Estimate:
    """Replies that chose the answer shown first, of those that chose one and whose order is on record."""
    chosen = asked[asked["word"].isin(DECIDED) & (asked["first"] != "")]
    return clustered((chosen["word"] == chosen["first"]).to_numpy(), chosen["question"])


def longer_answer(asked: pd.DataFrame, longer: str = "") -> Estimate:
    """Replies that chose the longer answer, of those that chose one of two unequal answers. `longer`: only where this one is longer."""
    chosen = asked[asked["word"].isin(DECIDED) & (asked["longer"] == longer if longer else asked["longer"] != "")]
    return clustered((chosen["word"] == chosen["longer"]).to_numpy(), chosen["question"])


def longer_either_way(asked: pd.DataFrame) -> Estimate:
    """Mean of `longer_answer` where the candidate is longer and where the base is: a better candidate that is longer doesn't move it.

    Interval of a sum of two shares from theirs (Zou and Donner 2008, Statistics in Medicine 27). Nothing where one side is never longer.
    """
    ours, theirs = longer_answer(asked, "fine-tuned"), longer_answer(asked, "base")
    if not (ours.n and theirs.n):
        return NOTHING
    value = (ours.value + theirs.value) / 2
    down = np.hypot(ours.value - ours.low, theirs.value - theirs.low) / 2
    up = np.hypot(ours.high - ours.value, theirs.high - theirs.value) / 2
    return Estimate(value, float(value - down), float(value + up), ours.n + theirs.n)


def judged_twice(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts that both orders answered, decided or tied."""
    return verdicts[verdicts["first_verdict"].isin(JUDGED) & verdicts["second_verdict"].isin(JUDGED)]


def asked_twice(verdicts: pd.DataFrame) -> bool:
    """Whether any pair was asked in both orders, answered or not."""
    return bool(((verdicts["first_verdict"] != "") & (verdicts["second_verdict"] != "")).any())


def flips(verdicts: pd.DataFrame) -> Estimate:
    """Pairs whose word changed with the order of the answers (a tie is a word), of those that both orders answered."""
    both = judged_twice(verdicts)
    return clustered((both["first_verdict"] != both["second_verdict"]).to_numpy(), questions(both))


def reversals(verdicts: pd.DataFrame) -> Estimate:
    """Pairs whose winner changed with the order of the answers, of those that both orders decided."""
    both = verdicts[verdicts["first_verdict"].isin(DECIDED) & verdicts["second_verdict"].isin(DECIDED)]
    return clustered((both["first_verdict"] != both["second_verdict"]).to_numpy(), questions(both))


def wins(verdicts: pd.DataFrame) -> Estimate:
    """Pairs that the candidate won (in both orders, where both were asked), of those judged: won, lost or tied."""
    judged = verdicts[verdicts["verdict"].isin(JUDGED)]
    return clustered((judged["verdict"] == "fine-tuned").to_numpy(), questions(judged))


def longer_wins(verdicts: pd.DataFrame) -> Estimate:
    """Pairs that the longer answer won, of those that one of two unequal answers won."""
    difference = lengths(verdicts)
    decided = verdicts["verdict"].isin(DECIDED).to_numpy() & (difference != 0)
    won = (verdicts["verdict"] == "fine-tuned").to_numpy() == (difference > 0)
    return clustered(won[decided], questions(verdicts)[decided])


def repeat_agreement(verdicts: pd.DataFrame) -> Estimate:
    """Of the pairs of repeats of one question to one judge: those with the same verdict."""
    judged = verdicts[verdicts["verdict"].isin(JUDGED)]
    judged = judged.assign(cluster=questions(judged), pair=pair_ids(judged))
    same = ["judge", "prompt", "base", "candidate", "pair", "cluster"]
    asked, agreed = judged.groupby(same).size(), judged.groupby([*same, "verdict"]).size()
    sums = pd.DataFrame({"asked": _pairs(asked), "agreed": _pairs(agreed).groupby(level=same).sum()})
    per_question = sums[sums["asked"] > 0].groupby(level="cluster").sum()
    return clustered_sums(per_question["agreed"].to_numpy(), per_question["asked"].to_numpy())


def _pairs(times: pd.Series) -> pd.Series:
    return times * (times - 1) / 2


def pair_ids(verdicts: pd.DataFrame) -> pd.Series:
    """The pair of each row: its id, or where an older table has none, a number by content."""
    if verdicts["pair"].ne("").all():
        return verdicts["pair"]
    content = ["base", "candidate", "category", "question", "reference", "base_prediction", "candidate_prediction"]
    made = "#" + verdicts.groupby(content, sort=False).ngroup().astype(str)
    return verdicts["pair"].where(verdicts["pair"] != "", made)
