"""What stays on this machine: keys, passwords in addresses, and the folders before a file's name. Light."""

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import read_only

if TYPE_CHECKING:
    import pandas as pd

SECRETS = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
"""How the names of environment variables end whose values are never told."""
NOTED = ("signature", "reason", "note", "how", "judge", "path")
"""Columns of tables that are neither a model's nor a person's answer."""
_WORD = r"[^\s\\/|,;:\"'<>@()\[\]{}]+"
_PART = rf"[\\/]{{1,2}}{_WORD}(?:(?: {_WORD}){{1,3}}(?=[\\/]))?"
"""A folder or file; blanks in a folder's name are known by the slash that comes after."""
_HOME = r"~(?:[A-Za-z_][\w.-]*)?"
_PATH = (
    rf"(?<![\w.\\/<~-])(?:file:/{{0,2}}(?:localhost)?(?:{_PART})+|(?:{_HOME}|[A-Za-z]:)(?:{_PART})+"
    rf"|(?=/|\\\\)(?:{_PART}){{2,}}|(?<=[:=]){_PART})[\\/]*"
)
_ADDRESS = r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>|]*@)?(?P<place>[^\s?#\"'<>|]*)(?:[?#][^\s\"'<>|]*)?"
_FOUND = re.compile(rf"(?P<path>{_PATH})|{_ADDRESS}", re.IGNORECASE)
_WHOLE = re.compile(rf"(?!.*[,;:]\s)(?:/|\\\\|{_HOME}[\\/]|[a-z]:[\\/])", re.IGNORECASE)
"""How a text begins that is a path as a whole."""


def removed(value: Any) -> Any:
    """Settings, lists and texts with the same in them, but without secrets and this machine's folders."""
    if isinstance(value, Mapping):
        return {key: removed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [removed(each) for each in value]
    return removed_from(value) if isinstance(value, str) else value


def removed_from(text: str) -> str:
    """A text in which of absolute paths the last part is left, and of addresses neither user, password nor query."""
    for secret in _secrets():
        text = text.replace(secret, "(removed)")
    if _WHOLE.match(text) and "\n" not in text:
        return re.split(r"[\\/]", text.rstrip("\\/"))[-1]
    return _FOUND.sub(_bare, text)


def removed_from_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table in whose columns NOTED the same is left out."""
    return table.assign(**{name: table[name].map(removed) for name in NOTED if name in table})


def shown(text: str) -> str:
    """A text of a page: in read-only mode, where strangers look, without what stays here."""
    return removed_from(text) if read_only.active() else text


def _bare(found: re.Match[str]) -> str:
    if path := found["path"]:
        return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
    return f"{found['scheme']}{found['place']}"


def _secrets() -> list[str]:
    return [value for name, value in os.environ.items() if SECRETS.search(name) and len(value) >= 8]
