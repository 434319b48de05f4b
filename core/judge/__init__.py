"""Judge backends: one row each."""

from core.registry import Entry

BACKENDS = {
    "similarity": Entry(
        "Similarity (not a language model)",
        "core.judge.similarity:Similarity",
        "Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084",
        "Embedding similarity to the reference, offline. Not a language model: a baseline for real judges.",
    ),
    "groq": Entry(
        "Groq",
        "core.judge.groq:Groq",
        "https://console.groq.com/docs/api-reference",
        "A language model on Groq; the key comes from GROQ_API_KEY.",
    ),
    "openai": Entry(
        "OpenAI-compatible server",
        "core.judge.openai:OpenAI",
        "https://platform.openai.com/docs/api-reference/chat",
        "Any OpenAI-compatible server (vLLM, llama.cpp, a provider); the key comes from OPENAI_API_KEY.",
    ),
}
