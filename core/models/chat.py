"""The client of any OpenAI-compatible chat server, with one retry policy for all of them.

The `openai` and `groq` clients come from the same generator and raise the same kinds of errors, so either serves here; their own retries
are switched off. A call is tried again after 408, 409, 425, 429, 5xx, a timeout, a broken connection or a reply that is no chat completion,
with exponential backoff and jitter; a call that can't succeed (wrong key, no such model) isn't repeated.
Retry-After is obeyed. It speaks of the key, not of the one call: the refused call holds the gate, and no other one starts before it
has its reply.
"""

import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from types import ModuleType
from typing import Any

FIRST_WAIT = 0.5
"""Seconds before the first retry; doubled for each further one."""
LONGEST_BACKOFF = 60.0
"""Seconds that the doubling stops at."""
LONGEST_RETRY_AFTER = 600.0
"""Seconds of Retry-After that are waited for; a server that wants more has failed, and says so in the reason."""

_AGAIN = {408, 409, 425, 429}


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
        self, reason: str, *, status: int | None = None, reached: bool = True, again: bool = False, retry_after: float | None = None
    ) -> None:
        """`reached`: something answered. `again`: another try may succeed. `retry_after`: seconds that the server asked to wait."""
        super().__init__(reason)
        self.status, self.reached, self.again, self.retry_after = status, reached, again, retry_after


class Chat:
    """A model on a chat server: `Chat(openai, openai.OpenAI(...), key)`, or the same with groq."""

    def __init__(self, library: ModuleType, client: Any, key: str, retries: int, on_retry: Callable[[str, float], None]) -> None:
        """`on_retry(reason, seconds)` is told before each wait. The client must not retry by itself."""
        self._library, self._client, self._key, self._retries, self._on_retry = library, client, key, retries, on_retry
        self._gate = threading.RLock()
        self.url = str(client.base_url)

    def models(self) -> list[str]:
        """Ids of the models that the server offers. Raises CallFailed; asked once, without retries."""
        listed = self._once(self._client.models.with_raw_response.list)
        try:
            return sorted(str(each["id"]) for each in listed["data"])
        except (KeyError, TypeError):
            raise CallFailed("its list of models can't be read") from None

    def complete(self, messages: list[dict[str, str]], **parameters: Any) -> ChatReply:
        """The model's reply. `parameters` go to the server as they are. Raises CallFailed when all tries have failed."""
        call = partial(self._client.chat.completions.with_raw_response.create, messages=messages, **parameters)
        with ExitStack() as gate:
            for tries in range(1, self._retries + 2):
                with self._gate:
                    pass
                try:
                    return _reply(self._once(call), tries)
                except CallFailed as error:
                    wait = self._wait_after(error, tries)
                    if wait is None:
                        tried = f" (tried {tries} times)" if tries > 1 else ""
                        raise CallFailed(f"{error}{tried}", status=error.status, reached=error.reached) from None
                    self._on_retry(str(error), wait)
                    until = time.monotonic() + wait
                    if error.retry_after is not None:
                        gate.enter_context(self._gate)
                    time.sleep(max(0.0, until - time.monotonic()))
        raise AssertionError("the last try returns or raises")

    def _wait_after(self, error: CallFailed, tries: int) -> float | None:
        """Seconds until the next try; None when there is none."""
        if not error.again or tries > self._retries or (error.retry_after or 0) > LONGEST_RETRY_AFTER:
            return None
        if error.retry_after is not None:
            return error.retry_after + random.uniform(0, FIRST_WAIT)
        return float(min(LONGEST_BACKOFF, FIRST_WAIT * 2 ** (tries - 1)) * random.uniform(0.5, 1))

    def _once(self, call: Callable[[], Any]) -> Any:
        """One request; the JSON of the answer."""
        try:
            text = call().http_response.text
        except self._library.APITimeoutError:
            raise CallFailed(f"no reply within {self._client.timeout:g} seconds", reached=False, again=True) from None
        except self._library.APIConnectionError as error:
            raise CallFailed(f"the connection failed: {self._clean(str(error.__cause__ or error))}", reached=False, again=True) from None
        except self._library.APIStatusError as error:
            again = error.status_code in _AGAIN or error.status_code >= 500
            reason = f"HTTP {error.status_code}: {self._clean(_message(error.response.text))}"
            wanted = _retry_after(error.response.headers.get("retry-after"))
            if wanted is not None and wanted > LONGEST_RETRY_AFTER:
                reason += f"; it asks to wait {wanted:.0f} seconds"
            raise CallFailed(reason, status=error.status_code, again=again, retry_after=wanted) from None
        try:
            return json.loads(text)
        except ValueError:
            begins = f"it begins {self._clean(text)!r}" if text.strip() else "it is empty"
            raise CallFailed(f"the reply is no JSON: {begins}", again=True) from None

    def _clean(self, text: str) -> str:
        """One short line without the key, whatever the server repeats."""
        line = " ".join(text.split())
        return (line.replace(self._key, "[key]") if self._key else line)[:200]


def _reply(body: Any, tries: int) -> ChatReply:
    try:
        choice = body["choices"][0]
        text, finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
    except (KeyError, IndexError, TypeError, AttributeError):
        raise CallFailed("the reply is JSON, but no chat completion", again=True) from None
    if not isinstance(text, str):
        raise CallFailed("the reply's content is no text", again=True)
    usage = body.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    return ChatReply(text, str(finish), *(count if isinstance(count, int) else None for count in counts), tries)


def _message(body: str) -> str:
    """The sentence in an error body, or its beginning."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return body.strip() or "without a word"


def _retry_after(header: str | None) -> float | None:
    """Seconds, from seconds or an HTTP date (RFC 9110, 10.2.3); None where the header is missing or says neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
