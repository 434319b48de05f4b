"""What a judge run would ask for and spend, before anybody is asked. Light: no model is loaded and no server is reached."""

from collections.abc import Sequence
from contextlib import closing
from typing import cast

from core.config import JudgeConfig
from core.judge import answers, passages
from core.judge.asking import Asking, Task, tasks
from core.judge.backend import NONE, Backend
from core.judge.budget import Budget, Forecast, forecast, prices
from core.judge.replies import Replies
from core.judge.run import judges
from core.workspace import Workspace

LOOKED_AT = 100
"""Pairs whose texts are looked at; the rest is taken to be like them. They come in random order."""


def expected(config: JudgeConfig) -> list[tuple[str, Forecast]]:
    """Each judge of a config that has a provider, with what it has still to be asked; what runs here costs nothing.

    Raises UserError where the run would.
    """
    todo = tasks(passages.pairs(answers.find(config), config).pairs, config)
    with closing(Replies()) as replies:
        asked = [judge for judge in judges(config, lambda reason, seconds: None) if judge.provider]
        return [(judge.name, _forecast(judge, replies, todo, config)) for judge in asked]


def _forecast(judge: Backend, replies: Replies, todo: Sequence[Task], config: JudgeConfig) -> Forecast:
    asking = Asking(judge, replies, Budget(config, NONE), cast(Workspace, None), config)
    part = todo[:LOOKED_AT]
    missing, known = asking.missing(part)
    seen, times = forecast(judge, missing, known, prices(config)), len(todo) / len(part)
    money = None if seen.money is None else seen.money * times
    return Forecast(round(seen.requests * times), round(seen.known * times), round(seen.tokens * times), money)
