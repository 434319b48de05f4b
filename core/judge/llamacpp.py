"""A GGUF file as the judge, run by llama.cpp's own server in this process (package xllamacpp). https://github.com/ggml-org/llama.cpp

Calls go one at a time: both orders of a pair begin with the same tokens, which the server then reads once.
"""

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from core.config import JudgeConfig
from core.errors import UserError
from core.judge.backend import OnRetry
from core.judge.language_model import LanguageModel
from core.models import judge_model
from core.models.chat import Chat
from core.runs import versions

CONTEXT = 8192
"""Tokens of prompt and reply together that the server makes room for."""
PATIENCE = 900.0
"""Seconds to wait for one reply, unless timeout_seconds is more: nothing can break off here, a slow processor is only slow."""
_MAGIC = b"GGUF"


class LlamaCpp(LanguageModel):
    """The file that `judge_model` names; its content is part of what a reply is known by, its place is not."""

    weights = True
    at_once = 1

    def __init__(self, config: JudgeConfig, model: str | None, on_retry: OnRetry) -> None:
        """Check the file and the package. Raises UserError."""
        self._file = _checked(model)
        self._server: Any = None
        self._on_retry = on_retry
        super().__init__(Chat.nowhere(), self._file.stem, config, key_name="", budget="max_tokens")
        self.name, self.provider = f"{self._file.stem} (llama.cpp)", ""

    def place(self) -> list[Any]:
        """The engine with its version, and the file's content."""
        return [versions("xllamacpp"), self._content]

    @cached_property
    def _content(self) -> str:
        with self._file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    def open(self) -> None:
        """Load the file and start the server on a free port."""
        import openai
        import xllamacpp

        self._server = xllamacpp.Server(_parameters(self._file))
        timeout = max(PATIENCE, self._config.timeout_seconds)
        client = openai.OpenAI(api_key="none", base_url=f"{self._server.listening_address}/v1", timeout=timeout, max_retries=0)
        self._chat = Chat(openai, client, "", self._config.retries, self._on_retry)

    def close(self) -> None:
        """Stop the server and drop the weights."""
        self._server = None


def _checked(model: str | None) -> Path:
    from importlib.util import find_spec

    if find_spec("xllamacpp") is None:
        raise UserError(
            "The judge llamacpp needs the package xllamacpp, which isn't installed. Install it with: pip install -r requirements.txt"
        )
    file = Path(model).expanduser() if model else judge_model.joined()
    if not file.is_file():
        raise UserError(f"There is no file '{model}' for the judge llamacpp. Give the path of a GGUF file as judge_model.")
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"'{model}' is no GGUF file, so llama.cpp can't run it. Give one as judge_model.")
    return file


def _parameters(file: Path) -> Any:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx, parameters.n_parallel = CONTEXT, 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = _threads()
    parameters.port, parameters.ui, parameters.verbosity, parameters.fit_params = 0, False, -1, False
    return parameters


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
