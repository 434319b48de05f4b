"""Run in a copy of the project by test_contributing.py: do what a person does with the added things; say what was seen, as JSON.

python tests/docs/try_added.py '{"do": [[words of a command], ...], "help": [...], "forms": {page: [keys]}, "tables": [...]}'
"""

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

from streamlit.testing.v1 import AppTest

from core import __main__ as command_line
from core import paths, runs
from core.jobs import execute
from core.jobs.arguments import config_values, parse
from core.jobs.configure import configure
from core.workspace import Workspace
from docs.hooks import tables


def do(words: list[str]) -> dict[str, Any]:
    """A job, from the words of the command line, in this process."""
    config = configure(words[0], config_values(parse(words)))
    run = runs.create(words[0], config.model_dump(mode="json"))
    ended = execute.execute(Workspace(execute.claim(run.run_id)))
    assert ended.status == "done", ended.error
    return ended.outputs


def help_of(verb: str) -> str:
    """`python -m core VERB --help`."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            command_line.main([verb, "--help"])
    except SystemExit:
        return " ".join(said.getvalue().split())
    raise AssertionError("--help goes on")


def forms(pages: dict[str, list[str]]) -> dict[str, list[str]]:
    """What the widgets with these keys offer."""
    app, offered = AppTest.from_file(paths.PROJECT / "streamlit_app.py", default_timeout=120).run(), {}
    for page, keys in pages.items():
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, app.exception
        widgets = {each.key: each for each in (*app.selectbox, *app.multiselect)}
        offered |= {key: list(widgets[key].options) for key in keys}
    return offered


STEPS: dict[str, Callable[[Any], Any]] = {
    "do": lambda commands: [do(words) for words in commands],
    "help": lambda verbs: {verb: help_of(verb) for verb in verbs},
    "forms": forms,
    "tables": lambda names: {name: tables.choices(name) for name in names},
}

if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        seen = {step: STEPS[step](asked) for step, asked in json.loads(sys.argv[1]).items()}
    print(json.dumps(seen, default=str))
