"""From what a person gave (command line, job file, form) to a config; what is wrong becomes one clear sentence per field."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.config import Config
from core.errors import UserError
from core.verbs import VERBS, Verb

C = TypeVar("C", bound=Config)


def verb(name: str) -> Verb:
    """The verb called `name`."""
    if name not in VERBS:
        raise UserError(f"Unknown verb '{name}'. Choose one of: {', '.join(VERBS)}.")
    return VERBS[name]


def configure(name: str, values: Mapping[str, Any]) -> Config:
    """The config of a verb, from values by field. Text is converted to what the field needs."""
    return fill(verb(name).config, values)


def fill(kind: type[C], values: Mapping[str, Any]) -> C:
    """A config of this kind."""
    try:
        return kind(**values)
    except ValidationError as error:
        raise UserError("\n".join(sentences(error, kind))) from None


def sentences(error: ValidationError, kind: type[Config]) -> list[str]:
    """One sentence per field: what was given, what is allowed, what the field is for."""
    return list(dict.fromkeys(_sentence(each, kind) for each in error.errors()))


def _sentence(error: ErrorDetails, kind: type[Config]) -> str:
    field = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"Unknown field '{field}'. Choose among: {', '.join(kind.model_fields)}."
    help_text = kind.model_fields[field].description if field in kind.model_fields else ""
    if error["type"] == "missing":
        return f"Field '{field}' is missing. Give it: --{field} ... ({help_text})"
    if error["type"] == "too_short":
        return f"{field} is empty. Name at least one. {help_text}".strip()
    wrong = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{field}={_shown(error['input'])} can't be used: it {_lower(wrong)}. {help_text}".strip()


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")
