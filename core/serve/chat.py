"""A chat completion as OpenAI's clients ask for it, checked, and made into what the engine takes.

https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.data.prompt import Prompter
from core.serve import drawing
from core.serve.computing import Computing
from core.serve.drawing import Drawn
from core.serve.refusals import Refusal
from core.serve.requests import Whole
from core.serve.rows import Ask

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


class Message(BaseModel):
    """One turn. What a client repeats of an earlier answer besides its text is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text), Field(max_length=LONGEST), Whole]

    @property
    def for_template(self) -> dict[str, str]:
        """As chat templates take it, which know no developer."""
        return {"role": "system" if self.role == "developer" else self.role, "content": self.content}


class ChatAsked(Drawn):
    """POST /v1/chat/completions."""

    PROMPT: ClassVar[str] = "messages"

    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_completion_tokens: int | None = Field(None, ge=1)
    """The newer name of max_tokens; where both are given, it counts."""
    logprobs: bool | None = None
    """How probable each token of the answer was."""
    top_logprobs: int | None = Field(None, ge=0, le=20)
    """And this many of the most probable ones at its place."""

    response_format: Any = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None

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


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    **drawing.REFUSED,
    "response_format": (({"type": "text"},), "The engine can't force a format. Describe it in a message, and leave response_format out."),
    "tools": (([],), "The engine calls no tools. Leave tools out."),
    "tool_choice": (("none", "auto"), "The engine calls no tools. Leave tool_choice out."),
    "functions": (([],), "The engine calls no functions. Leave functions out."),
    "function_call": (("none", "auto"), "The engine calls no functions. Leave function_call out."),
    "modalities": ((["text"],), "The engine writes text alone. Leave modalities out."),
    "audio": ((), "The engine writes text alone. Leave audio out."),
    "prediction": ((), "The engine takes no predicted answer. Leave prediction out."),
}


def asks(engine: Computing, asked: ChatAsked) -> list[Ask]:
    """The answers that are asked for. Raises Refusal or UserError."""
    drawing.check_refused(asked, REFUSED)
    if asked.top_logprobs is not None and not asked.logprobs:
        raise Refusal("top_logprobs needs logprobs. Set logprobs to true, or leave top_logprobs out.", param="top_logprobs")
    prompt = Prompter(engine.tokenizer).conversation([message.for_template for message in asked.messages])
    question = next((message.content for message in reversed(asked.messages) if message.role == "user"), "")
    scores = (asked.top_logprobs or 0) if asked.logprobs else None
    return drawing.asks(engine, asked, [(prompt, question)], asked.max_completion_tokens or asked.max_tokens, MOST_NEW_TOKENS, scores)
