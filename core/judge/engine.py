"""Lyceum's own engine as the judge: the base model, an adapter or a merge, by the name under which the engine offers it."""

from functools import cached_property
from typing import Any

from core.config import JudgeConfig, ServeConfig
from core.judge.backend import OnRetry
from core.judge.language_model import LanguageModel
from core.models.chat import Chat
from core.paths import MODEL_WORDS
from core.serve import resident

BASE = MODEL_WORDS[0]


class Engine(LanguageModel):
    """`judge_model` is 'base' (which it is without one), an adapter or a merge. An engine that doesn't run yet is started, and stays."""

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Nothing is started yet."""
        self._on_retry = on_retry
        living = resident.find()
        self._base = living.base_model if living else ServeConfig().base_model
        super().__init__(Chat.nowhere(), model or BASE, config, key_name="", budget="max_tokens")
        self.name, self.provider = f"{self.model} on {self._base} (Lyceum's engine)", ""

    def place(self) -> list[Any]:
        """The weights, wherever the engine listens."""
        return ["engine", self._content]

    @cached_property
    def _content(self) -> list[str]:
        return _digest(self._base, self.model)

    def open(self) -> None:
        """Find the engine or start it, and check the model."""
        import openai

        address = resident.start(ServeConfig(base_model=self._base)).address
        client = openai.OpenAI(api_key="none", base_url=f"{address}/v1", timeout=self._config.timeout_seconds, max_retries=0)
        self._chat = Chat(openai, client, "", self._config.retries, self._on_retry)
        super().open()


def _digest(base: str, model: str) -> list[str]:
    """What tells one model's weights from another's: of the base model, and of an adapter on it."""
    from core import adapter
    from core.models import load

    on = [] if model == BASE else [adapter.content_hash(adapter.find(model))]
    return [load.content_hash(load.resolve(base)), *on]
