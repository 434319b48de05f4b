"""Uploaded data files: kept under data/uploads of LYCEUM_HOME by a checked name, never executed, size-limited."""

from pathlib import Path

from core import paths, read_only
from core.errors import UserError

FORMATS = ("json", "jsonl", "csv", "parquet")
LARGEST_MB = 200


def folder() -> Path:
    """Where uploads are kept."""
    return paths.home() / "data" / "uploads"


def listing() -> list[Path]:
    """Uploaded files, by name."""
    return sorted(file for file in folder().glob("*") if file.is_file())


def keep(name: str, content: bytes) -> Path:
    """Keep an upload and return its place; the name is reduced to a plain one. Raises UserError for other formats and too much."""
    read_only.refuse("Uploading a file")
    stem, _, ending = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
    if ending.lower() not in FORMATS:
        raise UserError(f"'{name}' ends in none of {', '.join(FORMATS)}, so it can't be read as a dataset. Save it as one of these.")
    if len(content) > LARGEST_MB * 2**20:
        raise UserError(
            f"'{name}' has {len(content) / 2**20:,.0f} MB, more than {LARGEST_MB}. Put it on the machine and give its path instead."
        )
    place = folder() / paths.check_name(f"{paths.slug(stem)}.{ending.lower()}", "file")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place
