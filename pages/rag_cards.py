"""Pipelines side by side: a column each, the answer on top and what was read for it below, words of the question highlighted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from core.rag_matches import matches
from pages import cards


@dataclass(frozen=True)
class Passage:
    """One passage that a pipeline found."""

    title: str
    said: str
    """A few words beside the title."""
    parts: tuple[tuple[str, str], ...]
    """The text in pieces; kind 'same' is highlighted."""
    mark: str = ""
    """gold, alone, unread, or empty."""


@dataclass(frozen=True)
class Column:
    """One pipeline."""

    title: str
    colour: str
    passages: tuple[Passage, ...] = ()
    answer: str | None = None
    """None: nobody answers here."""
    state: str = "stop"
    """searches, waits, writes, stop, length, superseded or error."""
    said: str = ""
    """A few words below the answer."""


def passage(title: str, said: str, text: str, question: str, mark: str = "") -> Passage:
    """A passage with the words of the question highlighted."""
    return Passage(title, said, tuple(matches(question, text)), mark)


def show(columns: Sequence[Column], key: str) -> None:
    """The columns in their order, as many beside each other as there is room for."""
    _columns()(data={"columns": [asdict(column) for column in columns]}, key=key)


_SCRIPT = (
    cards.ADD
    + """
function found(passage) {
    const item = document.createElement("li");
    item.className = passage.mark;
    const head = add(item, "header", "");
    add(head, "b", passage.title);
    add(head, "span", passage.said);
    const text = add(item, "p", "");
    text.tabIndex = 0;
    for (const [piece, kind] of passage.parts) add(text, kind === "same" ? "mark" : "span", piece);
    return item;
}

function redraw(known, value, draw) {
    const now = JSON.stringify(value);
    if (known.drawn === now) return;
    known.drawn = now;
    draw();
}

function fill(article, column) {
    article.style.setProperty("--hue", column.colour);
    article.className = column.state;
    if (!article.children.length) {
        add(article, "h4", "");
        add(article, "p", "", "answer").tabIndex = 0;
        add(article, "small", "");
        add(article, "ol", "");
    }
    const [title, answer, said, list] = article.children;
    title.textContent = column.title;
    answer.textContent = column.answer ?? "";
    answer.hidden = column.answer === null;
    said.textContent = column.said;
    redraw(list, column.passages, () => list.replaceChildren(...column.passages.map(found)));
}

export default function({ data, parentElement }) {
    const grid = parentElement.querySelector("section");
    data.columns.forEach((column, place) => {
        const article = grid.children[place] ?? grid.appendChild(document.createElement("article"));
        redraw(article, column, () => fill(article, column));
    });
    while (grid.children.length > data.columns.length) grid.lastChild.remove();
}
"""
)
_STYLE = """
section { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(13.5rem, 100%), 1fr)); gap: 0.7rem; }
article {
    border: 1px solid var(--st-border-color); border-top: 3px solid var(--hue); border-radius: 4px;
    padding: 0.5rem 0.7rem; color: var(--st-text-color); font-family: var(--st-font); min-width: 0;
}
h4 { margin: 0 0 0.25rem; font-size: 0.8rem; font-weight: 600; opacity: 0.75; overflow-wrap: anywhere; }
p { margin: 0; font-size: 0.9rem; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; }
.answer { max-height: 17rem; min-height: 1.5rem; overflow-y: auto; }
small { display: block; font-size: 0.75rem; opacity: 0.8; min-height: 1.1em; }
.error small { opacity: 1; }
.writes .answer::after { content: "\\2588"; margin-left: 1px; color: var(--hue); opacity: 0.6; }
ol { list-style: none; margin: 0.5rem 0 0; padding: 0; }
ol:empty { display: none; }
li { border-top: 1px solid var(--st-border-color); padding: 0.4rem 0 0.5rem; }
li p { font-size: 0.82rem; max-height: 11rem; overflow-y: auto; }
li header { display: flex; flex-wrap: wrap; gap: 0 0.6rem; justify-content: space-between; font-size: 0.75rem; margin-bottom: 0.15rem; }
li header b { font-weight: 600; overflow-wrap: anywhere; }
li header span { opacity: 0.7; }
li.gold { border-left: 3px solid #009E73; padding-left: 0.5rem; }
li.unread p { opacity: 0.75; }
mark { background: color-mix(in srgb, #E6B800 38%, transparent); color: inherit; border-radius: 2px; padding: 0 1px; }
"""


@st.cache_resource(show_spinner=False)
def _columns():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in a document or an answer is read as HTML or Markdown."""
    return st.components.v2.component("lyceum_rag_columns", html="<section></section>", css=_STYLE, js=_SCRIPT)
