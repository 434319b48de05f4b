"""Who may use the app: a password in LYCEUM_PASSWORD, or people that an OpenID Connect provider knows, in LYCEUM_USERS. Light.

The password is in the environment and nowhere else: not in a log, a link, a page or a session. pages/gate.py asks for it.
"""

import hashlib
import hmac
import os
import time
import unicodedata
from collections.abc import Mapping
from typing import Any

from core.errors import UserError, shown
from core.rates import Rates

PASSWORD, USERS = "LYCEUM_PASSWORD", "LYCEUM_USERS"
TRIES_PER_MINUTE = 10
"""Of all sessions together: a session is free to make, so there is no other way to hold up who guesses."""

_tries = Rates(TRIES_PER_MINUTE)


def needs_password() -> bool:
    """Whether a password was set. Raises UserError for an empty one: a secret that was lost on its way must not open the app."""
    said = os.environ.get(PASSWORD)
    if said is not None and not said.strip():
        raise UserError(f"{PASSWORD} is set and empty, so nobody gets in. Give it a password, or unset it to open the app to everybody.")
    return said is not None


def check_password(said: str) -> None:
    """Raises UserError for another password, and for any when too many were tried in the last minute."""
    if wait := _tries.wait("", time.monotonic()):
        raise UserError(f"More than {TRIES_PER_MINUTE} passwords were tried in a minute. Try again in {wait:.0f} s.")
    if not hmac.compare_digest(_digest(said), _digest(os.environ[PASSWORD])):
        raise UserError("This is not the password. Ask who gave you the link.")


def check_user(claims: Mapping[str, Any]) -> None:
    """Raises UserError for who is not among LYCEUM_USERS. `claims`: what the provider says of who signed in (its identity token).

    Empty or unset, everybody gets in whom the provider knows. An address that the provider calls unverified is nobody's.
    """
    allowed = [each.strip().casefold() for each in os.environ.get(USERS, "").split(",") if each.strip()]
    email = str(claims.get("email") or "").casefold()
    if not allowed or (claims.get("email_verified") is not False and any(_fits(email, each) for each in allowed)):
        return
    raise UserError(f"{shown(email) or 'Your account, which tells no address,'} may not use this app. Ask its owner to add you to {USERS}.")


def _fits(email: str, allowed: str) -> bool:
    """`allowed`: an address, or '@' and a domain."""
    return bool(email) and (email.endswith(allowed) if allowed.startswith("@") else email == allowed)


def _digest(password: str) -> bytes:
    """Of one length, as a comparison in constant time needs; the same for letters that are written in two ways (NFC)."""
    return hashlib.sha256(unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")).digest()
