"""The reference of the code: a page for each package of core and one for the app, by what stands in their docstrings.

Files are read and never imported. mkdocstrings writes out the `:::` lines.
"""

import ast
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CORE = PROJECT / "core"
ALONE = "core.md"
"""The page of the modules that stand in core/ itself."""


def pages() -> dict[str, list[str]]:
    """The modules of each page, by the page's path."""
    found = {f"reference/python/{ALONE}": [_name(file) for file in _public(CORE)]}
    for folder in sorted(each for each in CORE.iterdir() if (each / "__init__.py").exists()):
        files = [file for each in (folder, *sorted(folder.iterdir())) if each.is_dir() for file in _public(each)]
        found[f"reference/python/{folder.name}.md"] = [_name(file) for file in files]
    return found


def every_page() -> dict[str, str]:
    """The text of each page, by its path."""
    made = {path: _page(path, names) for path, names in pages().items()}
    return {**made, "reference/python/index.md": _index(), "reference/app.md": _app()}


@cache
def said(file: Path) -> str:
    """The docstring of a module."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def _page(path: str, names: list[str]) -> str:
    title = "core" if path.endswith(ALONE) else f"core.{Path(path).stem}"
    return f"# {title}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"


def _index() -> str:
    """Every module with the first sentence of its docstring."""
    parts = ["# Python", "Every module and what it is for. Nothing here is imported before it is used."]
    for path, names in pages().items():
        rows = [f"| [{name}]({Path(path).name}#{name}) | {_first(said(_file(name)))} |" for name in names]
        parts.append("\n".join([f"## {Path(path).stem}", "", "| module | what |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _app() -> str:
    """The pages of the app, by what their files say first."""
    rows = [
        f"| {file.stem} | {_first(said(file))} |"
        for file in sorted((PROJECT / "pages").glob("*.py"))
        if f'st.Page("pages/{file.name}"' in (PROJECT / "pages" / "frame.py").read_text(encoding="utf-8")
    ]
    lead = "`make app` opens it. Pages read tables, draw charts and submit jobs; nothing is computed in them."
    return "\n".join(["# The app", "", lead, "", "| page | what it shows |", "|---|---|", *rows, ""])


def _public(folder: Path) -> list[Path]:
    """Modules, the package itself first; the command line has a page of its own."""
    files = [file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")]
    return [folder / "__init__.py", *files] if (folder / "__init__.py").exists() else []


def _name(file: Path) -> str:
    return ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def _file(name: str) -> Path:
    path = PROJECT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _first(text: str) -> str:
    """The first paragraph in one line, for a table's cell."""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|").replace("<", "&lt;")
