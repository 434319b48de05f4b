"""Gold is a place in a text: which passages, sections and documents hold it."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.config import RagConfig
from core.rag.questions import FILE, Asked
from core.rag.relevance import Relevance, grades

PARAGRAPHS = [
    "# Sayings",
    "[1] Be kind to all.",
    "[2] Waste no\ntime, ever; it is short.",
    "[12] Speak little.\nAct much.",
    "No label: stay.",
]
TEXT = "\n\n".join(PARAGRAPHS)


@dataclass(frozen=True)
class Place:
    id: str
    document: str
    start: int
    end: int
    text: str
    section: str = ""


def cut(text: str, document: str, *borders: int) -> list[Place]:
    """The text cut at borders, blanks at the ends of pieces left out."""
    places = []
    for start, end in zip((0, *borders), (*borders, len(text)), strict=True):
        inner = text[start:end]
        start += len(inner) - len(inner.lstrip())
        places.append(Place(f"{document}:{len(places)}", document, start, start + len(inner.strip()), inner.strip()))
    return places


def index(*documents: str, borders: tuple[int, ...] = ()) -> Any:
    """Each document has the same text, cut at borders, in one section."""
    sections = [Place(f"s:{name}", name, 0, len(TEXT), TEXT) for name in documents]
    return made([place for name in documents for place in cut(TEXT, name, *borders)], sections)


def made(passages: list[Place], sections: list[Place]) -> Any:
    texts = {place.document: TEXT for place in passages}
    return SimpleNamespace(passages=passages, sections={place.id: place for place in sections}, texts=texts)


def judged(of: Any, *gold: str, documents: tuple[str, ...] = ("a.md",), **fields: Any) -> Relevance:
    return grades(of, [Asked("q", "?", source=FILE, gold_documents=documents, gold_passages=gold)], RagConfig(**fields))


BETWEEN = tuple(TEXT.index(paragraph) for paragraph in PARAGRAPHS[1:])


@pytest.mark.parametrize("gold, place", [("1", 1), ("2", 2), ("12", 3), ("waste NO time, ever", 2), ("stay.", 4)])
def test_a_label_names_its_paragraph_and_a_quote_the_place_that_has_it(gold: str, place: int) -> None:
    found = judged(index("a.md", borders=BETWEEN), gold)
    assert found.passages == {"q": {f"a.md:{place}": 1.0}}
    assert found.documents == {"q": {"a.md": 1.0}} and found.sections == {"q": {"s:a.md": 1.0}} and not found.notes


def test_a_labelled_paragraph_runs_over_lines_up_to_the_next() -> None:
    middle = TEXT.index("Act much.")
    assert judged(index("a.md", borders=(middle,)), "12").passages["q"].keys() == {"a.md:0"}
    assert judged(index("a.md", borders=(TEXT.index("[12]"), middle)), "12").passages["q"].keys() == {"a.md:1"}


@pytest.mark.parametrize("inside, relevant", [(9, {"a.md:1"}), (10, {"a.md:0", "a.md:1"}), (11, {"a.md:0"})])
def test_a_passage_must_share_half_of_the_shorter_of_the_two(inside: int, relevant: set[str]) -> None:
    gold = "[2] Waste no\ntime, ev"[:20]
    assert len(gold) == 20
    start = TEXT.index(gold)
    places = [Place("a.md:0", "a.md", 0, start + inside, ""), Place("a.md:1", "a.md", start + inside, len(TEXT), "")]
    assert judged(made(places, list(index("a.md").sections.values())), gold).passages["q"].keys() == relevant


def test_short_passages_within_gold_are_all_relevant() -> None:
    start = TEXT.index("[2]")
    assert judged(index("a.md", borders=(start, start + 8, start + 16, TEXT.index("[12]"))), "2").passages["q"].keys() == {
        "a.md:1",
        "a.md:2",
        "a.md:3",
    }


def test_only_the_section_that_holds_gold_is_relevant() -> None:
    half = TEXT.index("[2]")
    sections = [Place("s0", "a.md", 0, half + 12, TEXT[: half + 12]), Place("s1", "a.md", half, len(TEXT), TEXT[half:])]
    found = judged(made(cut(TEXT, "a.md", *BETWEEN), sections), "12")
    assert found.passages["q"].keys() == {"a.md:3"} and found.sections["q"].keys() == {"s1"}


def test_gold_without_a_document_is_looked_for_in_all() -> None:
    found = judged(index("a.md", "b.md", borders=BETWEEN), "Be kind", documents=())
    assert found.passages["q"].keys() == {"a.md:1", "b.md:1"} and found.documents["q"].keys() == {"a.md", "b.md"}


def test_a_file_name_will_do_for_a_path_where_no_other_has_it() -> None:
    several = index("x/a.md", "x/b.md", "y/b.md", borders=BETWEEN)
    assert judged(several, "1").documents == {"q": {"x/a.md": 1.0}}
    assert judged(several, documents=("b.md",)).documents == {"q": {"b.md": 1.0}}


def test_gold_that_is_not_there_is_told() -> None:
    several = index("a.md", borders=BETWEEN)
    lost = judged(several, "99")
    assert lost.passages == {} and lost.documents == {"q": {"a.md": 1.0}} and "gold passages that stand in no document" in lost.notes[0]
    gone = judged(several, "1", documents=("gone.md",))
    assert gone.documents == {"q": {"gone.md": 1.0}} and gone.passages == {} and "none called 'gone.md'" in gone.notes[0]


def test_questions_without_gold_are_absent() -> None:
    assert judged(index("a.md"), documents=()) == Relevance({}, {}, {}, [])
    only = judged(index("a.md"))
    assert only.documents == {"q": {"a.md": 1.0}} and not only.passages and not only.sections


def test_qrels_grade_documents(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q 0 a.md 2\nq 0 elsewhere 1\nother 0 a.md 1\n")
    found = judged(index("a.md", borders=BETWEEN), "1", qrels=str(tmp_path / "qrels"))
    assert found.documents == {"q": {"a.md": 2, "elsewhere": 1}} and found.passages["q"].keys() == {"a.md:1"}


def test_a_judged_document_may_be_named_by_its_file_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q 0 a.md 2\nq 0 elsewhere.md 1\n")
    found = judged(index("s/a.md"), documents=(), qrels=str(tmp_path / "qrels"))
    assert found.documents == {"q": {"s/a.md": 2, "elsewhere.md": 1}}
    assert any("elsewhere.md" in note for note in found.notes)
