"""Whether the data file is still the one that the models were evaluated on: its hash now, and the hash of its rows on record."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core import runs
from core.config import DataConfig
from core.data.read import read
from core.errors import UserError
from core.report.sources import Sources

COLUMNS = ("question_column", "answer_column", "category_column")


@dataclass(frozen=True)
class DataHash:
    """The dataset of a bundle, now and as it was recorded."""

    file: Path | None
    """None for a dataset of a hub, or a file that is gone."""
    config: Mapping[str, Any]
    """Settings that name the columns of whoever recorded; of the evaluation where nothing was recorded."""
    recorded: str
    """Dataset.source_hash, written no later than the evaluation; empty where there is none."""

    @cached_property
    def sha256(self) -> str:
        """Of the file as it is now; empty where there is none."""
        if not self.file:
            return ""
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def rows(self) -> str:
        """Dataset.source_hash of the file as it is now; empty where it can't be read any more."""
        columns = {name: self.config[name] for name in COLUMNS if name in self.config}
        try:
            return read(DataConfig(data=str(self.file), **columns)).source_hash if self.file else ""
        except UserError:
            return ""

    @property
    def changed(self) -> bool:
        """Whether the file's rows are known to be others than those of the evaluation."""
        return bool(self.file and self.recorded and self.rows != self.recorded)

    @property
    def note(self) -> str:
        """What the hash of the file is worth."""
        if not self.file:
            return "The file is not here, so it has no hash." if not self.recorded else f"The rows on record: {self.recorded}."
        if not self.recorded:
            return "This is the file of today: no hash was recorded when the models were evaluated."
        if self.changed:
            now = self.rows or "none: it can't be read"
            return f"The file has changed since the evaluation: the hash of its rows was {self.recorded} and is {now}."
        return f"Its rows are those on record ({self.recorded})."


def of(sources: Sources) -> DataHash:
    """The dataset of these sources, with the newest record of it that is no younger than the evaluation."""
    config, recorded = next(_records(sources), (sources.config, ""))
    return DataHash(sources.data_file, config, recorded)


def _records(sources: Sources) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Settings and hash of whoever read the dataset: the evaluation, then reports on the data before it, newest first."""
    evaluation = sources.evaluation.run
    before = [run for run in runs.listing("data", "done") if run.run_id < evaluation.run_id]
    for run in (evaluation, *before):
        if run.outputs.get("source_hash") and run.config.get("data") == sources.config.get("data"):
            yield run.config, str(run.outputs["source_hash"])
