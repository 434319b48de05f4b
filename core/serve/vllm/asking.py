"""One answer of vLLM's: what is sent, and the tokens that come back. https://docs.vllm.ai/en/latest/serving/online_serving/openai_compatible_server/

Tokens go there and come back, never text: prompts, stop texts and log-probabilities are read here as Lyceum's engine reads them.
"""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import httpx

from core.serve.rows import Ask
from core.serve.token_scores import Score
from core.serve.vllm import loras

SILENCE_SECONDS = 600.0
_TOKEN = "token_id:"


class Refused(Exception):
    """vLLM answered with an error. `status` of its reply."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Piece:
    """Some tokens of an answer."""

    tokens: list[int]
    scores: list[Score]
    """One for each token, where they were asked for."""
    finish: str | None


def body(model: str, ask: Ask, ends: frozenset[int]) -> dict[str, Any]:
    """The request. `model`: vLLM's name for it; `ends`: tokens that end an answer."""
    sampling = ask.sampling
    drawn = {"temperature": sampling.temperature, "top_p": max(sampling.top_p, 1e-6), "seed": (sampling.seed + 2**63) % 2**64 - 2**63}
    return {
        "model": model,
        "prompt": [*ask.prompt, *ask.said],
        "max_tokens": ask.max_new_tokens - len(ask.said),
        **({"temperature": 0} if sampling.greedy else drawn),
        "stop_token_ids": sorted(ends),
        "stream": True,
        "return_token_ids": True,
        **({} if ask.top_scores is None else {"logprobs": ask.top_scores, "return_tokens_as_token_ids": True}),
    }


async def pieces(client: httpx.AsyncClient, asked: dict[str, Any]) -> AsyncGenerator[list[Piece]]:
    """The answer as it comes; what came together is told together. Closing it hangs up. Raises Refused and httpx.HTTPError."""
    async with client.stream("POST", "/v1/completions", json=asked, timeout=httpx.Timeout(30, read=SILENCE_SECONDS)) as reply:
        if reply.status_code != 200:
            await reply.aread()
            raise Refused(loras.said(reply), reply.status_code)
        left = b""
        async for chunk in reply.aiter_bytes():
            *lines, left = (left + chunk).split(b"\n")
            if found := [piece for line in lines if (piece := _read(line, asked.get("logprobs")))]:
                yield found


def _read(line: bytes, wanted: int | None) -> Piece | None:
    """A line of the stream."""
    if not line.startswith(b"data: {"):
        return None
    event = json.loads(line.removeprefix(b"data: "))
    if "error" in event:
        raise Refused(str(event["error"].get("message", "it broke off")), int(event["error"].get("code") or 500))
    if not event["choices"]:
        return None
    choice = event["choices"][0]
    return Piece(choice.get("token_ids") or [], _scores(choice.get("logprobs"), wanted), choice["finish_reason"])


def _scores(logprobs: dict[str, Any] | None, wanted: int | None) -> list[Score]:
    if logprobs is None or wanted is None:
        return []
    found = []
    for token, logprob, others in zip(logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True):
        top = sorted(((_id(each), value) for each, value in (others or {}).items()), key=lambda each: -each[1])
        found.append(Score(_id(token), logprob, tuple(top[:wanted])))
    return found


def _id(token: str) -> int:
    return int(token.removeprefix(_TOKEN))
