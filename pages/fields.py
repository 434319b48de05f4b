"""The widgets of a form: one per field of a config, of the field's type, with the field's sentence as help.

A field's value lives in the session under '<verb>.<field>', so a preset or a run's settings can be put into a form, and it outlasts
a change of page.
"""

from collections import Counter
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from core.config import CHOICES, Config, ServeConfig
from core.registry import Entry
from core.verbs import VERBS
from core.wording import plain

LABELS = {
    "r": "Rank r",
    "backend": "Judge",
    "lora_alpha": "LoRA alpha",
    "base_url": "Base URL",
    "nf4": "NF4",
    "max_seq_length": "Longest row in tokens",
}
YES = {True: "yes", False: "no"}
EMPTY = "empty"


def config(verb: str) -> type[Config]:
    """What a verb takes. `serve` alone is no job."""
    return ServeConfig if verb == "serve" else VERBS[verb].config


def start(verb: str) -> None:
    """Give every field that the session does not know yet its default. A link may choose a row: /train?train.method=vera."""
    for name, field in config(verb).model_fields.items():
        st.session_state.setdefault(f"{verb}.{name}", _shown(field, None if field.is_required() else field.default))
    for name, entries in _single_choices(config(verb).model_fields):
        linked = st.query_params.pop(f"{verb}.{name}", None)
        if linked in entries:
            st.session_state[f"{verb}.{name}"] = linked


def put(verb: str, config: Config) -> None:
    """Put a config's values into the verb's form."""
    for name, field in type(config).model_fields.items():
        st.session_state[f"{verb}.{name}"] = _shown(field, getattr(config, name))


def used(verb: str, fields: Mapping[str, FieldInfo]) -> dict[str, FieldInfo]:
    """The fields that the chosen rows of the tables use: what only other rows read is left out."""
    left_out: set[str] = set()
    for choice, entries in _single_choices(fields):
        every = {name for entry in entries.values() for name in entry.fields}
        left_out |= every - set(entries[st.session_state[f"{verb}.{choice}"]].fields)
    return {name: field for name, field in fields.items() if name not in left_out}


def peculiar(verb: str, fields: Mapping[str, FieldInfo]) -> list[str]:
    """The fields that the chosen rows of the tables use and no other row does."""
    names: list[str] = []
    for choice, entries in _single_choices(fields):
        uses = Counter(name for entry in entries.values() for name in entry.fields)
        names += [name for name in entries[st.session_state[f"{verb}.{choice}"]].fields if uses[name] == 1]
    return names


def grid(verb: str, fields: Mapping[str, FieldInfo], options: Mapping[str, list[str]], across: int = 3) -> dict[str, Any]:
    """The fields' widgets, `across` in a row, and under a choice from a table what its row says. Returns the values."""
    values: dict[str, Any] = {}
    names = list(fields)
    for begin in range(0, len(names), across):
        row = names[begin : begin + across]
        for column, name in zip(st.columns(across, vertical_alignment="bottom"), row, strict=False):
            with column:
                values[name] = _widget(verb, name, fields[name], options.get(name))
        for name in row:
            if name in CHOICES and isinstance(values[name], str):
                st.caption(about(CHOICES[name][values[name]]))
    return values


def about(entry: Entry) -> str:
    """What a row is, when to use it, and its paper, in Markdown."""
    when = f" **When:** {plain(entry.use_when)}" if entry.use_when else ""
    return f"**{plain(entry.label)}:** {plain(entry.summary)}{when} **Source:** {plain(entry.reference)}."


def _single_choices(fields: Mapping[str, FieldInfo]) -> list[tuple[str, dict[str, Entry]]]:
    """The fields that choose one row of a table, with the table."""
    return [(name, entries) for name, entries in CHOICES.items() if name in fields and _kind(fields[name]) is str]


def title(name: str) -> str:
    """A field's name as a label."""
    words = name.replace("_", " ")
    return LABELS.get(name) or words[:1].upper() + words[1:]


def _widget(verb: str, name: str, field: FieldInfo, known: list[str] | None) -> Any:
    kind, key = _kind(field), f"{verb}.{name}"
    label, shared = title(name), {"key": key, "help": field.description, "persist_state": "session"}
    if get_origin(kind) is Literal:
        return st.selectbox(label, list(get_args(kind)), **shared)
    if kind is bool:
        return _switch(label, field, shared)
    if kind in (int, float):
        return _number(label, kind, field, shared)
    if get_origin(kind) is tuple or known is not None or name in CHOICES:
        empty = [""] if kind is str and _may_be_empty(field) else []
        value = _choice(label, name, kind, [*empty, *(known or [])], shared)
        return None if empty and not value else value
    return st.text_input(label, placeholder="empty", **shared) or None


def _choice(label: str, name: str, kind: Any, known: list[str], shared: dict[str, Any]) -> Any:
    """One or several of the rows of a table, or of known values and others that are typed in."""
    entries, chosen = CHOICES.get(name), st.session_state[shared["key"]]
    several = get_origin(kind) is tuple
    mine = chosen if several else [chosen] if chosen else []
    names = list(entries) if entries else list(dict.fromkeys([*mine, *known]))
    shared |= {"format_func": lambda value: entries[value].label if entries and value in entries else str(value) or EMPTY}
    if several:
        return tuple(st.multiselect(label, names, accept_new_options=not entries, **shared))
    return st.selectbox(label, names, accept_new_options=not entries, **shared)


def _switch(label: str, field: FieldInfo, shared: dict[str, Any]) -> bool | None:
    """On or off; where the field may be empty, that too."""
    if _may_be_empty(field):
        return st.selectbox(label, list(YES), index=None, format_func=YES.__getitem__, placeholder="empty", **shared)
    return st.toggle(label, **shared)


def _number(label: str, kind: type, field: FieldInfo, shared: dict[str, Any]) -> Any:
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for side, name in (("ge", "min_value"), ("le", "max_value")):
            if hasattr(rule, side):
                bounds[name] = kind(getattr(rule, side))
    usual = field.default
    small = kind is float and usual is not None and 0 < abs(usual) < 0.01
    step = {"step": 1} if kind is int else {"step": 1e-4 if small else 0.01 if (usual or 1) < 1 else 1.0}
    shape = step if kind is int else {**step, "format": "%.1e" if small else "%g"}
    empty = {"value": None} if _may_be_empty(field) else {}
    return st.number_input(label, placeholder="empty", **empty, **bounds, **shape, **shared)


def _shown(field: FieldInfo, value: Any) -> Any:
    """A field's value as its widget keeps it."""
    kind = _kind(field)
    if get_origin(kind) is tuple:
        return list(value or ())
    if kind in (int, float) and value is not None:
        return kind(value)
    return "" if kind is str and value is None else value


def _may_be_empty(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is UnionType


def _kind(field: FieldInfo) -> Any:
    """The field's type without `| None`."""
    kind = field.annotation
    if get_origin(kind) is UnionType:
        return next(each for each in get_args(kind) if each is not type(None))
    return kind
