"""Answers that vLLM writes: greedy, by the names under which its gateway offers models, from the same prompt tokens as any others.

The vLLM of this home answers where it stands on this base model; else one is started for the run, and ended after it. The losses of
references stay with the model in this process: vLLM would have to be asked for them token by token.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from core import paths
from core.answering.models import BASE, Model
from core.config import EvaluateConfig, ServeConfig
from core.data.read import QA
from core.errors import UserError
from core.jobs import locks
from core.models.generate import Generation
from core.serve import client, resident
from core.serve.vllm import environment
from core.serve.vllm.environment import ASKS
from core.workspace import Workspace

if TYPE_CHECKING:
    from core.serve.vllm.engine import Engine

START_SECONDS = 600.0
STARTS = 3
"""After this many deaths at the start there will be no answer."""
PATIENCE_SECONDS = 300.0
"""How long a question is asked again while vLLM starts again."""
SILENCE_SECONDS = 1800.0

Say = Callable[[str], None]


class Writer:
    """Writes answers of models by name."""

    def __init__(self, transport: httpx.AsyncBaseTransport, headers: dict[str, str], address: str, version: str) -> None:
        self._transport, self._headers, self._address = transport, headers, address
        self.version = version

    def answers(
        self, asked: Sequence[tuple[str, list[int]]], max_new_tokens: int, at_once: int, progress: Callable[[int], None]
    ) -> list[Generation]:
        """Greedy answers to (name of a model, tokens of the prompt), in their order. Raises UserError with what vLLM says."""
        try:
            return asyncio.run(self._answers(asked, max_new_tokens, at_once, progress))
        except httpx.HTTPError as error:
            raise UserError(f"vLLM's gateway does not answer any more ({str(error) or type(error).__name__}). Run this again.") from None

    async def _answers(
        self, asked: Sequence[tuple[str, list[int]]], max_new_tokens: int, at_once: int, progress: Callable[[int], None]
    ) -> list[Generation]:
        free, done = asyncio.Semaphore(at_once), 0
        timeout = httpx.Timeout(30, read=SILENCE_SECONDS, pool=None)

        async def one(model: str, prompt: list[int]) -> Generation:
            nonlocal done
            async with free:
                made = await self._ask(asking, {"model": model, "prompt": prompt, "temperature": 0, "max_tokens": max_new_tokens})
            done += 1
            progress(done)
            return made

        async with httpx.AsyncClient(transport=self._transport, headers=self._headers, base_url=self._address, timeout=timeout) as asking:
            return await asyncio.gather(*(one(model, prompt) for model, prompt in asked))

    async def _ask(self, asking: httpx.AsyncClient, body: dict[str, object]) -> Generation:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            reply = await asking.post("/v1/completions", json=body)
            if reply.status_code == 200:
                choice = reply.json()["choices"][0]
                return Generation(choice["text"].strip(), [], choice["finish_reason"])
            if reply.status_code not in (429, 503) or time.monotonic() > until:
                raise UserError(f"vLLM can't answer as {body['model']}: {reply.json()['error']['message']}")
            await asyncio.sleep(float(reply.headers.get("retry-after", 2)))


@contextmanager
def writer(config: EvaluateConfig, workspace: Workspace) -> Iterator[Writer]:
    """Within: a vLLM on the run's base model that answers."""
    say = workspace.say
    living = resident.find()
    lock = locks.try_to_take(ASKS)  # another job may hold it as well; what counts is that it is held
    try:
        if living and living.kind == "vllm" and living.base_model == config.base_model:
            version = str(client.health(living)["version"])
            say(f"The answers are written by {version}, which runs at {living.address}.")
            yield Writer(httpx.AsyncHTTPTransport(), client.shown(living), living.address, version)
        else:
            say(f"Starting {environment.version()} for this run; on a CPU that takes a minute or two.")
            from core.serve.vllm import gateway

            with _started(config, workspace) as engine:
                yield Writer(httpx.ASGITransport(gateway.make(engine)), {}, "http://127.0.0.1", engine.version)
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def _started(config: EvaluateConfig, workspace: Workspace) -> "Iterator[Engine]":
    from core.serve.vllm.engine import Engine

    fields = {name: getattr(config, name) for name in ("base_model", "quantization", "precision", "device")}
    log = workspace.path / "vllm.log"
    engine = Engine(ServeConfig(engine="vllm", side_by_side=config.batch_size, **fields), workspace.say, log)
    engine.begin()
    try:
        until = time.monotonic() + START_SECONDS
        while not engine.watched.wait(1):
            if engine.watched.restarts >= STARTS or time.monotonic() > until:
                raise UserError(f"vLLM does not start. {engine.watched.said} Its log: {paths.shown(log)}")
        yield engine
    finally:
        engine.end()


def ready(config: EvaluateConfig, workspace: Workspace) -> AbstractContextManager[Writer | None]:
    """The writer that a config asks for; None: the model in this process."""
    return writer(config, workspace) if config.engine == "vllm" else nullcontext()


def able(asked: Sequence[str], models: Sequence[Model], say: Say) -> list[Model]:
    """The models that vLLM can answer as. Raises UserError for others that were asked for by name; of 'all' they are left out."""
    found = []
    for model in models:
        if not (why := _why_not(model)):
            found.append(model)
        elif model.row.model in asked or model.row.path in asked:
            raise UserError(f"vLLM can't answer as '{model.row.model}': {why}. Leave it out, or say engine=lyceum.")
        else:
            say(f"Left out: {model.row.model}, for vLLM can't answer as it: {why}.")
    return found


def name(model: Model, question: QA) -> str:
    """What vLLM's gateway calls the model that answers a question; of 'own', the category's adapter."""
    if model.by_category:
        return next((folder.name for folder in model.by_category.get(question.category, {})), BASE)
    return model.row.model


def _why_not(model: Model) -> str:
    if model.route:
        return "a route mixes adapters anew for each question"
    if model.alone:
        return "it is a whole model or a DoRA, which does not stand on the base model as an adapter"
    folder = Path(model.row.path)
    shelves = {paths.shown(shelf.resolve()) for shelf in (paths.adapters(), paths.merged_adapters())}
    if model.row.role != "base" and not model.by_category and str(folder.parent) not in shelves:
        return f"{folder} lies neither in adapters/ nor in merged_adapters/, where vLLM looks"
    return ""
