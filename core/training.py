"""What the Train page asks of a training run's tables: the best step of each adapter, the extremes, what runs differ in, the estimate.

Light: pandas, no models. Losses are in nats per token.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core import results, runs
from core.config import TrainConfig
from core.results import Row
from core.runs import Run
from core.wording import MISSING, count, duration, seconds_between, three

_SAME_COST = ("name", "replace", "seed")
"""Fields that change nothing about what a run costs."""


def listing() -> list[Run]:
    """Training runs to choose from: those with steps first, the person's own before the stages of demos, newest first."""
    found = runs.listing("train")
    return sorted(found, key=lambda run: (not (run.path / "steps.csv").exists(), run.of_demo and run.status != "running"))


def best_steps(steps: pd.DataFrame) -> pd.DataFrame:
    """One row per adapter: first and best validation loss, how often it was measured, where the best stands; and the last step."""
    steps = steps.reset_index(drop=True)
    last = steps.drop_duplicates("adapter", keep="last").set_index("adapter")
    seen = steps.dropna(subset=["validation_loss"])
    by_adapter = seen.groupby("adapter", sort=False)["validation_loss"]
    best = seen.loc[by_adapter.idxmin()].set_index("adapter")
    table = pd.DataFrame({"first": by_adapter.first(), "measured": by_adapter.size(), "best": best["validation_loss"]})
    table = table.assign(best_step=best["step"], best_epoch=best["epoch"])
    table = table.reindex(dict.fromkeys(steps["adapter"])).join(last[["loss", "step", "epoch", "tokens_per_second"]])
    return table.rename_axis("adapter").reset_index().fillna({"measured": 0})


def extremes(best: pd.DataFrame) -> tuple[str | None, str | None]:
    """The adapters with the lowest and the highest best validation loss: `best` is best_steps. None where none was measured."""
    seen = best.dropna(subset=["best"])
    if seen.empty:
        return None, None
    return str(seen.loc[seen["best"].idxmin(), "adapter"]), str(seen.loc[seen["best"].idxmax(), "adapter"])


def thinned(steps: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most about `most` evenly spaced rows of each adapter, its last one among them."""
    groups = steps.groupby("adapter", sort=False)["adapter"]
    place, size = groups.cumcount(), groups.transform("size")
    every = (size / most).apply(math.ceil).clip(lower=1)
    return steps[(place % every == 0) | (place == size - 1)]


def lowest_and_highest(rows: pd.DataFrame, most: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The validation rows with the lowest and with the highest losses, the extreme first; no row stands in both."""
    ranked = rows.dropna(subset=["loss"]).sort_values("loss", kind="stable")
    low = min(most, math.ceil(len(ranked) / 2))
    high = min(most, len(ranked) - low)
    return ranked.head(low), ranked.tail(high).iloc[::-1]


def rows_of(file: Path, row_type: type[Row], adapter: str) -> pd.DataFrame:
    """One adapter's rows of a table; an empty table where the file is not there."""
    if not file.exists():
        return pd.DataFrame(columns=row_type.columns())
    table = results.read(file, row_type)
    return table[table["adapter"] == adapter].reset_index(drop=True)


def differences(chosen: list[Run]) -> pd.DataFrame:
    """Settings in which runs differ, a column per run; a field that a run is too old to know had its default."""
    defaults = TrainConfig().model_dump(mode="json")
    configs = [defaults | {name: value for name, value in run.config.items() if name in defaults} for run in chosen]
    names = [name for name in defaults if any(config[name] != configs[0][name] for config in configs)]
    columns = {run.run_id[-4:]: [_said(config[name]) for name in names] for run, config in zip(chosen, configs, strict=True)}
    return pd.DataFrame(columns, index=pd.Index(names, name="setting"))


def aligned(chosen: list[Run], tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Tables of several runs with the first run's adapter names where adapters are of one subject, so that they can be laid over it."""
    subjects = [{name: _subject(name, run) for name in table["adapter"].unique()} for run, table in zip(chosen, tables, strict=True)]
    first = {subject: name for name, subject in subjects[0].items()}
    renamed = [tables[0]]
    for table, theirs in zip(tables[1:], subjects[1:], strict=True):
        names = {name: first.get(subject, name) for name, subject in theirs.items()}
        if len(first) == len(names) == 1:
            names = dict.fromkeys(names, next(iter(subjects[0])))
        renamed.append(table.assign(adapter=table["adapter"].map(names)))
    return renamed


def comparison(chosen: list[Run], bests: list[pd.DataFrame]) -> pd.DataFrame:
    """What came of runs, a column per run: adapters, mean best validation loss over the subjects that all have, speed, time."""
    bests = aligned(chosen, bests)
    common = set.intersection(*(set(best.dropna(subset=["best"])["adapter"]) for best in bests))
    columns = {}
    for run, best in zip(chosen, bests, strict=True):
        shared = best[best["adapter"].isin(common)]["best"]
        took = duration(seconds_between(run.started_at, run.finished_at)) if run.finished_at else run.status
        columns[run.run_id[-4:]] = [f"{len(best):,}", three(shared.mean()), three(best["tokens_per_second"].mean()), took]
    of = f"mean best validation loss of {count(len(common), 'shared adapter')}"
    return pd.DataFrame(columns, index=pd.Index(["adapters", of, "tokens per second", "took"], name="result"))


def config_of(run: Run) -> TrainConfig:
    """A run's settings as a config of today: fields that it is too old to know get their defaults, unknown ones are left."""
    return TrainConfig(**{name: value for name, value in run.config.items() if name in TrainConfig.model_fields})


def estimate(config: TrainConfig) -> Run | None:
    """The newest estimate of what this config costs; its name and seed don't matter."""
    wanted = _cost_fields(config.model_dump(mode="json"))
    return next((run for run in runs.listing("plan") if _cost_fields(run.config) == wanted), None)


def _subject(adapter: str, run: Run) -> str:
    """What an adapter is about: its name without the run's name or method (TrainConfig.name says how names are made)."""
    name = run.config.get("name")
    return adapter.removeprefix(f"{name}-") if name else adapter.removesuffix(f"-{run.config.get('method', 'lora')}")


def _cost_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _SAME_COST}


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return MISSING if value is None else str(value)
