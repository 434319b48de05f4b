"""What the engine does at the moment, drawn again every two seconds; its log; the button that ends it."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core import serve_charts, serving
from core.errors import UserError
from core.serve import client, resident
from core.serve.resident import Engine
from core.serving import Health
from core.wording import MISSING, count, day, duration, plain, seconds_between, three
from pages import engine, estimate, parts

PAST = "serve.past"


def show(found: Engine) -> None:
    """The finding and all figures; the page runs once more when the engine is gone or another one."""
    st.fragment(_drawn, run_every=parts.LIVE_SECONDS)(found)


def _drawn(found: Engine) -> None:
    if engine.find() != found:
        st.rerun(scope="app")
    try:
        health, offers = client.health(found), client.models(found)
    except UserError as error:
        silent(found, error)
        return
    parts.head("Serve", serving.finding(health, len(offers)))
    _state(health)
    _figures(health)
    picture, models = st.columns([3, 2], gap="medium")
    with picture:
        _picture(found, health)
        _about(found, health)
    with models:
        _models(health, offers)


def silent(found: Engine, error: UserError) -> None:
    """An engine that lives and does not answer."""
    parts.head("Serve", f"An engine runs at {found.address}, and does not answer at the moment.")
    st.warning(plain(str(error)), icon=":material/error:")


def _state(health: Health) -> None:
    """Its state, in a word and a sentence; and a job that computes beside it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(health["state"].replace("_", " "), color=serving.STATES[health["state"]])  # type: ignore[arg-type]
        if health["said"]:
            st.caption(plain(health["said"]))
    if health["busy"] and health["busy"] != health["said"]:
        st.info(plain(health["busy"]), icon=":material/hourglass:")


def _figures(health: Health) -> None:
    """Speed, queue, memory, and what is counted since the start."""
    speed, under_way, memory, requests = st.columns(4)
    speed.metric("Tokens per second", three(health["tokens_per_second"]), help="Of all answers together, over the last 10 s.")
    speed.caption(f"{count(health['tokens'], 'token')} since the start.")
    under_way.metric("Answers under way", f"{health['answers']:,}", help="They share their passes through the base model.")
    under_way.caption(f"{plain(serving.queue(health))}.")
    memory.metric("Memory", estimate.size(health["memory_mb"]), help="Of the engine's processes, base model and adapters included.")
    memory.caption("The base model is loaded." if health["loaded"] else "The base model is not loaded; the next question loads it.")
    requests.metric("Requests", f"{health['requests']:,}", help="Since the start.")
    requests.caption(f"{count(health['refused'], 'request')} refused.")


def _picture(found: Engine, health: Health) -> None:
    """The speed of the last minutes, as far as this browser's session has seen it."""
    whose, past = st.session_state.get(PAST, (None, []))
    past = serving.kept(past if whose == found.pid else [], health)
    st.session_state[PAST] = (found.pid, past)
    with st.container(key="live-speed"):
        figure, said = serve_charts.speed(past), serve_charts.said(past)
        st.plotly_chart(figure, alt=said, key="speed", config={"displayModeBar": False})


def _models(health: Health, offers: list[str]) -> None:
    """What is offered, and which of it is in the bank."""
    ranks = {each["name"]: f"rank {each['rank']}" for each in health["in_bank"]}
    names = [*offers, *(name for name in ranks if name not in offers)]
    table = pd.DataFrame({"model": names, "in the bank": [ranks.get(name, MISSING) for name in names]})
    st.dataframe(table, hide_index=True, height=min(35 * (len(names) + 1) + 3, 320), alt="Models offered, and the adapters in the bank")
    st.caption(
        f"{count(len(offers), 'model')} offered by name; {count(len(ranks), 'adapter')} in the bank, in memory beside the base model."
    )


def _about(found: Engine, health: Health) -> None:
    """Where and since when; for vLLM how often it was restarted, and what it said last."""
    up = duration(seconds_between(health["started_at"]))
    facts = [
        f"Device: {health['device']}",
        f"process {found.pid}" if found.pid else "elsewhere",
        f"started {day(health['started_at'])}, {up} ago",
    ]
    if health["engine"] == "vllm":
        facts.append(f"restarted {count(health['restarts'], 'time')}")
    st.caption(plain(", ".join(facts) + "."))
    if health["engine"] == "vllm":
        with st.expander("Last lines of vLLM's log", expanded=health["state"] == "restarting"):
            st.code("\n".join(health["log"]) or "It said nothing yet.", language=None, wrap_lines=True)


def log(opened: bool = False) -> None:
    """What the last engine that was started from here said."""
    if lines := serving.log_lines():
        with st.expander("Last lines of the engine's log", expanded=opened):
            st.code("\n".join(lines), language=None, wrap_lines=True)


def end(found: Engine, health: Health | None = None) -> None:
    """The button that ends the engine, with what becomes of answers under way; none where it can't be ended from here."""
    if not resident.ours():
        return
    with st.popover("Stop the engine", icon=":material/stop_circle:"):
        running = health["answers"] if health else 0
        st.write(
            f"{count(running, 'answer')} under way: new requests are refused, and what runs may finish."
            if running
            else "Nothing is under way."
        )
        st.caption("The same in a terminal: `python -m core serve --stop`")
        pressed = st.button("Stop it", key="serve.stop", type="primary")
    if pressed:
        with st.spinner(f"Stopping the engine on {plain(Path(found.base_model).name)}", show_time=True):
            resident.stop()
        st.rerun()
