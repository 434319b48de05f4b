"""README's tree names what is there, and all of core."""

import re

from core import paths


def lines() -> list[tuple[str, str]]:
    """(folder, what is named in it) of every line of the tree; the text behind is left out."""
    text = (paths.PROJECT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"## Where things are\n\n```\n(.*?)```", text, re.DOTALL)[1]
    found, folder = [], ""
    for line in tree.splitlines():
        names = re.split(r" {2,}", line.strip())[0]
        if line.startswith(" " * 24):
            continue  # a sentence goes on
        if not line.startswith(" "):
            folder = names if names.endswith("/") else ""
        found += [("" if not line.startswith(" ") else folder, name) for name in names.split()]
    return found


def test_everything_that_the_tree_names_is_there() -> None:
    for folder, name in lines():
        if name != "models/":  # made by method full
            pattern = re.sub(r"<[^>]+>", "*", f"{folder}{name}")
            assert list(paths.PROJECT.glob(pattern)), f"README's tree names {folder}{name}"


def test_every_package_and_module_of_core_is_in_the_tree() -> None:
    named = {name.rstrip("/") for folder, name in lines() if folder == "core/"}
    there = {path.name for path in (paths.PROJECT / "core").iterdir() if not path.name.startswith("__") and path.suffix in ("", ".py")}
    assert there - named == set(), "README's tree lacks these"
    assert {folder.name for folder in paths.PROJECT.iterdir() if folder.is_dir() and not folder.name.startswith((".", "_", "site"))} <= {
        name.partition("/")[0] for folder, name in lines() if not folder
    } | {"node_modules"}
