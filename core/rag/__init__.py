"""Retrieval-augmented generation, compared: what each pipeline finds, and what each model makes of it. run.py is the verb.

- The index: documents.py and readers.py read a folder, chunking.py cuts it into passages, embedding.py embeds them; store.py,
  passage_table.py and bm25.py keep them, and index.py opens it all.
- What is asked: questions.py reads it, writing.py lets the base model write some, relevance.py says what should be found.
- What is found: pipelines.py (with rerank.py) ranks passages, rankings.py is what comes out. retrieval.py scores it by rank_measures.py,
  differences.py holds pipelines against each other, embedding_quality.py looks at the vectors themselves.
- What is answered: answers.py chooses questions (seen.py: none that an adapter was trained on), grid.py asks every generator with the
  passages of every pipeline (prompts.py), scoring.py and fixes.py hold the cells against each other; grounding.py and consistency.py
  look at the answers, by sentences.py, cosines.py and entailment.py.
"""

from core.registry import Entry

NONE = "none"
"""The pipeline that retrieves nothing."""

PIPELINES = {
    NONE: Entry(
        "No RAG",
        "core.rag.pipelines:no_passages",
        "the baseline of every comparison",
        "The question alone.",
        "Always in the comparison: it shows what retrieval adds.",
    ),
    "dense": Entry(
        "Dense",
        "core.rag.pipelines:dense",
        "Karpukhin et al. 2020, Dense Passage Retrieval for Open-Domain Question Answering, arXiv:2004.04906",
        "Passages whose embedding is nearest to the question's.",
        "Questions say it in other words than the documents.",
    ),
    "bm25": Entry(
        "BM25",
        "core.rag.pipelines:bm25",
        "Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond; bm25s: Lù 2024, arXiv:2407.03618",
        "Passages that share rare words with the question.",
        "Questions use the documents' own words: names, numbers, terms.",
    ),
    "hybrid": Entry(
        "Hybrid",
        "core.rag.pipelines:hybrid",
        "Cormack, Clarke and Büttcher 2009, Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
        "Dense and BM25 rankings together, by reciprocal rank fusion.",
        "You don't know which of the two fits; it is seldom worse than either.",
    ),
    "rerank": Entry(
        "Dense + rerank",
        "core.rag.pipelines:rerank",
        "Khattab and Zaharia 2020, ColBERT, arXiv:2004.12832 (bundled: late interaction); Nogueira and Cho 2019, arXiv:1901.04085",
        "Dense finds candidates; a closer look at question and passage together orders them anew.",
        "Precision in the first places matters more than time.",
        fields=("reranker", "candidates"),
    ),
    "parent": Entry(
        "Parent document",
        "core.rag.pipelines:parent",
        "LlamaIndex, small-to-big retrieval; LangChain, ParentDocumentRetriever",
        "Small passages are searched, and the larger section around each is handed to the model.",
        "Answers need the text around what was found.",
        fields=("parent_size",),
    ),
}

CHUNKERS = {
    "sentence": Entry(
        "Sentences",
        "core.rag.chunking:sentences",
        "LlamaIndex, SentenceSplitter",
        "Whole sentences, as many as fit.",
        "The first choice for running text.",
        fields=("chunk_size", "chunk_overlap"),
    ),
    "token": Entry(
        "Tokens",
        "core.rag.chunking:tokens",
        "LlamaIndex, TokenTextSplitter",
        "So many tokens each, wherever that cuts.",
        "Text without sentences: lists, logs, code.",
        fields=("chunk_size", "chunk_overlap"),
    ),
    "markdown": Entry(
        "Markdown",
        "core.rag.chunking:markdown",
        "LlamaIndex, MarkdownNodeParser, then SentenceSplitter within a section",
        "Sections under their headings, cut further into whole sentences where they are too long.",
        "Documents with headings.",
        fields=("chunk_size", "chunk_overlap"),
    ),
}
