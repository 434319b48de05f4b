"""Tables of the documentation, made from the code: what can be chosen by a word, presets, fields of the command line."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence

from core.claims import CLAIMS
from core.jobs.arguments import parser
from core.judge import BACKENDS
from core.judge.formats import FORMATS
from core.merge import ROUTERS, STRATEGIES
from core.metrics import METRICS
from core.presets import PRESETS
from core.rag import CHUNKERS, PIPELINES
from core.registry import Entry
from core.train import METHODS

CHOICES: dict[str, tuple[str, str, Mapping[str, Entry]]] = {
    "methods": ("Tuning methods", "train --method", METHODS),
    "strategies": ("Merge strategies", "merge --strategy", STRATEGIES),
    "routers": ("Routers", "route --router", ROUTERS),
    "metrics": ("Metrics", "evaluate --metrics", METRICS),
    "backends": ("Judge backends", "judge --backend", BACKENDS),
    "pipelines": ("RAG pipelines", "rag --pipelines", PIPELINES),
    "chunkers": ("Chunkers", "rag --chunker", CHUNKERS),
    "formats": ("Files of verdicts", "audit --verdicts", FORMATS),
    "claims": ("Claims", "claims", CLAIMS),
}
"""By marker: the heading, where it is chosen, and the table."""


def choices(name: str) -> str:
    """The rows of one table: word, what it is, when to choose it (where the table says so), source."""
    rows = CHOICES[name][2]
    timely = any(row.use_when for row in rows.values())
    head = ["word", "what it is", *(["choose it when"] if timely else []), "source"]
    return table(
        head, ([f"`{word}`", _what(row), *([row.use_when or "–"] if timely else []), _linked(row.reference)] for word, row in rows.items())
    )


def presets(verb: str) -> str:
    """The named settings of a verb."""
    rows = []
    for name, settings in PRESETS[verb].items():
        said = (f"{field}={','.join(value) if isinstance(value, list) else value}" for field, value in settings.items())
        rows.append([f"`{name}`", "; ".join(said)])
    return table(["preset", "settings"], rows)


MARKERS: dict[str, Callable[[], str]] = {
    **{name: lambda name=name: choices(name) for name in CHOICES},  # type: ignore[misc]
    **{f"presets-{verb}": lambda verb=verb: presets(verb) for verb in PRESETS},  # type: ignore[misc]
}
"""What stands in a page in place of `<!-- table: NAME -->`."""


def choices_page() -> str:
    """Everything that is chosen by a word, on one page."""
    parts = [
        "# What can be chosen",
        "Each row is one function and one row of a table: [CONTRIBUTING](../contributing.md) says how to add one.",
    ]
    for name, (title, where, _) in CHOICES.items():
        parts += [f"## {title}", f"`python -m core {where}`", choices(name)]
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Every verb of the command line with its fields, as `--help` tells them."""
    parts = [
        "# Command line",
        "`python -m core VERB --field value ...`: the same fields as in a job file and in the app's forms. "
        "Lists are `a,b`, `a b` or JSON. Each verb submits a job and follows it; `--detach` returns at once.",
    ]
    for verb, command in _commands().items():
        parts += [f"## {verb}", plain(command.description or ""), _fields(command)]
        if verb in PRESETS:
            parts += [f"Presets of {verb}:", presets(verb)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)])


def plain(text: str) -> str:
    """Text with the characters that Markdown or HTML would read, escaped."""
    return "".join(f"\\{each}" if each in "*_<>[]{}#`" else each for each in text)


def _what(row: Entry) -> str:
    return f"**{plain(row.label)}** {plain(row.summary)}"


def _linked(reference: str) -> str:
    """arXiv numbers and addresses as links."""
    words = []
    for word in reference.split(" "):
        core, tail = word.rstrip(";.,)"), word[len(word.rstrip(";.,)")) :]
        number = core.removeprefix("arXiv:")
        if number != core:
            words.append(f"[{core}](https://arxiv.org/abs/{number}){tail}")
        else:
            words.append(f"<{core}>{tail}" if core.startswith("http") else plain(word))
    return " ".join(words)


def _commands() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the verbs, by name."""
    [verbs] = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(verbs.choices)


def _fields(command: argparse.ArgumentParser) -> str:
    rows = []
    for action in command._actions:
        if action.option_strings and action.help not in (None, argparse.SUPPRESS) and action.dest != "help":
            said, _, default = str(action.help).replace("%%", "%").partition(" [")
            shown = action.metavar if isinstance(action.metavar, str) else ""
            rows.append([f"`{action.option_strings[0]}{' ' + shown if shown else ''}`", plain(said), plain(default.removesuffix("]"))])
    return table(["field", "what", "choices and default"], rows)
