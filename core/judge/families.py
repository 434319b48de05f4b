"""Whose kin a model is: a judge may like answers of its own family better (Panickssery et al. 2024, arXiv:2404.13076)."""

import re
from collections.abc import Mapping

FAMILIES = {
    "claude": r"claude",
    "command": r"command-?r|c4ai",
    "deepseek": r"deepseek",
    "gemini": r"gemini|gemma|palm|bard",
    "gpt": r"gpt-?\d|chatgpt|gpt-oss|davinci|\bo[134](-mini)?\b",
    "granite": r"granite",
    "llama": r"llama",
    "mistral": r"mistral|mixtral|ministral",
    "phi": r"\bphi-?\d",
    "qwen": r"qwen|qwq",
    "smollm": r"smollm",
}
"""Family -> what its models' names have in them."""


def family(name: str, known: Mapping[str, str | None] | None = None) -> str | None:
    """The family of a model or judge: as `known` says, else by its name, looked up in order; None: nobody can tell."""
    if known and name in known:
        return known[name]
    return next((each for each, pattern in FAMILIES.items() if re.search(pattern, name, re.IGNORECASE)), None)
