"""Judge backends: one row each."""

from core.registry import Entry

BACKENDS = {
    "similarity": Entry(
        "Similarity (not a language model)",
        "core.judge.similarity:Similarity",
        "Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084",
        "Embedding similarity to the reference, offline. Not a language model: a baseline for real judges.",
        "Always, beside a real judge: it costs nothing, and its order bias is zero.",
    ),
    "groq": Entry(
        "Groq",
        "core.judge.groq:Groq",
        "https://console.groq.com/docs/api-reference",
        "A language model on Groq; the key comes from GROQ_API_KEY.",
        "You want a large judge and may send the answers to a provider.",
    ),
    "openai": Entry(
        "OpenAI-compatible server",
        "core.judge.openai:OpenAI",
        "https://platform.openai.com/docs/api-reference/chat",
        "Any OpenAI-compatible server (vLLM, llama.cpp, a provider); the key comes from OPENAI_API_KEY.",
        "You have a server of your own, and the answers must stay with you.",
    ),
    "engine": Entry(
        "Lyceum's engine",
        "core.judge.engine:Engine",
        "https://platform.openai.com/docs/api-reference/chat",
        "A model that Lyceum's own engine serves: the base, an adapter or a merge, by its name as judge_model.",
        "You trained a judge yourself.",
    ),
    "llamacpp": Entry(
        "A GGUF file (llama.cpp)",
        "core.judge.llamacpp:LlamaCpp",
        "https://github.com/ggml-org/llama.cpp",
        "A language model from a GGUF file, run here by llama.cpp; judge_model is its path, or empty: the one of requirements-judge.txt.",
        "There is no server and no key. The small default fails its audit on the seven schools.",
    ),
    "perplexity": Entry(
        "Likelihood of the reference (no prompt)",
        "core.judge.perplexity:Perplexity",
        "Yuan, Neubig and Liu 2021, BARTScore, arXiv:2106.11520",
        "Which answer makes the reference more likely, offline. It reads no prompt: a baseline for real judges.",
        "A second offline baseline, which sees wording where similarity sees meaning.",
    ),
}
