"""Metrics: one row each."""

from dataclasses import dataclass

from core.registry import Entry


@dataclass(frozen=True)
class Metric(Entry):
    """A row of METRICS, and how its figures in scores.csv are read."""

    headline: str = ""
    """The figure that stands for the metric in the table that an evaluation ends with; empty: none."""
    lower: tuple[str, ...] = ()
    """Figures of which less is better; of those in neither list more is."""
    neither: tuple[str, ...] = ()
    """Figures of which neither more nor less is better."""


METRICS = {
    "perplexity": Metric(
        "Perplexity",
        "core.metrics.perplexity:perplexity",
        "Jelinek et al. 1977, Perplexity: a measure of the difficulty of speech recognition tasks",
        "exp(total loss / total tokens) of the reference answers; lower is better.",
        "You ask whether a model expects the reference. Same tokeniser and same rows only: there are no bands of good and bad.",
        headline="perplexity",
        lower=("perplexity",),
    ),
    "bertscore": Metric(
        "BERTScore",
        "core.metrics.bertscore:bertscore",
        "Zhang et al. 2020, BERTScore: Evaluating Text Generation with BERT, arXiv:1904.09675",
        "Precision, recall and F1 of matched token embeddings; higher is better.",
        "Meaning counts, not wording. Compare figures of one encoder only.",
        headline="bertscore_f1",
    ),
    "bleu": Metric(
        "BLEU",
        "core.metrics.bleu:bleu",
        "Post 2018, A Call for Clarity in Reporting BLEU Scores, arXiv:1804.08771",
        "Corpus BLEU by sacreBLEU, 0 to 100; higher is better.",
        "Wording counts, as in translation; near 0 on free answers.",
        headline="bleu",
    ),
    "chrf": Metric(
        "chrF",
        "core.metrics.chrf:chrf",
        "Popović 2015, chrF: character n-gram F-score for automatic MT evaluation, W15-3049",
        "Overlap of runs of characters by sacreBLEU, 0 to 100; higher is better.",
        "Wording counts, and words are inflected or the language has no blanks.",
        headline="chrf",
    ),
    "rouge": Metric(
        "ROUGE-1, ROUGE-2, ROUGE-L",
        "core.metrics.rouge:rouge",
        "Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries",
        "Overlap of words, word pairs and the longest common subsequence, F-measure; higher is better.",
        "Content words of the reference should come up, as in summaries.",
        headline="rougeL",
    ),
    "lengths": Metric(
        "Lengths",
        "core.metrics.lengths:lengths",
        "Counts of this project",
        "Words per answer, words per word of the reference, and the shares of answers that are empty or cut.",
        lower=("empty_share", "cut_share"),
        neither=("answer_words", "length_ratio"),
    ),
}
