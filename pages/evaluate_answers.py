"""Answers of an evaluation side by side: filters in the URL, the flags of each, and one question in full."""

import pandas as pd
import streamlit as st

from core.answer_pairs import ANY, NONE, SORTS, Filters
from core.queries import OWN, Evaluation
from core.results.found import Found
from core.wording import count, plain
from pages import cards, evaluations, link, paging

FLAGS = {
    "empty": "empty",
    "cut": "cut at the limit",
    "loop": "repeats itself",
    "copies_question": "copies the question",
    "memorised": "copies a training answer",
    "other_language": "changes language",
}
"""What a flag of flags.csv is called on a page."""
COLUMNS = ["category", "question", "gain", "flags", "reference", "base", "candidate"]


def show(found: Evaluation) -> None:
    """Reference, base and candidate to the same question."""
    st.subheader("Answers side by side", anchor=False)
    candidates = list(dict.fromkeys([*found.compared, *(m for m in found.models["model"] if m != found.baseline)]))
    if not candidates:
        st.caption("Only one model was evaluated, so there is nothing to set beside it.")
        return
    row = st.columns(5, vertical_alignment="bottom")
    naming = {OWN: "own adapter of the category"}
    candidate = paging.choice(row[0], "Model", "model", candidates, lambda name: naming.get(name, name))
    filters = _filters(found, row[1:])
    pairs = evaluations.pairs(found.run, candidate)
    rows = pairs.where(filters)
    st.caption(f"{count(len(rows), 'question')}. Gain: how many nats per token less the reference costs than with the base. Choose a row.")
    if not len(rows):
        return
    number = paging.turned(rows.pages)
    chosen = _picked(pairs.page(rows, number), rows, f"{hash((candidate, filters))}-{number}")
    _pair(found, pairs.pair(chosen))


def _filters(found: Evaluation, columns: "list[st.delta_generator.DeltaGenerator]") -> Filters:
    """The filters as they are set."""
    return Filters(
        paging.choice(columns[0], "Category", "category", [ANY, *found.categories]),
        paging.choice(columns[1], "Flag", "flag", [ANY, NONE, *FLAGS], lambda name: FLAGS.get(name, name)),
        sort=paging.choice(columns[2], "Order", "order", SORTS),
        text=paging.contains(columns[3]),
    )


def _picked(page: pd.DataFrame, rows: Found, key: str) -> int:
    """The page as a table; the number of the pair to show in full."""
    shown = paging.cut(page, ("question", "reference", "base", "candidate"))
    shown = shown.assign(gain=page["gain"].astype(float).round(3), flags=page["flags"].map(_named))
    ids, columns = [str(number) for number in page.index], {"flags": st.column_config.TextColumn(width=140)}
    looks = {"height": 260, "key": f"pairs-{key}", "alt": "Answers side by side"}
    return int(paging.picked(shown[COLUMNS], "pair", ids, link.numbered(rows), columns, **looks))


def _pair(found: Evaluation, pair: pd.Series) -> None:
    """One question in full, with what is odd about both answers."""
    st.text(pair["question"])
    mark = st.toggle("Mark words shared with the reference", key="mark", bind="query-params")
    cards.texts(pair["reference"], pair["base"], pair["candidate"], pair["model"], key="pair", mark=mark)
    for name, flags in ((found.baseline, pair["base_flags"]), (pair["model"], pair["flags"])):
        said = [f"**{FLAGS.get(flag, flag)}**{f' ({plain(detail)})' if detail else ''}" for flag, detail in flags.items()]
        if said:
            st.caption(f":material/flag: {plain(name)}: {', '.join(said)}")


def counts(found: Evaluation) -> None:
    """How many answers of each model have each flag."""
    table = evaluations.flag_counts(found.run)
    flags = int(table.drop(columns="answers").to_numpy().sum())
    if not flags:
        return
    with st.expander(f"Flags: {count(flags, 'oddity', 'oddities')} in {count(len(found.answers), 'answer')}"):
        shown = table.reindex(columns=["answers", *FLAGS], fill_value=0).rename(columns=FLAGS)
        st.dataframe(shown.reset_index(), hide_index=True, alt="Flags of each model's answers")
        st.caption(
            "Told from the text alone, by rules: a phrase three times in a row, or half of the runs of four words seen before; half of "
            "the words copied from the question; seven tenths from one training answer; another script, or another language's common words."
        )


def _named(flags: dict[str, str]) -> str:
    return ", ".join(FLAGS.get(flag, flag) for flag in flags)
