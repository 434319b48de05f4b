"""The audit card of judged pairs: how a judge answers, beside what it says. `card` makes audit.csv, `lights` sums it up.

A light turns only where the whole 95 % interval lies beyond its threshold, so that chance alone seldom turns one: a fair judge stays green,
also with few pairs, and then the note says that they are too few to tell. A red card withholds the headline.
Light: pandas and numpy.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from core import stats
from core.judge import length_control, measures
from core.judge.agreement import against, between_judges, with_people
from core.judge.families import family
from core.judge.measures import JUDGED, questions
from core.judge.thresholds import LIGHTS, THRESHOLDS
from core.results import AuditFigure
from core.stats import Estimate
from core.wording import count

__all__ = ["THRESHOLDS", "against", "between_judges", "card", "lights", "with_people"]

UNTESTED = "Order not tested: each pair was asked in one order"
"""How the note of a figure without a value begins where no pair was asked in both orders, so that a bias for a place can't be ruled out."""
_FIRST = "Of replies that chose an answer: chose the one shown first"
Row = tuple[str, Estimate, str]
"""Name of a figure, the figure, and how it was taken."""


def card(verdicts: pd.DataFrame, seed: int, models: Mapping[str, str | None] | None = None) -> list[AuditFigure]:
    """Rows of audit.csv: where there are several judges about all together (judge ''), then about each.

    `verdicts`: columns of results.Verdict.

    `models`: model or judge -> family, where its name doesn't say it (None: of no family).
    """
    if verdicts.empty:
        return []
    judges = list(dict.fromkeys(verdicts["judge"]))
    each = [figure for judge in judges for figure in _card(verdicts[verdicts["judge"] == judge], judge, seed, models)]
    whole = _card(verdicts, "", seed, models) if len(judges) > 1 else []
    return [*whole, *each, *between_judges(verdicts, seed)]


def lights(figures: Sequence[AuditFigure]) -> str:
    """The worst light of the figures: green, amber or red."""
    return max((figure.light for figure in figures if figure.light), key=LIGHTS.index, default="green")


def _card(verdicts: pd.DataFrame, judge: str, seed: int, models: Mapping[str, str | None] | None) -> list[AuditFigure]:
    asked = measures.replies(verdicts)
    rows = [*_order(verdicts, asked), *_lengths(verdicts, asked), *_broken(verdicts, asked), *_wins(verdicts, seed)]
    rows.append(("repeat_agreement", measures.repeat_agreement(verdicts), "Of pairs of repeats of the same: the same verdict"))
    if judge:
        rows.append(("own_family_rate", *_own_family(verdicts, judge, models)))
    number = count(len(set(questions(verdicts).tolist())), "question")
    return [_figure(str(verdicts["run"].iloc[0]), judge, name, estimate, how, number, rows) for name, estimate, how in rows]


def _order(verdicts: pd.DataFrame, asked: pd.DataFrame) -> Iterator[Row]:
    flips, reversals, first = measures.flips(verdicts), measures.reversals(verdicts), measures.first_position(asked)
    if not measures.asked_twice(verdicts):
        yield "flip_rate", flips, UNTESTED
        yield "reversal_rate", reversals, UNTESTED
        yield "first_position_rate", first, f"{_FIRST}, in the one order of each pair" if first.n else UNTESTED
        return
    said = f"Of {count(len(measures.judged_twice(verdicts)), 'pair')} answered in both orders, of {len(verdicts)}"
    yield "flip_rate", flips, f"{said}: the word (won, lost, tied) changed with the order"
    yield "reversal_rate", reversals, "Of pairs decided in both orders: the winner changed with the order"
    yield "first_position_rate", first, _FIRST


def _lengths(verdicts: pd.DataFrame, asked: pd.DataFrame) -> Iterator[Row]:
    how = "chose the longer one, in characters"
    yield "longer_answer_rate", measures.longer_answer(asked), f"Of replies that chose one of two unequally long answers: {how}"
    either = "Mean of that rate where the candidate's answer is longer and where the base's is: a better side moves it less"
    yield "longer_either_way", measures.longer_either_way(asked), either
    yield "longer_verdict_rate", measures.longer_wins(verdicts), "Of pairs won by one of two unequally long answers: the longer one won"


def _broken(verdicts: pd.DataFrame, asked: pd.DataFrame) -> Iterator[Row]:
    lost = verdicts["verdict"].isin(("unparsed", "failed")).sum()
    for word, what in (("unparsed", "that gave no readable verdict"), ("failed", "that never came")):
        number = int((asked["word"] == word).sum())
        how = f"{number} of {count(len(asked), 'reply', 'replies')} {what}; {lost} of {count(len(verdicts), 'pair')} lost to either"
        yield word, measures.share_of_words(asked, word), how
    left = (verdicts["verdict"] == measures.NOT_ASKED).to_numpy()
    yield "not_asked", stats.clustered(left, questions(verdicts)), "Of all pairs: not asked, as the budget or an early stop ended the run"


def _wins(verdicts: pd.DataFrame, seed: int) -> Iterator[Row]:
    rate = measures.wins(verdicts)
    what = "Of judged pairs: the candidate won"
    yield "win_rate", rate, f"{what} (in both orders, where both were asked)"
    judged = verdicts[verdicts["verdict"].isin(JUDGED)]
    sums = pd.DataFrame({"won": judged["verdict"] == "fine-tuned", "half": judged["verdict"] == "tie", "n": 1}).to_numpy(float)
    per_question = stats.per_cluster(sums, questions(judged)) if len(judged) else sums
    drawn = f"bootstrap over {count(len(per_question), 'question')}, {stats.RESAMPLES} resamples, seed {seed}"
    ends = stats.bootstrap(per_question, lambda each: each[:, 0] / each[:, 2], seed) or (math.nan, math.nan)
    yield "win_rate_bootstrap", Estimate(rate.value, *ends, rate.n), f"{what}. Interval: {drawn}"
    ends = stats.bootstrap(per_question, lambda each: (each[:, 0] + each[:, 1] / 2) / each[:, 2], seed) or (math.nan, math.nan)
    half = float(sums[:, 0].mean() + sums[:, 1].mean() / 2) if len(sums) else math.nan
    yield "win_rate_ties_half", Estimate(half, *ends, rate.n), f"The same, a tie counting as half a win. Interval: {drawn}"
    controlled = "That win rate if both answers had the same length: logistic in tanh of the difference in characters over its deviation"
    yield "length_controlled_win_rate", length_control.win_rate(verdicts), controlled


def _own_family(verdicts: pd.DataFrame, judge: str, models: Mapping[str, str | None] | None) -> tuple[Estimate, str]:
    kin = family(judge, models)
    if kin is None:
        return stats.NOTHING, "The judge's family is not known"
    sides = {
        side: verdicts[side].map({name: family(name, models) == kin for name in verdicts[side].unique()}).astype(bool)
        for side in ("base", "candidate")
    }
    decided = verdicts["verdict"].isin(measures.DECIDED) & (sides["base"] != sides["candidate"])
    won = (verdicts["verdict"] == "fine-tuned") == sides["candidate"]
    rate = stats.clustered(won[decided].to_numpy(), questions(verdicts[decided]))
    return rate, f"Of decided pairs with one answer of the judge's own family ({kin}): that one won; it may also be the better model"


def _figure(run: str, judge: str, name: str, figure: Estimate, how: str, number: str, card: Sequence[Row]) -> AuditFigure:
    if figure.n == 0:
        why = f"{how}." if how.startswith(UNTESTED) else f"No value: there is nothing to count. {how}."
        return AuditFigure(run, judge, name, None, None, None, 0, "", why)
    light, said = _light(name, figure, card)
    value, low, high = (None if math.isnan(each) else each for each in (figure.value, figure.low, figure.high))
    interval = "" if "bootstrap" in how or name.startswith("length_controlled") else f" Wilson interval, clustered over {number}."
    return AuditFigure(run, judge, name, value, low, high, figure.n, light, f"{how}.{interval} {said}".rstrip())


def _light(name: str, figure: Estimate, card: Sequence[Row]) -> tuple[str, str]:
    """The light and what it rests on. That the longer answer wins counts only as far as it wins whosever it is."""
    threshold = THRESHOLDS.get(name)
    if threshold is None:
        return "", ""
    light = threshold.light(figure)
    if name == "longer_answer_rate" and light != "green":
        either = next(each for other, each, _ in card if other == "longer_either_way")
        milder = threshold.light(either) if either.n else "green"
        if LIGHTS.index(milder) < LIGHTS.index(light):
            return milder, f"{milder.capitalize()}, not {light}: it may be the better side that is longer (longer_either_way)."
    return light, threshold.said(figure)
