"""The table of passages in LanceDB: made to hold exactly the passages that are wanted, and no vector computed twice.

Vectors are written as they are made, so a build that is killed goes on where it was. Each row keeps a digest of its text: a passage that
moved takes its vector along. A stamp beside the table says which passages it holds and how its files looked, so that an index that didn't
change is opened without LanceDB.
"""

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError
from core.rag import store

if TYPE_CHECKING:
    import numpy as np
    from llama_index.core.schema import TextNode
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    from core.rag.index import Passage

TABLE = "passages"
_BATCH = 128
"""Passages that are embedded and written at a time."""
_DELETED_AT_ONCE = 1000


class Damaged(Exception):
    """The table can't be used; the message says what is wrong."""


def node(row: "Passage", vector: list[float] | None = None) -> "TextNode":
    """A passage as LlamaIndex has it. Its metadata is never part of what is embedded, searched or shown to a model."""
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    metadata = {"document": row.document, "start": row.start, "end": row.end, "tokens": row.tokens, "digest": digest(row.text)}
    return TextNode(
        id_=row.id,
        text=row.text,
        embedding=vector,
        start_char_idx=row.start,
        end_char_idx=row.end,
        metadata=metadata,
        excluded_embed_metadata_keys=list(metadata),
        excluded_llm_metadata_keys=list(metadata),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=row.document)},
    )


def digest(text: str) -> str:
    """32 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def mark(passages: Sequence["Passage"]) -> str:
    """32 hex digits that say which passages these are."""
    return digest(" ".join(sorted(row.id for row in passages)))


def open_store(folder: Path, version: int | None = None) -> "LanceDBVectorStore":
    """LlamaIndex's store over the table, as it was at a version; it may be empty."""
    import lancedb
    from llama_index.vector_stores.lancedb import LanceDBVectorStore

    logging.getLogger("llama_index.vector_stores.lancedb.base").setLevel(logging.ERROR)
    connection = lancedb.connect(folder)
    if version is None:
        return LanceDBVectorStore(uri=str(folder), connection=connection, table_name=TABLE, mode="create")
    table = connection.open_table(TABLE)
    table.checkout(version)
    return LanceDBVectorStore(uri=str(folder), connection=connection, table=table, table_name=TABLE)


def rows(table: Any) -> tuple[list[str], list[str], "np.ndarray"]:
    """Ids, digests of texts, and vectors [n, dim]."""
    import numpy as np

    found = table.search().select({"id": "id", "digest": "metadata.digest", "vector": "vector"}).limit(None).to_arrow()
    flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return found["id"].to_pylist(), found["digest"].to_pylist(), np.asarray(flat, np.float32).reshape(found.num_rows, -1)


def sync(
    folder: Path,
    passages: Sequence["Passage"],
    embed: Callable[[Sequence[str]], "np.ndarray"],
    progress: Callable[[float, float, str], None],
    say: Callable[[str], None],
) -> tuple[int, set[str]]:
    """Make the table hold these passages and no others. Returns its version, and the ids of what was embedded now."""
    stamp = _stamp(folder)
    if stamp.get("passages") == mark(passages) and stamp.get("files") == store.files(folder / f"{TABLE}.lance"):
        return int(stamp["version"]), set()
    kept = _Kept(folder, say)
    missing = [row for row in passages if row.id not in kept.ids]
    moved = [row for row in missing if digest(row.text) in kept.places]
    kept.add(moved, [kept.vectors[kept.places[digest(row.text)]] for row in moved])
    embedded = _embed([row for row in missing if digest(row.text) not in kept.places], kept, embed, len(passages), progress)
    kept.delete(kept.ids - {row.id for row in passages})
    version = kept.tidy()
    files = store.files(folder / f"{TABLE}.lance")
    store.replace(folder / "table.json", json.dumps({"passages": mark(passages), "version": version, "files": files}))
    return version, embedded


def _stamp(folder: Path) -> dict[str, Any]:
    try:
        stamp = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _embed(
    missing: list["Passage"],
    kept: "_Kept",
    embed: Callable[[Sequence[str]], "np.ndarray"],
    total: int,
    progress: Callable[[float, float, str], None],
) -> set[str]:
    """Embed and write batch by batch; the same text is embedded once a batch."""
    done = total - len(missing)
    for start in range(0, len(missing), _BATCH):
        progress(done + start, total, f"Embedding passages: {done + start:,} of {total:,}")
        batch = missing[start : start + _BATCH]
        texts = list(dict.fromkeys(row.text for row in batch))
        vectors = dict(zip(texts, embed(texts), strict=True))
        kept.add(batch, [vectors[row.text] for row in batch])
    if missing:
        progress(total, total, f"Embedding passages: {total:,} of {total:,}")
    return {row.id for row in missing}


class _Kept:
    """What the table holds already. One that is damaged is removed, and made anew."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        try:
            self._read()
        except Damaged as error:
            say(f"The index in {folder} is damaged ({error}): it is made anew.")
            shutil.rmtree(folder / f"{TABLE}.lance")
            self._read()

    def _read(self) -> None:
        import numpy as np

        there = (self._folder / f"{TABLE}.lance").exists()
        try:
            self._store = open_store(self._folder)
            ids, digests, self.vectors = rows(self._store.table) if there else ([], [], np.zeros((0, 0), np.float32))
        except Exception as error:  # Lance has no error of its own for files that are cut, gone or scrambled
            raise Damaged(str(error).strip().splitlines()[0][:120]) from None
        if len(set(ids)) < len(ids) or not np.allclose(np.linalg.norm(self.vectors, axis=1), 1, atol=1e-3):
            raise Damaged("its vectors aren't what was written")
        self.ids = set(ids)
        self.places = {each: place for place, each in enumerate(digests)}

    def add(self, batch: Sequence["Passage"], vectors: Sequence["np.ndarray"]) -> None:
        """Write rows with their vectors. Raises UserError when the encoder's width changed."""
        if len(self.vectors) and len(vectors) and len(vectors[0]) != self.vectors.shape[1]:
            raise UserError(
                f"The encoder gives {len(vectors[0])} numbers a passage, and gave {self.vectors.shape[1]} when {self._folder} was made: it "
                "is another model under the same name. Remove that folder, and the index is made anew."
            )
        self._store.add([node(row, vector.tolist()) for row, vector in zip(batch, vectors, strict=True)])

    def delete(self, ids: set[str]) -> None:
        """Remove rows (ids are hex digits, safe in a condition)."""
        gone, table = sorted(ids), self._table()
        for start in range(0, len(gone), _DELETED_AT_ONCE):
            listed = ",".join(f"'{each}'" for each in gone[start : start + _DELETED_AT_ONCE])
            table.delete(f"id in ({listed})")

    def tidy(self) -> int:
        """Join the small files of many writes; older versions go, unless somebody reads one. Returns the version."""
        table = self._table()
        with store.nobody_reads(self._folder) as free, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            table.optimize(cleanup_older_than=timedelta(0) if free else None, delete_unverified=free)
        return int(table.version)

    def _table(self) -> Any:
        return self._store.table
