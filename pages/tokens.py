"""A row of tokens as the model sees it: in order, nothing hidden, those that the loss counts coloured and underlined."""

import pandas as pd
import streamlit as st

_SCRIPT = """
export default function({ data, parentElement }) {
    const row = parentElement.querySelector("p");
    row.replaceChildren();
    for (const [position, text, supervised] of data.tokens) {
        const span = document.createElement("span");
        span.textContent = text.replaceAll("\\n", "\\u21b5\\n").replaceAll("\\t", "\\u21e5\\t");
        span.title = `token ${position}: ${JSON.stringify(text)}, ${supervised ? "counted by the loss" : "read, not counted"}`;
        if (supervised) span.className = "counted";
        row.appendChild(span);
    }
}
"""
_STYLE = """
div { font-family: var(--st-code-font, monospace); font-size: 0.86rem; line-height: 1.9; color: var(--st-text-color); }
p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
p span { border-left: 1px solid color-mix(in srgb, var(--st-text-color) 22%, transparent); padding: 0.1em 0; }
.counted {
    background: color-mix(in srgb, #56B4E9 34%, transparent);
    text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 4px;
    text-decoration-color: color-mix(in srgb, #0072B2 65%, var(--st-text-color));
}
.legend { font-family: var(--st-font); font-size: 0.8rem; margin-bottom: 0.5rem; }
.legend span { padding: 0.1em 0.4em; margin-right: 1em; }
"""
_LEGEND = '<span class="counted">counted by the loss</span><span>read, not counted</span>'


def show(tokens: pd.DataFrame, key: str) -> None:
    """One row of first_batch.csv: results.Token of one adapter and one row, in order. Special tokens stand as they are written."""
    data = {"tokens": list(zip(tokens["position"].tolist(), tokens["text"].tolist(), tokens["supervised"].tolist(), strict=True))}
    with st.container(border=True):
        _row()(data=data, key=key)


@st.cache_resource(show_spinner=False)
def _row():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in it is read as HTML."""
    html = f'<div><div class="legend">{_LEGEND}</div><p></p></div>'
    return st.components.v2.component("lyceum_tokens", html=html, css=_STYLE, js=_SCRIPT)
