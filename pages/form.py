"""A form made from a config: a widget per field with the field's sentence as help, the command line that does the same, and one button."""

import shlex
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from core import paths, runs, uploads
from core.config import CHOICES, Config
from core.errors import UserError
from core.verbs import VERBS
from core.wording import count, duration, plain, seconds_between
from pages import parts

LABELS = {"r": "Rank r", "lora_alpha": "LoRA alpha", "base_url": "Base URL", "nf4": "NF4", "max_seq_length": "Longest row in tokens"}


def form(
    verb: str, button: str, first: Iterable[str], options: Mapping[str, list[str]] | None = None, fixed: Mapping[str, Any] | None = None
) -> None:
    """The form of a verb. `first`: fields shown at once, the others fold; `options`: known values; `fixed`: values set elsewhere."""
    first, options, fixed = list(first), options or {}, fixed or {}
    fields = {name: field for name, field in VERBS[verb].config.model_fields.items() if name not in fixed}
    values = dict(fixed)
    values.update(_grid(verb, {name: fields[name] for name in first if name in fields}, options))
    with st.expander("More settings"):
        values.update(_grid(verb, {name: field for name, field in fields.items() if name not in first}, options))
    config = _checked(verb, values)
    if config is None:
        return
    st.caption(cost(verb))
    if st.button(button, type="primary", key=f"{verb}.submit"):
        parts.submit(verb, config)
    st.code(command(verb, config), language="bash", wrap_lines=True)


def command(verb: str, config: Config) -> str:
    """The command line that does the same: only what differs from the defaults."""
    words = ["python", "-m", "core", verb]
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value != field.default:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", text.lower() if isinstance(value, bool) else text]
    return shlex.join(words)


def cost(verb: str) -> str:
    """What the last run of this verb took, and how many jobs wait before a new one."""
    last = next((run for run in runs.listing(verb, "done") if run.finished_at), None)
    waiting = [run for run in runs.listing() if run.status in ("queued", "running")]
    spent = duration(seconds_between(last.started_at, last.finished_at)) if last else ""
    past = f"The last {verb} took {spent}." if last else f"No {verb} has run here yet, so its time is not known."
    return f"{past} {count(len(waiting), 'job')} before it." if waiting else past


def datasets() -> list[str]:
    """Data files at hand: shipped ones, then uploads."""
    shipped = [f"data/{file.name}" for file in sorted((paths.PROJECT / "data").glob("*.jsonl"))]
    return shipped + [str(file) for file in uploads.listing()]


def adapters() -> list[str]:
    """Names of the adapters under adapters/."""
    return _folders(paths.adapters())


def merged_adapters() -> list[str]:
    """Names of the merged adapters under merged_adapters/."""
    return _folders(paths.merged_adapters())


def _folders(root: Any) -> list[str]:
    return sorted(file.parent.name for file in root.glob("*/adapter_config.json"))


def _checked(verb: str, values: dict[str, Any]) -> Config | None:
    try:
        return VERBS[verb].config(**values)
    except UserError as error:
        st.info(plain(str(error)))
    except ValidationError as error:
        for problem in error.errors():
            st.info(
                plain(
                    f"{_title(str(problem['loc'][0]))}: {problem['msg'].removeprefix('Value error, ')}"
                    if problem["loc"]
                    else problem["msg"]
                )
            )
    return None


def _grid(verb: str, fields: Mapping[str, FieldInfo], options: Mapping[str, list[str]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    names = list(fields)
    for start in range(0, len(names), 3):
        for column, name in zip(st.columns(3, vertical_alignment="bottom"), names[start : start + 3], strict=False):
            with column:
                values[name] = _widget(verb, name, fields[name], options.get(name))
    return values


def _widget(verb: str, name: str, field: FieldInfo, known: list[str] | None) -> Any:
    """The widget for a field's type; its value outlasts a change of page."""
    kind, default = _kind(field), None if field.is_required() else field.default
    label, shared = _title(name), {"key": f"{verb}.{name}", "help": field.description, "persist_state": "session"}
    entries = CHOICES.get(name)
    naming = {"format_func": lambda value: entries[value].label if entries and value in entries else str(value)}
    if get_origin(kind) is Literal:
        choices = list(get_args(kind))
        return st.selectbox(label, choices, index=choices.index(default), **shared)
    if kind is bool:
        return st.toggle(label, value=default, **shared)
    if kind in (int, float):
        return _number(label, kind, field, default, shared)
    if get_origin(kind) is tuple:
        if known is not None or entries:
            names = list(entries or known or [])
            chosen = list(dict.fromkeys([*(default or ()), *names]))
            return tuple(st.multiselect(label, chosen, default=list(default or ()), accept_new_options=not entries, **naming, **shared))
        return st.text_input(label, value=",".join(map(str, default or ())), **shared)
    if known is not None or entries:
        names = list(dict.fromkeys([*([default] if default else []), *(entries or known or [])]))
        index = names.index(default) if default in names else None
        return st.selectbox(label, names, index=index, accept_new_options=not entries, **naming, **shared)
    return st.text_input(label, value=default or "", placeholder="empty", **shared) or None


def _number(label: str, kind: type, field: FieldInfo, default: Any, shared: dict[str, Any]) -> Any:
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for side, name in (("ge", "min_value"), ("le", "max_value")):
            if hasattr(rule, side):
                bounds[name] = kind(getattr(rule, side))
    value = None if default is None else kind(default)
    small = kind is float and value is not None and 0 < abs(value) < 0.01
    shape = (
        {"step": 1} if kind is int else {"format": "%.1e" if small else "%g", "step": 1e-4 if small else 0.01 if (value or 1) < 1 else 1.0}
    )
    return st.number_input(label, value=value, placeholder="empty", **bounds, **shape, **shared)


def _kind(field: FieldInfo) -> Any:
    """The field's type without `| None`."""
    kind = field.annotation
    if get_origin(kind) is UnionType:
        return next(each for each in get_args(kind) if each is not type(None))
    return kind


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return LABELS.get(name) or words[:1].upper() + words[1:]
