"""Answers side by side while they are written: a card each, plain text, a coloured seam where another mix went on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import streamlit as st


@dataclass(frozen=True)
class Card:
    """One answer."""

    title: str
    role: str
    """reference, base, own, pooled, held or mix."""
    colour: str
    parts: tuple[str, ...]
    """What each mix wrote, in order."""
    state: str = "stop"
    """waits, making, writes, stop, length, superseded or error; with 'pale' where the text is from before."""
    said: str = ""
    """A few words below the text."""


def show(cards: Sequence[Card], key: str) -> None:
    """The cards in their order, as many beside each other as there is room for."""
    _cards()(data={"cards": [asdict(card) for card in cards]}, key=key)


_SCRIPT = """
function add(kind, text) {
    const element = document.createElement(kind);
    element.textContent = text;
    return element;
}

function written(parts) {
    const text = document.createElement("p");
    text.tabIndex = 0; // what scrolls can be scrolled by keys
    parts.forEach((part, number) => {
        if (number) {
            const seam = text.appendChild(add("span", ""));
            seam.className = "seam";
            seam.title = "here the mix changed";
        }
        text.appendChild(add("span", part));
    });
    return text;
}

export default function({ data, parentElement }) {
    const grid = parentElement.querySelector("section");
    data.cards.forEach((card, place) => {
        const article = grid.children[place] ?? grid.appendChild(document.createElement("article"));
        const known = JSON.stringify(card);
        if (article.known === known) return;
        article.known = known;
        article.className = `${card.role} ${card.state}`;
        article.style.setProperty("--hue", card.colour);
        article.replaceChildren(add("h4", card.title), written(card.parts), add("small", card.said));
    });
    while (grid.children.length > data.cards.length) grid.lastChild.remove();
}
"""
_STYLE = """
section { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(11.5rem, 100%), 1fr)); gap: 0.6rem; }
article {
    border: 1px solid var(--st-border-color); border-top: 3px solid var(--hue); border-radius: 4px;
    padding: 0.5rem 0.7rem; min-height: 5rem; color: var(--st-text-color); font-family: var(--st-font);
}
article.mix { background: color-mix(in srgb, var(--hue) 7%, transparent); }
h4 { margin: 0 0 0.25rem; font-size: 0.8rem; font-weight: 600; opacity: 0.75; overflow-wrap: anywhere; }
p { margin: 0; font-size: 0.92rem; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 17rem; overflow-y: auto; }
small { font-size: 0.75rem; opacity: 0.8; }
.error small { opacity: 1; }
.pale p { opacity: 0.75; font-style: italic; }
.seam { display: inline-block; width: 3px; height: 1.1em; margin: 0 3px; vertical-align: text-bottom; background: var(--hue); }
.writes p::after { content: "\\2588"; margin-left: 1px; color: var(--hue); opacity: 0.6; }
"""


@st.cache_resource(show_spinner=False)
def _cards():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in it is read as HTML, and redraws only the cards that changed."""
    return st.components.v2.component("lyceum_answers", html="<section></section>", css=_STYLE, js=_SCRIPT)
