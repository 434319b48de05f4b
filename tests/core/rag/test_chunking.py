"""Chunkers against LlamaIndex's own splitters, and on any text at all: exact places, nothing lost, nothing too long."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import Document
from llama_index.core.node_parser import MarkdownNodeParser, SentenceSplitter, TokenTextSplitter
from tokenizers import Tokenizer

from core import paths
from core.config.rag import IndexConfig
from core.rag import CHUNKERS
from core.rag.embedding import open_tokenizer
from core.rag.sentences import breaks

pytestmark = pytest.mark.bundled
SHIPPED = sorted((paths.PROJECT / "data/rag/wisdom_docs").glob("*.md"))[::19]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return open_tokenizer(IndexConfig())


def cut(chunker: str, text: str, tokenizer: Tokenizer, size: int = 64, overlap: int = 16, parent: int = 256) -> list:
    config = IndexConfig(chunker=chunker, chunk_size=size, chunk_overlap=overlap, parent_size=parent)
    return CHUNKERS[chunker].load()(config, tokenizer).get_nodes_from_documents([Document(text=text, id_="d")])


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def by_sentence(text: str) -> list[str]:
    starts = [0, *(start for _, start in breaks(text)), len(text)]
    return [text[a:b] for a, b in pairwise(starts)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize(("size", "overlap"), [(128, 16), (60, 20), (48, 0)])
def test_sentences_are_llama_index_s_sentence_splitter(path: Path, size: int, overlap: int, tokenizer: Tokenizer) -> None:
    """With the same rule for sentences in place of English Punkt."""
    text = path.read_text()
    theirs = SentenceSplitter(
        chunk_size=size,
        chunk_overlap=overlap,
        paragraph_separator="\n\n",
        tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        chunking_tokenizer_fn=by_sentence,
        secondary_chunking_regex="[^,.;。？！]+[,.;。？！]?|[,.;。？！]",
    ).split_text(text)
    assert [node.text for node in cut("sentence", text, tokenizer, size, overlap)] == theirs


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_tokens_are_llama_index_s_token_splitter(path: Path, tokenizer: Tokenizer) -> None:
    text = re.sub(r"\s+", " ", path.read_text())
    splitter = TokenTextSplitter(
        chunk_size=50, chunk_overlap=10, tokenizer=lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    )
    assert [node.text for node in cut("token", text, tokenizer, 50, 10)] == splitter.split_text(text)


def test_markdown_keeps_sections_apart(tokenizer: Tokenizer) -> None:
    text = "before\n\n# One\n\ntext one\n\n```\n# no heading\n```\n## Two\n" + "A sentence of two. " * 30 + "\n#hashtag\n# Three\nend"
    nodes = cut("markdown", text, tokenizer)
    theirs = [node.text for node in MarkdownNodeParser().get_nodes_from_documents([Document(text=text)])]
    assert len(theirs) == 4 and len(nodes) > 4
    for node in nodes:
        assert sum(node.text in section for section in theirs) == 1
    assert [node.text for node in nodes if node.text in theirs] == [theirs[0], theirs[1], theirs[3]]


TEXTS = {
    "one line": "no end here and so on " * 3000,
    "no blanks": "ABCDEFGH1234" * 4000,
    "blanks": "a" + " " * 50_000 + "b",
    "chinese": "中文文本没有空格，也要切分。" * 400,
    "emoji": "🎉🧑‍🤝‍🧑" * 700,
    "one sentence again": "The same. " * 2000,
    "lines": "a line\n" * 3000,
    "dots": "." * 5000,
    "unknown": "\u0378" * 5000 + "\U000e0001" * 3000,
}


@pytest.mark.parametrize("chunker", CHUNKERS)
@pytest.mark.parametrize("name", TEXTS)
def test_strange_texts(chunker: str, name: str, tokenizer: Tokenizer) -> None:
    check(TEXTS[name], cut(chunker, TEXTS[name], tokenizer), tokenizer, 64, 256)


@pytest.mark.parametrize("chunker", CHUNKERS)
@settings(max_examples=40)
@given(
    text=st.text(st.sampled_from("ab é漢.。,!?\n\n\t #`🎉A\u200d"), max_size=900) | st.text(max_size=400),
    size=st.integers(16, 90),
    overlap=st.integers(0, 15),
)
def test_any_text(chunker: str, text: str, size: int, overlap: int, tokenizer: Tokenizer) -> None:
    check(text, cut(chunker, text, tokenizer, size, overlap, 2 * size), tokenizer, size, 2 * size)


def check(text: str, nodes: list, tokenizer: Tokenizer, size: int, parent: int) -> None:
    covered = [False] * len(text)
    for node in nodes:
        start, end, section = node.start_char_idx, node.end_char_idx, node.metadata["section"]
        assert text[start:end] == node.text == node.text.strip() != ""
        assert node.metadata["tokens"] == count(tokenizer, node.text) <= size
        assert len(node.text) <= 16 * (size + 2)
        assert section[0] <= start and end <= section[1] and section[2] <= parent
        covered[start:end] = [True] * (end - start)
    assert all(done or letter.isspace() for done, letter in zip(covered, text, strict=True)), "nothing is lost"
    starts = [node.start_char_idx for node in nodes]
    assert starts == sorted(set(starts)) and len({node.node_id for node in nodes}) == len(nodes)
    assert bool(nodes) == bool(text.strip())
