"""report.html: one file with all chapters, styles and scripts in it, which asks nothing of any server.

A policy (https://www.w3.org/TR/CSP3/) lets only the scripts written here run, known by their hashes, and lets nothing be fetched, so
that no text of a model's making could do harm even where it escaped being escaped.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import plotly

from core.report import judges, method, outlook, pictures, story, verdict_data
from core.report.markup import Markup, data, element, folded, joined, listing, paragraph
from core.report.pictures import Picture
from core.report.sources import Sources
from core.wording import day

HERE = Path(__file__).parent
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
FONT = "system-ui, sans-serif"
KEPT_TAGS = ("<br>", "<extra>", "</extra>")
"""What the charts themselves put into their texts; plotly reads these, and any other sign that it would read as HTML is escaped."""


@dataclass(frozen=True)
class Chapter:
    """A part of the story: empty ones are left out."""

    identity: str
    title: str
    body: Markup


def page(sources: Sources, title: str) -> str:
    """The whole file."""
    drawn: list[Picture] = []
    chapters = [chapter for chapter in _chapters(sources, drawn.append) if chapter.body]
    verdicts = verdict_data.browser(sources)
    payload = joined([data({each.key: _figure(each) for each in drawn}, "figure-data"), data(verdicts, "verdict-data")])
    contents = element("nav", *(element("a", each.title, href=f"#{each.identity}") for each in chapters), aria_label="Contents")
    body = [element("section", element("h2", each.title), each.body, id=each.identity) for each in chapters]
    return _document(title, joined([_head(sources, title), contents, element("main", *body), _foot(sources)]), payload)


def title_of(sources: Sources, wanted: str | None) -> str:
    """The headline."""
    return (wanted or "").strip() or f"What fine-tuning changed on {sources.dataset}"


def _chapters(sources: Sources, draw: Callable[[Picture], None]) -> list[Chapter]:
    return [
        Chapter("claim", "In short", story.claim(sources)),
        Chapter("problem", "The problem", story.problem(sources)),
        Chapter("method", "What was done", method.chapter(sources)),
        Chapter("examples", "Before and after", story.examples(sources)),
        Chapter("figures", "Figures", _figures(sources, draw)),
        Chapter("judges", "Judges and people", _judged(sources, draw)),
        Chapter("browser", "Every verdict", _browser(sources)),
        Chapter("claims", "Claims of others", judges.claims(sources)),
        Chapter("costs", "What it took", method.costs(sources)),
        Chapter("limits", "What this does not show", listing(outlook.limits(sources))),
        Chapter("next", "What next", listing(outlook.steps(sources))),
        Chapter("versions", "Versions", method.versions(sources)),
    ]


def _figures(sources: Sources, draw: Callable[[Picture], None]) -> Markup:
    matrices, left_out = pictures.matrices(sources)
    dumbbells = pictures.dumbbells(sources)
    more = f"Figures left out here for room, and in scores.csv: {', '.join(left_out)}." if left_out else ""
    return joined(
        [
            _shown([dumbbells] if dumbbells else [], "Perplexity, category by category", "", draw),
            _shown(matrices, "Every model on every category", "Metric", draw),
            paragraph(more, "quiet"),
            _shown(pictures.curves(sources), "How training went", "Training run", draw),
        ]
    )


def _judged(sources: Sources, draw: Callable[[Picture], None]) -> Markup:
    return joined(
        [
            judges.summary(sources),
            _shown(pictures.outcomes(sources), "Outcomes", "Judged", draw),
            _shown(pictures.win_matrices(sources), "Who wins where", "Judge", draw),
            element("h3", "Audit of the judges") if sources.judged else Markup(),
            judges.cards(sources) if sources.judged else Markup(),
            judges.by_people(sources),
        ]
    )


def _shown(found: Sequence[Picture], title: str, choose: str, draw: Callable[[Picture], None]) -> Markup:
    """Pictures of one kind: the first shows, the others when they are chosen."""
    if not found:
        return Markup()
    for each in found:
        draw(each)
    choices = [element("option", each.label, value=each.key) for each in found]
    identity = f"choose-{found[0].key}"
    switch = joined([element("label", f"{choose} ", for_=identity), element("select", *choices, class_="switch", id=identity)])
    group = [_picture(each, hidden=bool(place)) for place, each in enumerate(found)]
    return element("div", element("h3", title), switch if found[1:] else "", *group, class_="group")


def _picture(picture: Picture, hidden: bool) -> Markup:
    place = element("div", class_="plot", data_figure=picture.key, role="img", aria_label=picture.finding, style=_width(picture))
    caption = element("figcaption", element("p", picture.finding, class_="finding"), paragraph(picture.reading, "quiet"))
    region = element("div", place, class_="scroll", tabindex=0, role="region", aria_label=picture.label)
    box = region if picture.narrowest else element("div", place, class_="scroll")
    return element(
        "figure", box, caption, picture.beside, folded("The numbers", picture.numbers), id=f"figure-{picture.key}", hidden=hidden
    )


def _width(picture: Picture) -> str | None:
    return f"min-width:{picture.narrowest}px" if picture.narrowest else None


def _browser(sources: Sources) -> Markup:
    """The frame of the verdict browser; page.js fills it."""
    if not sources.judged:
        return Markup()
    hint = "Win: the candidate's answer won. Each pair was asked in both orders where the judge reads; a verdict that changed is a tie."
    return joined([paragraph(hint, "quiet"), element("div", id="verdict-browser"), element("noscript", "The browser needs JavaScript.")])


def _head(sources: Sources, title: str) -> Markup:
    run = sources.evaluation.run
    made = f"Evaluation {run.run_id[-4:]} of {day(run.finished_at or run.created_at)}. Made with Lyceum."
    return element("header", element("h1", title), paragraph(made, "quiet"))


def _foot(sources: Sources) -> Markup:
    said = "This file holds all that it shows and asks nothing of any server. report.zip beside it has the tables, settings and versions."
    return element("footer", paragraph(f"{said} Evaluation run: {sources.evaluation.run.run_id}.", "quiet"))


def _figure(picture: Picture) -> dict[str, Any]:
    """A figure's data and layout, with every text inert."""
    picture.figure.update_layout(template="none", font={"family": FONT, "size": 13})
    made = json.loads(picture.figure.to_json())
    return {"data": _inert(made["data"]), "layout": _inert({**made["layout"], "template": {}})}


def _inert(value: Any) -> Any:
    """Texts as plotly shows them: it reads some HTML in labels, which names of categories and models may hold."""
    if isinstance(value, dict):
        return {key: _inert(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_inert(each) for each in value]
    return plotly_text(value) if isinstance(value, str) and ("<" in value or "&" in value) else value


def plotly_text(text: str) -> str:
    """A text that plotly shows as it stands, but for KEPT_TAGS."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for tag in KEPT_TAGS:
        safe = safe.replace(tag.replace("<", "&lt;").replace(">", "&gt;"), tag)
    return safe


def _document(title: str, body: Markup, payload: Markup) -> str:
    scripts = [_asset(PLOTLY), _asset(HERE / "page.js")]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(_asset(HERE / "page.css"))),
    ]
    ran = joined(element("script", Markup(script)) for script in scripts)
    return f"<!doctype html>\n{element('html', element('head', *head), element('body', body, payload, ran), lang='en')}\n"


@cache
def _asset(file: Path) -> str:
    return file.read_text(encoding="utf-8").replace("\r\n", "\n").strip()


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
