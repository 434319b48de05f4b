"""Answers of an evaluation side by side: filters in the URL, the flags of each, and one question in full."""

import pandas as pd
import streamlit as st

from core import queries
from core.queries import OWN, Evaluation
from core.wording import count, plain
from pages import cards, link

FLAGS = {
    "empty": "empty",
    "cut": "cut at the limit",
    "loop": "repeats itself",
    "copies_question": "copies the question",
    "memorised": "copies a training answer",
    "other_language": "changes language",
}
"""What a flag of flags.csv is called on a page."""
ANY, NONE = "all", "none"


def show(found: Evaluation) -> None:
    """Reference, base and candidate to the same question."""
    st.subheader("Answers side by side", anchor=False)
    candidates = list(dict.fromkeys([*found.compared, *(m for m in found.models["model"] if m != found.baseline)]))
    if not candidates:
        st.caption("Only one model was evaluated, so there is nothing to set beside it.")
        return
    pairs = _chosen(found, candidates)
    st.caption(f"{count(len(pairs), 'question')}. Gain: how many nats per token less the reference costs than with the base. Choose a row.")
    if pairs.empty:
        return
    columns = ["category", "question", "gain", "flags", "reference", "base", "candidate"]
    shown = pairs.assign(gain=pairs["gain"].round(3), flags=pairs["flags"].map(_named))
    event = st.dataframe(
        shown[columns], hide_index=True, on_select="rerun", selection_mode="single-row", height=260, key="pairs", alt="Answers side by side"
    )
    _pair(found, pairs.iloc[link.row(event, "pair", [str(place) for place in pairs.index])])


def _chosen(found: Evaluation, candidates: list[str]) -> pd.DataFrame:
    """The pairs that the filters leave."""
    row = st.columns(5, vertical_alignment="bottom")
    naming = {OWN: "own adapter of the category"}
    model = row[0].selectbox("Model", candidates, format_func=lambda name: naming.get(name, name), key="model", bind="query-params")
    category = row[1].selectbox("Category", [ANY, *found.categories], key="category", bind="query-params")
    flag = row[2].selectbox("Flag", [ANY, NONE, *FLAGS], format_func=lambda name: FLAGS.get(name, name), key="flag", bind="query-params")
    order = row[3].selectbox("Order", ["file", "largest gain", "smallest gain"], key="order", bind="query-params")
    text = row[4].text_input("Contains", key="contains", bind="query-params", placeholder="text in question or answer")
    pairs = queries.with_flags(found, queries.side_by_side(found, model or candidates[0]))
    return filtered(pairs, category or ANY, order or "file", text or "", flag or ANY)


def filtered(pairs: pd.DataFrame, category: str, order: str, text: str, flag: str = ANY) -> pd.DataFrame:
    """Pairs of one category whose candidate has a flag (or 'none') and that contain a text, in an order."""
    if category != ANY:
        pairs = pairs[pairs["category"] == category]
    if flag != ANY:
        pairs = pairs[[not flags if flag == NONE else flag in flags for flags in pairs["flags"]]]
    if text:
        columns = pairs[["question", "reference", "base", "candidate"]]
        pairs = pairs[columns.apply(lambda column: column.str.contains(text, case=False, regex=False)).any(axis=1)]
    return pairs if order == "file" else pairs.sort_values("gain", ascending=order == "smallest gain", kind="stable")


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
    if found.flags.empty:
        return
    with st.expander(f"Flags: {count(len(found.flags), 'oddity', 'oddities')} in {count(len(found.answers), 'answer')}"):
        table = pd.crosstab(found.flags["model"], found.flags["flag"])
        table = table.reindex(list(found.models["model"]), fill_value=0).reindex(columns=list(FLAGS), fill_value=0)
        asked = found.answers.groupby("model").size().reindex(table.index)
        table.insert(0, "answers", asked)
        st.dataframe(table.rename(columns=FLAGS).reset_index(), hide_index=True, alt="Flags of each model's answers")
        st.caption(
            "Told from the text alone, by rules: a phrase three times in a row, or half of the runs of four words seen before; half of "
            "the words copied from the question; seven tenths from one training answer; another script, or another language's common words."
        )


def _named(flags: dict[str, str]) -> str:
    return ", ".join(FLAGS.get(flag, flag) for flag in flags)
