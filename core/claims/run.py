"""The claims ledger: each claim that others publish, beside the same question asked of one's own runs."""

import math
from collections import Counter
from typing import Any

from core import paths, results
from core.claims import CLAIMS
from core.claims.evidence import Evidence, Ours
from core.config import ClaimsConfig
from core.registry import Entry
from core.wording import three
from core.workspace import Workspace


def run(config: ClaimsConfig, workspace: Workspace) -> dict[str, Any]:
    """Write claims.csv and return its path with the counts of what holds. Raises UserError without an evaluation."""
    evidence = Evidence.gather(config)
    workspace.say(f"Claims are held against {evidence.evaluation.run.run_id} and what {len(evidence.judged)} judges said of its answers.")
    rows = [_row(name, entry, entry.load()(evidence)) for name, entry in CLAIMS.items()]
    for row in rows:
        interval = f" ({three(row.low)} to {three(row.high)})" if row.low is not None else ""
        figure = f"; ours: {three(row.value)}{interval} {row.unit}" if row.value is not None else ""
        workspace.say(f"{row.holds}: {row.statement} Theirs: {row.theirs}{figure}.")
    table = results.write(workspace.path / "claims.csv", rows, results.Claim)
    counts = Counter(row.holds for row in rows)
    return {
        "claims": str(table.relative_to(paths.home())),
        "evaluation": evidence.evaluation.run.run_id,
        "judges": sorted({each.run.run_id for each in evidence.judged}),
        "counts": {word: counts[word] for word in ("holds", "does not hold", "cannot be said")},
    }


def _row(name: str, entry: Entry, ours: Ours) -> results.Claim:
    value, low, high = (None if math.isnan(each) else each for each in (ours.estimate.value, ours.estimate.low, ours.estimate.high))
    return results.Claim(
        claim=name,
        source=entry.reference,
        statement=entry.label,
        theirs=entry.summary,
        value=value,
        low=low,
        high=high,
        n=ours.estimate.n or None,
        unit=ours.unit,
        holds=ours.holds,
        how=ours.how,
        runs=",".join(ours.runs),
    )
