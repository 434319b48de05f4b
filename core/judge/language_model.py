"""A language model as the judge, on Groq or on any OpenAI-compatible server: checked at the start, then asked at temperature 0."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

from core.config import JudgeConfig
from core.errors import UserError
from core.judge import prompt
from core.judge.backend import Comparison, Reply
from core.models.chat import CallFailed, Chat


class LanguageModel:
    """A judge behind a chat server. `model` None: the only model that the server offers."""

    def __init__(self, chat: Chat, model: str | None, config: JudgeConfig, *, key_name: str, budget: str) -> None:
        """`key_name`: the variable that holds the key; `budget`: how the server calls its token limit. Raises UserError."""
        self._chat, self._config = chat, config
        self._prompt = prompt.load(config.prompt)
        self.prompt = config.prompt
        self.model = _checked(chat, model, key_name)
        self.name = f"{self.model} at {urlsplit(chat.url).netloc.rpartition('@')[2]}"
        self._parameters: dict[str, Any] = {"model": self.model, "temperature": 0, "seed": config.seed, budget: config.max_tokens}
        if "gpt-oss" in self.model:
            self._parameters["reasoning_effort"] = "low"

    def identity(self, comparison: Comparison) -> list[Any]:
        """The server, the parameters and a digest of both messages."""
        messages = repr(self._prompt.messages(comparison)).encode()
        return [self._chat.url, self._parameters, hashlib.sha256(messages).hexdigest()]

    def compare(self, comparison: Comparison) -> Reply:
        """Ask once and read the word."""
        reply = self._chat.complete(self._prompt.messages(comparison), **self._parameters)
        choice = prompt.parse(reply.text)
        return Reply(reply.text, choice, reply.tokens, "" if choice else self._why_not(reply.text, reply.finish))

    def _why_not(self, text: str, finish: str) -> str:
        if finish == "length":
            return f"the reply was cut at max_tokens={self._config.max_tokens}, which hidden reasoning also spends; raise it"
        return "the reply is not one of the words A, B, tie" if text.strip() else "the reply is empty"


def _checked(chat: Chat, model: str | None, key_name: str) -> str:
    """The model to ask, after one look at what the server offers. A server without a list of models is taken at its word."""
    try:
        offered = chat.models()
    except CallFailed as error:
        if error.status in (401, 403):
            raise UserError(f"{chat.url} refuses the key in {key_name} ({error}). Set {key_name} to a key that is valid there.") from None
        if not error.reached:
            raise UserError(
                f"No judge answers at {chat.url}: {error}. Check base_url (it usually ends in /v1), and that the server runs."
            ) from None
        offered = []
    if model is None and len(offered) == 1:
        return offered[0]
    there = f"It offers: {', '.join(offered[:40])}." if offered else "It doesn't say which models it offers."
    if model is None:
        raise UserError(f"judge_model is empty, and {chat.url} doesn't offer exactly one model. {there} Name one as judge_model.")
    if offered and model not in offered:
        raise UserError(f"{chat.url} doesn't offer the model '{model}' (retired, or another name). {there} Name one as judge_model.")
    return model
