"""Answers in OpenAI's shapes: chat and plain completions, whole or streamed, one or several.

https://platform.openai.com/docs/api-reference/chat/object, .../chat/streaming, .../completions/object
"""

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fastapi import Response
from fastapi.responses import JSONResponse

from core.serve.refusals import Refusal, body
from core.serve.rows import Ask
from core.serve.stream import Event


@dataclass
class _Choice:
    """One answer as far as it has come."""

    text: str = ""
    scores: list[Event] = field(default_factory=list)
    finish: str | None = None
    tokens: int = 0


@dataclass
class Reply(ABC):
    """All answers to one request. What differs between chat and plain completions stands in the classes below."""

    model: str
    asks: Sequence[Ask]
    answers: int
    """To each prompt."""
    fingerprint: str
    """The same where the same seed gives the same answer."""
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))
    choices: list[_Choice] = field(default_factory=list)

    PREFIX: ClassVar[str]
    WHOLE: ClassVar[str]
    CHUNK: ClassVar[str]

    def __post_init__(self) -> None:
        self.id = f"{self.PREFIX}-{secrets.token_hex(12)}"
        self.choices = [_Choice() for _ in self.asks]

    async def whole(self, events: AsyncIterator[Event]) -> Response:
        """The answers in one piece."""
        async for _ in self._told(events):
            pass
        choices = [self._choice(place, each) for place, each in enumerate(self.choices)]
        return JSONResponse(self._body(self.WHOLE, choices=choices, usage=self._usage))

    async def chunks(self, events: AsyncIterator[Event], usage: bool, groq: bool) -> AsyncIterator[str]:
        """Server-sent events: who speaks, what is new, why it ended, then the tokens if they are asked for."""
        pending = {"usage": None} if usage else {}
        try:
            for place in range(len(self.choices)):
                for first in self._opening(place):
                    yield self._sent([first], **pending)
            async for place, event in self._told(events):
                finish = self.choices[place].finish if "done" in event else None
                last = finish and all(each.finish for each in self.choices)
                counted = {"x_groq": {"id": self.id, "usage": self._usage}} if groq and last else {}
                yield self._sent([self._piece(place, event, finish)], **pending, **counted)
            if usage:
                yield self._sent([], usage=self._usage)
        except Refusal as error:
            yield f"data: {json.dumps(body(error))}\n\n"
        yield "data: [DONE]\n\n"

    async def _told(self, events: AsyncIterator[Event]) -> AsyncIterator[tuple[int, Event]]:
        """Each event with the place of its choice, until the end. Raises Refusal for an answer that breaks off."""
        async for event in events:
            if "error" in event:
                raise Refusal(event["error"], 400 if "key" in event else 503)
            if not event.keys() & {"text", "done"}:
                continue
            place = int(event["key"])
            choice = self.choices[place]
            choice.text += event.get("text", "")
            choice.scores += event.get("scores", [])
            if "done" in event:
                choice.finish, choice.tokens = event["done"], event["tokens"]
            yield place, event

    @property
    def _usage(self) -> dict[str, int]:
        prompt = sum(len(ask.prompt) for ask in self.asks[:: self.answers])
        made = sum(each.tokens for each in self.choices)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def _sent(self, choices: list[dict[str, Any]], **fields: Any) -> str:
        return f"data: {json.dumps(self._body(self.CHUNK, choices=choices, **fields))}\n\n"

    def _body(self, kind: str, **fields: Any) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**named, "system_fingerprint": self.fingerprint, **fields}

    def _wants_scores(self, place: int) -> bool:
        return self.asks[place].top_scores is not None

    @abstractmethod
    def _opening(self, place: int) -> list[dict[str, Any]]:
        """The choices that a stream begins with."""

    @abstractmethod
    def _choice(self, place: int, choice: _Choice) -> dict[str, Any]:
        """A whole answer."""

    @abstractmethod
    def _piece(self, place: int, event: Event, finish: str | None) -> dict[str, Any]:
        """What is new of an answer."""


class ChatReply(Reply):
    """Chat completions."""

    PREFIX, WHOLE, CHUNK = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def _opening(self, place: int) -> list[dict[str, Any]]:
        return [{"index": place, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}]

    def _choice(self, place: int, choice: _Choice) -> dict[str, Any]:
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        return {"index": place, "message": message, "logprobs": self._logprobs(place, choice.scores), "finish_reason": choice.finish}

    def _piece(self, place: int, event: Event, finish: str | None) -> dict[str, Any]:
        delta = {"content": event["text"]} if "text" in event else {}
        logprobs = self._logprobs(place, event["scores"]) if event.get("scores") else None
        return {"index": place, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, place: int, scores: Sequence[Event]) -> dict[str, Any] | None:
        if not self._wants_scores(place):
            return None
        content = [{**{name: value for name, value in each.items() if name != "top"}, "top_logprobs": each["top"]} for each in scores]
        return {"content": content, "refusal": None}


class PlainReply(Reply):
    """Plain completions."""

    PREFIX, WHOLE, CHUNK = "cmpl", "text_completion", "text_completion"

    def _opening(self, place: int) -> list[dict[str, Any]]:
        return []

    def _choice(self, place: int, choice: _Choice) -> dict[str, Any]:
        logprobs = self._logprobs(place, choice.scores, 0)
        return {"index": place, "text": choice.text, "logprobs": logprobs, "finish_reason": choice.finish}

    def _piece(self, place: int, event: Event, finish: str | None) -> dict[str, Any]:
        text, scores = event.get("text", ""), event.get("scores", [])
        logprobs = self._logprobs(place, scores, len(self.choices[place].text) - len(text)) if scores else None
        return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, place: int, scores: Sequence[Event], offset: int) -> dict[str, Any] | None:
        """As lists by token; `offset`: characters of the answer before the first of them."""
        if not self._wants_scores(place):
            return None
        offsets = []
        for each in scores:
            offsets.append(offset)
            offset += len(each["token"])
        return {
            "tokens": [each["token"] for each in scores],
            "token_logprobs": [each["logprob"] for each in scores],
            "top_logprobs": [{other["token"]: other["logprob"] for other in each["top"]} for each in scores],
            "text_offset": offsets,
        }
