"""Judge pairs of answers: each is shown to each judge in both orders, agreement decides, disagreement is a tie.

A call that failed, a reply that can't be read and a pair that was not asked are recorded as such with their reason; they are never a score.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from core import paths, results, verdict_index
from core.config import JudgeConfig
from core.errors import UserError
from core.judge import BACKENDS, answers, audit, passages, themes
from core.judge.answers import Pair
from core.judge.asking import Asking, Task, tasks
from core.judge.backend import Backend, OnRetry
from core.judge.budget import Budget, forecast, prices
from core.judge.families import family
from core.judge.replies import Replies
from core.judge.verdicts import figures, summary, verdict
from core.models.pace import Limits, Pace
from core.registry import lookup
from core.results import AuditFigure, Verdict
from core.workspace import Workspace

Placed = Callable[[Backend, str, str | None], Backend]
"""A judge, its backend and its model -> the judge where it is to compute."""


def run(config: JudgeConfig, workspace: Workspace) -> dict[str, Any]:
    """Write verdicts.csv and audit.csv and return their paths with the headline figures.

    Raises UserError when nothing could be judged, or when the rest can be judged later: the run can then be resumed.
    """
    file = answers.find(config)
    found = passages.pairs(file, config)
    place = paths.shown(file)
    retries: list[str] = []

    def on_retry(reason: str, seconds: float) -> None:
        retries.append(reason)
        workspace.event("retry", reason=reason, seconds=round(seconds, 2))

    rows: list[Verdict] = []
    asked: list[Asking] = []
    with ExitStack() as open_things:
        replies = open_things.enter_context(closing(Replies()))
        budget = Budget(config, replies.spent(workspace.run.run_id))
        named = judges(config, on_retry, partial(_placed, config, workspace))
        _check_references(named, found.pairs)
        for judge in named:
            open_things.callback(judge.close)
            workspace.say(f"{judge.name} judges {len(found.pairs)} pairs of {place}, each in both orders. {found.note}".rstrip())
            asking = Asking(judge, replies, budget, workspace, config)
            rows += _judged(asking, replies, budget, found.pairs, config, workspace)
            asked.append(asking)
    table = results.write(workspace.path / "verdicts.csv", rows, Verdict)
    verdict_index.ready(table)
    _raise_if_unfinished(rows, asked, workspace.run.run_id)
    return {
        "verdicts": str(table.relative_to(paths.home())),
        "answers": place,
        "base": config.base,
        "candidate": config.candidate,
        **_headlines(rows, config, _audited(rows, config, file, workspace), workspace),
        "requests": sum(each.requests for each in asked),
        "spent_tokens": budget.tokens,
        "spent_money": budget.money if config.price_in is not None and config.price_out is not None else None,
        "ended": " ".join(f"{each.judge.name}: {each.ended}." for each in asked if each.ended),
        "retries": len(retries),
        "note": found.note,
    }


def judges(config: JudgeConfig, on_retry: OnRetry, placed: Placed = lambda judge, *_: judge) -> list[Backend]:
    """The judges that a config names: of one backend one per model, of several one each. Raises UserError."""
    backends, models = config.backend, config.judge_model
    if len(backends) == 1:
        wanted: list[tuple[str, str | None]] = [(backends[0], model) for model in models or (None,)]
    elif not models or len(models) == len(backends):
        wanted = list(zip(backends, models or (None,) * len(backends), strict=True))
    else:
        raise UserError(
            f"There are {len(backends)} backends ({', '.join(backends)}) and {len(models)} models ({', '.join(models)}). "
            "Several backends need one judge_model each, or none; one backend takes any number."
        )
    made = [placed(lookup(BACKENDS, "judge backend", backend).load()(config, model, on_retry), backend, model) for backend, model in wanted]
    names = [judge.name for judge in made]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"The judge '{twice}' is named twice. To ask a judge again, say repeats=2.")
    return made


def _placed(config: JudgeConfig, workspace: Workspace, judge: Backend, backend: str, model: str | None) -> Backend:
    """On Ray, a judge that computes by itself does so on every worker."""
    if workspace.run.executor != "ray" or not judge.weights:
        return judge
    from core.judge.away import Spread

    return Spread(judge, backend, model, config, workspace.say)


def _check_references(named: Sequence[Backend], pairs: Sequence[Pair]) -> None:
    """Raises UserError for a judge that needs references where no pair has one."""
    if any(pair.reference.strip() for pair in pairs):
        return
    for judge in named:
        if judge.needs_reference:
            needing = f"the prompt '{judge.prompt}'" if judge.prompt else f"the judge '{judge.name}'"
            choice = "Choose prompt=preference" if judge.prompt else "Choose a language model as the backend, with prompt=preference"
            raise UserError(f"None of the {len(pairs)} pairs has a reference, and {needing} needs one. {choice}, which judges without.")


def _judged(
    asking: Asking, replies: Replies, budget: Budget, pairs: Sequence[Pair], config: JudgeConfig, workspace: Workspace
) -> list[Verdict]:
    """One judge's verdicts, in the order of the pairs. What it will take is said before, what it took after."""
    judge, todo = asking.judge, tasks(pairs, config)
    missing, known = asking.missing(todo)
    if missing and not known:
        budget.check_first(judge.most(missing[0]))
    if missing:
        workspace.say(f"{judge.name}: {forecast(judge, missing, known, prices(config)).sentence()}")
        judge.open()
        judge.pace = _pace(judge, config, replies)
    opinions = dict(zip(todo, asking.all(todo), strict=True))
    judge.close()
    if asking.ended:
        workspace.say(f"{judge.name} is asked no more: {asking.ended}.")
    return [
        verdict(workspace.run.run_id, judge, pair, repeat, *opinions[Task(pair, repeat)])
        for repeat in range(config.repeats)
        for pair in pairs
    ]


def _pace(judge: Backend, config: JudgeConfig, replies: Replies) -> Pace | None:
    if not judge.provider:
        return None
    limits = Limits(config.requests_per_minute, config.tokens_per_minute, config.requests_per_day, config.tokens_per_day)
    return Pace(limits, partial(replies.last_day, judge.provider), partial(replies.note, judge.provider))


def _headlines(rows: Sequence[Verdict], config: JudgeConfig, card: Sequence[AuditFigure], workspace: Workspace) -> dict[str, Any]:
    """The figures of all judges together, and each one's with its light. Who won by a judge whose card is red is not said."""
    import pandas as pd

    names = list(dict.fromkeys(row.judge for row in rows))
    table = pd.DataFrame(rows, columns=Verdict.columns())
    of_each = {name: figures(table[table["judge"] == name]) for name in names}
    for name, each in of_each.items():
        mine = [figure for figure in card if figure.judge == name]
        each["light"] = audit.lights(mine)
        red = [f"{figure.figure} {figure.value:.1%}" for figure in mine if figure.light == "red" and figure.value is not None]
        withheld = f"{name}: its audit card is red, so who won is withheld: {', '.join(red)}."
        told = f"{summary(name, config.base, config.candidate, each)} Audit: {each['light']}."
        workspace.say(withheld if red and each["judged"] else told)
    return {"judge": ", ".join(names), **figures(table), "judges": of_each, "light": audit.lights(card)}


def _audited(rows: Sequence[Verdict], config: JudgeConfig, answers_file: Path, workspace: Workspace) -> list[AuditFigure]:
    """Write audit.csv, and themes.csv where the judges gave reasons."""
    import pandas as pd

    table = pd.DataFrame(rows, columns=Verdict.columns())
    card = audit.card(table, config.seed, _families(rows, answers_file))
    results.write(workspace.path / "audit.csv", card, AuditFigure)
    if any(row.rationale for row in rows):
        themes.write(table, workspace, config.seed)
    return card


def _families(rows: Sequence[Verdict], answers_file: Path) -> dict[str, str | None]:
    """The family of the base model that the candidates were made on, where the run of the answers says it."""
    info = answers_file.with_name("run.json")
    model = json.loads(info.read_text(encoding="utf-8"))["config"].get("base_model", "") if info.is_file() else ""
    known = family("SmolLM2" if model == "bundled" else model)
    return {name: known for row in rows for name in (row.base, row.candidate)} if known else {}


def _raise_if_unfinished(rows: Sequence[Verdict], asked: Sequence[Asking], run_id: str) -> None:
    """A run that can go on later fails, so that it can be resumed; so does one in which no call brought a reply."""
    resume = f"When it can go on: python -m core jobs --resume {run_id}"
    judged = sum(row.verdict in ("fine-tuned", "base", "tie", "unparsed") for row in rows)
    failed = any(row.verdict == "failed" for row in rows)
    ended = next((asking.ended for asking in asked if asking.unfinished), "")
    if ended and (judged or not failed):
        raise UserError(f"{judged} of {len(rows)} pairs are judged, the rest is not: {ended}. verdicts.csv has what there is. {resume}")
    if failed and not judged:
        raise UserError(
            f"None of the {len(rows)} pairs could be judged; the first one because ({_first_reason(rows)}). "
            f"verdicts.csv in the run's folder has each one's reason. {resume}"
        )


def _first_reason(rows: Sequence[Verdict]) -> str:
    return next(row.reason for row in rows if row.verdict == "failed")
