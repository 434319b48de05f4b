"""A chat completion as OpenAI's clients ask for it, checked, and made into what the engine takes.

https://platform.openai.com/docs/api-reference/chat/create; fields that change no text here are read and left alone, and those that
would are refused by name, so an answer is never less than what was asked for.
"""

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.data.prompt import Prompter
from core.models.choosing import GREEDY, Sampling
from core.serve import offered, requests
from core.serve.answers import Ask
from core.serve.engine import Engine
from core.serve.refusals import Refusal
from core.serve.requests import Asked

LONGEST = 2_000_000
"""Characters of a message; the base model's context is shorter."""
MOST_NEW_TOKENS = 2048
"""Tokens of an answer where the request doesn't say: a small model may never end by itself."""


def _text(content: Any) -> Any:
    """The text of content that is given in parts."""
    if not isinstance(content, list):
        return content
    if not all(isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content):
        raise ValueError("the engine reads text alone, so every part needs type 'text' and its text")
    return "".join(part["text"] for part in content)


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop or []


class Message(BaseModel):
    """One turn. What a client repeats of an earlier answer besides its text is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text), Field(max_length=LONGEST)]

    @property
    def for_template(self) -> dict[str, str]:
        """As chat templates take it, which know no developer."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool | None = None
    """One more event before the end: the tokens."""


class ChatAsked(Asked):
    """POST /v1/chat/completions."""

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1, max_length=4096)
    temperature: float | None = Field(None, ge=0, le=2)
    """Empty: 1, as OpenAI has it."""
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    """The newer name of max_tokens; where both are given, it counts."""
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], BeforeValidator(_listed), Field(max_length=16)] = []
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    """The same seed gives the same answer. Empty: another one each time."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    n: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    response_format: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None

    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    reasoning_effort: Any = None
    reasoning_format: Any = None
    include_reasoning: Any = None
    verbosity: Any = None
    parallel_tool_calls: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None


_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((1,), "A request gets one answer. Ask several times for several."),
    "logprobs": ((False,), "The engine gives no log-probabilities. Leave logprobs out."),
    "top_logprobs": ((0,), "The engine gives no log-probabilities. Leave top_logprobs out."),
    "logit_bias": (({},), "The engine can't favour tokens. Leave logit_bias out."),
    "frequency_penalty": ((0,), "The engine can't penalise repeated tokens. Leave frequency_penalty out."),
    "presence_penalty": ((0,), "The engine can't penalise repeated tokens. Leave presence_penalty out."),
    "response_format": (({"type": "text"},), "The engine can't force a format. Describe it in a message, and leave response_format out."),
    "tools": (([],), "The engine calls no tools. Leave tools out."),
    "tool_choice": (("none", "auto"), "The engine calls no tools. Leave tool_choice out."),
    "functions": (([],), "The engine calls no functions. Leave functions out."),
    "function_call": (("none", "auto"), "The engine calls no functions. Leave function_call out."),
    "modalities": ((["text"],), "The engine writes text alone. Leave modalities out."),
    "audio": ((), "The engine writes text alone. Leave audio out."),
    "prediction": ((), "The engine takes no predicted answer. Leave prediction out."),
}
"""Fields that would change the answer, the values that change nothing, and what to say to others."""


def ask(engine: Engine, asked: ChatAsked) -> Ask:
    """The one answer that is asked for. Raises Refusal or UserError."""
    _check_fields(asked)
    plan = requests.plan(engine, offered.mix(engine, asked.model))
    prompt = Prompter(engine.tokenizer).conversation([message.for_template for message in asked.messages])
    new = _new_tokens(engine, asked, len(prompt))
    return Ask("answer", plan, tuple(prompt), (), new, _sampling(asked), tuple(asked.stop), verbatim=True)


def _check_fields(asked: ChatAsked) -> None:
    for field, (harmless, why) in _REFUSED.items():
        value = getattr(asked, field)
        if value is not None and value not in harmless:
            raise Refusal(f"{field}={str(value)[:100]} can't be followed. {why}", param=field, code="unsupported_parameter")


def _sampling(asked: ChatAsked) -> Sampling:
    sampling = Sampling(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=secrets.randbits(63) if asked.seed is None else asked.seed,
    )
    return GREEDY if sampling.greedy else sampling


def _new_tokens(engine: Engine, asked: ChatAsked, prompt: int) -> int:
    """Tokens of the answer, at most. Raises Refusal where they and the prompt are more than the base model can see."""
    wanted = asked.max_completion_tokens or asked.max_tokens
    if engine.context is None:
        return wanted or MOST_NEW_TOKENS
    if prompt + (wanted or 1) > engine.context:
        room = f"with {wanted or 'one'} for the answer that is more than the {engine.context} that the base model can see"
        raise Refusal(
            f"The messages have {prompt} tokens; {room}. Shorten the messages{', or lower max_tokens' if wanted else ''}.",
            param="messages",
            code="context_length_exceeded",
        )
    return wanted or min(MOST_NEW_TOKENS, engine.context - prompt)
