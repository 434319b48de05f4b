"""The tokens of an answer with their probabilities, as chat completions tell them, and the pieces of text that they are shown as.

https://platform.openai.com/docs/api-reference/chat/object: logprobs.content[] = {token, logprob, bytes, top_logprobs[]}, in nats.
"""

import codecs
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.wording import percent


@dataclass(frozen=True)
class Token:
    """One token of an answer."""

    text: str
    logprob: float
    """Nats."""
    bytes: bytes
    others: tuple[tuple[str, float], ...] = ()
    """Tokens that were probable in its place, itself among them perhaps: text and log-probability, the most probable first."""

    @property
    def probability(self) -> float:
        """Between 0 and 1."""
        return math.exp(self.logprob)


@dataclass(frozen=True)
class Span:
    """A piece of text: one token, or several that only together are whole characters."""

    text: str
    probability: float
    title: str
    """What is said where one points at it."""
    token: int
    """Place of its first token in the answer."""
    tokens: int = 1


def of_chunk(choice: Mapping[str, Any]) -> tuple[Token, ...]:
    """The tokens of a streamed choice; none where they were not asked for."""
    return tuple(_token(each) for each in (choice.get("logprobs") or {}).get("content") or ())


def _token(said: Mapping[str, Any]) -> Token:
    others = tuple((each["token"], each["logprob"]) for each in said.get("top_logprobs") or ())
    spelled = said.get("bytes")
    return Token(said["token"], said["logprob"], said["token"].encode() if spelled is None else bytes(spelled), others)


def spans(tokens: Sequence[Token], text: str) -> list[Span]:
    """The answer's text piece by piece, without tokens that are no part of it (control tokens); empty where they don't make up the text.

    A span ends where no character is left half-written; bytes that are no text stand as U+FFFD, as the engine's text has them.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found: list[Span] = []
    start = at = 0  # in the text: where the span begins, and what has been written
    some: list[int] = []
    for place, token in enumerate(tokens):
        before = decoder.getstate()
        piece = decoder.decode(token.bytes)
        if not text.startswith(piece, at):
            decoder.setstate(before)
            continue
        some.append(place)
        at += len(piece)
        if not decoder.getstate()[0]:
            found.append(_span(tokens, some, text[start:at]))
            start, some = at, []
    if some and text[at:] == decoder.decode(b"", final=True):
        found.append(_span(tokens, some, text[start:]))
        at = len(text)
    return found if at == len(text) else []


def _span(tokens: Sequence[Token], places: Sequence[int], text: str) -> Span:
    some = [tokens[place] for place in places]
    return Span(text, math.exp(sum(each.logprob for each in some)), _title(some, text), places[0], len(some))


def _title(tokens: Sequence[Token], text: str) -> str:
    """'“ virtue”: 34 %', then what else was probable there."""
    if len(tokens) > 1:
        return f"{quoted(text)}, {len(tokens)} tokens: {percent(math.exp(sum(token.logprob for token in tokens)))}"
    (token,) = tokens
    others = [f"{quoted(each)} {percent(math.exp(logprob))}" for each, logprob in token.others if each != token.text]
    return f"{quoted(text)}: {percent(token.probability)}" + ("\ninstead: " + ", ".join(others) if others else "")


def quoted(text: str) -> str:
    """A token as people can read it: in quotes, with line breaks and tabs as signs."""
    return "“" + text.replace("\n", "↵").replace("\t", "⇥") + "”"
