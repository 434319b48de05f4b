"""The gate: asks for the password (LYCEUM_PASSWORD), or for an account ([auth] in .streamlit/secrets.toml), before anything is read."""

import streamlit as st

from core import access
from core.errors import UserError
from core.wording import plain

PASSED = "gate.passed"
TYPED = "gate.password"


def passed() -> bool:
    """Whether who is there may come in. Where both ways are set up, both are asked for."""
    try:
        return _signed_in() and _knows_password()
    except UserError:
        return False  # `ask` says why


def ask() -> None:
    """What stands in place of every page for who has not come in."""
    st.title("Lyceum", anchor=False)
    try:
        if not _signed_in():
            st.markdown("This app is open to people who sign in.")
            st.button("Sign in", key="gate.login", type="primary", icon=":material/login:", on_click=st.login)
        elif not _knows_password():
            _form()
    except UserError as error:
        st.error(plain(str(error)))
        ways_out()
    except KeyError:  # Streamlit's own, where a message tells of a widget that no page has
        st.error("This message was not made by this page. Reload it.")


def ways_out() -> None:
    """A button for each way in that was taken."""
    if st.session_state.get(PASSED):
        st.button("Leave", key="gate.leave", type="tertiary", icon=":material/logout:", on_click=st.session_state.clear)
    if _accounts() and st.user.is_logged_in:
        st.button("Sign out", key="gate.logout", type="tertiary", icon=":material/logout:", on_click=st.logout)


def _accounts() -> bool:
    """Whether people sign in with an account."""
    return st.secrets.load_if_toml_exists() and "auth" in st.secrets


def _signed_in() -> bool:
    if _accounts() and st.user.is_logged_in:
        access.check_user(st.user.to_dict())
    return not _accounts() or bool(st.user.is_logged_in)


def _knows_password() -> bool:
    return not access.needs_password() or bool(st.session_state.get(PASSED))


def _form() -> None:
    st.markdown("This app is open to people who know its password.")
    with st.form("gate", border=False, width=420):
        st.text_input("Password", type="password", key=TYPED, autocomplete="current-password", max_chars=1000)
        st.form_submit_button("Come in", type="primary", on_click=_tried)
    if fault := st.session_state.pop("gate.fault", ""):
        st.error(plain(fault))


def _tried() -> None:
    """Hold what was typed against the password; it doesn't stay in the session."""
    try:
        access.check_password(str(st.session_state.pop(TYPED, "")))
        st.session_state[PASSED] = True
    except UserError as error:
        st.session_state["gate.fault"] = str(error)
