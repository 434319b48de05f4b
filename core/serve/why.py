"""POST /console/shares: which token of an answer to explain, checked, and the reply."""

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import Field

from core.data.prompt import Prompter
from core.serve import offered
from core.serve.chat import Message
from core.serve.engine import Engine
from core.serve.mixes import Plan
from core.serve.refusals import Refusal
from core.serve.requests import Asked, Text
from core.serve.shares import Spoken
from core.serve.stream import Stream

MOST_WAITING = 32
"""Words that may wait to be explained; one takes seconds."""


class SharesAsked(Asked):
    """A conversation, what the model answered, and a token of that answer."""

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1, max_length=4096)
    answer: Text
    token: int = Field(ge=0)
    """Its place in the answer."""


def read(engine: Engine, asked: SharesAsked) -> tuple[Plan, Spoken, list[str]]:
    """The mix, the token, and the texts of all tokens of the answer. Raises Refusal or UserError."""
    question = next((message.content for message in reversed(asked.messages) if message.role == "user"), "")
    plan = offered.plan(engine, asked.model, question)
    if not plan.everyone:
        raise Refusal(f"'{asked.model}' has no adapters here, so its words have no shares of theirs. Ask for a mix.", param="model")
    prompt = Prompter(engine.tokenizer).conversation([message.for_template for message in asked.messages])
    answer = engine.tokenizer(asked.answer, add_special_tokens=False)["input_ids"]
    if asked.token >= len(answer):
        raise Refusal(f"The answer has {len(answer)} tokens, so there is none at place {asked.token}. They count from 0.", param="token")
    if engine.context and len(prompt) + asked.token > engine.context:
        raise Refusal(f"Messages and answer have more than the {engine.context} tokens that the base model can see.", param="messages")
    spoken = Spoken((*prompt, *answer[: asked.token]), answer[asked.token])
    return plan, spoken, [engine.tokenizer.decode([token]) for token in answer]


async def shares(engine: Engine, asked: SharesAsked, found: tuple[Plan, Spoken, list[str]]) -> Response:
    """{token: its text, tokens: those of the answer, base and mix: log-probability in nats, shares by adapter, rest, points}."""
    plan, spoken, tokens = found
    if engine.explaining >= MOST_WAITING:
        raise Refusal(f"{MOST_WAITING} words wait to be explained already. Ask again in a minute.", 429, code="queue_full", retry_after=60)
    stream = Stream("")
    engine.explain(stream, plan, spoken)
    try:
        event = [event async for event in stream.events()][-1]
    finally:
        engine.hang_up(stream)
    if "error" in event:
        raise Refusal(event["error"])
    return JSONResponse({"token": tokens[asked.token], "tokens": tokens, **event})
