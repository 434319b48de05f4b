"""The things that CONTRIBUTING adds: read from its code blocks, and put into a copy of the project."""

import ast
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
COPIED = ("core", "pages", "docs", "tests", ".streamlit", "streamlit_app.py", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml")
_PLACES = re.compile(r"New file `([\w/.]+)`:\n\n```python\n(.*?)```.*?Row in `(\w+)` of `([\w/.]+)`:\n\n```python\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Added:
    """One thing: its file and its row, as they are printed."""

    file: str
    code: str
    table: str
    init: str
    row: str

    @property
    def word(self) -> str:
        """What it is chosen by."""
        return self.row.split('"')[1]


def read() -> dict[str, Added]:
    """The things by their tables."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = [Added(*each) for each in _PLACES.findall(text)]
    return {each.table: each for each in found}


def copy(target: Path) -> Path:
    """The project without what is large: that is linked."""
    target.mkdir()
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
        else:
            shutil.copy(source, target / name)
    os.symlink(PROJECT / "data", target / "data")
    return target


def put(thing: Added, project: Path) -> None:
    """The file, and the row at the end of its table, where they don't stand there already."""
    (project / thing.file).write_text(thing.code, encoding="utf-8")
    init = project / thing.init
    text = init.read_text(encoding="utf-8")
    [table] = (node for node in ast.parse(text).body if isinstance(node, ast.Assign) and node.targets[0].id == thing.table)
    if thing.word in (key.value for key in table.value.keys if isinstance(key, ast.Constant)):
        return
    lines = text.splitlines(keepends=True)
    assert lines[table.end_lineno - 1] == "}\n", f"{thing.table} ends otherwise than rows can follow"
    lines.insert(table.end_lineno - 1, thing.row)
    init.write_text("".join(lines), encoding="utf-8")
