"""The engine of this home as the judge, Lyceum's own or vLLM: the base model, an adapter or a merge, by the name that it offers."""

from functools import cached_property
from typing import Any

from core.config import JudgeConfig, ServeConfig
from core.errors import UserError
from core.judge.backend import OnRetry
from core.judge.language_model import LanguageModel
from core.models.chat import Chat
from core.paths import MODEL_WORDS
from core.serve import resident
from core.serve.vllm import environment

BASE = MODEL_WORDS[0]


class Engine(LanguageModel):
    """`judge_model` is 'base' (which it is without one), an adapter or a merge. The engine that runs is asked, whoever computes in it;
    where none runs, the one that `engine` names is started, and stays."""

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Nothing is started yet."""
        self._on_retry = on_retry
        living = resident.find()
        self._base = living.base_model if living else ServeConfig().base_model
        self._kind = living.kind if living else config.engine
        by = environment.version() if self._kind == "vllm" else "Lyceum's engine"
        super().__init__(Chat.nowhere(), model or BASE, config, key_name="", budget="max_tokens")
        self.name, self.provider = f"{self.model} on {self._base} ({by})", ""
        self._by = [] if self._kind == "lyceum" else [by]

    def place(self) -> list[Any]:
        """The weights, wherever the engine listens, and who computes: at near-ties engines may part."""
        return ["engine", *self._by, self._content]

    @cached_property
    def _content(self) -> list[str]:
        return _digest(self._base, self.model)

    def open(self) -> None:
        """Find the engine or start it, and check the model."""
        import openai

        engine = resident.start(ServeConfig(engine=self._kind, base_model=self._base))
        if engine.kind != self._kind:
            raise UserError(f"The engine was changed to {engine.kind} meanwhile, and a judge's replies come from one. Start the run again.")
        url, seconds = f"{engine.address}/v1", self._config.timeout_seconds
        client = openai.OpenAI(api_key=engine.token or "none", base_url=url, timeout=seconds, max_retries=0)
        self._chat = Chat(openai, client, engine.token, self._config.retries, self._on_retry)
        super().open()


def _digest(base: str, model: str) -> list[str]:
    """What tells one model's weights from another's: of the base model, and of an adapter on it."""
    from core import adapter
    from core.models import load

    on = [] if model == BASE else [adapter.content_hash(adapter.find(model))]
    return [load.content_hash(load.resolve(base)), *on]
