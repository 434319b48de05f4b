"""The command line's grammar, made from the configs: `--field value`, lists as `a,b`, `a b` or JSON, `--flag`, `--no-flag`."""

import argparse
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.config import CHOICES, ChatConfig, Config, ServeConfig
from core.errors import UserError
from core.jobs.configure import verb
from core.presets import PRESETS
from core.verbs import VERBS

ALONE: dict[str, type[Config]] = {"serve": ServeConfig, "chat": ChatConfig}
"""Configs of what is no job."""
APART = {
    "serve": (*ServeConfig.model_fields, "detach", "stop"),
    "chat": (*ChatConfig.model_fields,),
    "jobs": ("resume", "cancel", "remove"),
}
"""Words of the command line that are no jobs, and their options."""


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are UserErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise UserError(f"{message[:1].upper()}{message[1:]}. See: {self.prog} --help")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="python -m core", description="Train small adapters, merge them, and examine the result.", allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", metavar="verb", title="verbs", description="python -m core <verb> --help tells the fields")
    for name, row in VERBS.items():
        summary = (row.config.__doc__ or "").split("\n")[0].replace("%", "%%")
        command = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False, argument_default=argparse.SUPPRESS)
        for field, info in row.config.model_fields.items():
            _add_field(command, field, info)
        if name in PRESETS:
            command.add_argument("--preset", help=f"named settings that the other fields override [one of: {', '.join(PRESETS[name])}]")
        command.add_argument("--config", metavar="FILE", help="a JSON file of fields; what the command line says beside it wins")
        if name == "train":
            command.add_argument("--dry-run", action="store_true", help="say what it would take, and train nothing: the verb plan")
        command.add_argument("--detach", action="store_true", help="submit the job and return at once")
    how = _add_alone(verbs, "serve").add_mutually_exclusive_group()
    how.add_argument("--detach", action="store_true", help="start it in the background, and return once it answers")
    how.add_argument("--stop", action="store_true", help="end the one that runs")
    _add_alone(verbs, "chat")
    jobs = verbs.add_parser("jobs", help="List, resume, cancel or remove runs.", description="Without an option: list.", allow_abbrev=False)
    one = jobs.add_mutually_exclusive_group()
    one.add_argument("--resume", metavar="RUN", nargs="?", const="last", help="resume a failed or cancelled run; 'last': the newest")
    one.add_argument("--cancel", metavar="RUN", nargs="?", const="last", help="cancel a waiting or running run; 'last': the newest")
    one.add_argument("--remove", metavar="RUN", help="remove the folder of a run that has ended; its adapters stay")
    return top


def parse(words: Sequence[str]) -> dict[str, Any]:
    """The words after `python -m core` as values by name; 'verb' is one of them."""
    known = [*VERBS, *APART]
    if not words:
        raise UserError(f"Say what to do: python -m core <verb>, with one of: {', '.join(known)}.")
    if words[0] not in (*known, "-h", "--help"):
        raise UserError(f"Unknown verb '{words[0]}'. Choose one of: {', '.join(known)}.")
    for word in words:
        if not word.isprintable() and word.encode(errors="replace") != word.encode(errors="surrogateescape"):
            raise UserError(f"{ascii(word)[1:-1]} is no UTF-8 text, so it can't be kept in a job file. Rename the file, or retype it.")
    found, rest = parser().parse_known_args(join_values(words))
    values = vars(found)
    if values.pop("dry_run", False):
        values["verb"] = "plan"
    if rest:
        fields = APART.get(values["verb"]) or VERBS[values["verb"]].config.model_fields
        name = rest[0].partition("=")[0]
        raise UserError(f"Unknown field '{name}' for {values['verb']}. Choose among: {', '.join(f'--{field}' for field in fields)}.")
    return values


def config_values(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of the preset, overridden by those of the job file, overridden by those of the command line."""
    fields = (ALONE.get(values["verb"]) or verb(values["verb"]).config).model_fields
    given = {name: _none_or(value, fields[name]) for name, value in values.items() if name in fields}
    preset = _preset(values["preset"], values["verb"]) if "preset" in values and "preset" not in fields else {}
    return preset | (_job_file(values["config"], values["verb"]) if "config" in values else {}) | given


def join_values(words: Sequence[str]) -> list[str]:
    """`--weights -0.5 1` as `--weights=-0.5,1`: what follows an option up to the next one is its value, a minus sign included."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].startswith("--") and not word.startswith("--") and word != "-h":
            joined[-1] += ("," if "=" in joined[-1] else "=") + word
        else:
            joined.append(word)
    return joined


def _add_alone(verbs: "argparse._SubParsersAction[Parser]", name: str) -> Parser:
    summary = (ALONE[name].__doc__ or "").split("\n")[0]
    command = verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for field, info in ALONE[name].model_fields.items():
        _add_field(command, field, info)
    return command


def _add_field(command: Parser, field: str, info: FieldInfo) -> None:
    names = [f"--{field}", *([f"--{field.replace('_', '-')}"] if "_" in field else [])]
    text = _help(field, info).replace("%", "%%")
    if info.annotation in (bool, bool | None):
        command.add_argument(*names, dest=field, nargs="?", const="true", metavar="true|false", help=text)
        command.add_argument(f"--no-{field}", dest=field, action="store_const", const="false", help=argparse.SUPPRESS)
    else:
        command.add_argument(*names, dest=field, metavar=_metavar(info), help=text)


def _help(field: str, info: FieldInfo) -> str:
    literal = [value for part in (info.annotation, *typing.get_args(info.annotation)) for value in _literals(part)]
    choices = list(CHOICES[field]) if field in CHOICES else literal
    default = "required" if info.is_required() else f"default: {_shown(info.default)}"
    return f"{info.description or ''} [{'one of: ' + ', '.join(map(str, choices)) + '; ' if choices else ''}{default}]".strip()


def _literals(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def _metavar(info: FieldInfo) -> str:
    if typing.get_origin(info.annotation) is tuple:
        return "A,B"
    kinds = {kind for kind in (info.annotation, *typing.get_args(info.annotation)) if kind in (int, float)}
    return "NUMBER" if kinds else "TEXT"


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "empty"
    return "empty" if default in (None, PydanticUndefined) else str(default)


def _none_or(value: str | None, info: FieldInfo) -> str | None:
    """'none' and an empty text mean empty, where a field may be empty."""
    if value is None:
        raise UserError(f"A value is missing ({info.description})")
    return None if value.lower() in ("", "none", "null") and type(None) in typing.get_args(info.annotation) else value


def _preset(name: str, verb_name: str) -> dict[str, Any]:
    known = PRESETS[verb_name]
    if name not in known:
        raise UserError(f"Unknown preset '{name}' for {verb_name}. Choose one of: {', '.join(known)}.")
    return known[name]


def _job_file(name: str, verb_name: str) -> dict[str, Any]:
    """A JSON object of fields; a run.json will do too."""
    try:
        content = json.loads(Path(name).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The job file {name} can't be read ({error.strerror}). Give a JSON file: --config job.json") from None
    except ValueError as error:
        raise UserError(f"The job file {name} is no JSON ({error}). Write the fields as one JSON object.") from None
    other = content.get("verb", verb_name) if isinstance(content, dict) else verb_name
    if other != verb_name:
        raise UserError(f"The job file {name} is for '{other}', not for '{verb_name}'. Use: python -m core {other} --config {name}")
    fields = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(fields, dict):
        raise UserError(f'The job file {name} holds no JSON object. Write the fields as one, such as {{"seed": 1}}.')
    return {key: value for key, value in fields.items() if key != "verb"}
