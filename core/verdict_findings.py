"""What a judged run found, in sentences: who won, how sure, who judged; and what speaks against the judge.

A judge whose audit card is red gets no headline: the sentence says why instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from core.results import ALL
from core.stats import Estimate
from core.wording import count, duration, listed, percent, signed, three

LABELS = {
    "flip_rate": "Order changed the verdict",
    "reversal_rate": "Order changed the winner",
    "first_position_rate": "Answer shown first won",
    "longer_answer_rate": "Longer answer won",
    "longer_either_way": "Longer answer won, whosever it is",
    "longer_verdict_rate": "Longer answer won in both orders",
    "win_rate": "Win rate",
    "win_rate_bootstrap": "Win rate, bootstrap interval",
    "win_rate_ties_half": "Win rate, ties as half a win",
    "length_controlled_win_rate": "Win rate at equal length, ties as half",
    "unparsed": "Unparsed replies",
    "failed": "Failed calls",
    "not_asked": "Pairs not asked",
    "repeat_agreement": "Same verdict when asked again",
    "own_family_rate": "Answer of its own family won",
    "judge_agreement": "Same word as the other judge",
    "judge_kappa": "Kappa with the other judge",
    "people_agreement": "Same word as people",
    "people_kappa": "Kappa with people",
    "win_rate_difference": "Difference of the win rates",
    "mcnemar_p": "McNemar's p",
}
"""What a figure of audit.csv is called on a page."""
CARD = ("flip_rate", "first_position_rate", "longer_answer_rate", "length_controlled_win_rate", "unparsed", "failed", "repeat_agreement")
"""The figures that a card shows at once; those with an amber or red light join them."""


WINS = ("win_rate", "length_controlled_win_rate", "own_family_rate")
"""How the names of the figures begin that tell who won: not to be told where the card is red."""
CANDIDATES = ("own adapters", "the candidates")
"""What `candidate_name` calls several."""


MEANINGS = {
    "green": "nothing speaks against this judge",
    "amber": "read its verdicts with care",
    "red": "its headline is withheld",
}
OUTCOMES = {"fine-tuned": "win", "base": "loss"}
"""Words of verdicts.csv as they are said to people: of the candidate."""
ORDER = ("flip_rate", "reversal_rate", "first_position_rate")
"""Figures on what the order of the answers does."""
ORDERLESS = ("similarity", "perplexity")
"""How the names of judges begin that never see an order: its figures hold by construction and say nothing for them."""


@dataclass(frozen=True)
class Judged:
    """One judge's work in one run."""

    judge: str
    rates: pd.DataFrame
    """judging.win_rates."""
    figures: pd.DataFrame
    """Its rows of audit.csv."""
    light: str
    """green, amber or red; empty where nothing was audited."""
    sentence: str
    """`verdicts`: not to be shown where it is withheld."""
    cost: str

    @property
    def withheld(self) -> bool:
        """Whether the card is red, so that no headline is told."""
        return self.light == "red"


def headline(found: Mapping[str, Judged]) -> str:
    """Who won, how sure, and who judged: a sentence for each judge, the withheld ones named with the reason."""
    return " ".join(withheld(judged) if judged.withheld else judged.sentence for judged in found.values())


def verdicts(rates: pd.DataFrame, table: pd.DataFrame) -> str:
    """Who won, how sure, and who judged: `rates` is judging.win_rates of `table`, the verdicts of one judge."""
    whole = rates[rates["category"] == ALL].iloc[0]
    name = judge_name(table)
    if whole["n"] == 0:
        return f"No answer could be judged: {_lost(whole) or 'nothing was asked'}. Judge: {name}."
    low, high = percent(whole["low"]), percent(whole["high"])
    pairs = "questions" if table["repeat"].eq(0).all() else "verdicts"
    wins, losses, ties = (f"{int(whole[word]):,}" for word in ("wins", "losses", "ties"))
    against = ", ties counting against it" if whole["ties"] else ""
    who, lost = candidate_name(table), _lost(whole)
    return (
        f"{who[:1].upper() + who[1:] if who in CANDIDATES else who} against {_base(table)}, {_better(table)}: {wins} won, {losses} lost, "
        f"{ties} tied of {int(whole['n']):,} {pairs}; win rate {percent(whole['win_rate'])} (95 % interval {low} to {high}){against}. "
        f"{lost[:1].upper() + lost[1:] + '. ' if lost else ''}Judge: {name}."
    )


def withheld(judged: Judged) -> str:
    """Why a judge's headline isn't told."""
    red = judged.figures[judged.figures["light"] == "red"]
    why = listed([f"{label(row.figure).lower()} {value(row.figure, row.value)}" for row in red.itertuples()])
    return f"The headline of {named(judged.judge)} is withheld, since its audit card is red: {why}."


def _base(table: pd.DataFrame) -> str:
    names = list(table["base"].unique())
    return "the base" if names == ["base"] else listed(names, 3)


def _lost(whole: pd.Series) -> str:
    parts = [f"{count(int(whole['failed']), 'verdict')} failed or unparsed"] if whole["failed"] else []
    return ", ".join([*parts, *([f"{int(whole['not_asked']):,} not asked"] if whole["not_asked"] else [])])


def _better(table: pd.DataFrame) -> str:
    by_reference = set(table["prompt"].unique()) <= {"", "meaning"} and table["reference"].str.strip().ne("").any()
    return "by closeness to the reference" if by_reference else "by preference"


def outcome(word: str) -> str:
    """A word of verdicts.csv as it is said to people: win, loss or tie of the candidate; what is no verdict as it stands."""
    return OUTCOMES.get(word, word)


def candidate_name(table: pd.DataFrame) -> str:
    """One candidate by its name; one for each category as 'own adapters'; any others as 'the candidates'."""
    names = list(table["candidate"].unique())
    if len(names) == 1:
        return str(names[0])
    return "own adapters" if table.groupby("category")["candidate"].nunique().max() == 1 else "the candidates"


def judge_name(table: pd.DataFrame) -> str:
    """Who judged; the embedding similarity is named as what it is."""
    return listed([named(str(name)) for name in table["judge"].unique()])


def named(judge: str) -> str:
    """A judge's name; an offline baseline is said to be one."""
    return f"{judge}, not a language model" if judge.startswith("similarity") and "not a language model" not in judge else judge


def told(figures: pd.DataFrame) -> pd.DataFrame:
    """Rows of audit.csv without those that tell who won by a judge whose card is red; the figures of all together count as such."""
    red = set(figures.loc[figures["light"] == "red", "judge"])
    shut = figures["judge"].isin(red | {""}) if red else figures["judge"].isin(red)
    return figures[~(shut & figures["figure"].str.startswith(WINS))]


def lit(figures: pd.DataFrame) -> pd.DataFrame:
    """Rows of audit.csv with each light at the figure that it rests on, and none where a figure holds by construction.

    Of longer answers the milder light of two counts (core.judge.audit): where that is `longer_either_way`'s, it stands there.
    """
    shown = figures.copy()
    orderless = shown["judge"].str.startswith(ORDERLESS) & shown["figure"].isin(ORDER) & shown["value"].notna()
    shown.loc[orderless, ["light", "note"]] = ["", "By construction: this judge sees no order."]
    for _, mine in shown.groupby("judge", sort=False):
        either, longer = (mine[mine["figure"] == name].head(1) for name in ("longer_either_way", "longer_answer_rate"))
        if len(longer) and len(either) and _rests_on_other(longer.iloc[0]):
            end = _last_sentence(longer["note"].iloc[0])
            shown.loc[longer.index, "light"] = ""
            shown.loc[either.index, "light"] = longer["light"].iloc[0] if pd.notna(either["value"].iloc[0]) else ""
            shown.loc[either.index, "note"] = f"{either['note'].iloc[0]} {end}"
    return shown


def _rests_on_other(longer: pd.Series) -> bool:
    """Whether the light is milder than the interval of the figure itself would have it."""
    from core.judge.thresholds import THRESHOLDS

    if pd.isna(longer["value"]) or not longer["light"]:
        return False
    own = Estimate(longer["value"], longer["low"], longer["high"], int(longer["n"]))
    return bool(THRESHOLDS["longer_answer_rate"].light(own) != longer["light"])


def _last_sentence(note: str) -> str:
    return str(note).rsplit(". ", 1)[-1]


def carded(figures: pd.DataFrame) -> pd.DataFrame:
    """The figures that a card shows at once, lit: those of CARD, the amber and red ones, and those of the order also when not tested."""
    shown = lit(told(figures))
    either = shown["figure"].eq("longer_either_way") & shown["value"].notna()
    known = shown["value"].notna() & (shown["figure"].isin(CARD) | shown["light"].isin(["amber", "red"]))
    return shown[known | either | (shown["figure"].isin(CARD) & shown["figure"].isin(ORDER) & ~order_tested(shown))]


def order_tested(figures: pd.DataFrame) -> bool:
    """Whether any pair was answered in both orders."""
    return bool(figures.loc[figures["figure"] == "flip_rate", "value"].notna().any())


def meaning(light: str, tested: bool) -> str:
    """What the light of a whole card says of its judge; a green one without both orders does not say that nothing speaks against it."""
    return MEANINGS[light] if tested or light != "green" else "but the order of the answers was not tested"


def label(figure: str) -> str:
    """What a figure of audit.csv is called."""
    words = figure.replace("_", " ")
    return LABELS.get(figure) or words[:1].upper() + words[1:]


def value(figure: str, number: float) -> str:
    """A figure of audit.csv in words: a share as per cent, a difference of shares in points; kappa and p with three digits."""
    if figure.endswith(("_kappa", "_p")) or pd.isna(number):
        return three(number)
    if figure.endswith("_difference"):
        return f"{signed(100 * number)} points"
    return percent(number)


def spread(figure: str, low: float, high: float, n: int) -> str:
    """Its interval and its n."""
    words = "" if pd.isna(low) else f"{value(figure, low)} to {value(figure, high)}, "
    return f"{words}n {n:,}"


def cost(table: pd.DataFrame) -> str:
    """Tokens, money and time of calls that verdicts took."""
    tokens, money = table["tokens"].sum(), table["cost"].sum()
    words = [f"{tokens:,.0f} tokens" if tokens else "no tokens", *([f"money {three(money)}"] if money else [])]
    return f"{', '.join(words)}, {duration(float(table['seconds'].sum()))} of calls"
