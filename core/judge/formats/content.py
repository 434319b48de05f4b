"""What a file holds, and which format that is. Reads JSON, JSON lines, CSV and Parquet."""

import json
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.judge.formats import FORMATS

Content = list[dict[str, Any]] | dict[str, Any]


def read(path: Path) -> Content:
    """The records of a file, or the object that it holds. Raises UserError when it can't be read or holds nothing."""
    import pandas as pd

    try:
        if path.suffix.lower() in (".csv", ".parquet"):
            table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else pd.read_csv(path, dtype=str, keep_default_na=False)
            content: Any = table.to_dict("records")
        else:
            content = _json(path.read_text(encoding="utf-8-sig"), path.suffix.lower() == ".jsonl")
    except (ValueError, OSError) as error:
        raise UserError(f"{path} can't be read ({_first_line(error)}). Give a JSON, JSONL, CSV or Parquet file in UTF-8.") from None
    records = content if isinstance(content, list) else [content]
    if not records or not all(isinstance(each, dict) for each in records):
        raise UserError(f"{path} holds no records (a list of objects, or lines of them), so there is nothing to read. Give another file.")
    return content  # type: ignore[no-any-return]


def format_of(content: Content, path: Path) -> str:
    """The id of its format, by the keys of its first record. Raises UserError with the keys that are there."""
    keys = set(content if isinstance(content, dict) else content[0])
    for name, each in FORMATS.items():
        if any(wanted <= keys for wanted in each.keys):
            return name
    known = "; ".join(f"{each.label} ({' or '.join(', '.join(sorted(keys)) for keys in each.keys)})" for each in FORMATS.values())
    raise UserError(f"{path} is in no known format of verdicts: it has {', '.join(sorted(map(str, keys)))[:300]}. Known are: {known}.")


def _json(text: str, lines: bool) -> Any:
    try:
        return _lines(text) if lines else json.loads(text)
    except json.JSONDecodeError:
        return json.loads(text) if lines else _lines(text)


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
