"""HTML in which text is text: whatever is no Markup is escaped when it is put into an element."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_VOID = ("br", "input", "link", "meta")
_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class Markup(str):
    """HTML that was made here, and needs no escaping."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Text of anybody's making as HTML that shows it; a NUL, which HTML can't hold, as its replacement sign."""
    return text if isinstance(text, Markup) else Markup(html.escape(text.replace("\0", "\ufffd")))


def element(tag: str, /, *children: str, **attributes: str | int | bool | None) -> Markup:
    """`<tag ...>children</tag>`: `class_` is class, `data_key` is data-key; True is an attribute without value, None and False none."""
    said = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    return Markup(f"<{tag}{said}>" + ("" if tag in _VOID else f"{joined(children)}</{tag}>"))


def joined(parts: Iterable[str]) -> Markup:
    """One after the other."""
    return Markup("".join(escaped(part) for part in parts))


def paragraph(text: str, class_: str | None = None) -> Markup:
    """A paragraph; none for no text."""
    return element("p", text, class_=class_) if text else Markup()


def listing(lines: Sequence[str]) -> Markup:
    """A bulleted list; none for no lines."""
    return element("ul", *(element("li", line) for line in lines)) if lines else Markup()


def table(rows: Iterable[Sequence[str]], columns: Sequence[str], label: str) -> Markup:
    """A table that scrolls inside itself; its first column names the rows."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = [element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows]
    whole = element("table", element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0)


def facts(pairs: Mapping[str, str]) -> Markup:
    """Terms and what they are; empty ones are left out."""
    said = [element("div", element("dt", term), element("dd", what)) for term, what in pairs.items() if what]
    return element("dl", *said) if said else Markup()


def folded(summary: str, *children: str) -> Markup:
    """What opens on a click."""
    return element("details", element("summary", summary), *children)


def data(value: Any, identity: str) -> Markup:
    """A script element that holds JSON and no script, and can't be ended or read as HTML from within."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return element("script", Markup(text.translate(_IN_SCRIPT)), type="application/json", id=identity)


def _attribute(name: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'
