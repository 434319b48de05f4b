"""Chunking: a document becomes passages, each with its exact place in the text, and sections that hold several of them.

The chunkers cut where LlamaIndex's splitters cut, with two differences: places are kept rather than searched for afterwards, and the
text's tokens are counted once rather than at every cut, so that a long document takes linear time.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_index.core.node_parser.interface import NodeParser
from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode

from core.config.rag import IndexConfig
from core.rag.sentences import breaks
from core.rag.store import passage_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Span = tuple[int, int]
"""First character, and the one after the last."""
Level = Callable[[str], list[int]]
"""Where the pieces of a text begin, in order; the first at 0."""

_WINDOW = 50_000
"""Characters that are tokenised at a time."""
_LONGEST_TOKEN = 16
"""So many characters count as a token at least, so that a passage ends where the encoder knows no words (base64, long blanks)."""


def sentences(config: IndexConfig, tokenizer: "Tokenizer") -> NodeParser:
    """Paragraphs, as many as fit; a longer one by sentences, phrases, words: SentenceSplitter(paragraph_separator='\\n\\n')."""
    return _chunker(config, tokenizer, [_paragraphs, _sentences, _phrases, _words, _characters])


def tokens(config: IndexConfig, tokenizer: "Tokenizer") -> NodeParser:
    """Words, as many as fit: TokenTextSplitter. A word is cut only where it alone is too long."""
    return _chunker(config, tokenizer, [_words, _characters])


def markdown(config: IndexConfig, tokenizer: "Tokenizer") -> NodeParser:
    """The parts under each heading, as MarkdownNodeParser finds them, each cut as `sentences` does."""
    return _chunker(config, tokenizer, [_paragraphs, _sentences, _phrases, _words, _characters], _headings)


def _chunker(config: IndexConfig, tokenizer: "Tokenizer", levels: list[Level], parts: Level = lambda text: [0]) -> "Chunker":
    return Chunker(
        tokenizer, levels, parts, chunk_size=config.chunk_size, chunk_overlap=config.chunk_overlap, parent_size=config.parent_size
    )


class Chunker(NodeParser):
    """Cuts documents into passages of at most chunk_size tokens; a passage's metadata has its `tokens` and its `section`.

    A section is [start, end, tokens]: consecutive passages with what stands between them, at most parent_size tokens.
    """

    chunk_size: int
    chunk_overlap: int
    parent_size: int

    def __init__(self, tokenizer: "Tokenizer", levels: list[Level], parts: Level, **sizes: int) -> None:
        """`parts` are never joined in a passage; `levels` are the ways to cut one, the next where a piece is too long."""
        super().__init__(include_metadata=False, include_prev_next_rel=False, **sizes)
        self._tokenizer, self._levels, self._parts = tokenizer, levels, parts

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        return [passage for node in nodes for passage in self._passages(node)]

    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: Any) -> list[BaseNode]:
        return nodes  # the base class would search for each place; ours are known

    def _passages(self, document: BaseNode) -> list[BaseNode]:
        text = document.get_content(metadata_mode=MetadataMode.NONE)
        size = _Sizes(text, self._tokenizer)
        spans: list[Span] = []
        for part in _spans(self._parts(text), 0, len(text)):
            pieces = list(_pieces(text, part, self._levels, size, self.chunk_size))
            spans += _stripped(text, _packed(pieces, self.chunk_size, self.chunk_overlap))
        counted = self._counted(text, spans)
        groups = _sections([span for span, _ in counted], size, self.parent_size)
        return [_passage(document.node_id, text, *each, section) for each, section in zip(counted, groups, strict=True)]

    def _counted(self, text: str, spans: list[Span]) -> list[tuple[Span, int]]:
        """Each span with the number of its tokens; one that has too many when it stands alone is halved."""
        encoded = self._tokenizer.encode_batch_fast([text[start:end] for start, end in spans], add_special_tokens=False)
        counted: list[tuple[Span, int]] = []
        for span, count in zip(spans, map(len, encoded), strict=True):
            fits = count <= self.chunk_size
            counted += [(span, count)] if fits else self._counted(text, _stripped(text, _halves(text, span)))
        return counted


class _Sizes:
    """How many tokens stand between two places of a text, all counted once."""

    def __init__(self, text: str, tokenizer: "Tokenizer") -> None:
        windows = list(_windows(text))
        encoded = tokenizer.encode_batch([text[start:end] for start, end in windows], add_special_tokens=False)
        ends = [np.fromiter((end for _, end in each.offsets), np.int64) + start for each, (start, _) in zip(encoded, windows, strict=True)]
        self._ends = np.concatenate(ends) if ends else np.zeros(0, np.int64)

    def __call__(self, spans: Sequence[Span]) -> list[int]:
        """Sizes of spans: tokens that end within, or a token for each 16 characters, whichever is more."""
        places = np.asarray(spans, np.int64).reshape(-1, 2)
        tokens = np.diff(np.searchsorted(self._ends, places, side="right"))[:, 0]
        least = np.diff(places // _LONGEST_TOKEN)[:, 0]
        size: list[int] = np.maximum(tokens, least).tolist()
        return size


def _windows(text: str) -> list[Span]:
    """Stretches of the text that begin after a blank where there is one."""
    starts = [0]
    while starts[-1] + _WINDOW < len(text):
        blank = max(text.rfind(sign, starts[-1] + 1, starts[-1] + _WINDOW) for sign in " \n\t")
        starts.append(blank + 1 if blank > 0 else starts[-1] + _WINDOW)
    return _spans(starts, 0, len(text))


def _spans(starts: list[int], first: int, end: int) -> list[Span]:
    """From the beginnings of pieces, counted from `first`, to spans that cover everything to `end`."""
    return [(a, b) for a, b in pairwise([*(first + start for start in starts), end]) if a < b]


def _pieces(text: str, span: Span, levels: list[Level], size: _Sizes, limit: int) -> list[tuple[int, int, int]]:
    """The span cut by the first level, and pieces that are too long by the next: (start, end, tokens), each within the limit."""
    if (whole := size([span])[0]) <= limit or not levels:
        return [(*span, whole)]
    spans = _spans(levels[0](text[slice(*span)]), *span)
    pieces: list[tuple[int, int, int]] = []
    for each, tokens in zip(spans, size(spans), strict=True):
        pieces += [(*each, tokens)] if tokens <= limit else _pieces(text, each, levels[1:], size, limit)
    return pieces


def _packed(pieces: list[tuple[int, int, int]], limit: int, overlap: int) -> list[Span]:
    """As many pieces as fit into each passage; the next begins with the last pieces of the one before, as many as `overlap` holds."""
    spans: list[Span] = []
    first = total = 0
    for place, (_, _, tokens) in enumerate(pieces):
        if total + tokens > limit:
            spans.append((pieces[first][0], pieces[place - 1][1]))
            first, total = place, 0
            while first and total + pieces[first - 1][2] <= overlap:
                first -= 1
                total += pieces[first][2]
            while total + tokens > limit:
                total -= pieces[first][2]
                first += 1
        total += tokens
    return [*spans, (pieces[first][0], pieces[-1][1])] if pieces else spans


def _stripped(text: str, spans: Sequence[Span]) -> list[Span]:
    """Spans without blanks at their ends; what holds nothing new is dropped."""
    kept: list[Span] = []
    for start, end in spans:
        inner = text[start:end]
        start, end = start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
        if start < end and not (kept and end <= kept[-1][1]):
            kept.append((start, end))
    return kept


def _halves(text: str, span: Span) -> list[Span]:
    """Two spans, cut at the last blank of the first half, or in its very middle."""
    start, end = span
    middle = (start + end) // 2
    blank = max(text.rfind(sign, start, middle) for sign in " \n")
    cut = blank if blank > (start + middle) // 2 else middle
    return [(start, cut), (cut, end)]


def _sections(spans: list[Span], size: _Sizes, limit: int) -> list[list[int]]:
    """For each passage its section [start, end, tokens]: passages are joined while they stay within the limit."""
    sections: list[list[int]] = []
    mine: list[int] = []
    for start, end in spans:
        joined = size([(sections[-1][0], end)])[0] if sections else limit + 1
        if joined <= limit:
            sections[-1][1:] = [end, joined]
        else:
            sections.append([start, end, size([(start, end)])[0]])
        mine.append(len(sections) - 1)
    return [sections[place] for place in mine]


def _passage(document: str, text: str, span: Span, count: int, section: list[int]) -> BaseNode:
    start, end = span
    return TextNode(
        id_=passage_id(document, start, text[start:end]),
        text=text[start:end],
        start_char_idx=start,
        end_char_idx=end,
        metadata={"tokens": count, "section": section},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)},
    )


def _paragraphs(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer(r"\n[^\S\n]*\n\s*", text))]


def _sentences(text: str) -> list[int]:
    return [0, *(start for _, start in breaks(text))]


def _phrases(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer(r"[,.;。？！]", text))]


def _words(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer(r"\s+", text))]


def _characters(text: str) -> list[int]:
    return list(range(0, len(text), 4))


def _headings(text: str) -> list[int]:
    """Lines that begin with '#' signs and a blank, outside fenced code."""
    starts, place, code = [0], 0, False
    for line in text.split("\n"):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and re.match(r"#+\s", line):
            starts.append(place)
        place += len(line) + 1
    return starts
