"""What would tell who wrote an answer is taken out before anybody judges it: names of models, chat-template tokens, the prompt's own tags.

An ordinary word in small letters (an adapter called 'cynic') is only taken out where a text introduces its writer ("As cynic, I ..."):
elsewhere it is language, and an answer must reach the judge as it is.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from core.paths import MODEL_WORDS

MASK = "[model]"
"""What stands in place of a name."""
FAMILIES = (
    *("SmolLM", "Qwen", "LLaMA", "GPT", "ChatGPT", "Claude", "Gemini", "Gemma", "Mistral", "Mixtral", "DeepSeek", "Phi", "Falcon", "Grok"),
    *("Vicuna", "Alpaca", "OLMo", "Command R", "Copilot", "Bard", "Kimi", "GLM", "Yi", "Lyceum"),
)
MAKERS = (
    *(
        "OpenAI",
        "Anthropic",
        "Google",
        "Google DeepMind",
        "DeepMind",
        "Meta",
        "Meta AI",
        "Alibaba",
        "Alibaba Cloud",
        "Mistral AI",
        "Microsoft",
    ),
    *("Hugging Face", "HuggingFace", "xAI", "DeepSeek", "NVIDIA", "Cohere", "Groq"),
)

_TAGS = re.compile(
    r"<\|[^<>|\n]{1,40}\|>"  # <|im_start|> and its like
    r"|</?\s*(?:question|reference|passages|answer_[ab]|think|s|bos|eos|start_of_turn|end_of_turn)\s*>"
    r"|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
_VERSION = r"(?:[-\s]?v?\d(?:[\w.]*\w)?)?(?:-[\w.]*\w)*(?:\s(?:Sonnet|Opus|Haiku|Flash|Pro|Turbo|Instruct|Chat)\b)?"
"""What follows a family's name: the 2-135M-Instruct of SmolLM2-135M-Instruct."""
_SELF = (
    r"(?i:\b(?:I\s+am|I['’]m|my\s+name\s+is|call\s+me|as|this\s+is)\s+"
    r"(?:(?:an?|the)\s+(?:[\w-]+\s+){0,3}(?:model|assistant|AI|chatbot)\s*,?\s*(?:called|named|known\s+as)?\s+)?)"
)
_MADE_BY = r"(?i:\b(?:made|created|trained|developed|built|released)\s+by\s+(?:the\s+)?)"


def blind(text: str, names: Iterable[str]) -> str:
    """The text without telltales. `names`: the models that may have written it; other well-known ones are known."""
    cleaned = untagged(text)
    for pattern in _patterns(tuple(names)):
        cleaned = pattern.sub(lambda match: match["before"] + MASK, cleaned)
    return cleaned


def untagged(text: str) -> str:
    """The text without chat-template tokens and without the tags that prompts set around texts."""
    while (cleaned := _TAGS.sub("", text)) != text:
        text = cleaned
    return text


@lru_cache(maxsize=64)
def _patterns(names: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    plain = [name for name in names if re.fullmatch(r"[a-z]+", name) and name not in MODEL_WORDS]
    telling = [name for name in names if not re.fullmatch(r"[a-z]+", name)]
    versioned = rf"(?:{_any(FAMILIES)})-?v?\d(?:[\w.]*\w)?(?:-[\w.]*\w)*"
    everywhere = f"{_any(telling)}|{versioned}" if telling else versioned
    itself = f"(?:{_any(FAMILIES)}){_VERSION}" + (rf"|(?:{_any(plain)})(?=\s*[,.!])" if plain else "")
    return (
        re.compile(rf"(?P<before>)(?<![\w-])(?:{everywhere})(?![\w-])", re.IGNORECASE),
        re.compile(rf"(?P<before>{_SELF})(?:{itself})(?![\w-])"),
        re.compile(rf"(?P<before>{_MADE_BY})(?:{_any(MAKERS)})(?![\w-])"),
    )


def _any(names: Iterable[str]) -> str:
    """One of the names, the longest first; blanks, '-' and '_' stand for each other."""
    longest_first = sorted(names, key=len, reverse=True)
    return "|".join(re.sub(r"(?:\\[-\s]|_)+", lambda _: r"[-_\s]+", re.escape(name)) for name in longest_first)
