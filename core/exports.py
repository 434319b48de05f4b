"""Downloads under the second source's names: one CSV of question, answer and prediction per model and category."""

from collections.abc import Collection

import pandas as pd

from core import paths
from core.queries import OWN, Evaluation

JUDGMENTS = "llm_semantic_merged_judgments.csv"


def answers(found: Evaluation) -> dict[str, pd.DataFrame]:
    """File name -> table with question, answer (the reference) and prediction.

    `base_<category>_results.csv` and `fine_tuned_<category>_results.csv` (that category's own adapter) for each category;
    `base_merged_results.csv` is the base on all categories, `fine_tuned_merged_results.csv` the first merged adapter on all,
    and `fine_tuned_<name>_results.csv` every further merged or pooled adapter, and every route. A name that is taken gets
    `_category` or `_model` at its end: beside a merged adapter, a category called merged is `base_merged_category_results.csv`.
    """
    base = found.answers_of(found.baseline)
    own, files, merged = found.answers_of(OWN), {}, found.of_role("merged")
    whole = {"merged": merged[0]} if merged else {}
    for model in [*merged[1:], *found.of_role("pooled"), *found.of_role("route")]:
        whole[_free(paths.slug(model), whole, "_model")] = model
    for category in found.categories:
        name = _free(paths.slug(category), whole, "_category")
        files[f"base_{name}_results.csv"] = _columns(base[base["category"] == category])
        if found.own(category):
            files[f"fine_tuned_{name}_results.csv"] = _columns(own[own["category"] == category])
    if merged:
        files["base_merged_results.csv"] = _columns(base, with_category=True)
    for name, model in whole.items():
        files[f"fine_tuned_{name}_results.csv"] = _columns(found.answers_of(model), with_category=True)
    return files


def judgments(verdicts: pd.DataFrame) -> pd.DataFrame:
    """question, answer (the reference), base_prediction, fine_tuned_prediction, judgment; and who judged, since it need not be an LLM."""
    chosen = verdicts[["category", "question", "reference", "base_prediction", "candidate_prediction", "verdict", "judge", "candidate"]]
    return chosen.set_axis(
        ["category", "question", "answer", "base_prediction", "fine_tuned_prediction", "judgment", "judge", "model"], axis="columns"
    )


def _free(name: str, taken: Collection[str], end: str) -> str:
    return _free(f"{name}{end}", taken, end) if name in taken else name


def _columns(table: pd.DataFrame, with_category: bool = False) -> pd.DataFrame:
    columns = ["question", "reference", "prediction", *(["category"] if with_category else [])]
    return table[columns].rename(columns={"reference": "answer"}).reset_index(drop=True)
