"""What the playground holds: who is asked what, and how. Its link, its requests to the engine, and the answers as they come in.

Light: nothing here touches a model. Each model has a conversation of its own: the questions are the same, the answers are its own.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core import read_only
from core.answer_tokens import Token, of_chunk, spans
from core.config import DrawingConfig
from core.errors import UserError, shown
from core.jobs.configure import fill
from core.presets import GENERATION
from core.serve import client
from core.serve.names import BASE
from core.serve.resident import Engine

MOST = 4
"""Models side by side."""
LONGEST = 128
"""Tokens of an answer where neither a field nor the preset says."""
ALTERNATIVES = 5
"""Most probable tokens that are asked for at each place."""
ENDED = ("stop", "length", "stopped")
"""States of an answer that can stand in a conversation that goes on."""
CATEGORY = "{category}"
NONE = "none"

Event = dict[str, Any]


@dataclass(frozen=True)
class Play:
    """All that the answers depend on, and all that a link holds."""

    models: tuple[str, ...] = (BASE,)
    questions: tuple[str, ...] = ()
    """One conversation, in order."""
    system_prompt: str = ""
    """{category} in it stands for `category`, or where that is empty for an adapter's own."""
    category: str = ""
    drawing: DrawingConfig = field(default_factory=DrawingConfig)


@dataclass(frozen=True)
class Answer:
    """One model's answer to one question, as far as it has come."""

    text: str = ""
    tokens: tuple[Token, ...] = ()
    state: str = "waits"
    """waits, writes, stop, length, stopped (broken off by the person) or error."""
    said: str = ""
    """Why there is none."""
    count: int = 0
    """Its tokens, by the engine."""
    seconds: float | None = None
    first: float | None = None
    """Seconds to the first words."""

    @property
    def stands(self) -> bool:
        """Whether the conversation can go on after it."""
        return self.state in ENDED and (self.state != "stopped" or bool(self.text))


def own_categories(infos: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The category of each adapter that was trained on one. `infos`: what folders say of themselves (console.Shelf)."""
    said = {name: info.get("categories") or [] for name, info in infos.items() if info.get("role", "own") == "own"}
    return {name: categories[0] for name, categories in said.items() if len(categories) == 1}


def system_message(play: Play, model: str, own: Mapping[str, str]) -> str | None:
    """The system message of a model. `own`: the category of each adapter that has one.

    A prompt with {category} in it needs a category; a model of several, with none chosen, gets no system message.
    """
    category = play.category or own.get(model, "")
    if not play.system_prompt or (CATEGORY in play.system_prompt and not category):
        return None
    return play.system_prompt.replace(CATEGORY, category)


def longest(drawing: DrawingConfig) -> int:
    """Tokens of an answer, at most."""
    return read_only.longest(drawing.max_tokens or GENERATION.get(drawing.preset or "", {}).get("max_tokens", LONGEST))


def messages(system: str | None, questions: Sequence[str], answers: Sequence[str]) -> list[dict[str, str]]:
    """A conversation up to the first question that has no answer yet, as chat completions take it."""
    turns = [{"role": "system", "content": system}] if system else []
    for question, answer in zip(questions, answers, strict=False):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*turns, {"role": "user", "content": questions[len(answers)]}]


def request(drawing: DrawingConfig, model: str, said: Sequence[Mapping[str, str]], scored: bool = True) -> dict[str, Any]:
    """A streamed chat completion. `said`: messages; `scored`: with the probabilities of tokens."""
    asked = {"model": model, "messages": list(said), "stream": True, "stream_options": {"include_usage": True}}
    given = {name: value for name, value in drawing if value is not None} | {"max_tokens": longest(drawing)}
    return {**asked, **given, **({"logprobs": True, "top_logprobs": ALTERNATIVES} if scored else {})}


def stream(
    engine: Engine, play: Play, model: str, own: Mapping[str, str], said: Sequence[str] = (), scored: bool = True
) -> Iterator[Event]:
    """A model's answers to the questions that it has not answered yet, one after the other; `said`: the answers that stand.

    Events: {turn, text, tokens} (what is new), {turn, done (stop or length), count, seconds, first}. Raises UserError.
    """
    system, answers = system_message(play, model, own), list(said)
    for turn in range(len(said), len(play.questions)):
        asked = request(play.drawing, model, messages(system, play.questions, answers), scored)
        began, first, count, finish, texts = time.monotonic(), None, 0, "stop", []
        with read_only.answering(_size(asked["messages"])):
            for chunk in client.chat(engine, asked):
                count = (chunk.get("usage") or {}).get("completion_tokens", count)
                for choice in chunk["choices"]:
                    text, finish = choice["delta"].get("content") or "", choice["finish_reason"] or finish
                    texts.append(text)
                    first = time.monotonic() - began if first is None and text else first
                    if text or choice.get("logprobs"):
                        yield {"turn": turn, "text": text, "tokens": of_chunk(choice)}
        yield {"turn": turn, "done": finish, "count": count, "seconds": time.monotonic() - began, "first": first}
        answers.append("".join(texts))


def _size(said: Sequence[Mapping[str, str]]) -> int:
    """Characters of a conversation."""
    return sum(len(message["content"]) for message in said)


def fold(start: Sequence[Answer], events: Sequence[Event], questions: int, error: str | None = None, ended: bool = False) -> list[Answer]:
    """A model's answers to all questions. `start`: those that stood before; `error`: why the stream broke off; `ended`: nothing follows."""
    found = [*start, *[Answer()] * (questions - len(start))]
    for event in events:
        turn = event["turn"]
        if turn < questions:
            found[turn] = _after(found[turn], event)
    open_turn = next((turn for turn, answer in enumerate(found) if not answer.stands), None)
    if open_turn is not None and found[open_turn].state in ("waits", "writes"):
        if error:
            found[open_turn] = replace(found[open_turn], state="error", said=error)
        elif ended and found[open_turn].text:
            found[open_turn] = replace(found[open_turn], state="stopped")
    return found


def _after(answer: Answer, event: Event) -> Answer:
    if "done" in event:
        return replace(answer, state=event["done"], **{name: event[name] for name in ("count", "seconds", "first")})
    return replace(answer, text=answer.text + event["text"], tokens=(*answer.tokens, *event["tokens"]), state="writes")


def standing(answers: Sequence[Answer]) -> list[Answer]:
    """The answers up to the first that is missing: what a conversation can go on from."""
    missing = next((turn for turn, answer in enumerate(answers) if not answer.stands), len(answers))
    return list(answers[:missing])


def explain(engine: Engine, model: str, said: Sequence[Mapping[str, str]], answer: Answer, token: int) -> dict[str, Any]:
    """client.shares of a token of an answer; `said`: the messages that it answers. Raises UserError.

    The engine reads the answer's text anew, so the word is found by where it stands, should it be read in other tokens.
    """
    before = [span for span in spans(answer.tokens, answer.text) if span.token < token]
    place, at = sum(span.tokens for span in before), len("".join(span.text for span in before))
    asked = {"model": model, "messages": list(said), "answer": answer.text}
    with read_only.answering(_size(said) + len(answer.text)):
        found = client.shares(engine, {**asked, "token": place})
        there = _places(found["tokens"], answer.text, at)
        if place in there:
            return found
        if not there:
            raise UserError("The engine reads this answer in other tokens, and none of them begins at this word. Choose another word.")
        return client.shares(engine, {**asked, "token": there[0]})


def _places(tokens: Sequence[str], text: str, at: int) -> list[int]:
    """Tokens that begin at a place of the text. A character in several tokens can't be read in each, so either side may tell."""
    cuts = range(len(tokens))
    return [cut for cut in cuts if "".join(tokens[:cut]) == text[:at] or "".join(tokens[cut:]) == text[at:]]


# --- the link ---------------------------------------------------------------------------------------------------------


def to_link(play: Play, usual: Play) -> dict[str, str | list[str]]:
    """The query parameters of a state: its models, and the rest where it differs from `usual`."""
    link: dict[str, str | list[str]] = {"model": list(play.models)}
    for name in ("system_prompt", "category"):
        if getattr(play, name) != getattr(usual, name):
            link[name] = getattr(play, name)
    for name, value in play.drawing:
        if value != getattr(usual.drawing, name):
            link[name] = NONE if value is None else str(value)
    return link | ({"question": list(play.questions)} if play.questions else {})


def from_link(params: Mapping[str, Sequence[str]], usual: Play) -> Play:
    """The state that a link describes; `params`: each parameter's values. Raises UserError where it can't be read."""
    single = {name: values[-1] for name, values in params.items() if values}
    drawing: dict[str, Any] = dict(usual.drawing)
    drawing |= {name: None if single[name] == NONE else single[name] for name in DrawingConfig.model_fields if name in single}
    models = tuple(dict.fromkeys(each for each in params.get("model", []) if each.strip())) or usual.models
    if len(models) > MOST:
        raise UserError(f"This link can't be read: it names {len(models)} models, and {MOST} stand side by side. Choose them below.")
    try:
        drawn = fill(DrawingConfig, drawing)
    except UserError as error:
        raise UserError(f"This link can't be read: {shown(str(error), 300)} Choose the settings below instead.") from None
    texts = {name: single[name] for name in ("system_prompt", "category") if name in single}
    asked = tuple(text for text in params.get("question", []) if text.strip())
    return replace(usual, models=models, drawing=drawn, questions=asked, **texts)
