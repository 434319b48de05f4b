"""Which passages, sections and documents are relevant to each question, from its gold or from judgements by document.

Gold is a place in a document's text: the paragraph that begins with `[label]`, or a quote. A passage is relevant where it shares at least
half of the shorter of the two with such a place, so that gold doesn't depend on how documents are cut. A section likewise.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.config import RagConfig
from core.errors import shown
from core.rag.questions import Asked, read_qrels
from core.wording import count, listed

if TYPE_CHECKING:
    from core.rag.index import Index, Passage

SHARED = 0.5
"""Share of the shorter of passage and gold that both must hold."""
Grades = dict[str, dict[str, float]]
"""By question and id; above 0 is relevant. Questions of which nothing is known are absent."""
Span = tuple[int, int]


@dataclass(frozen=True)
class Relevance:
    """Grades of what can be found."""

    passages: Grades
    sections: Grades
    documents: Grades
    notes: list[str] = field(default_factory=list)
    """What a person should know: gold that could not be found."""


def grades(index: "Index", asked: Sequence[Asked], config: RagConfig) -> Relevance:
    """Grade 1 for what overlaps gold; documents have the grades of the qrels where there are any."""
    texts = _Texts(index)
    missing_documents, missing_passages = [], []
    passages, sections, documents = {}, {}, {}
    for each in asked:
        named = [texts.document(name) for name in each.gold_documents]
        missing_documents += [name for name in named if name not in texts.passages]
        spans = {document: found for document in named or texts.passages if (found := texts.spans(document, each.gold_passages))}
        if each.gold_passages and not spans:
            missing_passages.append(each.id)
        if spans:
            passages[each.id] = _overlapping(spans, texts.passages)
            sections[each.id] = _overlapping(spans, texts.sections)
        if named or spans:
            documents[each.id] = dict.fromkeys(named or spans, 1.0)
    if config.qrels:
        judged = read_qrels(config.qrels)
        named_so = {each.id: {texts.document(name): grade for name, grade in judged.get(each.id, {}).items()} for each in asked}
        missing_documents += [
            name for grades in named_so.values() for name, grade in grades.items() if grade > 0 and name not in texts.passages
        ]
        documents |= {name: grades for name, grades in named_so.items() if grades}
    return Relevance(passages, sections, documents, _notes(missing_documents, missing_passages))


def _overlapping(spans: Mapping[str, Sequence[Span]], places: Mapping[str, Sequence["Passage"]]) -> dict[str, float]:
    """Grade 1 for each passage (or section) that holds enough of a span of its document."""
    return {
        place.id: 1.0 for document, found in spans.items() for place in places[document] if any(_shares(place, *span) for span in found)
    }


def _shares(place: "Passage", start: int, end: int) -> bool:
    shared = min(place.end, end) - max(place.start, start)
    return shared >= SHARED * min(place.end - place.start, end - start)


def _notes(documents: Sequence[str], passages: Sequence[str]) -> list[str]:
    notes = []
    if documents:
        names = listed([f"'{shown(name, 40)}'" for name in dict.fromkeys(documents)], 3)
        notes.append(f"{count(len(documents), 'gold document')} can't be found by any pipeline, because the index has none called {names}.")
    if passages:
        ids = listed([shown(name, 20) for name in passages], 3)
        notes.append(
            f"{count(len(passages), 'question')} ({ids}) with gold passages that stand in no document are left out where passages are "
            "scored: gold is a paragraph's [label] or a quote."
        )
    return notes


class _Texts:
    """The documents of an index: their texts and places, by name."""

    def __init__(self, index: "Index") -> None:
        self.passages = _by_document(index.passages)
        self.sections = _by_document(index.sections.values())
        self._texts = index.texts
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for document in self.passages:
            for name in {_plain(document), _plain(document.rpartition("/")[2])}:
                self._by_name[name].append(document)

    def document(self, name: str) -> str:
        """The document that a gold document means: its path, or its file name where no other has it; else `name` as it is."""
        found = self._by_name.get(_plain(name.removeprefix("./")), [])
        return name if name in self.passages or len(found) != 1 else found[0]

    def spans(self, document: str, gold: Iterable[str]) -> list[Span]:
        """Where gold stands in a document's text."""
        return [span for each in gold for span in _find(self._texts.get(document, ""), each)]


def _by_document(places: Iterable["Passage"]) -> dict[str, list["Passage"]]:
    found: dict[str, list[Passage]] = defaultdict(list)
    for place in places:
        found[place.document].append(place)
    return dict(found)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _find(text: str, gold: str) -> list[Span]:
    """The paragraphs that begin with `[gold]`; where there are none, the places that quote it, blanks and case aside."""
    label = rf"^\[{re.escape(gold)}\].*(?:\n(?!\s*\n|\[).*)*"
    quote = r"\s+".join(map(re.escape, gold.split()))
    found = re.finditer(label, text, re.MULTILINE) if len(gold) <= 40 else iter(())
    return [match.span() for match in found] or [match.span() for match in re.finditer(quote, text, re.IGNORECASE)]
