"""Texts of models: plain text in cards, reference, base and candidate in that order, words shared with the reference marked on demand."""

import streamlit as st

from core.word_diff import differences
from core.wording import marked, plain

ADD = """
function add(parent, kind, text, name) {
    const element = parent.appendChild(document.createElement(kind));
    element.textContent = text;
    if (name) element.className = name;
    return element;
}
"""
"""JavaScript of components: an element with this text, which is never read as HTML."""
_SCRIPT = """
export default function({ data, parentElement }) {
    const root = parentElement.querySelector("p");
    root.replaceChildren();
    for (const [text, kind] of data.parts) {
        const span = document.createElement("span");
        span.textContent = text;
        span.className = kind;
        root.appendChild(span);
    }
}
"""
_STYLE = """
p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; font-family: var(--st-font); color: var(--st-text-color); }
.same { background: color-mix(in srgb, var(--st-primary-color) 22%, transparent); border-radius: 2px; }
.added { text-decoration: underline dotted; text-underline-offset: 3px; }
.missing { text-decoration: line-through; opacity: 0.75; }
"""


def texts(
    reference: str, base: str, candidate: str, name: str, key: str, mark: bool = False, diff: bool = False, base_name: str = "Base"
) -> None:
    """Three cards side by side, stacked on a small screen. `mark`: words shared with the reference; `diff`: what is added and missing."""
    shown = (("reference", "Reference", reference), ("base", base_name, base), ("candidate", name, candidate))
    for column, (place, title, text) in zip(st.columns(3), shown, strict=True):
        with column, st.container(border=True, height="stretch"):
            st.caption(plain(title))
            if place == "reference" or not (mark or diff):
                st.text(text or "(empty answer)")
                continue
            parts = differences(reference, text) if diff else [(part, "same" if shared else "") for part, shared in marked(reference, text)]
            _marked()(data={"parts": parts}, key=f"{key}-{place}")


@st.cache_resource(show_spinner=False)
def _marked():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in it is read as HTML."""
    return st.components.v2.component("lyceum_marked_text", html="<p></p>", css=_STYLE, js=_SCRIPT)
