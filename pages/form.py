"""A form made from a config: a preset, a widget per field, the command line that does the same, and buttons."""

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from pydantic import ValidationError

from core import paths, read_only, runs, uploads
from core.config import Config
from core.errors import UserError
from core.presets import PRESETS
from core.wording import count, duration, plain, seconds_between
from pages import fields, parts


def form(
    verb: str, button: str, first: Iterable[str], options: Mapping[str, list[str]] | None = None, fixed: Mapping[str, Any] | None = None
) -> None:
    """The form of a verb. `first`: fields shown at once, the others fold; `options`: known values; `fixed`: values set elsewhere."""
    config = settings(verb, first, options, fixed)
    if config is not None:
        begin({verb: button}, config)


def settings(
    verb: str,
    first: Iterable[str],
    options: Mapping[str, list[str]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    across: int = 3,
) -> Config | None:
    """The preset and the fields of a verb, `across` in a row; the config that they make, or None after saying what is wrong with it.

    In read-only mode nothing, and None.
    """
    if read_only.active():
        return None
    options, fixed = options or {}, fixed or {}
    fields.start(verb)
    if verb in PRESETS:
        presets(verb)
    every = {name: field for name, field in fields.config(verb).model_fields.items() if name not in fixed}
    shown, first = fields.used(verb, every), [*first, *fields.peculiar(verb, every)]
    values = fixed | fields.grid(verb, {name: shown[name] for name in first if name in shown}, options, across)
    with st.expander("More settings"):
        values |= fields.grid(verb, {name: field for name, field in shown.items() if name not in first}, options, across)
    return _checked(verb, values)


def begin(buttons: Mapping[str, str], config: Config, estimated: bool = False) -> None:
    """What it cost last time, unless it is `estimated`; a button per verb that takes this config, the main one first; the command line.

    In read-only mode nothing.
    """
    if read_only.active():
        return
    verb = next(iter(buttons))
    if said := cost(verb, estimated):
        st.caption(said)
    with st.container(horizontal=True):
        for each, label in buttons.items():
            if parts.action(label, type="primary" if each == verb else "secondary", key=f"{each}.submit"):
                parts.submit(each, config)
    st.code(command(verb, config, st.session_state.get(f"{verb}.preset")), language="bash", wrap_lines=True)


def presets(verb: str) -> None:
    """Named settings; choosing one puts its values into the form, and choosing none the defaults."""
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    name = left.selectbox(
        "Preset",
        list(PRESETS[verb]),
        index=None,
        placeholder="none: the defaults",
        key=f"{verb}.preset",
        help="Named settings. They are put into the fields below, where they can be changed.",
        on_change=_use_preset,
        args=(verb,),
        persist_state="session",
    )
    if name:
        right.caption("Sets " + plain(", ".join(f"{field}={_word(value)}" for field, value in PRESETS[verb][name].items())))


def clone(verb: str, config: Config) -> None:
    """Put a run's settings into the form (for a button's on_click)."""
    fields.put(verb, config)
    st.session_state[f"{verb}.preset"] = None
    st.toast("Its settings are in the form below.")


def command(verb: str, config: Config, preset: str | None = None) -> str:
    """The command line that does the same: only what differs from the preset, or else from the defaults."""
    words = ["python", "-m", "core", verb, *(["--preset", preset] if preset else [])]
    usual = {name: field.default for name, field in type(config).model_fields.items()}
    if preset:
        usual |= dict(type(config)(**PRESETS[verb][preset]))
    for name, value in config:
        if value != usual[name]:
            words += [f"--{name}", _word(value)]
    return shlex.join(words)


def cost(verb: str, estimated: bool = False) -> str:
    """What the last run of this verb took, unless this one is `estimated`; and how many jobs wait before a new one."""
    every = runs.listing()
    last = next((run for run in every if run.verb == verb and run.status == "done" and run.finished_at), None)
    waiting = [run for run in every if run.status in ("queued", "running") and run.parent is None]
    spent = duration(seconds_between(last.started_at, last.finished_at)) if last else ""
    past = f"The last {verb} took {spent}." if last else f"No run of {verb} here yet, so its time is not known."
    return " ".join(["" if estimated else past, f"{count(len(waiting), 'job')} before it." if waiting else ""]).strip()


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


def routes() -> list[str]:
    """Names of the routes under merged_adapters/."""
    return sorted(file.parent.name for file in paths.merged_adapters().glob(f"*/{paths.ROUTER}"))


def whole_models() -> list[str]:
    """Names of the models under models/ that full fine-tuning made."""
    return sorted(file.parent.name for file in paths.models().glob("*/run.json"))


def base_models() -> list[str]:
    """Base models at hand: the bundled one, then the folders under models/ that hold one."""
    return ["bundled", *(str(file.parent) for file in sorted(paths.models().glob("*/config.json")))]


def _folders(root: Path) -> list[str]:
    return sorted(file.parent.name for file in root.glob("*/adapter_config.json"))


def _use_preset(verb: str) -> None:
    name = st.session_state[f"{verb}.preset"]
    fields.put(verb, fields.config(verb)(**(PRESETS[verb][name] if name else {})))


def _word(value: Any) -> str:
    """A value as the command line reads it."""
    if isinstance(value, (tuple, list)):
        texts = [str(each) for each in value]
        return json.dumps(texts, ensure_ascii=False) if any("," in text for text in texts) or not texts else ",".join(texts)
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checked(verb: str, values: dict[str, Any]) -> Config | None:
    try:
        return fields.config(verb)(**values)
    except UserError as error:
        st.info(plain(str(error)))
    except ValidationError as error:
        for problem in error.errors():
            said = problem["msg"].removeprefix("Value error, ")
            st.info(plain(f"{fields.title(str(problem['loc'][0]))}: {said}" if problem["loc"] else said))
    return None
