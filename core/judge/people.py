"""What people said, in figures: win rate, how far they agree, and where they don't. All take the table of arena.votes(). Light."""

from itertools import combinations

import pandas as pd

from core.judge.measures import JUDGED
from core.stats import Estimate, clustered, kappa, wilson
from core.wording import count, percent


def nameless(votes: pd.DataFrame) -> pd.DataFrame:
    """Votes whose reviewers have numbers in place of names."""
    return votes.assign(reviewer=[f"reviewer {number + 1}" for number in pd.factorize(votes["reviewer"])[0]])


def win_rate(votes: pd.DataFrame) -> Estimate:
    """Share of votes for the fine-tuned answer, ties being no win; votes on one pair are not independent, which the interval allows for."""
    return clustered((votes["verdict"] == "fine-tuned").to_numpy(), votes["pair"].to_numpy())


def agreement(votes: pd.DataFrame) -> pd.DataFrame:
    """Every two reviewers who share pairs: one, other, n (shared pairs), same (share of the same word), kappa (Cohen's), low, high."""
    said = {name: rows.set_index("pair")["verdict"] for name, rows in votes.groupby("reviewer", sort=False)}
    rows = []
    for one, other in combinations(said, 2):
        shared = said[one].index.intersection(said[other].index)
        if len(shared):
            ours, theirs = said[one][shared], said[other][shared]
            found = kappa(list(ours), list(theirs))
            rows.append((one, other, len(shared), float((ours == theirs).mean()), found.value, found.low, found.high))
    return pd.DataFrame(rows, columns=["one", "other", "n", "same", "kappa", "low", "high"])


def disagreements(votes: pd.DataFrame) -> pd.DataFrame:
    """Pairs on which people differ: pair, category, question, and how many said each word; the most divided first."""
    words = votes.pivot_table(index=["pair", "category", "question"], columns="verdict", values="reviewer", aggfunc="count", fill_value=0)
    counts = words.reindex(columns=list(JUDGED), fill_value=0).reset_index().rename_axis(columns=None)
    most, every = counts[list(JUDGED)].max(axis=1), counts[list(JUDGED)].sum(axis=1)
    return counts[most < every].assign(share=most / every).sort_values("share", kind="stable").drop(columns="share").reset_index(drop=True)


def finding(votes: pd.DataFrame) -> str:
    """What people said in a sentence or two."""
    if votes.empty:
        return "Nobody has voted yet."
    rate, couples = win_rate(votes), agreement(votes)
    people, asked = votes["reviewer"].nunique(), votes["pair"].nunique()
    sentence = (
        f"{count(people, 'person', 'people')} gave {count(len(votes), 'vote')} on {count(asked, 'pair')}: the candidate won "
        f"{percent(rate.value)} (95 % interval {percent(rate.low)} to {percent(rate.high)})."
    )
    shared = int(couples["n"].sum())
    if not shared:
        return f"{sentence} No pair was seen by two people, so their agreement is not known."
    same = wilson(round(float((couples["same"] * couples["n"]).sum())), shared)
    return f"{sentence} Two people who saw the same pair said the same {percent(same.value)} of the time ({count(shared, 'comparison')})."
