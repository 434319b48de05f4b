"""Retrieval-augmented generation."""

from typing import Annotated

from pydantic import Field, model_validator

from core.config.fields import ComputeConfig, Names, PromptConfig, Seed, Some, one_of
from core.errors import UserError
from core.metrics import METRICS
from core.rag import CHUNKERS, PIPELINES


class IndexConfig(PromptConfig):
    """What decides an index: the documents, how they are cut, and what embeds them."""

    docs_dir: str = "data/rag/wisdom_docs"
    """Documents: a folder of md, txt, html, pdf and docx files, or a corpus.jsonl as BEIR has it (_id, title, text)."""
    chunker: Annotated[str, one_of(CHUNKERS, "chunker")] = "sentence"
    """How documents are cut into passages."""
    chunk_size: int = Field(128, ge=16, le=8192)
    """Longest passage, in tokens of the encoder."""
    chunk_overlap: int = Field(16, ge=0, le=4096)
    """Tokens that a passage shares with the one before."""
    parent_size: int = Field(512, ge=32, le=32768)
    """Longest section that pipeline 'parent' hands to the model, in tokens of the encoder."""
    encoder: str = "bundled"
    """Encoder of passages and questions: 'bundled' (all-MiniLM-L6-v2), a folder, a hub id; with embedding_url a model of that server."""
    embedding_url: str | None = None
    """Base URL of an OpenAI-compatible server that embeds, such as http://127.0.0.1:8000/v1. Its key comes from OPENAI_API_KEY."""
    max_file_mb: float = Field(20, gt=0, le=4096)
    """Larger files are refused by name, in megabytes."""

    @model_validator(mode="after")
    def _sizes(self) -> "IndexConfig":
        if self.chunk_overlap >= self.chunk_size:
            raise UserError(
                f"chunk_overlap={self.chunk_overlap} is not below chunk_size={self.chunk_size}, so passages would never move on. Lower it."
            )
        if self.parent_size < self.chunk_size:
            raise UserError(
                f"parent_size={self.parent_size} is below chunk_size={self.chunk_size}, but a section holds passages. Raise it."
            )
        return self


class RagConfig(ComputeConfig, IndexConfig):
    """Compare RAG pipelines on a folder of documents: what they find, what models answer with it, and whether RAG or tuning helped."""

    max_seq_length: int = Field(2048, ge=64, le=131072)
    """Longest prompt and answer together, in tokens; passages that don't fit are left out, the last first."""
    question: str | None = None
    """One question to ask."""
    questions: str | None = None
    """File of questions (JSON, JSONL, CSV): question; optional answer, category, gold_document, gold_passages, paraphrases. BEIR's too."""
    qrels: str | None = None
    """Relevance judgements: TREC (query 0 document grade) or BEIR (query-id, corpus-id, score), by document."""
    generate_questions: int = Field(0, ge=0, le=10_000)
    """Questions written by the base model from passages, marked as generated; the passage is their gold."""
    limit: int | None = Field(None, ge=1)
    """At most this many questions are answered by models; retrieval is scored on all. Drawn by seed."""
    pipelines: Annotated[Some, one_of(PIPELINES, "pipeline")] = tuple(PIPELINES)
    """Pipelines, separated by commas."""
    top_k: int = Field(3, ge=1, le=100)
    """Passages that a model gets to read."""
    candidates: int = Field(20, ge=1, le=1000)
    """Passages that are ranked by each pipeline, and what 'rerank' looks at."""
    reranker: str = "bundled"
    """'bundled': late interaction of the encoder's token vectors; or a cross-encoder, as a folder or hub id."""
    other_encoders: Names = ()
    """More encoders, compared with the first one by the quality of their embeddings."""
    models: Names = ("base",)
    """Who answers: 'base', adapters, merges, routes by name; 'own' is each category's own adapter; empty: nobody, retrieval alone."""
    answer_with: Names = ()
    """Pipelines whose passages models answer with; empty: all of them."""
    metrics: Annotated[Some, one_of(METRICS, "metric")] = ("perplexity", "bertscore", "rouge")
    """How answers are scored against references."""
    paraphrases: int = Field(0, ge=0, le=5)
    """Each question is asked in so many more ways, for consistency: those of the file, else by templates."""
    draws: int = Field(0, ge=0, le=20)
    """Each question is answered so many more times by chance (temperature), for consistency."""
    temperature: float = Field(0.7, gt=0, le=2)
    """Of those draws."""
    nli_model: str | None = None
    """A model of natural language inference (folder or hub id), for contradictions and entailed sentences. Empty: none."""
    max_new_tokens: int = Field(96, ge=1, le=8192)
    """Longest generated answer in tokens."""
    batch_size: int = Field(16, ge=1, le=4096)
    """Answers generated side by side."""
    seed: Seed = 0
    """Seed of the bootstrap intervals, the choice of questions, and the draws."""

    @model_validator(mode="after")
    def _known(self) -> "RagConfig":
        if strange := [name for name in self.answer_with if name not in self.pipelines]:
            raise UserError(f"answer_with={','.join(strange)} is not among pipelines={','.join(self.pipelines)}. Name it in both.")
        if self.top_k > self.candidates:
            raise UserError(f"top_k={self.top_k} is more than the candidates={self.candidates} that are ranked. Raise candidates.")
        if self.max_new_tokens >= self.max_seq_length:
            raise UserError(
                f"max_new_tokens={self.max_new_tokens} leaves no room for a prompt within max_seq_length={self.max_seq_length}. Lower it."
            )
        return self

    @property
    def answered(self) -> tuple[str, ...]:
        """The pipelines of the grid."""
        return self.answer_with or self.pipelines
