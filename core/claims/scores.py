"""Claims about scores against the references."""

from core.claims.evidence import Evidence, Ours, against
from core.stats import Estimate

F1 = "bertscore_f1"
_RAW = "BERTScore F1 of another encoder has another scale, so the sizes can't be compared: what is held against the claim is the direction"


def tuned(evidence: Evidence) -> Ours:
    """One adapter trained on everything, less the base model."""
    return _more(evidence, "pooled", evidence.evaluation.baseline)


def merged(evidence: Evidence) -> Ours:
    """The first merge, less the adapter trained on everything."""
    return _more(evidence, "merged", evidence.first("pooled"))


def own(evidence: Evidence) -> Ours:
    """Own adapters less the base model, relative to the base model. The claim doesn't say what accuracy is: F1 stands for it."""
    model, base = evidence.first("own"), evidence.evaluation.baseline
    if model is None:
        return Ours("cannot be said", "Not every category has an own adapter in the evaluation. Train with categories=each, then evaluate.")
    if evidence.scores.empty:
        return _no_scores()
    mean = float(evidence.values(base, F1).mean())
    gain = evidence.difference(model, base, F1)
    relative = Estimate(*(100 * value / mean for value in (gain.value, gain.low, gain.high)), gain.n)
    how = (
        f"BERTScore F1 of each category's own adapter against {base}'s, relative to its {mean:.3f}; paired bootstrap over questions. "
        "What was called accuracy is not said by the source; F1 stands for it."
    )
    return Ours(against(relative, 15), how, relative, "% of the base's F1", (evidence.evaluation.run.run_id,))


def _more(evidence: Evidence, role: str, other: str | None) -> Ours:
    model = evidence.first(role)
    if model is None or other is None:
        missing = role if model is None else "pooled"
        return Ours("cannot be said", f"The evaluation has no {missing} adapter. Make one, then evaluate again.")
    if evidence.scores.empty:
        return _no_scores()
    gain = evidence.difference(model, other, F1)
    means = [float(evidence.values(each, F1).mean()) for each in (other, model)]
    how = f"BERTScore F1 of {model} ({means[1]:.3f}) less that of {other} ({means[0]:.3f}), paired bootstrap over questions. {_RAW}."
    return Ours(against(gain, 0), how, gain, "F1", (evidence.evaluation.run.run_id,))


def _no_scores() -> Ours:
    return Ours("cannot be said", "The evaluation has no BERTScore of single answers. Evaluate again with metrics=bertscore.")
