"""A plain completion: a prompt that the model goes on from, without a chat template.

https://platform.openai.com/docs/api-reference/completions/create
"""

from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from core.serve import drawing
from core.serve.chat import LONGEST
from core.serve.computing import Computing
from core.serve.drawing import MOST_ANSWERS, Drawn
from core.serve.refusals import Refusal
from core.serve.rows import Ask

MOST_NEW_TOKENS = 16
"""Tokens where the request doesn't say, as OpenAI has it."""

Text = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=LONGEST)]


def _in_a_sentence(prompt: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(prompt)
    except ValidationError:
        raise ValueError(f"it should be a text, token ids, or a list of up to {MOST_ANSWERS} of either, none of them empty") from None


Prompt = Annotated[
    Text | Tokens | Annotated[list[Text] | list[Tokens], Field(min_length=1, max_length=MOST_ANSWERS)], WrapValidator(_in_a_sentence)
]


class PlainAsked(Drawn):
    """POST /v1/completions."""

    prompt: Prompt
    """Text or token ids; several give several answers."""
    logprobs: int | None = Field(None, ge=0, le=20)
    """How probable each token of the answer was, and this many of the most probable ones at its place."""

    suffix: Any = None
    echo: Any = None
    best_of: Any = None


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    **drawing.REFUSED,
    "suffix": (("",), "The engine writes what follows alone. Leave suffix out."),
    "echo": ((False,), "The engine doesn't repeat the prompt. Leave echo out."),
    "best_of": ((1,), "The engine gives all answers that it draws. Ask for n."),
}


def asks(engine: Computing, asked: PlainAsked) -> list[Ask]:
    """The answers that are asked for. Raises Refusal or UserError."""
    drawing.check_refused(asked, REFUSED)
    prompts = [_read(engine, each) for each in _several(asked.prompt)]
    return drawing.asks(engine, asked, prompts, asked.max_tokens, MOST_NEW_TOKENS, asked.logprobs)


def _several(prompt: Any) -> list[str | list[int]]:
    return [prompt] if isinstance(prompt, str) or isinstance(prompt[0], int) else prompt


def _read(engine: Computing, prompt: str | list[int]) -> tuple[list[int], str]:
    """Its tokens, and its text."""
    if isinstance(prompt, str):
        return engine.tokenizer(prompt)["input_ids"], prompt
    known = len(engine.tokenizer)
    if beyond := next((token for token in prompt if token >= known), None):
        raise Refusal(
            f"Token {beyond} is beyond the {known} that the base model's tokenizer knows. Give its own token ids.", param="prompt"
        )
    return prompt, engine.tokenizer.decode(prompt)
