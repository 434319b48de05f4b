"""Judge pairs of answers: each is shown in both orders, agreement decides, disagreement is a tie.

A call that failed and a reply that can't be read are recorded as such with their reason; they are never a score.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from core import paths, queries, results
from core.config import JudgeConfig
from core.errors import UserError
from core.judge import BACKENDS, answers
from core.judge.answers import Pair
from core.judge.backend import Backend, Comparison
from core.judge.replies import Asked, Replies
from core.models.chat import CallFailed
from core.registry import lookup
from core.runs import Workspace

WIN_RATE = "fine-tuned / (fine-tuned + base + tie)"
"""What the win rate is: the share of judged pairs whose candidate was preferred in both orders; 'unparsed' and 'failed' stand beside it."""
DEAD_AFTER = 8
"""Calls that fail in a row, with all their tries, before the judge counts as gone and the rest isn't asked."""
SECONDS_BETWEEN_PROGRESS = 0.5
_MEANING = ({"A": "base", "B": "fine-tuned", "tie": "tie"}, {"A": "fine-tuned", "B": "base", "tie": "tie"})
"""What the words mean when the base is shown first, and when the candidate is."""
_ORDERS = ("base first", "candidate first")


@dataclass(frozen=True)
class Opinion:
    """What came of one question to the judge."""

    verdict: str
    """base, fine-tuned, tie, unparsed or failed."""
    reply: str = ""
    reason: str = ""
    tokens: int | None = None
    seconds: float = 0.0


def run(config: JudgeConfig, workspace: Workspace) -> dict[str, Any]:
    """Write verdicts.csv and return its path with the headline figures. Raises UserError when nothing at all could be judged."""
    file = answers.find(config)
    found = answers.pair(file, config)
    shown = str(file.relative_to(paths.home()) if file.is_relative_to(paths.home()) else file)
    retries: list[str] = []

    def on_retry(reason: str, seconds: float) -> None:
        retries.append(reason)
        workspace.event("retry", reason=reason, seconds=round(seconds, 2))

    judge: Backend = lookup(BACKENDS, "judge backend", config.backend).load()(config, on_retry)
    workspace.say(f"{judge.name} judges {len(found.pairs)} pairs of {shown}, each in both orders. {found.note}".rstrip())
    opinions = _Asking(judge, Replies(workspace.scratch / "replies.jsonl"), workspace).all(found.pairs, config.concurrency)
    rows = [_verdict(workspace.run.run_id, judge, each, *both) for each, both in zip(found.pairs, opinions, strict=True)]
    table = results.write(workspace.path / "verdicts.csv", rows, results.Verdict)
    _raise_if_all_failed(rows, workspace.run.run_id)
    figures = _figures(rows)
    workspace.say(_summary(judge.name, config, figures))
    return {
        "verdicts": str(table.relative_to(paths.home())),
        "answers": shown,
        "judge": judge.name,
        "base": config.base,
        "candidate": config.candidate,
        **figures,
        "retries": len(retries),
        "note": found.note,
    }


class _Asking:
    """Asks the judge about many pairs at once, and stops when it is gone."""

    def __init__(self, judge: Backend, replies: Replies, workspace: Workspace) -> None:
        self._judge, self._replies, self._workspace = judge, replies, workspace
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._last_failure = ""

    def all(self, pairs: Sequence[Pair], concurrency: int) -> Iterator[tuple[Opinion, Opinion]]:
        """The opinions with the base first and with the candidate first, in the order of the pairs."""
        total = 2 * len(pairs)
        with ThreadPoolExecutor(concurrency) as pool:
            calls = [pool.submit(self._opinion, each, order) for each in pairs for order in (0, 1)]
            said = 0.0
            for done, _ in enumerate(as_completed(calls), 1):
                if done == total or time.monotonic() - said > SECONDS_BETWEEN_PROGRESS:
                    said = time.monotonic()
                    self._workspace.progress(done, total, "replies")
        opinions = [call.result() for call in calls]
        return zip(opinions[::2], opinions[1::2], strict=True)

    def _opinion(self, pair: Pair, order: int) -> Opinion:
        if not pair.reference.strip():
            return Opinion("failed", reason="the reference is empty, so there is no meaning to be close to")
        shown = (pair.base_prediction, pair.candidate_prediction)[:: -1 if order else 1]
        comparison = Comparison(pair.question, pair.reference, *shown)
        try:
            asked = self._replies.get(self._judge, comparison) or self._ask(comparison)
        except CallFailed as error:
            return Opinion("failed", reason=str(error))
        reply = asked.reply
        verdict = _MEANING[order][reply.choice] if reply.choice else "unparsed"
        return Opinion(verdict, reply.text, reply.reason, reply.tokens, asked.seconds)

    def _ask(self, comparison: Comparison) -> Asked:
        if self._failed_in_a_row >= DEAD_AFTER:
            raise CallFailed(f"not asked: {DEAD_AFTER} calls in a row had failed before it, the last one with: {self._last_failure}")
        start = time.monotonic()
        try:
            reply = self._judge.compare(comparison)
        except CallFailed as error:
            with self._lock:
                self._failed_in_a_row += 1
                self._last_failure = str(error)
            raise
        with self._lock:
            self._failed_in_a_row = 0
        asked = Asked(reply, round(time.monotonic() - start, 3))
        self._replies.keep(self._judge, comparison, asked)
        return asked


def _verdict(run_id: str, judge: Backend, pair: Pair, first: Opinion, second: Opinion) -> results.Verdict:
    both = {first.verdict, second.verdict}
    broken = next((word for word in ("failed", "unparsed") if word in both), None)
    reasons = [f"{order}: {each.reason}" for order, each in zip(_ORDERS, (first, second), strict=True) if each.reason]
    return results.Verdict(
        run=run_id,
        judge=judge.name,
        prompt=judge.prompt,
        base=pair.base,
        candidate=pair.candidate,
        category=pair.category,
        question=pair.question,
        reference=pair.reference,
        base_prediction=pair.base_prediction,
        candidate_prediction=pair.candidate_prediction,
        verdict=broken or (first.verdict if len(both) == 1 else "tie"),
        first_verdict=first.verdict,
        second_verdict=second.verdict,
        first_reply=first.reply,
        second_reply=second.reply,
        tokens=_total((first.tokens, second.tokens)),
        seconds=round(first.seconds + second.seconds, 3),
        reason="; ".join(reasons),
    )


def _raise_if_all_failed(rows: Sequence[results.Verdict], run_id: str) -> None:
    if any(row.verdict != "failed" for row in rows):
        return
    raise UserError(
        f"None of the {len(rows)} pairs could be judged; the first one because ({rows[0].reason}). "
        "verdicts.csv in the run's folder has each one's reason. "
        f"When the judge answers again: python -m core jobs --resume {run_id}"
    )


def _figures(rows: Sequence[results.Verdict]) -> dict[str, Any]:
    """Counts per verdict, the win rate with its Wilson interval (which takes the questions for independent), flips and tokens."""
    import pandas as pd

    table = pd.DataFrame(rows)
    counts = Counter(row.verdict for row in rows)
    rate = queries.win_rates(table).iloc[0]
    both = queries.judged_twice(table)
    flips = int((both["first_verdict"] != both["second_verdict"]).sum())
    judged = int(rate["n"])
    return {
        "pairs": len(rows),
        "judged": judged,
        "counts": {verdict: counts[verdict] for verdict in ("fine-tuned", "base", "tie", "unparsed", "failed")},
        "win_rate": float(rate["win_rate"]) if judged else None,
        "win_rate_low": float(rate["low"]) if judged else None,
        "win_rate_high": float(rate["high"]) if judged else None,
        "win_rate_is": WIN_RATE,
        "unparsed": counts["unparsed"],
        "failed": counts["failed"],
        "flips": flips,
        "flip_rate": flips / len(both) if len(both) else None,
        "tokens": _total(row.tokens for row in rows),
    }


def _summary(judge: str, config: JudgeConfig, figures: dict[str, Any]) -> str:
    counts = figures["counts"]
    beside = f"{counts['unparsed']} unparsed, {counts['failed']} failed"
    if not figures["judged"]:
        return f"{judge}: no pair could be judged ({beside})."
    return (
        f"{judge} prefers {config.candidate} to {config.base} in {counts['fine-tuned']} of {figures['judged']} pairs: "
        f"{figures['win_rate']:.1%} (95 % interval {figures['win_rate_low']:.1%} to {figures['win_rate_high']:.1%}); "
        f"{counts['base']} for {config.base}, {counts['tie']} ties, {figures['flips']} changed with the order, {beside}."
    )


def _total(tokens: Any) -> int | None:
    known = [each for each in tokens if each is not None]
    return sum(known) if known else None
