"""What is made once for all who look, and takes a while: a thread makes it, and each page that waits says how far it is."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import streamlit as st

from core.results.parquet import Said
from core.wording import count

LOOK_SECONDS = 0.2


class Preparing:
    """Something that is being made."""

    def __init__(self, make: Callable[[Said], Any], unit: str) -> None:
        self.said = "beginning"
        self.unit = unit
        pool = ThreadPoolExecutor(1)
        self.made: Future[Any] = pool.submit(make, self._said)
        pool.shutdown(wait=False)

    def _said(self, done: int, what: str) -> None:
        self.said = f"{count(done, self.unit)} {what}"


def wait(key: object, make: Callable[[Said], Any], unit: str, why: str) -> None:
    """Wait until something is made that takes minutes at most; whoever asks for the same `key` meanwhile waits for the same."""
    preparing = _begun(key, make, unit)
    place = st.empty()
    while not preparing.made.done():
        place.info(f"{why}: {preparing.said}.", icon=":material/hourglass_top:")
        time.sleep(LOOK_SECONDS)
    place.empty()
    _begun.clear(key, make, unit)
    preparing.made.result()


@st.cache_resource(show_spinner=False, max_entries=16)
def _begun(key: object, _make: Callable[[Said], Any], _unit: str) -> Preparing:
    return Preparing(_make, _unit)
