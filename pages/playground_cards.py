"""Answers of one question side by side: text while it is written, then token by token with probabilities; under each its mix."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import streamlit as st

from core.answer_tokens import Span
from pages import cards


@dataclass(frozen=True)
class Part:
    """An adapter in a mix."""

    name: str
    weight: float
    colour: str


@dataclass(frozen=True)
class Column:
    """One model's answer, and who the model is."""

    model: str
    title: str
    role: str
    colour: str
    text: str
    state: str
    """waits, writes, stop, length, stopped or error."""
    said: str
    """A few words below the text."""
    spans: tuple[Span, ...] = ()
    chosen: int | None = None
    """The token that is explained below."""
    about: str = ""
    """How the model came about; stands once, under the newest answers."""
    parts: tuple[Part, ...] = ()
    system: str = ""


def show(columns: Sequence[Column], key: str, chose: Callable[[str, int], None]) -> None:
    """The columns in their order, as many beside each other as there is room for; `chose(model, token)` when a token is clicked."""

    def heard() -> None:
        if token := st.session_state[key].get("token"):
            chose(str(token["model"]), int(token["token"]))

    _columns()(data={"columns": [_sent(column) for column in columns]}, key=key, on_token_change=heard)


def _sent(column: Column) -> dict[str, object]:
    spans = [[span.text, round(1 - span.probability, 3), span.title, span.token] for span in column.spans]
    return {**asdict(column), "spans": spans}


_SCRIPT = (
    cards.ADD
    + """
const TRIES = 20;

function written(article, column, grid) {
    const text = add(article, "p", column.spans.length ? "" : column.text);
    text.tabIndex = 0;
    for (const [piece, doubt, title, token] of column.spans) {
        const span = add(text, "span", piece, token === column.chosen ? "chosen" : "");
        span.title = title;
        span.style.setProperty("--doubt", doubt);
        span.onmousedown = () => grid.choose(column.model, token); // no click follows where the column is drawn anew in between
    }
    return text;
}

function tell(grid) { // again, until a drawing shows the click: one that meets the end of a run is lost with it
    if (!grid.clicked || grid.tries++ === TRIES) return;
    grid.send();
    setTimeout(() => tell(grid), 1500);
}

function mixed(article, column) {
    const foot = add(article, "footer", "");
    add(foot, "div", column.about);
    const whole = column.parts.reduce((sum, part) => sum + Math.abs(part.weight), 0) || 1;
    if (column.parts.length) {
        const bar = add(foot, "div", "", "bar"), list = add(foot, "ul", "");
        for (const part of column.parts) {
            const piece = add(bar, "i", "", part.weight < 0 ? "less" : "");
            piece.style.width = `${100 * Math.abs(part.weight) / whole}%`;
            const item = add(list, "li", `${part.name} ${Number(part.weight.toPrecision(3))}`);
            for (const each of [piece, item]) each.style.setProperty("--part", part.colour);
            piece.title = item.textContent;
        }
    }
    if (column.system) add(foot, "div", column.system, "system");
}

export default function({ data, parentElement, setTriggerValue }) {
    const grid = parentElement.querySelector("section");
    grid.dataset.columns = data.columns.length;
    grid.send = () => setTriggerValue("token", grid.clicked); // of this run: the clock's own run is gone when it stops
    grid.choose = (model, token) => { grid.clicked = { model, token }; grid.tries = 0; tell(grid); };
    if (data.columns.some(column => column.model === grid.clicked?.model && column.chosen === grid.clicked.token)) grid.clicked = null;
    data.columns.forEach((column, place) => {
        const article = grid.children[place] ?? grid.appendChild(document.createElement("article"));
        const known = JSON.stringify(column);
        if (article.known === known) return;
        const old = article.querySelector("p");
        const wrote = article.className.endsWith("writes"), writes = column.state === "writes";
        const follows = !old || old.scrollTop + old.clientHeight >= old.scrollHeight - 4, scrolled = old?.scrollTop ?? 0;
        article.known = known;
        article.className = `${column.role} ${column.state}`;
        article.style.setProperty("--hue", column.colour);
        article.replaceChildren();
        add(article, "h4", column.title).title = column.model;
        const text = written(article, column, grid);
        add(article, "small", column.said);
        if (column.about) mixed(article, column);
        text.scrollTop = writes && follows ? text.scrollHeight : wrote && !writes ? 0 : scrolled;
    });
    while (grid.children.length > data.columns.length) grid.lastChild.remove();
}
"""
)
_STYLE = """
section { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 100%), 1fr)); }
section[data-columns="1"] { max-width: 44rem; }
article {
    display: flex; flex-direction: column; border: 1px solid var(--st-border-color); border-top: 3px solid var(--hue); border-radius: 4px;
    padding: 0.6rem 0.8rem; min-height: 7rem; min-width: 0; color: var(--st-text-color); font-family: var(--st-font);
}
h4 { margin: 0 0 0.35rem; font-size: 0.85rem; font-weight: 600; overflow-wrap: anywhere; }
p {
    margin: 0; flex: 1; font-size: 0.95rem; line-height: 1.6; white-space: pre-wrap; overflow-wrap: anywhere;
    max-height: 24rem; overflow-y: auto;
}
p:focus-visible { outline: 1px solid var(--hue); }
p span { cursor: pointer; border-radius: 2px; background: color-mix(in srgb, #E69F00 calc(var(--doubt) * 28%), transparent); }
p span:hover { outline: 1px solid var(--hue); }
p span.chosen { outline: 2px solid var(--hue); }
small { display: block; margin-top: 0.4rem; min-height: 1.2em; font-size: 0.75rem; opacity: 0.8; }
.error small { opacity: 1; font-size: 0.85rem; }
.writes p::after { content: "\\2588"; margin-left: 1px; color: var(--hue); opacity: 0.6; }
footer { margin-top: 0.5rem; padding-top: 0.45rem; border-top: 1px solid var(--st-border-color); font-size: 0.75rem; line-height: 1.45; }
footer > div { opacity: 0.8; overflow-wrap: anywhere; }
footer .system { font-style: italic; }
footer .bar { display: flex; height: 6px; margin: 0.4rem 0 0.3rem; border-radius: 3px; overflow: hidden; opacity: 1; }
footer i { background: var(--part); }
footer i.less { background: repeating-linear-gradient(45deg, var(--part) 0 2px, transparent 2px 4px); }
footer ul { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0 0.7rem; max-height: 5.5rem; overflow-y: auto; }
footer li::before { content: ""; display: inline-block; width: 0.55em; height: 0.55em; margin-right: 0.3em; background: var(--part); }
"""


@st.cache_resource(show_spinner=False)
def _columns():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in it is read as HTML, and redraws only the columns that changed."""
    return st.components.v2.component("lyceum_playground", html="<section></section>", css=_STYLE, js=_SCRIPT)
