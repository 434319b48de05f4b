"""The rows of PIPELINES: each makes a LlamaIndex retriever over an index, which gives at most `config.candidates` passages, best first.

Dense and BM25 are LlamaIndex's own VectorIndexRetriever and BM25Retriever. Fusion is written here: LlamaIndex's QueryFusionRetriever
counts ranks from 0, where Cormack et al. count from 1, and asks for a language model even where it uses none.
"""

import math
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llama_index.core import VectorStoreIndex
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from core.config import RagConfig
from core.rag.rankings import Found, Ranking, best_first
from core.rag.rerank import Reranker, open_reranker

if TYPE_CHECKING:
    from core.rag.index import Index

K = 60
"""Of reciprocal rank fusion: Cormack, Clarke and Büttcher 2009."""
DEPTH = 100
"""Places of each ranking that are fused, at least."""


def rank(retriever: BaseRetriever, questions: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> list[Ranking]:
    """Each question's ranking, one question after the other; `progress` hears how many are done.

    The first question is asked once before time is taken, because with it models are loaded.
    """
    rankings = []
    for number, question in enumerate(questions, 1):
        if number == 1:
            retriever.retrieve(question)
        start = time.perf_counter()
        nodes = retriever.retrieve(question)
        rankings.append(Ranking([_found(node) for node in nodes], time.perf_counter() - start))
        progress(number)
    return rankings


def _found(node: NodeWithScore) -> Found:
    return Found(node.node.node_id, node.get_score(), node.node.metadata["document"], node.node.metadata["section"])


# --- the rows of PIPELINES --------------------------------------------------------------------------------------------


def no_passages(index: "Index", config: RagConfig) -> BaseRetriever:
    """Nothing is retrieved."""
    return Nothing()


def dense(index: "Index", config: RagConfig) -> BaseRetriever:
    """Passages whose embedding is nearest to the question's; the score is the cosine."""
    return Dense(index, config.candidates)


def bm25(index: "Index", config: RagConfig) -> BaseRetriever:
    """Passages that share words with the question, stemmed and without stop words; those that share none are not found."""
    return Lexical(index, config.candidates)


def hybrid(index: "Index", config: RagConfig) -> BaseRetriever:
    """Dense and BM25 rankings together."""
    depth = max(DEPTH, config.candidates)
    return Fused(index, config.candidates, [Dense(index, depth), Lexical(index, depth)])


def rerank(index: "Index", config: RagConfig) -> BaseRetriever:
    """The candidates of dense retrieval, ordered anew."""
    return Reranked(index, config.candidates, Dense(index, config.candidates), open_reranker(config))


def parent(index: "Index", config: RagConfig) -> BaseRetriever:
    """Sections, each by its best passage: as many passages are looked at as so many sections may have."""
    each = math.ceil(config.parent_size / (config.chunk_size - config.chunk_overlap))
    return Parents(index, config.candidates, Dense(index, config.candidates * each))


# --- retrievers -------------------------------------------------------------------------------------------------------


class Nothing(BaseRetriever):
    """Finds nothing."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return []


class Scoring(BaseRetriever):
    """A retriever that gives scores to passages (or sections) of an index by id, and returns the `most` best of them."""

    def __init__(self, index: "Index", most: int) -> None:
        self.index, self.most = index, most
        self._places = index.by_id
        super().__init__()

    @abstractmethod
    def scores(self, question: str) -> dict[str, float]:
        """Scores of what was found, by id."""

    def best(self, question: str) -> list[tuple[str, float]]:
        """(id, score), best first."""
        return best_first(self.scores(question), self.most)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=self._node(name), score=score) for name, score in self.best(query_bundle.query_str)]

    def _node(self, name: str) -> TextNode:
        place = self._places[name]
        return TextNode(id_=name, text=place.text, metadata={"document": place.document, "section": place.section})


class Dense(Scoring):
    """LlamaIndex's VectorIndexRetriever. Vectors have length 1, so the store's exp(-squared distance) tells their cosine."""

    def __init__(self, index: "Index", most: int) -> None:
        super().__init__(index, min(most, len(index.passages)))
        store = VectorStoreIndex.from_vector_store(index.vector_store, embed_model=index.embed_model)
        self._nearest = store.as_retriever(similarity_top_k=self.most)

    def scores(self, question: str) -> dict[str, float]:
        """Cosines with the question's embedding."""
        return {node.node.node_id: 1 + math.log(node.get_score()) / 2 for node in self._nearest.retrieve(question)}


class Lexical(Scoring):
    """LlamaIndex's BM25Retriever."""

    def __init__(self, index: "Index", most: int) -> None:
        super().__init__(index, most)
        try:
            self._words = index.bm25(most)
        except ValueError:  # bm25s has nothing to index where no passage has a word
            self._words = None

    def scores(self, question: str) -> dict[str, float]:
        """BM25 of the passages that share a word with the question."""
        found = self._words.retrieve(question) if self._words else []
        return {node.node.node_id: node.get_score() for node in found if node.get_score() > 0}


class Fused(Scoring):
    """Reciprocal rank fusion: the sum of 1 / (60 + rank) over rankings, ranks from 1 (Cormack, Clarke and Büttcher 2009)."""

    def __init__(self, index: "Index", most: int, parts: Sequence[Scoring]) -> None:
        super().__init__(index, most)
        self._parts = parts

    def scores(self, question: str) -> dict[str, float]:
        """Sums over the rankings that a passage stands in."""
        fused: dict[str, float] = defaultdict(float)
        for part in self._parts:
            for place, (name, _) in enumerate(part.best(question), 1):
                fused[name] += 1 / (K + place)
        return fused


class Reranked(Scoring):
    """What another retriever found, ordered by a closer look at question and passage together."""

    def __init__(self, index: "Index", most: int, first: Scoring, reranker: Reranker) -> None:
        super().__init__(index, most)
        self._first, self._reranker = first, reranker

    def scores(self, question: str) -> dict[str, float]:
        """The reranker's."""
        found = [self._places[name] for name, _ in self._first.best(question)]
        return dict(zip((each.id for each in found), self._reranker(question, [each.text for each in found]), strict=True))


class Parents(Scoring):
    """The sections that found passages stand in, each with the score of its best passage."""

    def __init__(self, index: "Index", most: int, passages: Scoring) -> None:
        super().__init__(index, most)
        self._passages = passages
        self._places = index.sections

    def scores(self, question: str) -> dict[str, float]:
        """By section id."""
        best: dict[str, float] = {}
        for name, score in self._passages.best(question):
            best.setdefault(self.index.by_id[name].section, score)
        return best
