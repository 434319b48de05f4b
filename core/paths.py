"""The folders. `LYCEUM_HOME` moves adapters, merged_adapters, models and results together; `LYCEUM_CACHE` the caches.

`LYCEUM_HOME` may be the URL of a store (core/store); the home is then this machine's working copy of it, in the cache or in `LYCEUM_WORK`.
"""

import hashlib
import os
import re
import unicodedata
from pathlib import Path

from core.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that holds this project: sample data and the app."""

ROUTER = "router.safetensors"
"""What the folder of a route holds in place of weights."""
MODEL_WORDS = ("base", "all", "own")
"""Words that stand for something else than an adapter of that name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
ENDPOINTS = ("FSSPEC_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables that say which server `s3://` means, the first one first."""


def home() -> Path:
    """Where adapters and results live on this machine."""
    url = store()
    folder = os.environ.get("LYCEUM_WORK") or cache() / "homes" / _store_name(url) if url else os.environ.get("LYCEUM_HOME") or PROJECT
    return Path(folder).expanduser().resolve()


def is_url(text: str) -> bool:
    """Whether this is a URL, and no path."""
    return _URL.match(text) is not None


def store() -> str | None:
    """The URL that LYCEUM_HOME is; None where it is a plain folder. Raises UserError for one without a folder."""
    said = os.environ.get("LYCEUM_HOME", "")
    if not is_url(said):
        return None
    if not said.partition("://")[2].strip("/"):
        raise UserError(f"LYCEUM_HOME is '{said}', which names no folder. Say which, such as s3://bucket/folder or file:///folder.")
    return said.rstrip("/")


def endpoint() -> str:
    """The server that `s3://` means; empty: Amazon's."""
    return next(filter(None, map(os.environ.get, ENDPOINTS)), "")


def address_digest(url: str) -> str:
    """What tells an address from any other: the same bucket of another server is another one."""
    server = endpoint() if url.lower().startswith(("s3://", "s3a://")) else ""
    return hashlib.sha256(f"{url} {server}".encode()).hexdigest()


def environment() -> dict[str, str]:
    """What a process that starts elsewhere needs to have the same home."""
    url = store()
    return {"LYCEUM_HOME": url, "LYCEUM_WORK": str(home())} if url else {"LYCEUM_HOME": str(home())}


def adapters() -> Path:
    """PEFT folders, one per adapter."""
    return home() / "adapters"


def merged_adapters() -> Path:
    """PEFT folders, one per merged adapter."""
    return home() / "merged_adapters"


def models() -> Path:
    """Whole models, one folder each: what full fine-tuning makes."""
    return home() / "models"


def results() -> Path:
    """Run folders, one per run."""
    return home() / "results"


def cache() -> Path:
    """What can be made again: converted models, embeddings."""
    return Path(os.environ.get("LYCEUM_CACHE") or "~/.cache/lyceum").expanduser().resolve()


def shown(path: Path) -> str:
    """A path as tables and run.json have it: relative to the home when inside it."""
    return str(path.relative_to(home()) if path.is_relative_to(home()) else path)


def data_file(name: str) -> Path:
    """A data path as the person gave it: relative to where they are, else to the project; of a URL, a copy of what is there."""
    if is_url(name):
        from core.store import data

        return data.local(name)
    given = Path(name).expanduser()
    shipped = PROJECT / given
    return shipped if not given.exists() and shipped.exists() else given


def is_name(name: str) -> bool:
    """Whether a text is a plain file name."""
    return _NAME.fullmatch(name) is not None and ".." not in name


def check_name(name: str, kind: str) -> str:
    """`name` if it is a plain file name; it never leaves its folder."""
    if not is_name(name):
        raise UserError(
            f"The {kind} name '{name}' can't be used, because it becomes a folder name. "
            "Use letters, digits, '.', '_' and '-' (at most 120, starting with a letter or digit)."
        )
    return name


def check_model_name(name: str, kind: str) -> str:
    """`name` if it can be a folder and doesn't mean something else where models are named."""
    if name in MODEL_WORDS:
        raise UserError(f"The {kind} name '{name}' can't be used, because it means something else where models are named. Choose another.")
    return check_name(name, kind)


def slug(text: str) -> str:
    """A plain file name made from any text: blanks become '-'; where other characters are lost, a digest keeps texts apart."""
    spaced = re.sub(r"\s+", "-", text.strip())
    plain = re.sub(r"[^A-Za-z0-9._-]+", "", unicodedata.normalize("NFKD", spaced))
    plain = re.sub(r"\.{2,}", ".", plain).strip("-._")[:80]
    if plain == spaced:
        return plain
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{plain}-{digest}" if plain else digest


def _store_name(url: str) -> str:
    """A folder name for a store."""
    told = re.sub(r"//[^/@]*@", "//", url)
    return f"{slug(told)[:60]}-{address_digest(url)[:8]}"
