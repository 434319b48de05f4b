"""The report on a dataset before anything trains: report.csv, leaks.csv, and a summary to read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core import paths, results
from core.config import DataConfig
from core.data import checks
from core.data.groups import Places
from core.data.prompt import Prompter
from core.data.read import Dataset, read
from core.data.split import SPLITS
from core.results import ALL, DataRow
from core.workspace import Workspace
from core.wording import count, percent

_CHUNK = 1000
_SHOWN = 20
"""Categories in the printed summary."""
_EMPTY_SHOWN = 5
_UNLIMITED = 2**31


@dataclass(frozen=True)
class Lengths:
    """Token counts of each row, as if nothing were cut."""

    tokens: npt.NDArray[np.int32]
    """Prompt and answer together, end token included."""
    prompt: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Findings:
    """What is known of each row of a dataset; arrays over its rows."""

    tokens: npt.NDArray[np.int32]
    cut: npt.NDArray[np.bool_]
    unsupervised: npt.NDArray[np.bool_]
    duplicate: npt.NDArray[np.bool_]
    copy: npt.NDArray[np.bool_]
    leak: npt.NDArray[np.bool_]


def run(config: DataConfig, workspace: Workspace) -> dict[str, Any]:
    """Read, split, check and count tokens; write report.csv and leaks.csv."""

    def progress(what: str) -> Callable[[int, int], None]:
        return lambda done, total: workspace.progress(done, total, "rows", what)

    dataset = read(config, progress("reading"))
    size = f"{count(len(dataset.rows), 'row')} in {count(len(dataset.categories), 'category', 'categories')}"
    workspace.say(f"{config.data}: {size}. {_capital(dataset.columns)}.")
    for note in dataset.notes:
        workspace.say(f"{_capital(note)}.")
    progress("looking for questions asked twice")(0, len(dataset.rows))
    repeats = checks.repeats(dataset.rows)
    leaks = checks.leaks(dataset.rows, lambda done, total, what: workspace.progress(done, total, "rows", what))
    from core.models.load import load_tokenizer  # slow to import: what is wrong with the data is said before it

    prompter = Prompter(load_tokenizer(config.base_model), config.system_prompt, _UNLIMITED)
    for note in prompter.notes():
        workspace.say(note)
    lengths = count_tokens(dataset, prompter, progress("counting tokens"))
    findings = _findings(lengths, repeats, leaks, config.max_seq_length)
    results.write(workspace.path / "report.csv", report_rows(dataset, findings), DataRow)
    results.write(workspace.path / "leaks.csv", _leak_rows(dataset, leaks), results.Leak)
    for line in summary(dataset, findings, config.max_seq_length):
        workspace.say(line)
    return _outputs(dataset, findings, workspace)


def count_tokens(dataset: Dataset, prompter: Prompter, progress: Callable[[int, int], None]) -> Lengths:
    """Token counts of all rows, with the prompts that training and evaluation use."""
    rows = dataset.rows
    tokens, prompt = np.empty(len(rows), np.int32), np.empty(len(rows), np.int32)
    for first in range(0, len(rows), _CHUNK):
        progress(first, len(rows))
        chunk = rows[first : first + _CHUNK]
        both = np.array(prompter.lengths([(row.question, row.answer, row.category) for row in chunk]))
        prompt[first : first + _CHUNK], tokens[first : first + _CHUNK] = both[:, 0], both.sum(axis=1)
    progress(len(rows), len(rows))
    return Lengths(tokens, prompt)


def _findings(lengths: Lengths, repeats: tuple[checks.Mask, checks.Mask], leaks: checks.Leaks, max_seq_length: int) -> Findings:
    leak = np.zeros(len(lengths.tokens), bool)
    leak[leaks.rows] = True
    return Findings(lengths.tokens, lengths.tokens > max_seq_length, lengths.prompt >= max_seq_length, *repeats, leak)


def report_rows(dataset: Dataset, findings: Findings) -> Iterator[DataRow]:
    """The rows of report.csv: drops, then every figure of every category and split ('' = all splits)."""
    for reason, drop in dataset.dropped.items():
        yield DataRow(ALL, "", "dropped", drop.count, f"{reason} ({drop})")
    if not dataset.dropped:
        yield DataRow(ALL, "", "dropped", 0)
    for (category, split), rows in dataset.groups.items():
        if len(rows):
            for figure, value in _figures(findings, rows, split).items():
                yield DataRow(category, split, figure, value)
        else:
            reason = dataset.empty_reason(category, split)
            yield DataRow(category, split, "rows", 0, reason)
            for figure in ("tokens_mean", "tokens_p95", "tokens_max", "share_cut"):
                yield DataRow(category, split, figure, None, reason)


def _figures(findings: Findings, rows: Places, split: str) -> dict[str, float]:
    tokens = findings.tokens[rows]
    figures: dict[str, float] = {
        "rows": len(rows),
        "duplicates": int(findings.duplicate[rows].sum()),
        "duplicates_same_answer": int(findings.copy[rows].sum()),
        "tokens_mean": round(float(tokens.mean()), 2),
        "tokens_p95": _p95(tokens),
        "tokens_max": int(tokens.max()),
        "share_cut": float(findings.cut[rows].mean()),
        "unsupervised": int(findings.unsupervised[rows].sum()),
    }
    if split != "train":
        figures["leaks"] = int(findings.leak[rows].sum())
    return figures


def _leak_rows(dataset: Dataset, leaks: checks.Leaks) -> Iterator[results.Leak]:
    for leak in leaks:
        row, other = dataset.rows[leak.row], dataset.rows[leak.other]
        similarity = round(leak.similarity, 4)
        yield results.Leak(row.category, row.split, row.question, similarity, other.category, other.split, other.question)


def summary(dataset: Dataset, findings: Findings, max_seq_length: int) -> Iterator[str]:
    """Lines to read: what was dropped, what is doubtful, and a table of the categories."""
    dropped = sum(drop.count for drop in dataset.dropped.values())
    yield f"Dropped: {count(dropped, 'row')}."
    for reason, drop in dataset.dropped.items():
        yield f"  {drop.count:,}: {reason} ({drop})"
    duplicate, copy, leak, cut, unsupervised = (
        int(mask.sum()) for mask in (findings.duplicate, findings.copy, findings.leak, findings.cut, findings.unsupervised)
    )
    yield f"Questions asked before in their category: {duplicate:,}, of these with the same answer: {copy:,}."
    yield f"Leaks, held-out rows that nearly repeat a row of an earlier split: {leak:,}."
    yield f"Longer than {max_seq_length:,} tokens, so the answer is cut: {count(cut, 'row')} ({percent(cut / len(dataset.rows))})."
    yield f"Without a supervised token, because the prompt alone is as long: {count(unsupervised, 'row')}."
    yield from _table(dataset, findings)


def _table(dataset: Dataset, findings: Findings) -> Iterator[str]:
    groups = dataset.groups
    shown = sorted(dataset.categories, key=lambda category: -len(groups[category, ""]))[:_SHOWN]
    width = max(len(category[:40]) for category in (*shown, "category"))
    yield f"{'category':{width}}  {'train':>7} {'valid.':>7} {'test':>7}   {'tokens: mean':>12} {'p95':>6} {'max':>6}"
    for category in (ALL, *shown):
        counts = " ".join(f"{len(groups[category, split]):7,}" for split in SPLITS)
        tokens = findings.tokens[groups[category, ""]]
        yield f"{category[:40]:{width}}  {counts}   {tokens.mean():12.0f} {_p95(tokens):6.0f} {tokens.max():6}"
    if len(dataset.categories) > _SHOWN:
        yield f"and {len(dataset.categories) - _SHOWN:,} categories more: see report.csv"
    empty = [(category, split) for category in dataset.categories for split in SPLITS if not len(groups[category, split])]
    for category, split in empty[:_EMPTY_SHOWN]:
        yield f"'{category}' has no {split} row: {dataset.empty_reason(category, split)}."
    if len(empty) > _EMPTY_SHOWN:
        yield f"and {len(empty) - _EMPTY_SHOWN:,} empty splits more: see report.csv"


def _p95(tokens: npt.NDArray[np.int32]) -> float:
    """The length that 95 % of the rows don't exceed."""
    return float(np.percentile(tokens, 95, method="inverted_cdf"))


def _outputs(dataset: Dataset, findings: Findings, workspace: Workspace) -> dict[str, Any]:
    folder = workspace.path.relative_to(paths.home())
    return {
        "report": str(folder / "report.csv"),
        "leaks_table": str(folder / "leaks.csv"),
        "source_hash": dataset.source_hash,
        "rows": len(dataset.rows),
        "categories": len(dataset.categories),
        **{split: len(dataset.groups[ALL, split]) for split in SPLITS},
        "dropped": sum(drop.count for drop in dataset.dropped.values()),
        "duplicates": int(findings.duplicate.sum()),
        "leaks": int(findings.leak.sum()),
        "tokens": int(findings.tokens.sum()),
        "tokens_max": int(findings.tokens.max()),
        "share_cut": float(findings.cut.mean()),
        "unsupervised": int(findings.unsupervised.sum()),
    }


def _capital(words: object) -> str:
    text = str(words)
    return text[:1].upper() + text[1:]
