"""Programs that ask this engine, to copy, with its address and a model that is chosen here."""

import socket

import streamlit as st

from core import serving
from core.serve.names import mix_name
from core.serve.resident import Engine
from core.serve.snippets import SNIPPETS, Asked
from core.serving import Health
from core.wording import plain

HELP = "A name that is offered, or one that is typed in, such as a mix of adapters."


def show(found: Engine, health: Health, offers: list[str]) -> None:
    """One model, one snippet per client."""
    st.subheader("Ask it from a program", anchor=False)
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    names = [*offers, *_examples(health, offers)]
    model = left.selectbox("Model", names, key="serve_model", bind="query-params", accept_new_options=True, help=HELP)
    right.caption(_where(found, health))
    asked = Asked(found.address, model or names[0], key=health["limits"]["key"])
    tabs = st.tabs(list(SNIPPETS), key="serve_client", bind="query-params")
    for tab, (language, write) in zip(tabs, SNIPPETS.values(), strict=True):
        with tab:
            st.caption(plain(write.__doc__ or ""))
            st.code(write(asked), language=language, wrap_lines=True)


def _examples(health: Health, offers: list[str]) -> list[str]:
    """A mix of the first two adapters, where the engine mixes."""
    adapters = [name for name in offers if name in health["adapters"]][:2]
    return [mix_name(dict.fromkeys(adapters, 0.5))] if health["engine"] == "lyceum" and len(adapters) == 2 else []


def _where(found: Engine, health: Health) -> str:
    """Where the API is, for this machine and for others."""
    here = f"The API is at `{found.address}/v1`, and for Groq's client at `{found.address}`."
    if not serving.open_to_others(health):
        return here
    port = found.address.rpartition(":")[2]
    return f"{here} Other machines ask `http://{socket.gethostname()}:{port}/v1`."
