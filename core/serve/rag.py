"""One question to a folder of documents, live: each pipeline's passages as they are found, then its answers, all in one batch.

Retrieval runs in a thread of its own beside the model's. An index stays open until a file of its folder changes.
"""

import os
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from core import paths
from core.config import IndexConfig, MergeConfig, RagConfig
from core.data.prompt import Prompter
from core.errors import UserError
from core.rag import PIPELINES
from core.rag.prompts import fitting
from core.serve import requests
from core.serve.engine import Engine
from core.serve.mixes import Plan
from core.serve.requests import Asked, Session, Text
from core.serve.rows import Ask
from core.serve.stream import Stream

if TYPE_CHECKING:
    from core.rag.index import Index

KEPT_INDEXES = 2
"""Folders whose indexes stay open."""
TOLD_SECONDS = 0.2
"""Least time between two words on how far an index is."""


class RagAsked(Asked):
    """POST /rag/answers. A newer request of a session supersedes the older one."""

    session: Session
    settings: RagConfig
    """A rag run's config: documents, question, pipelines, top_k, system_prompt, max_new_tokens; its models are left alone."""
    category: Text = ""
    """What {category} in the system prompt stands for."""
    mix: MergeConfig | None = None
    """Who answers. None: the base model."""

    @field_validator("settings")
    @classmethod
    def _has_a_question(cls, settings: RagConfig) -> RagConfig:
        if not (settings.question or "").strip():
            raise ValueError("it has no question")
        return settings


@dataclass
class Opened:
    """An index with the retrievers that were made over it."""

    index: "Index"
    stamp: object
    """Of the folder's files, when it was opened."""
    retrievers: dict[object, Any] = field(default_factory=dict)


class NobodyListens(Exception):
    """Breaks an indexing off."""


class Library:
    """The open indexes, and the one thread that searches them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="retrieval")
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._newest: dict[str, Stream] = {}
        """By session; a stream that isn't here any more has been left."""

    def answer(self, stream: Stream, asked: RagAsked, plan: Plan) -> None:
        """Find passages, tell them, and let the engine answer; all of it told to `stream`."""
        if older := self._newest.get(stream.session):
            older.end()
        self._newest[stream.session] = stream
        self._pool.submit(self._work, stream, asked, plan)

    def leave(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
        if self._newest.get(stream.session) is stream:
            del self._newest[stream.session]
        self._engine.hang_up(stream)

    def end(self) -> None:
        """Break off what is searched or indexed."""
        self._newest.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, stream: Stream, asked: RagAsked, plan: Plan) -> None:
        try:
            index = self._open(stream, asked.settings)
            asks = [self._ask(stream, asked, plan, index, name) for name in asked.settings.pipelines]
            self._check(stream)
        except NobodyListens:
            return
        except UserError as error:
            _end(stream, str(error))
        except Exception as error:
            traceback.print_exc()
            _end(stream, f"The search failed ({type(error).__name__}: {error}). This is a bug; its traceback is in results/.engine.log")
        else:
            self._engine.answer(stream, asks)

    def _open(self, stream: Stream, config: RagConfig) -> Opened:
        """The index, kept open or opened now, with word of how far it is."""
        wanted = {name: getattr(config, name) for name in IndexConfig.model_fields}
        key, stamp = str(wanted), _stamp(config.docs_dir)
        known = self._opened.get(key)
        if known is None or known.stamp != stamp:
            stream.tell(index=0.0, message="opening the index")
            from core.rag.index import open_index

            index = open_index(IndexConfig(**wanted), self._progress(stream), lambda said: stream.tell(note=said))
            known = self._opened[key] = Opened(index, stamp)
        self._opened.move_to_end(key)
        while len(self._opened) > KEPT_INDEXES:
            self._opened.popitem(last=False)
        return known

    def _progress(self, stream: Stream) -> Callable[[float, float, str], None]:
        told = 0.0

        def progress(done: float, total: float, message: str = "") -> None:
            nonlocal told
            self._check(stream)
            if (now := time.monotonic()) - told >= TOLD_SECONDS or done >= total:
                told = now
                stream.tell(index=done / total if total else 1.0, message=message)

        return progress

    def _check(self, stream: Stream) -> None:
        if self._newest.get(stream.session) is not stream:
            raise NobodyListens

    def _ask(self, stream: Stream, asked: RagAsked, plan: Plan, opened: Opened, name: str) -> Ask:
        """One pipeline: search, tell what was found, and make the prompt of it."""
        self._check(stream)
        config, question = asked.settings, str(asked.settings.question).strip()
        key = (name, config.candidates, config.reranker)
        if key not in opened.retrievers:
            opened.retrievers[key] = PIPELINES[name].load()(opened.index, config)
        began = time.monotonic()
        nodes = opened.retrievers[key].retrieve(question)[: config.top_k]
        seconds = time.monotonic() - began
        texts = [node.node.text for node in nodes]
        prompter = Prompter(self._engine.tokenizer, config.system_prompt)
        longest = min(config.max_seq_length, self._engine.context or config.max_seq_length)
        message, read = fitting(prompter, question, asked.category, texts, longest - config.max_new_tokens)
        prompt = prompter.prompt(message, asked.category)
        found = [
            {
                **{"passage": node.node.node_id, "document": node.node.metadata["document"]},
                **{"text": text, "score": float(node.score or 0.0), "read": place < read},
            }
            for place, (node, text) in enumerate(zip(nodes, texts, strict=True))
        ]
        stream.tell(pipeline=name, passages=found, seconds=seconds, tokens=len(prompt))
        return Ask(name, plan, tuple(prompt), (), config.max_new_tokens)


def plan(engine: Engine, asked: RagAsked) -> Plan:
    """Who answers. Raises UserError for what can't be mixed, or a folder that isn't there."""
    if paths.is_url(asked.settings.docs_dir) or not paths.data_file(asked.settings.docs_dir).exists():
        raise UserError(f"The documents '{asked.settings.docs_dir}' aren't there. Give a folder, or a corpus.jsonl.")
    return requests.plan(engine, asked.mix)


def _stamp(docs_dir: str) -> object:
    """What changes when a file of the folder is added, removed, moved or written."""
    root = paths.data_file(docs_dir)
    if root.is_file():
        return root.stat().st_mtime_ns, root.stat().st_size
    return sorted(
        (entry.path, entry.stat(follow_symlinks=False).st_mtime_ns, entry.stat(follow_symlinks=False).st_size)
        for folder, _, _ in os.walk(root)
        for entry in os.scandir(folder)
    )


def _end(stream: Stream, why: str) -> None:
    stream.tell(error=why)
    stream.end()
