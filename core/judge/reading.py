"""The strict reading of replies: one word, or one JSON object. Anything else is no verdict, whatever it seems to say."""

import json
import re
from typing import Any

from core.judge.backend import Choice, Reading
from core.models.chat import whole

_WORD = re.compile(r"""[\s"'`*_(\[]*(?:answer[\s_]+)?(a|b|tie)[\s"'`*_)\].!]*""", re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)
_CHOICES: dict[str, Choice] = {"a": "A", "b": "B", "tie": "tie"}


def word(text: str) -> Reading:
    """A, B or tie when the reply is that one word.

    Case, 'answer', quotes, markdown and a full stop around the word don't matter, nor does a <think> block before it.
    """
    found = _WORD.fullmatch(_THOUGHT.sub("", text, count=1))
    return Reading(_CHOICES[found[1].lower()]) if found else Reading(None, "the reply is not one of the words A, B, tie")


def leading_word(text: str) -> Reading:
    """The word that a baseline's reply begins with, its figures behind it."""
    return word(text.partition(" ")[0])


def json_object(text: str) -> Reading:
    """The `verdict` (A, B or tie) of a reply that is one JSON object, and its `reasons`; a code fence or a <think> block doesn't matter."""
    bare = _THOUGHT.sub("", text, count=1)
    fenced = _FENCED.fullmatch(bare)
    try:
        said = json.loads(fenced[1] if fenced else bare, object_pairs_hook=_each_key_once)
    except RecursionError:
        return Reading(None, "the reply is not one JSON object (it is nested too deeply)")
    except ValueError as error:
        return Reading(None, f"the reply is not one JSON object ({error})")
    if not isinstance(said, dict):
        return Reading(None, "the reply is JSON, but no object")
    reasons = said.get("reasons")
    rationale = whole(reasons.strip()) if isinstance(reasons, str) else ""
    verdict = said.get("verdict")
    choice = _CHOICES.get(verdict.strip().lower()) if isinstance(verdict, str) else None
    return Reading(choice, "" if choice else "its JSON has no verdict A, B or tie", rationale)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice in it")
    return found
