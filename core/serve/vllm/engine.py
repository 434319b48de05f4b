"""vLLM as an engine: takes the same asks as Lyceum's own, and tells the same events, so that the same addresses stand before both."""

import asyncio
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import psutil
import torch
from starlette.concurrency import run_in_threadpool
from transformers import AutoConfig, GenerationConfig

from core import paths
from core.config import ServeConfig
from core.data.prompt import FALLBACK_TEMPLATE
from core.errors import UserError
from core.jobs import locks
from core.models import load
from core.models.spelling import Spelling
from core.serve.names import BASE
from core.serve.pace import Pace
from core.serve.rows import Ask, words
from core.serve.saying import Saying
from core.serve.stream import Stream
from core.serve.token_scores import Telling
from core.serve.vllm import asking, command, environment, loras, shelf
from core.serve.vllm.asking import Piece, Refused
from core.serve.vllm.command import Base, Command
from core.serve.vllm.watched import State, Watched

WAKE_SECONDS = 300.0
WARM_SECONDS = 300.0
"""The first pass of a process takes longer."""
LOG = ".vllm.log"
ENDED = "The engine was ended."


class Engine:
    """Answers of one base model and its adapters, computed by vLLM."""

    beside_jobs = False
    """There are no answers while vLLM is not there."""

    def __init__(self, config: ServeConfig, say: Callable[[str], None] = print, log: Path | None = None) -> None:
        """`log`: vLLM's own; results/.vllm.log where none is named."""
        folder = load.resolve(config.base_model)
        self.config = config
        self.started = int(time.time())
        self.device = torch.device("cpu" if command.on_cpu(config) else "cuda")
        self.tokenizer = load.load_tokenizer(config.base_model)
        self.context: int | None = getattr(AutoConfig.from_pretrained(folder).get_text_config(), "max_position_embeddings", None)
        self.mixes = shelf.Shelf(config.base_model, load.content_hash(folder))
        self._scratch = Path(tempfile.mkdtemp(prefix="lyceum-vllm-"))
        self._base = self._described(folder)
        self._ends = _ends(folder, self.tokenizer)
        self._spelling = Spelling(self.tokenizer)
        self._written = _own_folder()
        self.loras = loras.Loras(self.mixes, self._written)
        self.watched = Watched(self._command, self._warm, self._wanted, log or paths.results() / LOG, say)
        self.version = environment.version()
        self.pace = Pace()
        self._clients: dict[Command, httpx.AsyncClient] = {}
        self._streams: dict[Stream, list[asyncio.Task[None]]] = {}
        self._used = time.monotonic()
        self._ending = False

    @property
    def loaded(self) -> bool:
        """Whether the base model is in memory."""
        return self.watched.state == "ready"

    @property
    def state(self) -> tuple[str, str]:
        """starting, ready, restarting, asleep, making_room or ending; and what that means, in a sentence."""
        return ("ending", ENDED) if self._ending else (self.watched.state, self.watched.said)

    @property
    def in_bank(self) -> dict[str, int]:
        """Adapters that vLLM has loaded, by name, with their ranks."""
        return self.loras.ranks if self.loaded else {}

    @property
    def waiting(self) -> int:
        """Answers that have no place yet."""
        return max(0, self.under_way - self.config.side_by_side)

    @property
    def under_way(self) -> int:
        """Answers that are not finished."""
        return sum(not task.done() for tasks in self._streams.values() for task in tasks)

    @property
    def busy(self) -> str:
        """Why nothing can be asked now, in a sentence; empty: it can."""
        state, said = self.state
        return "" if state in ("ready", "asleep") else said

    def begin(self) -> None:
        """Start vLLM."""
        self.watched.begin()

    def wind_up(self) -> None:
        """Take nothing new; what is under way goes on."""
        self._ending = True

    def leave(self) -> None:
        """End all answers at once. Any thread, and a signal's handler, may call this."""
        self._ending = True
        for stream, tasks in list(self._streams.items()):
            stream.tell(error=ENDED)
            for task in tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)

    def end(self) -> None:
        """End vLLM, and wait until it is gone."""
        self.watched.end()
        for folder in (self._scratch, self._written):
            shutil.rmtree(folder, ignore_errors=True)

    def answer(self, stream: Stream, asks: Sequence[Ask]) -> None:
        """Answer all of `asks`, told to `stream`. Within an event loop."""
        self._used = time.monotonic()
        for older in [each for each in self._streams if each.session == stream.session]:
            self.hang_up(older)
        tasks = [asyncio.get_running_loop().create_task(self._answer(stream, ask)) for ask in asks]
        self._streams[stream] = tasks
        for task in tasks:
            task.add_done_callback(lambda _: self._end_served(stream))

    def hang_up(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
        for task in self._streams.get(stream, []):
            task.cancel()

    def _end_served(self, stream: Stream) -> None:
        if all(task.done() for task in self._streams.get(stream, [])):
            self._streams.pop(stream, None)
            stream.end()
            self._used = time.monotonic()

    async def _answer(self, stream: Stream, ask: Ask) -> None:
        """What vLLM says of an answer, and what becomes of it."""
        try:
            await self._tell(stream, ask, await self._awake())
        except UserError as error:
            stream.tell(key=ask.key, error=str(error))
        except Refused as error:
            fault = {"key": ask.key} if error.status < 500 else {}
            stream.tell(error=f"vLLM refuses this ({str(error).rstrip('.')}).", **fault)
        except httpx.HTTPError as error:
            broke = str(error) or type(error).__name__
            stream.tell(error=f"vLLM broke off ({broke.rstrip('.')}); it is started again where it died. Ask again in a minute.")
        except Exception as error:
            traceback.print_exception(error)
            stream.tell(error=f"The engine failed ({type(error).__name__}). This is a bug; its traceback is in results/.engine.log")

    async def _awake(self) -> Command:
        """The living process. Raises UserError where there is none in time."""
        until = time.monotonic() + WAKE_SECONDS
        while self.watched.state != "ready" or self.watched.command is None:
            if self.watched.state == "ending" or time.monotonic() > until:
                raise UserError(self.watched.said)
            await asyncio.sleep(0.1)
        return self.watched.command

    async def _tell(self, stream: Stream, ask: Ask, living: Command) -> None:
        """An answer's events, piece by piece."""
        if ask.full:
            stream.tell(key=ask.key, done="length", tokens=len(ask.said))
            return
        asked = asking.body(await run_in_threadpool(self.loras.name, ask.plan), ask, self._ends)
        saying, telling, tokens = Saying(ask.said, ask.stop, ask.verbatim), Telling(), list[int]()
        async with aclosing(asking.pieces(self._client(living), asked)) as found:
            async for pieces in found:
                finish = pieces[-1].finish
                self._add(pieces, tokens, telling)
                new, stopped = saying.grow(self.tokenizer, tokens, final=finish is not None)
                scores = telling.up_to(saying.text, self._spelling, finish is not None, stopped)
                if new or scores:
                    stream.tell(key=ask.key, **words(new, scores))
                if finish or stopped:
                    stream.tell(key=ask.key, done="stop" if stopped else finish, tokens=len(ask.said) + len(tokens))
                    return
        raise httpx.RemoteProtocolError("the answer has no end")

    def _add(self, pieces: Sequence[Piece], tokens: list[int], telling: Telling) -> None:
        """New tokens, without the one that ends the answer."""
        for piece in pieces:
            ended = piece.finish == "stop" and bool(piece.tokens) and piece.tokens[-1] in self._ends
            count = len(piece.tokens) - ended
            self.pace.add(len(piece.tokens))
            tokens += piece.tokens[:count]
            for score in piece.scores[:count]:
                telling.add(score)

    def _client(self, living: Command) -> httpx.AsyncClient:
        """Of this process; those of dead ones are forgotten."""
        if living not in self._clients:
            transport = httpx.AsyncHTTPTransport(uds=str(living.socket), limits=httpx.Limits(max_connections=None))
            self._clients = {living: httpx.AsyncClient(transport=transport, base_url="http://vllm", headers=loras.shown(living))}
        return self._clients[living]

    def _wanted(self) -> State:
        """A job's device is given to it, unless the job asks this very engine; without questions vLLM sleeps."""
        if self.device.type == "cuda" and locks.held("device") and not locks.held(environment.ASKS):
            return "making_room"
        idle = not self.under_way and time.monotonic() - self._used > self.config.idle_minutes * 60
        return "asleep" if idle and self.watched.state in ("ready", "asleep") else "ready"

    def _command(self) -> Command:
        """Of the next start: for the adapters that are there now."""
        there = shelf.standing_on(self.mixes.base_hash)
        limit = shelf.rank_limit([shelf.rank(folder) for folder in there.values()])
        return command.make(self.config, self._base, self._scratch / f"{time.monotonic_ns()}.sock", limit, len(there))

    def _warm(self, living: Command) -> None:
        """The first pass, and what vLLM says that it can see."""
        with loras.client(living) as client:
            listed = client.get("/v1/models", timeout=WARM_SECONDS).raise_for_status().json()["data"]
            asked: dict[str, Any] = {"model": BASE, "prompt": [min(self._ends)], "max_tokens": 1}
            reply = client.post("/v1/completions", json=asked, timeout=WARM_SECONDS)
            if reply.status_code != 200:
                raise Refused(loras.said(reply), reply.status_code)
        self.context = listed[0].get("max_model_len") or self.context
        self._used = time.monotonic()
        self.loras.begin(living)

    def _described(self, folder: Path) -> Base:
        """The base model, with our chat template where it brings none."""
        template = str(self.tokenizer.chat_template)
        ours = self._scratch / "chat_template.jinja" if template.endswith(FALLBACK_TEMPLATE) else None
        if ours:
            ours.write_text(template, encoding="utf-8")
        return Base(folder, AutoConfig.from_pretrained(folder).get_text_config().to_dict(), ours)


def _own_folder() -> Path:
    """Where this process writes adapters for vLLM. What dead processes have left goes."""
    shelf, living = paths.results() / ".vllm", set(map(str, psutil.pids()))
    for folder in [each for each in shelf.glob("*") if each.name not in living]:
        shutil.rmtree(folder, ignore_errors=True)
    return shelf / str(os.getpid())


def _ends(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's, and those that the model names."""
    if (folder / "generation_config.json").exists():
        named = GenerationConfig.from_pretrained(folder).eos_token_id
    else:
        named = AutoConfig.from_pretrained(folder).get_text_config().eos_token_id
    listed = named if isinstance(named, list) else [named]
    return frozenset(token for token in [tokenizer.eos_token_id, *listed] if token is not None)
