"""The guide's files: pages, settings, tables and parts that they name exist; both languages say the same; one source."""

import re

import pytest

from core import config, guide, paths
from core.guide import Block, Link, Section
from core.registry import Entry

SECTIONS = guide.sections()
PAGES = {file.stem for file in (paths.PROJECT / "pages").glob("*.py")}
VOCABULARY = (
    *("base model", "adapter", "cohort", "bank", "category", "method", "rank", "target modules", "strategy", "delta", "weights", "density"),
    *("merged adapter", "mix", "route", "prediction", "reference", "metric", "score", "judge", "verdict", "win rate", "pipeline"),
    *("retriever", "context", "pooled", "run", "job"),
)


def every() -> list[tuple[Section, str]]:
    return [(section, language) for section in SECTIONS.values() for language in section.files]


def test_the_sections_stand_in_the_order_of_the_road() -> None:
    assert list(SECTIONS) == ["quick-start", "why", "lora", "how-to", "methods", "strategies", "problems", "rag", "glossary"]
    assert list(SECTIONS["quick-start"].files) == ["en", "ja"]
    assert SECTIONS["quick-start"].title("ja") == "クイックスタート" and SECTIONS["lora"].title() == "What LoRA is"


def test_a_text_is_cut_into_its_pieces() -> None:
    opens = "<!-- open: train | Train -->\n<!-- open: guide?section=rag&lang=en | RAG -->\n"
    text = f"One.\n\n<!-- table: methods -->\nelse\n<!-- end of table -->\n\n{opens}Two.\n"
    links = (Link("train", {}, "Train"), Link("guide", {"section": "rag", "lang": "en"}, "RAG"))
    assert guide.blocks(text) == [Block("text", "One."), Block("table", "methods"), Block("links", links=links), Block("text", "Two.")]


@pytest.mark.parametrize(("section", "language"), every(), ids=lambda value: value if isinstance(value, str) else value.key)
def test_what_a_section_names_exists(section: Section, language: str) -> None:
    blocks = section.blocks(language)
    assert blocks[0].kind == "text" and len(blocks[0].text) > 60
    for block in blocks:
        assert "<!--" not in block.text, "a mark was not understood"
        for link in block.links:
            assert link.page in PAGES and link.query.get("section", "rag") in SECTIONS
        if block.kind in ("table", "part"):
            assert block.text in (guide.TABLES if block.kind == "table" else ("calculator", "singular-values"))


def test_settings_that_are_named_exist() -> None:
    """`name` and `name=value`, in the type of settings; values are allowed by their configs."""
    verbs = [each for each in vars(config).values() if isinstance(each, type) and issubclass(each, config.Config)]
    fields = {name for each in verbs for name in each.model_fields}
    text = "\n".join(file.read_text(encoding="utf-8") for section in SECTIONS.values() for file in section.files.values())
    assigned = re.findall(r"`(\w+)=([^`]+)`", text)
    assert len(assigned) > 15
    for name, value in assigned:
        if name == "adapters":
            continue
        takers = [each for each in verbs if name in each.model_fields]
        assert takers, f"{name} is no setting"
        assert any(_takes(each, name, value) for each in takers), f"{name}={value} is refused"
    words = set(re.findall(r"`([a-z]+_[a-z_]+)`", text)) - {"linear_merged_adapter"}
    known = fields | {name for table in guide.TABLES.values() for name in table}
    assert words <= known, words - known


def _takes(taker: type[config.Config], name: str, value: str) -> bool:
    needed = {"strategy": {"adapters": "a,b"}, "space": {"adapters": "a,b"}, "density": {"adapters": "a,b", "strategy": "dare_linear"}}
    given = needed.get(name, {}) if taker is config.MergeConfig else {"data": "none"} if "data" in taker.model_fields else {}
    try:
        taker(**given, **{name: value})
    except ValueError:
        return False
    return True


def test_japanese_says_as_much_as_english() -> None:
    english, japanese = (SECTIONS["quick-start"].files[language].read_text(encoding="utf-8") for language in ("en", "ja"))
    for pattern in (
        r"^\d\. \*\*",
        r"`[^`\n]+`",
        r"https?://[\w.:]+",
        r"<!-- open: \w+",
        r"^```.*?^```",
        r"95 %",
        r"\b(?:CSV|JSONL|Parquet|HTML|GPU|Start|Evaluate|Judge|Share|Jobs|Playground)\b",
    ):
        found = [sorted(set(re.findall(pattern, text, re.MULTILINE | re.DOTALL | re.ASCII))) for text in (english, japanese)]
        assert found[0] == found[1] and found[0], pattern
    assert len(re.findall(r"[ぁ-んァ-ヶ一-龠]", japanese)) > 400 and not re.search(r"[ぁ-ん一-龠]\n[ぁ-ん一-龠]", japanese)


def test_the_glossary_has_the_words_of_the_program() -> None:
    text = SECTIONS["glossary"].files["en"].read_text(encoding="utf-8")
    assert set(VOCABULARY) <= set(re.findall(r"^- \*\*(.+?)\*\*: ", text, re.MULTILINE))


def test_references_become_links_and_nothing_else_is_markup() -> None:
    assert guide.cited("Hu *et al.* 2021, arXiv:2106.09685; see https://x.org/a.") == (
        r"Hu \*et al\.\* 2021, [arXiv:2106.09685](https://arxiv.org/abs/2106.09685); see [https\://x\.org/a](https://x.org/a)\."
    )
    for table in guide.TABLES.values():
        for entry in table.values():
            assert guide.cited(entry.reference).count("](https://arxiv.org") == entry.reference.count("arXiv:"), entry.reference


def test_a_new_row_needs_no_second_copy() -> None:
    """No section repeats what a row says."""
    text = " ".join(file.read_text(encoding="utf-8") for section in SECTIONS.values() for file in section.files.values())
    rows: list[Entry] = [entry for table in guide.TABLES.values() for entry in table.values()]
    assert not [entry.label for entry in rows if entry.summary in text or entry.use_when in text]
