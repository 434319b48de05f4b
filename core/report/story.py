"""The first chapters of a bundle: what is claimed and how sure that is, what the problem was, and three answers before and after."""

import pandas as pd

from core import findings, queries, serving, verdict_findings
from core.queries import OWN
from core.report.markup import Markup, element, escaped, folded, joined, paragraph
from core.report.sources import Sources
from core.results import ALL
from core.word_diff import differences
from core.wording import count, listed, signed, three

TILES = 4
CLIPPED = 1_200
"""Characters of a text that show at once."""
LONGEST = 200_000
"""Characters of a text that the page holds; the zip has all."""
SPLITS = {
    "test": "which no adapter was trained on",
    "validation": "which no adapter was trained on, though the kept weights were chosen by them",
    "train": "which the adapters were trained on, so that this says nothing of new questions",
    "all": "among them rows that the adapters may have been trained on",
}
"""What is said of the rows that an evaluation asked."""


def headline(sources: Sources) -> str:
    """The finding of the evaluation, as the pages tell it."""
    return findings.evaluation(sources.evaluation, sources.gains)


def verdict(sources: Sources) -> str:
    """What the newest judge run found, as the Judge page tells it; empty where nobody judged."""
    return verdict_findings.headline(sources.judged[0].judges) if sources.judged else ""


def claim(sources: Sources) -> Markup:
    """The headline with its figures."""
    return joined([paragraph(headline(sources), "claim"), tiles(sources), paragraph(verdict(sources))])


def tiles(sources: Sources) -> Markup:
    """The perplexity of each compared model on all questions, with its change and the interval."""
    whole = sources.gains[sources.gains["category"] == ALL].head(TILES)
    if whole.empty:
        return Markup()
    first = whole.iloc[0]
    made = [_tile(row) for row in whole.to_dict("records")]
    note = f"Against {three(first['base'])} of {_base(sources)} on {count(int(first['n']), 'held-out question')}; 95 % intervals."
    return joined([element("div", *made, class_="tiles"), paragraph(note, "quiet")])


def _tile(row: dict[str, object]) -> Markup:
    drop, low, high = (float(str(row[name])) for name in ("drop", "low", "high"))
    change = f"{signed(-drop)} ({signed(-high)} to {signed(-low)})"
    name = "Own adapters" if row["model"] == OWN else str(row["model"])
    texts = (f"Perplexity: {name}", three(float(str(row["value"]))), change)
    return element("div", *(element("span", text) for text in texts))


def _base(sources: Sources) -> str:
    return "the base" if sources.evaluation.baseline == "base" else sources.evaluation.baseline


def problem(sources: Sources) -> Markup:
    """What was asked, of whom, and how the base does without help."""
    found = sources.evaluation
    base = found.answers_of(found.baseline)
    number = count(len(base), "question")
    asked = f"{number} of {sources.dataset} in {count(len(found.categories), 'category', 'categories')} ({listed(found.categories)})"
    return joined(
        [
            paragraph(
                f"{serving.base_name(str(sources.config.get('base_model', 'bundled')))} is a general language model. "
                f"It was asked {asked}, {SPLITS[str(sources.config.get('split', 'test'))]}."
            ),
            paragraph(
                f"Without help it finds the reference answers as surprising as a perplexity of {three(queries.perplexity(base))} says "
                "(1 is not at all). Does tuning on the other rows change that: with an adapter per category, one for all, or a merge? "
                "And where does it do harm?"
            ),
        ]
    )


def examples(sources: Sources) -> Markup:
    """Best, median and worst answer of the first compared model, by the gain in loss per token."""
    if not sources.examples:
        return paragraph("There is nothing to compare: no other model answered the base's questions with a measured loss.")
    rule = (
        "Chosen by rule, not by taste: the largest, the median and the smallest gain in nats per token of the reference answer. "
        "Marked: words that stand in the reference in the same order."
    )
    return joined([paragraph(rule, "quiet"), *(_example(label, row, sources.evaluation.baseline) for label, row in sources.examples)])


def _example(label: str, row: pd.Series, baseline: str) -> Markup:
    head = f"{label}: {signed(row['gain'])} nats per token"
    asked = element(
        "div", element("span", row["category"], class_="tag"), " ", *_clipped([(row["question"], "")]), class_="asked", dir="auto"
    )
    sides = (
        ("Reference", [(row["reference"], "")]),
        ("Base" if baseline == "base" else baseline, _shared(row["reference"], row["base"])),
        (row["model"], _shared(row["reference"], row["candidate"])),
    )
    cards = [element("div", element("h4", title), _text(pieces)) for title, pieces in sides]
    return element("article", element("h3", head), asked, element("div", *cards, class_="three"), class_="example")


def _shared(reference: str, text: str) -> list[tuple[str, str]]:
    return [(piece, kind) for piece, kind in differences(reference, text[:LONGEST]) if kind != "missing"]


def _text(pieces: list[tuple[str, str]]) -> Markup:
    return element("div", *_clipped(pieces), class_="text", dir="auto")


def _clipped(pieces: list[tuple[str, str]]) -> list[Markup]:
    """The pieces, what is beyond CLIPPED characters behind a click."""
    first: list[Markup] = []
    rest: list[Markup] = []
    place = 0
    for piece, kind in pieces:
        piece, cut = piece[:LONGEST], max(0, CLIPPED - place)
        for part, where in ((piece[:cut], first), (piece[cut:], rest)):
            if part:
                where.append(element("mark", part) if kind == "same" else escaped(part))
        place += len(piece)
    if not place:
        return [element("em", "(empty answer)")]
    return [*first, folded(f"… show all of {place:,} characters", *rest)] if rest else first
