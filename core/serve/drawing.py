"""What every completion of OpenAI's API may be asked with: fields, presets, and what is refused by name.

https://platform.openai.com/docs/api-reference; fields that change no text here are read and left alone, and those that would are
refused by name, so an answer is never less than what was asked for.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from core.models.choosing import GREEDY, Sampling
from core.presets import GENERATION
from core.serve import offered
from core.serve.computing import Computing
from core.serve.refusals import Refusal
from core.serve.requests import Asked
from core.serve.rows import Ask

MOST_ANSWERS = 128
"""Answers of one request."""


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop or []


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool | None = None
    """One more event before the end: the tokens."""


class Drawn(Asked):
    """What chat and plain completions share."""

    PROMPT: ClassVar[str] = "prompt"
    """The field that the answer goes on from."""

    model: str = Field(min_length=1)
    preset: str | None = None
    """creative, deterministic or longer: settings that mean the same for every model. Fields that are given win."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Empty: 1, as OpenAI has it."""
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], BeforeValidator(_listed), Field(max_length=16)] = []
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    """The same seed gives the same answer. Empty: another one each time."""
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS)
    """Answers, each drawn with a seed of its own, the first with `seed`."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    logit_bias: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    user: Any = None

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, dict) else None
        if name is None:
            return given
        if not isinstance(name, str) or name not in GENERATION:
            raise ValueError(f"preset is none of {', '.join(GENERATION)}")
        return given | {field: value for field, value in GENERATION[name].items() if given.get(field) is None}

    @property
    def answers(self) -> int:
        """How many are asked for with each prompt."""
        return self.n or 1


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "logit_bias": (({},), "The engine can't favour tokens. Leave logit_bias out."),
    "frequency_penalty": ((0,), "The engine can't penalise repeated tokens. Leave frequency_penalty out."),
    "presence_penalty": ((0,), "The engine can't penalise repeated tokens. Leave presence_penalty out."),
}
"""Fields that would change the answer, the values that change nothing, and what to say to others."""


def check_refused(asked: Drawn, refused: dict[str, tuple[tuple[Any, ...], str]]) -> None:
    """Raises Refusal for a field that the engine can't follow."""
    for field, (harmless, why) in refused.items():
        value = getattr(asked, field)
        if value is not None and value not in harmless:
            raise Refusal(f"{field}={str(value)[:100]} can't be followed. {why}", param=field, code="unsupported_parameter")


def asks(
    engine: Computing, asked: Drawn, prompts: Sequence[tuple[list[int], str]], new_tokens: int | None, fallback: int, scores: int | None
) -> list[Ask]:
    """`asked.answers` for each prompt, keyed by their place. `prompts`: tokens, and the text that a route looks at.

    `new_tokens`: as the request has them, `fallback`: where it doesn't. Raises Refusal or UserError.
    """
    if len(prompts) * asked.answers > MOST_ANSWERS:
        raise Refusal(
            f"{len(prompts)} prompts with n={asked.answers} are more than the {MOST_ANSWERS} answers of one request. Ask several times.",
            param="n",
        )
    found: list[Ask] = []
    for prompt, question in prompts:
        plan = offered.plan(engine, asked.model, question)
        room = _room(engine, asked.PROMPT, len(prompt), new_tokens or 0, fallback)
        for sampling in _samplings(asked):
            key = str(len(found))
            found.append(Ask(key, plan, tuple(prompt), (), room, sampling, tuple(asked.stop), verbatim=True, top_scores=scores))
    return found


def _samplings(asked: Drawn) -> list[Sampling]:
    first = Sampling(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=secrets.randbits(63) if asked.seed is None else asked.seed,
    )
    return [GREEDY if first.greedy else replace(first, seed=first.seed + place) for place in range(asked.answers)]


def _room(engine: Computing, field: str, prompt: int, wanted: int, fallback: int) -> int:
    """Tokens of the answer, at most. Raises Refusal where they and the prompt are more than the base model can see."""
    if prompt == 0:
        raise Refusal(f"There is no token in {field}, so there is nothing to go on from. Give it some text.", param=field)
    if engine.context is None:
        return wanted or fallback
    if prompt + (wanted or 1) > engine.context:
        room = f"with {wanted or 'one'} for the answer that is more than the {engine.context} that the base model can see"
        raise Refusal(
            f"{prompt} tokens stand in {field}; {room}. Shorten {field}{', or lower max_tokens' if wanted else ''}.",
            param=field,
            code="context_length_exceeded",
        )
    return wanted or min(fallback, engine.context - prompt)
