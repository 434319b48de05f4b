"""An engine of another container or machine: LYCEUM_ENGINE_URL says where, LYCEUM_API_KEY holds its key (the first, of several).

Light. Whether it answers is asked at most every KNOWN_SECONDS, since pages look for the engine many times a second.
"""

import os
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.config.serve import KEY_VARIABLE
from core.errors import UserError, shown

VARIABLE = "LYCEUM_ENGINE_URL"
KNOWN_SECONDS = 3.0
CONNECT_SECONDS = 2.0

Fields = dict[str, Any]
"""Of a resident.Engine."""

_lock = threading.Lock()
_known: dict[str, tuple[float, Fields | None]] = {}
"""By address: when it was asked last (of time.monotonic), and what it said."""


def address() -> str:
    """Such as http://engine:8000; empty: the engine is this home's own. Raises UserError for what is no such address."""
    said = os.environ.get(VARIABLE, "").strip().rstrip("/")
    if said and not (said.startswith(("http://", "https://")) and _host(said)):
        raise UserError(f"{VARIABLE}={shown(said)} is no address of an engine. Write it like this: http://engine:8000")
    return said


def find() -> Fields | None:
    """The engine at the address, or None where it does not answer. Raises UserError where it refuses the key."""
    with _lock:
        where = address()
        asked, found = _known.get(where, (-KNOWN_SECONDS, None))
        if time.monotonic() - asked >= KNOWN_SECONDS:
            found = _ask(where)
            _known[where] = (time.monotonic(), found)
        return found


def _ask(where: str) -> Fields | None:
    key = os.environ.get(KEY_VARIABLE, "").split(",")[0].strip()
    try:
        headers = {"Authorization": f"Bearer {key or 'none'}"}
        reply = httpx.get(f"{where}/health", headers=headers, timeout=CONNECT_SECONDS, trust_env=False)
        said = reply.json() if reply.status_code == 200 else {}
    except (httpx.HTTPError, ValueError):
        return None
    if reply.status_code == 401:
        raise UserError(f"The engine at {where} refuses the key in {KEY_VARIABLE}. Give this app one of the keys that the engine has.")
    if not {"base_model", "started_at", "engine"} <= said.keys():
        return None
    return {"address": where, "base_model": said["base_model"], "started_at": said["started_at"], "kind": said["engine"], "token": key}


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
