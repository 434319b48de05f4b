"""Who may ask the engine, how it is opened to other machines, and its limits."""

import pandas as pd
import streamlit as st

from core import serving
from core.config.serve import KEY_VARIABLE
from core.serving import Health
from core.wording import plain

OPEN = f"""export {KEY_VARIABLE}="$(python -c 'import secrets; print(secrets.token_urlsafe(32))')"   # several: between commas
python -m core serve --stop
python -m core serve --host 0.0.0.0 --port 8000 --detach
"""


def show(health: Health) -> None:
    """Keys on the left, limits on the right."""
    keys, limits = st.columns(2, gap="large")
    with keys:
        st.subheader("Keys", anchor=False)
        st.markdown(plain(said(health)))
        with st.expander("Open it to other machines" if not serving.open_to_others(health) else "Change the key"):
            st.code(OPEN, language="bash", wrap_lines=True)
            st.caption("HTTP sends keys in the clear: beyond a network of your own, put a proxy with TLS before it.")
    with limits:
        st.subheader("Limits", anchor=False)
        rows = pd.DataFrame(serving.limits(health), columns=["limit", "value", "beyond it"])
        st.table(rows, border="horizontal", hide_index=True, alt="Limits of the engine")


def said(health: Health) -> str:
    """Whether a key is needed, and by whom the engine can be asked."""
    found = health["limits"]
    who = f"It listens on {found['host']}, " + ("open to other machines." if serving.open_to_others(health) else "this machine alone.")
    if found["key"]:
        return f"{who} Every request needs a key: one of those that stood in {KEY_VARIABLE} when it was started. They are shown nowhere."
    return f"{who} No key is needed, because {KEY_VARIABLE} was not set when it was started."
