"""Downloads under the second source's names: one CSV of question, answer and prediction per model and category."""

from collections.abc import Collection, Iterator, Mapping

import pandas as pd

from core import paths
from core.queries import OWN, Evaluation

JUDGMENTS = "llm_semantic_merged_judgments.csv"


class Exported(Mapping[str, pd.DataFrame]):
    """Files by name; each table is made when it is asked for."""

    def __init__(self, found: Evaluation, parts: Mapping[str, tuple[str, str | None]]) -> None:
        """`parts`: file name -> model, and the category, or None for all."""
        self._found, self._parts = found, parts

    def __getitem__(self, name: str) -> pd.DataFrame:
        model, category = self._parts[name]
        mine = self._found.answers_of(model)
        places = mine.index[mine["category"] == category] if category is not None else mine.index
        columns = ["question", "reference", "prediction", *(["category"] if category is None else [])]
        return self._found.whole(places.tolist())[columns].rename(columns={"reference": "answer"}).reset_index(drop=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def answers(found: Evaluation) -> Exported:
    """File name -> table with question, answer (the reference) and prediction.

    `base_<category>_results.csv` and `fine_tuned_<category>_results.csv` (that category's own adapter) for each category;
    `base_merged_results.csv` is the base on all categories, `fine_tuned_merged_results.csv` the first merged adapter on all,
    and `fine_tuned_<name>_results.csv` every further merged or pooled adapter, and every route. A name that is taken gets
    `_category` or `_model` at its end: beside a merged adapter, a category called merged is `base_merged_category_results.csv`.
    """
    merged = found.of_role("merged")
    parts: dict[str, tuple[str, str | None]] = {}
    whole = {"merged": merged[0]} if merged else {}
    for model in [*merged[1:], *found.of_role("pooled"), *found.of_role("route")]:
        whole[_free(paths.slug(model), whole, "_model")] = model
    for category in found.categories:
        name = _free(paths.slug(category), whole, "_category")
        parts[f"base_{name}_results.csv"] = (found.baseline, category)
        if category in found.owners:
            parts[f"fine_tuned_{name}_results.csv"] = (OWN, category)
    if merged:
        parts["base_merged_results.csv"] = (found.baseline, None)
    return Exported(found, parts | {f"fine_tuned_{name}_results.csv": (model, None) for name, model in whole.items()})


def judgments(verdicts: pd.DataFrame) -> pd.DataFrame:
    """question, answer (the reference), base_prediction, fine_tuned_prediction, judgment; and who judged, since it need not be an LLM."""
    chosen = verdicts[["category", "question", "reference", "base_prediction", "candidate_prediction", "verdict", "judge", "candidate"]]
    return chosen.set_axis(
        ["category", "question", "answer", "base_prediction", "fine_tuned_prediction", "judgment", "judge", "model"], axis="columns"
    )


def _free(name: str, taken: Collection[str], end: str) -> str:
    return _free(f"{name}{end}", taken, end) if name in taken else name
