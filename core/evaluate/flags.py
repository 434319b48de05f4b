"""flags.csv: what is odd about an answer, told from its text alone, so that somebody looks at it.

A flag is a rule with a threshold, not a verdict: the detail says what was seen. Words are runs of letters and digits, case aside;
of scripts without blanks each character is a word.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from core import results
from core.data.read import QA
from core.evaluate import languages

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
LOOP_TIMES, LOOP_WORDS, LONGEST_LOOP = 3, 8, 40
"""A loop: a phrase of at most so many words, so often in a row or more, and so many words in all."""
LOOP_SHARE = 0.5
"""Or so large a share of the answer's runs of four words stood there before (seq-rep-4, Welleck et al. 2020, arXiv:1908.04319)."""
COPIED_SHARE, MEMORISED_SHARE = 0.5, 0.7
"""A copy: so large a share of the answer's words stands in runs of words of the question, or of one training answer."""
QUESTION_RUN, TRAINING_RUN = 4, 8
"""Words of such a run at least: from the question, from a training answer."""


def flag(answers: Sequence[results.Answer], training: Iterable[QA]) -> list[results.Flag]:
    """Rows of flags.csv. `training`: the rows that adapters were trained on."""
    memory = _Memory(training, [words(each.prediction) for each in answers])
    return [
        results.Flag(each.run, each.model, each.category, each.question, name, detail)
        for each in answers
        for name, detail in _of(each, memory)
    ]


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.casefold())


def _of(answer: results.Answer, memory: "_Memory") -> Iterable[tuple[str, str]]:
    """Flag and detail."""
    said, asked = words(answer.prediction), words(answer.question)
    if not answer.prediction.strip():
        yield "empty", ""
        return
    if answer.finish == "length":
        yield "cut", "no end within max_new_tokens"
    if loop := _loop(said):
        yield "loop", loop
    if (share := _share(said, asked, min(QUESTION_RUN, len(asked)))) >= COPIED_SHARE:
        yield "copies_question", f"{share:.0%} of its words"
    if found := memory.source(said):
        yield "memorised", found
    if switch := languages.switched(answer.prediction, f"{answer.question} {answer.reference}"):
        yield "other_language", switch


def _loop(said: Sequence[str]) -> str:
    """What repeats itself, or nothing."""
    numbers = np.unique(np.array(said, dtype=object).astype(str), return_inverse=True)[1] if said else np.zeros(0, dtype=int)
    for period in range(1, min(LONGEST_LOOP, len(said) // LOOP_TIMES) + 1):
        run, end = _longest_run(numbers[period:] == numbers[:-period])
        times = 1 + run // period
        if times >= LOOP_TIMES and run + period >= LOOP_WORDS:
            return f"'{' '.join(said[end - run : end - run + period])}' {times} times in a row"
    runs = [tuple(said[place : place + 4]) for place in range(len(said) - 3)]
    share = 1 - len(set(runs)) / len(runs) if len(runs) >= LOOP_WORDS else 0.0
    return f"{share:.0%} of its runs of four words stood there before" if share >= LOOP_SHARE else ""


def _longest_run(same: np.ndarray) -> tuple[int, int]:
    """Length and end of the longest run of True."""
    edges = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    lengths = [(after - before - 1, after - 1) for before, after in pairwise(edges.tolist())]
    return max(lengths)


def _share(said: Sequence[str], source: Sequence[str], run: int) -> float:
    """Share of the words that stand in runs of `run` words of the source."""
    known = {tuple(source[place : place + run]) for place in range(len(source) - run + 1)} if run else set()
    covered = np.zeros(len(said), dtype=bool)
    for place in range(len(said) - run + 1):
        if tuple(said[place : place + run]) in known:
            covered[place : place + run] = True
    return float(covered.mean()) if said else 0.0


class _Memory:
    """Runs of words that training answers share with what was said, and where they stand; short answers as a whole."""

    def __init__(self, rows: Iterable[QA], said: Sequence[Sequence[str]]) -> None:
        self._runs: dict[tuple[str, ...], list[QA]] = {run: [] for each in said for run in _runs(each)}
        self._whole: dict[tuple[str, ...], QA | None] = dict.fromkeys(map(tuple, said))
        for row in rows:
            learned = words(row.answer)
            if (whole := tuple(learned)) in self._whole:
                self._whole[whole] = self._whole[whole] or row
            for run in _runs(learned) & self._runs.keys():
                self._runs[run].append(row)

    def source(self, said: Sequence[str]) -> str:
        """Which training answer the words are from, or nothing. An answer of three words or less is nobody's."""
        if (row := self._whole.get(tuple(said))) and len(said) > 3:
            return f"the answer to '{row.question}' ({row.category})"
        rows = Counter(row for run in _runs(said) for row in self._runs.get(run, ()))
        if not rows:
            return ""
        row = rows.most_common(1)[0][0]
        share = _share(said, words(row.answer), TRAINING_RUN)
        return f"{share:.0%} of its words, from the answer to '{row.question}' ({row.category})" if share >= MEMORISED_SHARE else ""


def _runs(text: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(text[place : place + TRAINING_RUN]) for place in range(len(text) - TRAINING_RUN + 1)}
