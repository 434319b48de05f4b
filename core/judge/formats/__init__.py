"""Files of verdicts made elsewhere, and of answers: one row per format, one file each.

A reader takes what the file holds (a list of records, or an object) and returns rows of results.Verdict without a run id.
"""

from dataclasses import dataclass

from core.registry import Entry


@dataclass(frozen=True)
class Format(Entry):
    """A format of verdicts, and how it is known."""

    keys: tuple[frozenset[str], ...] = ()
    """A file is in this format when its first record (or the object that it is) has all keys of one of these."""


FORMATS = {
    "lyceum": Format(
        "Lyceum's verdicts.csv",
        "core.judge.formats.lyceum:verdicts",
        "core/results/judging.py",
        "A verdicts.csv of another machine, or made by hand in its columns.",
        keys=(frozenset({"judge", "verdict", "base_prediction", "candidate_prediction"}),),
    ),
    "alpaca_eval": Format(
        "AlpacaEval annotations",
        "core.judge.formats.alpaca_eval:verdicts",
        "https://github.com/tatsu-lab/alpaca_eval",
        "One order each; output_1 is the base, output_2 the candidate. The order is known where the reply or its log-probabilities tell.",
        keys=(frozenset({"instruction", "output_1", "output_2", "preference"}),),
    ),
    "llm_comparator": Format(
        "LLM Comparator JSON",
        "core.judge.formats.llm_comparator:verdicts",
        "https://github.com/PAIR-code/llm-comparator",
        "Model A is the candidate, model B the base. Each rating is one order; the n-th plain and the n-th flipped one make a repeat.",
        keys=(frozenset({"models", "examples"}),),
    ),
    "mt_bench": Format(
        "MT-bench pair judgments",
        "core.judge.formats.mt_bench:verdicts",
        "Zheng et al. 2023, arXiv:2306.05685; https://github.com/lm-sys/FastChat",
        "Model 1 is the candidate, model 2 the base; both orders where the file has both games. People's judgments too.",
        keys=(frozenset({"question_id", "g1_winner", "g2_winner"}), frozenset({"question_id", "model_a", "model_b", "winner"})),
    ),
}
