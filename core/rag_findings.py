"""What a comparison of RAG pipelines says, in sentences made from its tables. Nothing is claimed that an interval does not carry."""

import pandas as pd

from core.queries import is_neither
from core.rag import NONE, PIPELINES
from core.rag_tables import OUTCOMES, RagRun, grid, is_one_sided, outcomes, ranked_by, retrieval
from core.results import ALL
from core.stats import wilson
from core.wording import count, listed, percent, signed, three

REFUSED_NAMED = 3
LOOKED_AT = ("bertscore_f1", "rougeL", "perplexity")
"""Metrics that a headline speaks of: of what was said by meaning and by words, and of how likely the reference became."""


def headline(found: RagRun) -> str:
    """The client's question where models answered questions with references; else what the pipelines find; else what was asked."""
    if found.metrics and (said := answered(found, found.metrics[0])):
        return " ".join([said, *(f"By {metric}: {verdict}" for metric, verdict in _other_verdicts(found).items())])
    return found_gold(found) or asked(found)


def _other_verdicts(found: RagRun) -> dict[str, str]:
    """What the other metrics say, in few words; a headline by one metric alone would hide it."""
    others = {metric: _kinds(found, metric)[0] for metric in found.metrics[1:] if metric in LOOKED_AT}
    return {metric: _verdict({name: part.iloc[0] for name, part in kinds.items()}) for metric, kinds in others.items() if kinds}


def answered(found: RagRun, metric: str) -> str:
    """RAG alone, tuning alone and both against the base model without either, each by its best cell. Empty: nothing can be said."""
    kinds, start = _kinds(found, metric)
    if not kinds or is_neither(metric):
        return ""
    best = {name: part.iloc[0] for name, part in kinds.items()}
    baseline = str(start["model"])
    first = f"{metric} of {baseline} is {three(start['value'])} on {count(int(start['n']), 'question')}"
    said = [f"{name} ({_cell(part)}) {_change(found, metric, best[name], baseline)}" for name, part in kinds.items()]
    verdict = _verdict(best)
    return f"{verdict[0].upper()}{verdict[1:]} {first}; {'; '.join(said)}."


def together(found: RagRun, metric: str) -> str:
    """What tuning adds to the same passages, and passages to the same tuning, in the best cell that has both. Empty: there is none."""
    kinds, start = _kinds(found, metric)
    if "both" not in kinds or is_neither(metric):
        return ""
    row = kinds["both"].iloc[0]
    alone = {f"{start['generator']} + {row['pipeline']}": "Tuning adds", f"{row['generator']} + {NONE}": "the passages add"}
    said = [f"{adds} {change} to {each}" for each, adds in alone.items() if (change := _change(found, metric, row, each, empty=""))]
    return f"{'; '.join(said)}: {row['model']}, the best of {len(kinds['both'])} with both." if said else ""


def _kinds(found: RagRun, metric: str) -> tuple[dict[str, pd.DataFrame], pd.Series]:
    """The cells with RAG alone, tuning alone and both, best first, and the baseline's."""
    table = grid(found, metric)
    table = table[(table["category"] == ALL) & table["value"].notna()].sort_values("gain", ascending=False, kind="stable")
    start = table[(table["model"] == found.evaluation.baseline) & (table["pipeline"] == NONE)]
    if start.empty:  # nobody answered without passages, so nothing says what they add
        return {}, pd.Series(dtype=object)
    rag, tuned = table["pipeline"] != NONE, table["generator"] != start["generator"].iloc[0]
    kinds = {"RAG alone": table[rag & ~tuned], "tuning alone": table[~rag & tuned], "both": table[rag & tuned]}
    return {name: part for name, part in kinds.items() if len(part)}, start.iloc[0]


def _cell(cells: pd.DataFrame) -> str:
    name = str(cells["model"].iloc[0])
    return f"{name}, best of {len(cells)}" if len(cells) > 1 else name


def _change(found: RagRun, metric: str, row: pd.Series, baseline: str, empty: str | None = None) -> str:
    """'+0.052 (95 % interval +0.021 to +0.083)'; where there is no such comparison `empty`, or else the value itself."""
    tests = found.evaluation.comparisons
    same = (tests["model"] == row["model"]) & (tests["metric"] == metric) & (tests["category"] == ALL)
    mine = tests[same & (tests["baseline"] == baseline)].dropna(subset=["low"])
    if mine.empty:
        return three(row["value"]) if empty is None else empty
    test = mine.iloc[0]
    unclear = ", no difference seen" if test["low"] <= 0 <= test["high"] else ""
    return f"{signed(test['difference'])} (95 % interval {signed(test['low'])} to {signed(test['high'])}{unclear})"


def _verdict(best: dict[str, pd.Series]) -> str:
    """Which of RAG and tuning helped."""
    effects = {name: _effect(row) for name, row in best.items()}
    alone = {name: effect for name, effect in effects.items() if name != "both"}
    helped = [name for name, effect in alone.items() if effect == "helps"]
    if len(helped) == 2:
        return "RAG and tuning each help."
    if helped:
        rest = [f"{name} {_not(effect)}" for name, effect in alone.items() if name not in helped]
        return f"{helped[0]} helps{f', {rest[0]}' if rest else ''}."
    if effects.get("both") == "helps":
        return "Only RAG and tuning together are seen to help."
    return f"{' and '.join(f'{name} {_not(effect)}' for name, effect in alone.items())}."


def _effect(row: pd.Series) -> str:
    return "" if not row["clear"] else "helps" if row["gain"] > 0 else "harms"


def _not(effect: str) -> str:
    return "harms" if effect == "harms" else "is not seen to help"


def found_gold(found: RagRun) -> str:
    """For how many questions each pipeline finds a gold passage, the best one first. Empty where no gold is known."""
    known = [(level, metric) for level, metric in ranked_by(found) if metric.startswith("hit_rate@")]
    if not known:
        return ""
    wanted = f"hit_rate@{found.run.config.get('top_k')}"
    level, metric = next((each for each in known if each[1] == wanted), known[0])
    table = retrieval(found, level, metric).dropna(subset=["value"]).sort_values("value", ascending=False, kind="stable")
    if table.empty:
        return ""
    best, most = table.iloc[0], metric.partition("@")[2]
    span = f" (95 % interval {percent(best['low'])} to {percent(best['high'])})" if best["low"] == best["low"] else ""
    text = f"{_label(best['pipeline'])} finds a gold {level} among its first {most} for {percent(best['value'])} of "
    text += f"{count(int(best['n']), 'question')}{span}"
    rest = [f"{_label(row.pipeline)} {percent(row.value)}" for row in table.iloc[1:].itertuples()]
    return f"{text}; {listed(rest)}." if rest else f"{text}."


def against(found: RagRun, level: str, metric: str) -> str:
    """The pipelines held against others on the same questions, where that was tested. Empty: it was not."""
    tests = found.retrieval_tests
    mine = tests[(tests["metric"] == f"{metric} of {level}s") & (tests["category"] == ALL)].dropna(subset=["low"])
    said = []
    for row in mine.itertuples():
        unclear = ", no difference seen" if row.low <= 0 <= row.high else ""
        span = f"95 % interval {signed(row.low)} to {signed(row.high)}{unclear}"
        said.append(f"{_label(row.model)} against {_label(row.baseline)} {signed(row.difference)} ({span})")
    return f"On the same questions: {'; '.join(said)}." if said else ""


def asked(found: RagRun) -> str:
    """How many questions went to how many documents, where nothing says what should be found."""
    which = listed([_label(name) for name in found.pipelines]) or "no pipeline"
    indexed = int((found.documents["status"] != "refused").sum())
    return (
        f"{count(len(found.questions), 'question')} to {count(indexed, 'document')}, by {which}. No gold passage is known, so how alike "
        "the pipelines are can be seen, and not which of them is right."
    )


def fixed(found: RagRun, metric: str, generator: str, pipeline: str) -> str:
    """How many of the questions RAG, tuning, either or both mended."""
    table = outcomes(found, metric)
    mine = table[(table["generator"] == generator) & (table["pipeline"] == pipeline)].set_index("outcome")["questions"]
    n = int(mine.sum())
    parts = []
    for outcome in ("rag", "tuning", "either", "both"):
        share = wilson(int(mine.get(outcome, 0)), n)
        parts.append(f"{OUTCOMES[outcome]} {mine.get(outcome, 0):,} ({percent(share.low)} to {percent(share.high)})")
    unmended, harmed = int(mine.get("none", 0)), int(mine.get("harm", 0))
    return (
        f"Of {count(n, 'question')}, by {metric}, mended by: {', '.join(parts)}; by neither {unmended:,}, made worse {harmed:,}. "
        f"95 % intervals; {generator} with {_label(pipeline)} against the base model without either."
    )


def overlaps(square: pd.DataFrame, metric: str) -> str:
    """Which two pipelines find the most unlike, and which the most alike; of a one-sided figure, who misses most of whose gold."""
    values = {(one, other): float(square.loc[one, other]) for one in square.index for other in square.columns if one != other}
    pairs = sorted((value, pair) for pair, value in values.items() if value == value)
    if not pairs:
        return f"{metric} was not measured."
    (least, (one, other)), (most, (first, second)) = pairs[0], pairs[-1]
    if is_one_sided(metric):
        return f"{_label(second)} misses gold that {_label(first)} finds for {percent(most)} of the questions: the most of any two."
    text = f"{_label(one)} and {_label(other)} find the least alike: {metric} {three(least)}"
    return f"{text}." if len(pairs) <= 2 else f"{text}; {_label(first)} and {_label(second)} the most: {three(most)}."


def _label(pipeline: str) -> str:
    return PIPELINES[pipeline].label


def documents(table: pd.DataFrame) -> str:
    """What was indexed, and what was refused by name."""
    refused = table[table["status"] == "refused"]
    text = f"{count(len(table) - len(refused), 'document')} indexed in {count(int(table['passages'].sum()), 'passage')}"
    if refused.empty:
        return f"{text}; none refused."
    return f"{text}; {len(refused):,} refused: {listed(list(refused['document']), REFUSED_NAMED)}."


def consistent(table: pd.DataFrame) -> str:
    """Where answers to one question differ most and least: the '(all)' rows of similarity."""
    shown = table.dropna(subset=["value"]).sort_values("value", kind="stable")
    if shown.empty:
        return "No two answers to one question could be held beside each other."
    said = [f"over {row.over} ({row.held} held) {three(row.value)} ({three(row.low)} to {three(row.high)})" for row in shown.itertuples()]
    least, most = said[0], said[-1]
    text = f"Answers to one question are the least alike {least}"
    return f"{text}." if len(said) == 1 else f"{text}, the most alike {most}: mean cosine similarity of pairs, 95 % intervals."
