"""What each judge of a run found, with its audit card: the same for the pages and for the evidence bundle. Light: pandas and numpy."""

import pandas as pd

from core import judging, verdict_findings, verdict_table
from core.judge import audit
from core.results import AuditFigure
from core.verdict_findings import Judged

MOST_AUDITED = 5_000
"""Verdicts that are audited where a run has no audit.csv; `python -m core audit` takes all."""


def audited(rows: pd.DataFrame) -> pd.DataFrame:
    """The audit card of a run from before there were audits, worked out now; of a large one from a sample of its questions."""
    part = verdict_table.sample(rows, MOST_AUDITED)
    card = pd.DataFrame(audit.card(part, 0), columns=AuditFigure.columns())
    sampled = f" From {len(part):,} of {len(rows):,} verdicts." if len(part) < len(rows) else ""
    return card.assign(note=card["note"] + sampled)


def by_judge(rows: pd.DataFrame, card: pd.DataFrame) -> dict[str, Judged]:
    """Each judge's win rates, figures, light, sentence and cost. `rows`: verdicts.csv, or VerdictTable.counted; `card`: audit.csv."""
    found = {}
    for judge in rows["judge"].unique():
        mine, figures = rows[rows["judge"] == judge], card[card["judge"] == judge]
        rates = judging.win_rates(mine)
        sentence, cost = verdict_findings.verdicts(rates, mine), verdict_findings.cost(mine)
        found[str(judge)] = Judged(str(judge), rates, figures, audit.lights(list(figures.itertuples())), sentence, cost)
    return found
