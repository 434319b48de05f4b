"""The index: passages of all documents with their vectors, kept on disk, and brought up to date for what changed since.

`open_index` reads what changed, cuts it, embeds what is new, forgets what is gone. Where nothing changed it only looks at the files.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from core.config.rag import IndexConfig
from core.rag import CHUNKERS, passage_table, store
from core.rag.documents import File, read_folder
from core.rag.store import Record, passage_id
from core.results.rag import Document

if TYPE_CHECKING:
    import numpy as np
    from llama_index.core.schema import TextNode
    from llama_index.retrievers.bm25 import BM25Retriever
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    from core.rag.embedding import LocalEmbedding

Say = Callable[[str], None]
Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class Passage:
    """A passage, or a section of several."""

    id: str
    """16 hex digits: the same for the same document, place and text."""
    document: str
    start: int
    """First character in the document's text."""
    end: int
    tokens: int
    text: str
    section: str
    """Id of the section that it lies in; of a section its own."""


@dataclass
class Index:
    """An open index: what it held when it was opened, also while others change it."""

    folder: Path
    config: IndexConfig
    passages: list[Passage]
    """By document, then by place."""
    sections: dict[str, Passage]
    documents: list[Document]
    """Every file, indexed or refused; their `run` is empty."""
    texts: dict[str, str]
    """Text of each document, in which passages have their places."""
    seconds: float
    """To open it."""
    _embedding: "Callable[[], LocalEmbedding]" = field(repr=False)
    _version: int
    _reading: IO[str] = field(repr=False)

    @cached_property
    def by_id(self) -> dict[str, Passage]:
        """Passages by id."""
        return {passage.id: passage for passage in self.passages}

    @property
    def embed_model(self) -> "LocalEmbedding":
        """LlamaIndex's embedding of questions and passages; the encoder is loaded when it is first used."""
        return self._embedding()

    @cached_property
    def vector_store(self) -> "LanceDBVectorStore":
        """LlamaIndex's store over the vectors."""
        return passage_table.open_store(self.folder, self._version)

    @cached_property
    def _vectors(self) -> "np.ndarray":
        ids, _, vectors = passage_table.rows(self.vector_store.table)
        places = {each: place for place, each in enumerate(ids)}
        found: np.ndarray = vectors[[places[passage.id] for passage in self.passages]]
        return found

    def vectors(self) -> "np.ndarray":
        """Vectors [n, dim] of length 1, fp32, in the order of the passages."""
        return self._vectors

    def nodes(self) -> "list[TextNode]":
        """The passages for LlamaIndex, without vectors; node_id is the passage's id."""
        return [passage_table.node(passage) for passage in self.passages]

    def bm25(self, top_k: int = 10) -> "BM25Retriever":
        """BM25 over the passages (English stems and stop words), kept on disk; it ranks at most as many as there are."""
        from core.rag.bm25 import open_bm25

        retriever = open_bm25(self)
        retriever.similarity_top_k = min(top_k, len(self.passages))
        return retriever

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(size for size, _ in store.files(self.folder).values())


def open_index(config: IndexConfig, progress: Progress, say: Say) -> Index:
    """The index of docs_dir, brought up to date. `progress(done, of, words)` is told while files are read and passages embedded.

    Raises UserError when there is no document, or when the encoder can't be used.
    """
    started = time.perf_counter()
    folder, embedding = store.folder(config), cache(partial(_embedding, config))
    with store.building(folder, say):
        before = store.read(folder)
        files = read_folder(config, say, {name: record.file for name, record in before.items()}, progress)
        records = _cut(config, files, before, embedding, progress, say)
        if records != list(before.values()):
            store.write(folder, records)
        passages, sections = _passages(records)
        version, embedded = passage_table.sync(folder, passages, lambda texts: embedding().embed(texts), progress, say)
        reading = store.reading(folder)
    texts = {file.document: file.text for file in files if not file.reason}
    documents = _documents(records, {passage.document for passage in passages if passage.id in embedded})
    return Index(folder, config, passages, sections, documents, texts, time.perf_counter() - started, embedding, version, reading)


def _embedding(config: IndexConfig) -> "LocalEmbedding":
    from core.rag.embedding import open_embedding

    return open_embedding(config)


def _cut(
    config: IndexConfig,
    files: Sequence[File],
    before: Mapping[str, Record],
    embedding: "Callable[[], LocalEmbedding]",
    progress: Progress,
    say: Say,
) -> list[Record]:
    """Files with the places of their passages; those whose text is as before keep theirs."""
    texts = {name: record.file.text for name, record in before.items()}
    new = [file for file in files if not file.reason and texts.get(file.document) != file.text]
    cut = _chunked(config, new, embedding, progress, say) if new else {}
    records = []
    for file in files:
        old = before.get(file.document, Record(file))
        records.append(cut.get(file.document) or replace(old, file=file) if not file.reason else Record(file))
    return records


def _chunked(
    config: IndexConfig, files: Sequence[File], embedding: "Callable[[], LocalEmbedding]", progress: Progress, say: Say
) -> dict[str, Record]:
    from llama_index.core import Document as Text

    from core.rag.embedding import open_tokenizer

    longest, tokenizer = embedding().max_tokens, open_tokenizer(config)
    reads = longest - tokenizer.num_special_tokens_to_add(False)
    if config.chunk_size > reads:
        say(f"The encoder '{config.encoder}' reads at most {reads} tokens: passages are cut so, though chunk_size={config.chunk_size}.")
        config = config.model_copy(update={"chunk_size": reads, "chunk_overlap": min(config.chunk_overlap, reads - 1)})
    parser = CHUNKERS[config.chunker].load()(config, tokenizer)
    cut = {}
    for place, file in enumerate(files):
        if place % 100 == 0:
            progress(place, len(files), f"Cutting documents into passages: {place:,} of {len(files):,}")
        cut[file.document] = _record(file, parser.get_nodes_from_documents([Text(text=file.text, id_=file.document)]))
    return cut


def _record(file: File, nodes: "Sequence[TextNode]") -> Record:
    sections = [list(each) for each in dict.fromkeys(tuple(node.metadata["section"]) for node in nodes)]
    places = [[node.start_char_idx, node.end_char_idx, node.metadata["tokens"], sections.index(node.metadata["section"])] for node in nodes]
    return Record(file, places, sections)


def _passages(records: Sequence[Record]) -> tuple[list[Passage], dict[str, Passage]]:
    """Passages in order, and sections by id, made from their places."""
    passages: list[Passage] = []
    sections: dict[str, Passage] = {}
    for record in records:
        document, text = record.file.document, record.file.text
        ids = [passage_id(f"{document}\0section", start, text[start:end]) for start, end, _ in record.sections]
        for each, (start, end, tokens) in zip(ids, record.sections, strict=True):
            sections[each] = Passage(each, document, start, end, tokens, text[start:end], each)
        for start, end, tokens, place in record.passages:
            inner = text[start:end]
            passages.append(Passage(passage_id(document, start, inner), document, start, end, tokens, inner, ids[place]))
    return passages, sections


def _documents(records: Sequence[Record], embedded: set[str]) -> list[Document]:
    return [
        Document(
            run="",
            document=record.file.document,
            bytes=record.file.bytes,
            passages=len(record.passages),
            status="refused" if record.file.reason else "indexed" if record.file.document in embedded else "kept",
            reason=record.file.reason,
        )
        for record in records
    ]
