"""The client of any OpenAI-compatible chat server, with one retry policy for all of them.

The `openai` and `groq` clients come from the same generator and raise the same kinds of errors, so either serves here; their own retries
are switched off. A call is tried again after 408, 409, 425, 429, 5xx, a timeout, a broken connection or a reply that is no chat completion,
with exponential backoff and jitter; a call that can't succeed (wrong key, no such model) isn't repeated.
A refusal for lack of room (429, or Retry-After) speaks of the key, not of the one call: the refused call holds the gate, and no other one
starts before it has its reply. Being refused so is no failure of the call: it uses up no retry before `PATIENCE` seconds of waiting.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import ModuleType
from typing import Any

from core.models.pace import DayIsOver, Meter, Pace

FIRST_WAIT = 0.5
"""Seconds before the first retry; doubled for each further one."""
LONGEST_BACKOFF = 60.0
"""Seconds that the doubling stops at."""
LONGEST_RETRY_AFTER = 600.0
"""Seconds of Retry-After that are waited for; a server that wants more has failed, and says so in the reason."""
PATIENCE = 150.0
"""Seconds that a call waits for room before its refusals count as tries: more than two windows of a minute."""

MOST_TOKENS = 100_000_000
"""Of one call; a server that says more has miscounted."""

_AGAIN = {408, 409, 425, 429}
_FINAL = {401, 402}
_NO_MODEL = ("model_not_found", "model_decommissioned", "model_not_active")
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")


@dataclass(frozen=True)
class ChatReply:
    """What the server answered."""

    text: str
    finish: str
    """stop, or length when the reply was cut at the token budget."""
    prompt_tokens: int | None
    reply_tokens: int | None
    """Tokens, where the server says them."""
    tries: int

    @property
    def tokens(self) -> int | None:
        """Prompt and reply together."""
        return None if self.prompt_tokens is None or self.reply_tokens is None else self.prompt_tokens + self.reply_tokens


class CallFailed(Exception):
    """A call that brought no reply; the message is the reason, without keys."""

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        reached: bool = True,
        again: bool = False,
        final: bool = False,
        no_model: bool = False,
        sent: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`reached`: something answered. `again`: another try may succeed. `final`: nor will any other call, for now.

        `no_model`: the server no longer has the model. `sent`: something was sent. `headers`: of a refusal.
        """
        super().__init__(reason)
        self.status, self.reached, self.again, self.final = status, reached, again, final
        self.no_model, self.sent, self.headers = no_model, sent, headers or {}
        self.retry_after = _retry_after(self.headers)
        """Seconds that the server asked to wait."""

    @property
    def throttled(self) -> bool:
        """Whether the server lacks room rather than that the call is wrong."""
        return self.status == 429 or self.retry_after is not None


class Chat:
    """A model on a chat server: `Chat(openai, openai.OpenAI(...), key)`, or the same with groq."""

    def __init__(self, library: ModuleType, client: Any, key: str, retries: int, on_retry: Callable[[str, float], None]) -> None:
        """`on_retry(reason, seconds)` is told before each wait. The client must not retry by itself."""
        self._library, self._client, self._key, self._retries, self._on_retry = library, client, key, retries, on_retry
        self._gate = threading.RLock()
        self.url = str(client.base_url)
        self.meter = Meter()

    @classmethod
    def nowhere(cls) -> "Chat":
        """A server that isn't started yet: it can't be asked, but what asking takes can be estimated."""
        made = cls.__new__(cls)
        made.url, made.meter = "http://127.0.0.1/", Meter()
        return made

    def models(self) -> list[str]:
        """Ids of the models that the server offers. Raises CallFailed; asked once, without retries."""
        listed = self._once(self._client.models.with_streaming_response.list)[0]
        try:
            ids = [each["id"] for each in listed["data"]]
        except (KeyError, TypeError):
            raise CallFailed("its list of models can't be read") from None
        return sorted(each for each in ids if isinstance(each, str) and each.isprintable())

    def complete(self, messages: list[dict[str, str]], pace: Pace | None = None, **parameters: Any) -> ChatReply:
        """The model's reply, asked at a provider's pace. `parameters` are sent as they are. Raises CallFailed after the last try."""
        asked = partial(self._client.chat.completions.with_streaming_response.create, messages=messages, **parameters)
        budget = int(parameters.get("max_tokens") or parameters.get("max_completion_tokens") or 0)
        ask = partial(self._try, asked, size(messages), budget, pace)
        tries, waited = 0, 0.0
        with ExitStack() as gate:
            while True:
                with self._gate:
                    pass
                tries += 1
                try:
                    return ask(tries)
                except CallFailed as error:
                    wait = self._wait_after(error, tries, waited)
                    if wait is None:
                        raise _after(error, tries) from None
                    self._on_retry(str(error), wait)
                    until, waited = time.monotonic() + wait, waited + wait
                    if error.throttled:
                        gate.enter_context(self._gate)
                    time.sleep(max(0.0, until - time.monotonic()))

    def _try(self, asked: Callable[[], Any], size: int, budget: int, pace: Pace | None, tries: int) -> ChatReply:
        """One request, when the pace allows it."""
        if pace is None:
            return self._learned(_reply(self._once(asked)[0], tries), size)
        try:
            call = pace.start(self.meter.most(size) + budget)
        except DayIsOver as error:
            raise CallFailed(str(error), final=True, sent=False) from None
        tokens = 0
        headers: Mapping[str, str] = {}
        try:
            body, headers = self._once(asked)
            reply = self._learned(_reply(body, tries), size)
            tokens = call.tokens if reply.tokens is None else reply.tokens
            return reply
        except CallFailed as error:
            headers = error.headers
            raise
        finally:
            pace.end(call, tokens, headers)

    def _learned(self, reply: ChatReply, size: int) -> ChatReply:
        self.meter.learn(size, reply.prompt_tokens, reply.reply_tokens)
        return reply

    def _wait_after(self, error: CallFailed, tries: int, waited: float) -> float | None:
        """Seconds until the next try; None when there is none."""
        patient = error.throttled and self._retries > 0 and waited < PATIENCE
        if not error.again or error.final or (tries > self._retries and not patient):
            return None
        if error.retry_after is not None:
            return error.retry_after + random.uniform(0, FIRST_WAIT)
        return float(min(LONGEST_BACKOFF, FIRST_WAIT * 2 ** min(tries - 1, 30)) * random.uniform(0.5, 1))

    def _once(self, call: Callable[[], AbstractContextManager[Any]]) -> tuple[Any, Mapping[str, str]]:
        """One request; the JSON of the answer, and its headers. The whole of it must come within the client's timeout."""
        until = time.monotonic() + self._client.timeout
        late = CallFailed(f"no reply within {self._client.timeout:g} seconds", reached=False, again=True)
        body = bytearray()
        try:
            with call() as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() > until:
                        raise late
                headers = response.headers
        except self._library.APIStatusError as error:
            raise self._refused(error.status_code, error.response) from None
        except Exception as error:
            kinds = _kinds(error)
            if "APITimeoutError" in kinds or "TimeoutException" in kinds:
                raise late from None
            if "APIConnectionError" in kinds or "HTTPError" in kinds:
                reason = f"the connection failed: {self._clean(str(error.__cause__ or error))}"
                raise CallFailed(reason, reached=False, again=True) from None
            raise
        text = body.decode("utf-8", "replace")
        try:
            return json.loads(text), headers
        except (ValueError, RecursionError):
            begins = f"it begins {self._clean(text)!r}" if text.strip() else "it is empty"
            raise CallFailed(f"the reply is no JSON: {begins}", again=True) from None

    def _refused(self, status: int, response: Any) -> CallFailed:
        """An error status as a failure that says whether it may pass."""
        said, code = _error(response.text)
        reason = f"HTTP {status}: {self._clean(said) or 'without a word'}"
        wanted = _retry_after(response.headers)
        if long := wanted is not None and wanted > LONGEST_RETRY_AFTER:
            reason += f"; it asks to wait {wanted:.0f} seconds"
        no_model = status in (400, 404, 410) and (code in _NO_MODEL or "decommissioned" in said)
        return CallFailed(
            reason,
            status=status,
            again=status in _AGAIN or status >= 500,
            final=long or no_model or status in _FINAL or code in _NO_MONEY,
            no_model=no_model,
            headers=response.headers,
        )

    def _clean(self, text: str) -> str:
        """One short line that can be printed, without the key and a full stop, whatever the server repeats."""
        text = (text.replace(self._key, "[key]") if self._key else text)[:2000]
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
        return line[:200].rstrip(". ")


def _kinds(error: Exception) -> set[str]:
    """The names of an error's classes: openai and groq stand on different makes of httpx, whose errors share names alone."""
    return {each.__name__ for each in type(error).__mro__}


def size(messages: list[dict[str, str]]) -> int:
    """Bytes of what is sent."""
    return sum(len(each["content"].encode("utf-8", "replace")) for each in messages)


def _after(error: CallFailed, tries: int) -> CallFailed:
    """The failure of the last try as that of the call."""
    tried = f" (tried {tries} times)" if tries > 1 else ""
    failed = CallFailed(f"{error}{tried}", status=error.status, reached=error.reached, again=error.again, final=error.final)
    failed.no_model, failed.sent = error.no_model, error.sent or tries > 1
    return failed


def _reply(body: Any, tries: int) -> ChatReply:
    try:
        choice = body["choices"][0]
        text, finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        raise CallFailed("the reply is JSON, but no chat completion", again=True) from None
    if not isinstance(text, str):
        raise CallFailed("the reply's content is no text", again=True)
    usage = body.get("usage")
    prompt_tokens, reply_tokens = (_tokens(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    finish = finish if isinstance(finish, str) else ""
    return ChatReply(whole(text), whole(finish), prompt_tokens, reply_tokens, tries)


def _tokens(usage: Any, name: str) -> int | None:
    """What the server counted, where that can be a count."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count <= MOST_TOKENS else None


def whole(text: str) -> str:
    """The same, with a question mark for each half of a character (a lone surrogate), which no file takes."""
    return text.encode("utf-8", "replace").decode()


def _error(body: str) -> tuple[str, str]:
    """The sentence in an error body, or its beginning; and its code, where it has one."""
    try:
        error = json.loads(body)["error"]
        if not isinstance(error, dict):
            return str(error), ""
        return str(error["message"]), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return body.strip() or "without a word", ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from milliseconds (OpenAI), seconds or an HTTP date (RFC 9110, 10.2.3); None where no header says them."""
    try:
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    except ValueError:
        pass
    header = headers.get("retry-after", "")
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header).astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
