"""Texts of models: plain text in cards, reference, base and candidate in that order, words shared with the reference marked on demand."""

import streamlit as st

from core.wording import marked

_SCRIPT = """
export default function({ data, parentElement }) {
    const root = parentElement.querySelector("p");
    root.replaceChildren();
    for (const [text, shared] of data.parts) {
        const span = document.createElement("span");
        span.textContent = text;
        if (shared) span.className = "shared";
        root.appendChild(span);
    }
}
"""
_STYLE = """
p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; font-family: var(--st-font); color: var(--st-text-color); }
.shared { background: color-mix(in srgb, var(--st-primary-color) 22%, transparent); border-radius: 2px; }
"""


def texts(reference: str, base: str, candidate: str, name: str, key: str, mark: bool = False) -> None:
    """Three cards side by side, stacked on a small screen."""
    columns = st.columns(3)
    for column, title, text in zip(columns, ("Reference", "Base", name), (reference, base, candidate), strict=True):
        with column, st.container(border=True, height="stretch"):
            st.caption(title.replace("_", r"\_"))
            if mark and title != "Reference":
                _marked()(data={"parts": marked(reference, text)}, key=f"{key}-{title}")
            else:
                st.text(text or "(empty answer)")


@st.cache_resource(show_spinner=False)
def _marked():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in it is read as HTML."""
    return st.components.v2.component("lyceum_marked_text", html="<p></p>", css=_STYLE, js=_SCRIPT)
