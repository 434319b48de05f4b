"""A source too large for memory, read once onto disk: `datasets/<key>/` under the cache, which core/data/stored.py opens.

The key follows from the source's content and the columns that were asked for, so a source that has changed is read anew. The folder
appears whole, by atomic rename; one process makes it while others wait; what a killed one leaves is removed by the next.
"""

import fcntl
import hashlib
import json
import os
import shutil
from array import array
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from core import paths, private
from core.config import DataConfig
from core.data import stored
from core.data.read import Dataset, Progress, Reading, RowsHash, check_categories
from core.data.source import Source
from core.data.split import SPLITS, split_of
from core.data.stored import BATCH, About
from core.errors import UserError, explained
from core.models.bundled import locked

_FORMAT = "1"
"""Raise it when reading changes: older folders are then no longer used."""
MOST_CATEGORIES = 100_000
"""A category is an adapter: a column with more values is another one."""
_SCHEMA = pa.schema([("question", pa.large_string()), ("answer", pa.large_string())])


def folder(source: Source, config: DataConfig) -> Path:
    """Where the rows of this content, with these columns, lie or will lie."""
    asked = [config.question_column, config.answer_column, config.category_column]
    decides = [_FORMAT, Path(source.name).suffix.lower(), source.digest, *asked]
    return paths.cache() / "datasets" / hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]


def read(source: Source, config: DataConfig, progress: Progress) -> Dataset:
    """The dataset on disk; read from the source first when this content is new."""
    place = folder(source, config)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock(place)):
            if not place.exists():
                _make(place, source, config, progress)
    return stored.opened(place, config.data)


def _make(place: Path, source: Source, config: DataConfig, progress: Progress) -> None:
    _sweep(place.parent)
    unfinished = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        about = _write(unfinished, source, config, progress)
        if source.identify() != source.digest:
            raise UserError(f"'{source.name}' changed while it was read. Wait until it is written, then start again.")
        _forget_older(place.parent, about)
        os.replace(unfinished, place)
    except OSError as error:
        error.filename = error.filename or str(place.parent)
        raise explained(error) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _lock(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


def _sweep(datasets: Path) -> None:
    """Remove what killed processes have left of other datasets: nobody holds the lock."""
    for left in datasets.glob(".*.unfinished"):
        with _lock(datasets / left.name[1:].removesuffix(".unfinished")).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(left)


def _forget_older(datasets: Path, new: About) -> None:
    """Remove what was read from the same place when it had another content, unless somebody still looks at it."""
    for file in datasets.glob("*/about.json"):
        old = About.of(file.parent)
        if old.origin == new.origin and old.digest != new.digest:
            with suppress(BlockingIOError), stored.alone(file.parent):
                shutil.rmtree(file.parent, ignore_errors=True)


def _write(place: Path, source: Source, config: DataConfig, progress: Progress) -> About:
    table = source.table()
    reading, digest, text_bytes = Reading(table, config), RowsHash(), 0
    codes: dict[str, int] = {}
    categories, splits = array("i"), array("b")
    with pa.OSFile(str(place / "rows.arrow"), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        rows = iter(reading)
        while batch := list(islice(rows, BATCH)):
            for question, answer, category in batch:
                digest.add(question, answer, category)
                categories.append(codes.setdefault(category, len(codes)))
                splits.append(SPLITS.index(split_of(question)))
                text_bytes += len(question.encode()) + len(answer.encode())
            if len(codes) > MOST_CATEGORIES:
                raise _too_many(config.data, reading.columns.category)
            writer.write_batch(pa.record_batch([[row[0] for row in batch], [row[1] for row in batch]], schema=_SCHEMA))
            progress(len(categories), len(table.records))
    reading.refuse_empty(len(categories))
    check_categories(config.data, list(codes))
    np.save(place / "categories.npy", np.frombuffer(categories, np.int32))
    np.save(place / "splits.npy", np.frombuffer(splits, np.int8))
    drops = {reason: asdict(drop) for reason, drop in reading.drops.items()}
    about = About(_origin(source), source.digest, asdict(reading.columns), list(codes), drops, table.notes, digest.text, text_bytes)
    (place / "about.json").write_text(json.dumps(asdict(about)), encoding="utf-8")
    return about


def _too_many(name: str, column: str | None) -> UserError:
    return UserError(
        f"The column '{column}' of '{name}' has more than {MOST_CATEGORIES:,} different values, too many for categories, each of which "
        "gets an adapter. Choose another with category_column."
    )


def _origin(source: Source) -> str:
    if paths.is_url(source.name):
        return private.removed_from(source.name)
    path = paths.data_file(source.name)
    return str(path.resolve()) if path.exists() else source.name
