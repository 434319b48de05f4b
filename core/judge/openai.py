"""A judge on any OpenAI-compatible server, by the openai client. https://platform.openai.com/docs/api-reference/chat"""

import os

from core.config import JudgeConfig
from core.errors import UserError
from core.judge.backend import OnRetry
from core.judge.language_model import LanguageModel
from core.models.chat import Chat


class OpenAI(LanguageModel):
    """A model at `base_url`; the key comes from OPENAI_API_KEY and may be missing for one's own server."""

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Raises UserError when there is neither an address nor a key."""
        import openai

        base_url = config.base_url or os.environ.get("OPENAI_BASE_URL")
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not key and not base_url:
            raise UserError(
                "The judge has neither a base_url nor a key. Give base_url=http://127.0.0.1:8000/v1 (your own server), "
                "or export OPENAI_API_KEY for OpenAI's."
            )
        client = openai.OpenAI(api_key=key or "none", base_url=base_url, timeout=config.timeout_seconds, max_retries=0)
        chat = Chat(openai, client, key, config.retries, on_retry)
        budget = "max_tokens" if base_url else "max_completion_tokens"
        super().__init__(chat, model, config, key_name="OPENAI_API_KEY", budget=budget)
