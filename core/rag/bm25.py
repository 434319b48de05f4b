"""BM25 over the passages of an index: llama-index's retriever on bm25s (Lù 2024, arXiv:2407.03618), kept beside the vectors."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.rag import passage_table

if TYPE_CHECKING:
    from llama_index.core.schema import BaseNode
    from llama_index.retrievers.bm25 import BM25Retriever

    from core.rag.index import Index


def open_bm25(index: "Index") -> "BM25Retriever":
    """The retriever of these very passages; made on first use, read from disk afterwards."""
    from llama_index.retrievers.bm25 import BM25Retriever

    place = index.folder / f"bm25-{passage_table.mark(index.passages)}"
    if place.exists():
        try:
            return BM25Retriever.from_persist_dir(str(place), show_progress=False)
        except Exception:  # bm25s has no error of its own for files that are cut or scrambled
            shutil.rmtree(place, ignore_errors=True)
    return _made(index, place)


def _made(index: "Index", place: Path) -> "BM25Retriever":
    from llama_index.retrievers.bm25 import BM25Retriever

    nodes: Sequence[BaseNode] = index.nodes()
    retriever = BM25Retriever(nodes=list(nodes), similarity_top_k=1)
    for old in index.folder.glob("bm25-*"):
        shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=index.folder) as made:
        retriever.persist(f"{made}/bm25", show_progress=False)
        with suppress(OSError):  # another process was faster: it made the same
            Path(f"{made}/bm25").rename(place)
    return retriever
