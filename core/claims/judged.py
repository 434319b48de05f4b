"""Claims about what judges prefer."""

from core import judging
from core.claims.evidence import Evidence, Judged, Ours, against
from core.queries import OWN
from core.results import ALL
from core.stats import Estimate

THEIR_LOW = 97.1
"""The low end of the Wilson interval of 193 of 194, in per cent: a share that is as good as theirs."""
UNIT = "% of pairs"


def preferred(evidence: Evidence) -> Ours:
    """The share of pairs in which a language model preferred the merge, or else the own adapters, in both orders.

    The share of a judge whose audit is red is withheld.
    """
    runs = [each for each in evidence.judged if each.run.config.get("base") == evidence.evaluation.baseline]
    if not runs:
        return Ours("cannot be said", "No judge has compared this evaluation's answers with the base model's. Run: python -m core judge")
    found = min(runs, key=lambda each: _rank(evidence, each))
    rates = judging.win_rates(found.verdicts).set_index("category").loc[ALL]
    share = Estimate(*(100 * float(rates[name]) for name in ("win_rate", "low", "high")), int(rates["n"]))
    candidate = str(found.run.config["candidate"])
    how = f"{'Own adapters' if candidate == OWN else candidate} against the base model, both orders, judge: {found.judge}."
    if not found.by_language_model:
        return Ours("cannot be said", f"{how} No language model has judged yet.", share, UNIT, (found.run.run_id,))
    if found.light == "red":
        how += " The audit of this judge is red, so its share is withheld."
        return Ours("cannot be said", how, runs=(found.run.run_id,))
    how += f" Held against {THEIR_LOW} %, the low end of the interval of 193 of 194."
    return Ours(against(share, THEIR_LOW), how, share, UNIT, (found.run.run_id,))


def _rank(evidence: Evidence, judged: Judged) -> tuple[bool, bool]:
    """A language model first, then a merge, as in the claim."""
    return not judged.by_language_model, judged.run.config.get("candidate") not in evidence.evaluation.of_role("merged")
