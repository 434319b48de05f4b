"""The sheet of the arena: question, reference, two answers, buttons. It comes and goes as one piece, so a key never meets another pair."""

import time
from collections.abc import Callable

import streamlit as st

from core.judge.arena import Sheet, Standing
from core.wording import count


def show(sheet: Sheet, standing: Standing, voted: Callable[[str, str, float, str], None]) -> None:
    """The sheet; `voted(pair, choice, seconds, reason)` is called before the page runs again. Nothing else can be pressed until then."""
    data = {
        **{"pair": sheet.pair, "question": sheet.question, "reference": sheet.reference},
        **{"left": sheet.left or "(empty answer)", "right": sheet.right or "(empty answer)"},
        **{"done": standing.done, "total": standing.total, "progress": f"{standing.done} of {count(standing.total, 'pair')}"},
        "sent": time.time(),  # the same pair again, as after a fault, opens the buttons again
    }

    def heard() -> None:
        if vote := st.session_state["arena-sheet"].get("vote"):
            voted(str(vote["pair"]), str(vote["choice"]), float(vote["seconds"]), str(vote["reason"]))

    _sheet()(data=data, key="arena-sheet", on_vote_change=heard)


@st.cache_resource(show_spinner=False)
def _sheet():  # type: ignore[no-untyped-def]
    """A component that sets text by textContent alone, so nothing in it is read as HTML."""
    return st.components.v2.component("lyceum_arena_sheet", html=_HTML, css=_STYLE, js=_SCRIPT, isolate_styles=False)


_HTML = """
<section class="arena-sheet">
    <label class="arena-progress"><span data-part="progress"></span><progress></progress></label>
    <h2 data-part="question"></h2>
    <article class="arena-reference">
        <small>Reference: which answer is closer to it in meaning?</small><p data-part="reference"></p>
    </article>
    <div class="arena-answers">
        <article><small>Left</small><p data-part="left"></p></article>
        <article><small>Right</small><p data-part="right"></p></article>
    </div>
    <div class="arena-buttons">
        <button type="button" value="left">Left <kbd>1</kbd></button>
        <button type="button" value="tie">Tie <kbd>0</kbd></button>
        <button type="button" value="right">Right <kbd>2</kbd></button>
        <button type="button" value="skip">Skip <kbd>s</kbd></button>
    </div>
    <label>Reason (optional)<input maxlength="500" placeholder="write it before you vote; Enter leaves the field"></label>
</section>
"""
_SCRIPT = """
const KEYS = { 1: "left", 0: "tie", 2: "right", s: "skip" };

export default function({ data, parentElement, setTriggerValue }) {
    const sheet = parentElement.querySelector(".arena-sheet"), reason = sheet.querySelector("input");
    const buttons = [...sheet.querySelectorAll("button")];
    for (const part of sheet.querySelectorAll("[data-part]")) part.textContent = data[part.dataset.part];
    sheet.querySelector(".arena-reference").hidden = !data.reference.trim();
    Object.assign(sheet.querySelector("progress"), { value: data.done, max: data.total });
    if (sheet.dataset.pair !== data.pair) {
        if (sheet.dataset.pair && sheet.getBoundingClientRect().top < 0) sheet.scrollIntoView();
        sheet.dataset.pair = data.pair;
        sheet.since = performance.now();
        reason.value = "";
    }
    const vote = (choice) => {
        if (buttons[0].disabled) return;
        for (const button of buttons) button.disabled = true;
        const seconds = (performance.now() - sheet.since) / 1000;
        setTriggerValue("vote", { pair: data.pair, choice, seconds, reason: reason.value });
    };
    for (const button of buttons) {
        button.disabled = false;
        button.onclick = () => vote(button.value);
    }
    reason.onkeydown = (event) => event.key === "Enter" && reason.blur();
    const heard = (event) => {
        const choice = KEYS[event.key.toLowerCase()];
        const writes = ["INPUT", "TEXTAREA"].includes(event.composedPath()[0].tagName);
        if (!choice || writes || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        vote(choice);
    };
    window.removeEventListener("keydown", sheet.heard);
    sheet.heard = heard;
    window.addEventListener("keydown", heard);
    return () => window.removeEventListener("keydown", heard);
}
"""
_STYLE = """
.arena-sheet { color: var(--st-text-color); font-family: var(--st-font); scroll-margin-top: 4rem; }
.arena-sheet h2 { font: 600 1.15rem/1.4 var(--st-font); margin: 1rem 0; padding: 0; overflow-wrap: anywhere; }
.arena-sheet article { border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius); padding: 0.7rem 1rem; }
.arena-sheet p { margin: 0; line-height: 1.55; white-space: pre-wrap; overflow-wrap: anywhere; }
.arena-sheet small, .arena-sheet label { display: block; font-size: 0.85rem; opacity: 0.75; margin-bottom: 0.5rem; }
.arena-sheet progress { display: block; width: 100%; height: 0.5rem; accent-color: var(--st-primary-color); }
.arena-answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1rem; margin: 1rem 0; }
.arena-buttons { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.6rem; margin-bottom: 1rem; }
.arena-buttons button {
    font: inherit; padding: 0.55rem 0.2rem; border: 1px solid var(--st-primary-color); border-radius: var(--st-base-radius);
    background: var(--st-primary-color); color: var(--st-background-color); cursor: pointer;
}
.arena-buttons button[value="skip"] { background: transparent; color: inherit; border-color: var(--st-border-color); }
.arena-buttons button:is(:hover, :focus-visible) { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.arena-buttons button:disabled { opacity: 0.45; cursor: default; }
.arena-buttons kbd { font: inherit; font-size: 0.8em; opacity: 0.7; margin-left: 0.3rem; }
.arena-sheet input {
    display: block; box-sizing: border-box; width: 100%; margin-top: 0.3rem; padding: 0.55rem 0.7rem; font: inherit; color: inherit;
    background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
}
"""
