"""Judged win rates as a figure of the category x model matrix: one for each judge run on an evaluation and each judge in it.

Light. A judge whose audit card is red gets no figures: the cells say why instead.
"""

import pandas as pd

from core import judging, results, verdict_table
from core.queries import Evaluation
from core.runs import Run

METRIC = "judged win rate"
_COLUMNS = ["model", "category", "metric", "value", "low", "high", "n", "signature", "reason", "gain", "clear", "mark", "against"]


def win_rates(found: Evaluation) -> dict[str, pd.DataFrame]:
    """By the name of the figure: rows as of queries.matrix, all verdicts on this evaluation's answers by one judge with one prompt."""
    judged: dict[str, list[tuple[Run, pd.DataFrame]]] = {}
    for run in judging.runs_on(found.run):
        verdicts = verdict_table.counted(run.path / "verdicts.csv")
        verdicts = verdicts[verdicts["base"] == found.baseline]
        for (judge, prompt), part in verdicts.groupby(["judge", "prompt"], sort=False):
            name = f"{METRIC}, {judge}" + (f", prompt {prompt}" if prompt else "")
            judged.setdefault(name, []).append((run, part))
    return {name: pd.concat([_rows(name, run, part) for run, part in parts])[_COLUMNS] for name, parts in judged.items()}


def _rows(metric: str, run: Run, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Each candidate on each category, and on all where it was judged on more than one."""
    parts = []
    for candidate, mine in verdicts.groupby("candidate", sort=False):
        rates = judging.win_rates(mine)
        decided = judging.win_rates(mine[mine["verdict"].isin(["base", "fine-tuned"])]).set_index("category")
        rates = rates if mine["category"].nunique() > 1 else rates[rates["category"] != results.ALL]
        sure = decided.reindex(rates["category"])
        clear = ((sure["low"] > 0.5) | (sure["high"] < 0.5)).to_numpy()
        parts.append(rates.assign(model=candidate, clear=clear))
    table = pd.concat(parts).rename(columns={"win_rate": "value"})
    table["gain"] = (table["wins"] - table["losses"]) / table["n"].where(table["n"] > 0)
    table["mark"] = ["●" if clear else "" for clear in table["clear"]]
    table["against"] = [f"won {row.wins:,}, tied {row.ties:,}, lost {row.losses:,} against the base" for row in table.itertuples()]
    table["reason"] = ["" if n else "no verdict" for n in table["n"]]
    table["metric"], table["signature"] = metric, f"run:{run.run_id}|share:wins of wins, ties and losses|interval:by question"
    return _withheld(table) if judging.light(run, str(verdicts["judge"].iloc[0])) == "red" else table


def _withheld(table: pd.DataFrame) -> pd.DataFrame:
    nothing = {name: float("nan") for name in ("value", "low", "high", "gain")}
    return table.assign(**nothing, clear=False, mark="", reason="withheld: the judge's audit card is red")
