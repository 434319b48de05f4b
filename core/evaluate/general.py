"""Questions about other matters than the adapters': what models answer worse than the base there, they forgot."""

from collections.abc import Callable

from core.config import DataConfig, EvaluateConfig
from core.data.read import QA, Dataset, read
from core.data.split import normalise
from core.errors import UserError
from core.results import GENERAL


def questions(config: EvaluateConfig, dataset: Dataset, say: Callable[[str], None]) -> list[QA]:
    """The rows of `config.general`, whatever their split, as one category; those that stand in `dataset` are left out. None there: none."""
    if not config.general:
        return []
    every = read(DataConfig(data=config.general)).rows
    asked = {normalise(row.question) for row in every}
    known = {question for row in dataset.rows if (question := normalise(row.question)) in asked}
    new = [row for row in every if normalise(row.question) not in known][: config.limit]
    if not new:
        raise UserError(
            f"Every question of general={config.general} also stands in {config.data}, so none is about other matters. Give other data."
        )
    if len(every) > len(new) and not config.limit:
        say(f"Left out: {len(every) - len(new)} questions of {config.general} that also stand in {config.data}.")
    return [QA(row.question, row.answer, GENERAL, row.split) for row in new]
