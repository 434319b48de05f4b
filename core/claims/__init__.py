"""Claims that others publish about tuning, merging and judging: one row each. `label` is the claim, `summary` their figure.

To add one: a function (Evidence) -> Ours in a file here, and its row.
"""

from core.registry import Entry

_PHILOSOPHY = "a project that tunes TinyLlama on 133,000 philosophy questions with QLoRA and merges its adapters"

CLAIMS = {
    "tuning_raises_bertscore": Entry(
        "Training on everything raises BERTScore F1.", "core.claims.scores:tuned", _PHILOSOPHY, ".72 (base model) to .85 (one adapter)"
    ),
    "merged_beats_pooled": Entry(
        "Merged category adapters beat one adapter trained on everything in BERTScore F1.",
        "core.claims.scores:merged",
        _PHILOSOPHY,
        ".88 (merged) against .85 (one adapter)",
    ),
    "own_15_percent": Entry("Category adapters are 15 % more accurate than the base model.", "core.claims.scores:own", _PHILOSOPHY, "15 %"),
    "preferred_193_of_194": Entry(
        "A judge prefers the tuned model to the base model in 193 of 194 cases.",
        "core.claims.judged:preferred",
        _PHILOSOPHY,
        "193 of 194: 99.5 % (95 % interval 97.1 to 99.9 %), base model always shown first",
    ),
    "ties_for_conflicts": Entry(
        "TIES is best for conflicting adapters, linear for complementary ones.",
        "core.claims.merges:ties",
        _PHILOSOPHY,
        "said, without a figure",
    ),
    "memory_4x": Entry("QLoRA needs a quarter of the memory of full fine-tuning.", "core.claims.costs:memory", _PHILOSOPHY, "4 times less"),
    "ten_minutes_a_category": Entry(
        "A category's adapter trains in about 10 minutes.", "core.claims.costs:minutes", _PHILOSOPHY, "10 minutes, 24 epochs, on a 6 GB GPU"
    ),
}
