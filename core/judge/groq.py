"""A judge on Groq, by Groq's own client. https://console.groq.com/docs/api-reference

GROQ_BASE_URL points the client elsewhere (a vLLM server with `--root-path /openai` answers it).
"""

import os

from core.config import JudgeConfig
from core.errors import UserError
from core.judge.backend import OnRetry
from core.judge.language_model import LanguageModel
from core.models.chat import Chat

DEFAULT_MODEL = "openai/gpt-oss-20b"
"""Groq ended its Llama text models; this one replaces them. It reasons, at the lowest effort."""


class Groq(LanguageModel):
    """A model on Groq; the key comes from GROQ_API_KEY."""

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Raises UserError when there is no key."""
        import groq

        key = os.environ.get("GROQ_API_KEY", "").strip()
        if not key:
            raise UserError(
                "The judge on Groq needs a key, and GROQ_API_KEY is not set. "
                "Get one at https://console.groq.com/keys and export it, or take backend=similarity, which works offline."
            )
        client = groq.Groq(api_key=key, base_url=config.base_url, timeout=config.timeout_seconds, max_retries=0)
        chat = Chat(groq, client, key, config.retries, on_retry)
        super().__init__(chat, model or DEFAULT_MODEL, config, key_name="GROQ_API_KEY", budget="max_completion_tokens")
