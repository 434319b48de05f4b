"""A language model as the judge, behind a chat server: checked before it is first asked, then asked at temperature 0."""

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from core.config import JudgeConfig
from core.errors import UserError
from core.judge import prompt, reading
from core.judge.backend import Backend, Comparison, Reading, Reply, Tokens
from core.models.chat import CallFailed, Chat, size

_WORD, _REASONED = 3, 80
"""Tokens of a reply, before any was counted."""


class LanguageModel(Backend):
    """A judge behind a chat server. `model` None: the only model that the server offers, which is asked for at once."""

    def __init__(self, chat: Chat, model: str | None, config: JudgeConfig, *, key_name: str, budget: str) -> None:
        """`key_name`: the variable that holds the key; `budget`: how the server calls its token limit. Raises UserError."""
        self._key_name, self._config, self._chat = key_name, config, chat
        self._prompt = prompt.load(config.prompt)
        self.prompt, self.needs_reference = config.prompt, self._prompt.needs_reference
        self.model = model or _only(_offered(chat, key_name), chat.url)
        self.name = f"{self.model} at {urlsplit(chat.url).netloc.rpartition('@')[2]}"
        self.parameters: dict[str, Any] = {"model": self.model, "temperature": 0, "seed": config.seed, budget: config.max_tokens}
        self.provider = f"{chat.url} {self.model}"
        if "gpt-oss" in self.model:
            self.parameters["reasoning_effort"] = "low"

    def place(self) -> list[Any]:
        """What stands for the server and its weights in the identity of a reply."""
        return [self._chat.url]

    def identity(self, comparison: Comparison) -> list[Any]:
        """The server, the parameters and a digest of both messages."""
        messages = json.dumps(self._prompt.messages(comparison)).encode()
        return [*self.place(), self.parameters, hashlib.sha256(messages).hexdigest()]

    def open(self) -> None:
        """Look once whether the server offers the model. A server without a list of models is taken at its word."""
        offered = _offered(self._chat, self._key_name)
        if offered and self.model not in offered:
            raise UserError(
                f"{self._chat.url} doesn't offer the model '{self.model}' (retired, or another name). "
                f"{_told(offered)} Name one as judge_model."
            )

    def likely(self, comparison: Comparison) -> Tokens:
        """By the length of the messages, and by what replies took so far."""
        guess = _REASONED if self._prompt.reply == "json" or "reasoning_effort" in self.parameters else _WORD
        sent, meter = size(self._prompt.messages(comparison)), self._chat.meter
        return Tokens(meter.likely(sent), min(meter.likely_reply(guess), self._config.max_tokens))

    def most(self, comparison: Comparison) -> Tokens:
        """The same, at the densest prompt so far and with the whole token budget of a reply."""
        return Tokens(self._chat.meter.most(size(self._prompt.messages(comparison))), self._config.max_tokens)

    def ask(self, comparison: Comparison) -> Reply:
        """Ask once."""
        try:
            reply = self._chat.complete(self._prompt.messages(comparison), self.pace, **self.parameters)
        except CallFailed as error:
            raise self._retired(error) if error.no_model else error from None
        return Reply(reply.text, reply.finish, reply.prompt_tokens, reply.reply_tokens)

    def read(self, reply: Reply) -> Reading:
        """The word or the JSON object that the prompt asks for."""
        found = (reading.word if self._prompt.reply == "word" else reading.json_object)(reply.text)
        if found.choice is None and reply.finish == "length":
            return Reading(None, f"the reply was cut at max_tokens={self._config.max_tokens}, which hidden reasoning also spends; raise it")
        return found if reply.text.strip() else Reading(None, "the reply is empty")

    def _retired(self, error: CallFailed) -> CallFailed:
        """The server ended the model while it was asked: the same failure with what is still there."""
        said = f"{self._chat.url} no longer has the model '{self.model}' ({error}). {_told(_offered(self._chat, self._key_name))}"
        return CallFailed(said.rstrip("."), status=error.status, final=True, no_model=True)


def _offered(chat: Chat, key_name: str) -> list[str]:
    """The models that the server lists; none where it has no list."""
    try:
        return chat.models()
    except CallFailed as error:
        if error.status in (401, 403):
            raise UserError(f"{chat.url} refuses the key in {key_name} ({error}). Set {key_name} to a key that is valid there.") from None
        if not error.reached:
            raise UserError(
                f"No judge answers at {chat.url}: {error}. Check base_url (it usually ends in /v1), and that the server runs."
            ) from None
        return []


def _only(offered: list[str], url: str) -> str:
    if len(offered) != 1:
        raise UserError(f"judge_model is empty, and {url} doesn't offer exactly one model. {_told(offered)} Name one as judge_model.")
    return offered[0]


def _told(offered: list[str]) -> str:
    return f"It offers: {', '.join(offered[:40])}." if offered else "It doesn't say which models it offers."
