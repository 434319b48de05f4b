"""The one thread that computes: it holds the base model and a bank, and gives all requests their tokens in turn.

A turn is: let new rows in, take all rows under way one token further, and now and then some validation rows. What is asked is heeded
before each of these. So a newer request supersedes an older one within one token, and new rows join those under way.
"""

import gc
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from transformers import AutoConfig

from core.config import ServeConfig
from core.errors import UserError
from core.jobs import locks
from core.models import load
from core.models.decoding import Decoding
from core.models.memory import give_back
from core.serve.answers import Answers
from core.serve.loaded import Loaded
from core.serve.losses import Losses, Row
from core.serve.making import Making
from core.serve.mixes import Mixes, Plan
from core.serve.pace import Pace
from core.serve.rows import Ask
from core.serve.shares import Shares, Spoken
from core.serve.stream import Stream

LOOK_SECONDS = 0.5
"""How often the thread looks whether a job wants the device, or the model has been idle for too long."""
ENDED = "The engine was ended."
LOSSES_SHARE = 0.3
"""Time that losses may take, as a share of what answers take while there are both."""


class Engine:
    """Answers and losses by any mix. Public methods may be called from any thread."""

    def __init__(self, config: ServeConfig) -> None:
        folder = load.resolve(config.base_model)
        self.config = config
        self.started = int(time.time())
        """Unix time."""
        self.device = load.choose_device(config.device)
        self.tokenizer = load.load_tokenizer(config.base_model)
        """For prompts; the thread has one of its own."""
        self.context: int | None = getattr(AutoConfig.from_pretrained(folder).get_text_config(), "max_position_embeddings", None)
        """Tokens that the base model can see."""
        self.mixes = Mixes(config.base_model, load.content_hash(folder))
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._making = Making(self.mixes, self._commands.put)
        self._answers = Answers(self._making, config.side_by_side)
        self._losses = Losses(self._making)
        self._shares = Shares(self._making)
        self._loaded: Loaded | None = None
        self._used = self._looked = time.monotonic()
        self._owed = 0.0
        """Seconds that losses have waited for answers, by their share."""
        self._coming, self._counting = 0, threading.Lock()
        """Answers that are asked for, and that the thread has not seen yet."""
        self._ending = self._winding_up = self._warm = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def loaded(self) -> bool:
        """Whether the base model is in memory."""
        return self._loaded is not None

    @property
    def under_way(self) -> int:
        """Answers that are not finished."""
        return len(self._answers.rows) + self._coming

    @property
    def waiting(self) -> int:
        """Answers under way that have no place yet."""
        loaded = self._loaded
        return max(0, self.under_way - (len(loaded.decoding.rows) if loaded else 0))

    @property
    def explaining(self) -> int:
        """Words that wait to be explained."""
        return self._shares.under_way

    @property
    def pace(self) -> Pace:
        """How fast all answers are being written."""
        return self._answers.pace

    @property
    def in_bank(self) -> dict[str, int]:
        """Adapters in the device's memory, by name, with their ranks."""
        loaded = self._loaded
        return loaded.ranks if loaded else {}

    @property
    def state(self) -> tuple[str, str]:
        """starting, ready, asleep, making_room or ending; and what that means, in a sentence."""
        if self._winding_up:
            return "ending", "The engine was asked to end: it finishes what is under way."
        if not self.beside_jobs and (busy := self.busy):
            return "making_room", busy
        if not self._warm:
            return "starting", "The base model is being loaded."
        if not self.loaded:
            return (
                "asleep",
                f"Nobody has asked for {self.config.idle_minutes:g} minutes, so the model has left the memory. A question wakes it.",
            )
        return "ready", self.busy

    @property
    def busy(self) -> str:
        """Who else computes, in a sentence; empty: nobody."""
        if not locks.held("device"):
            return ""
        if self.beside_jobs:
            return "A job computes on this machine too, so answers come slower."
        return "A job has the GPU. The engine has made room for it, and answers again when the job is done."

    @property
    def beside_jobs(self) -> bool:
        """Whether the engine goes on beside a job: on a CPU."""
        return self.device.type == "cpu"

    def begin(self) -> None:
        """Start the thread, which loads the base model first."""
        self._commands.put(self._warm_up)
        self._thread.start()

    def wind_up(self) -> None:
        """Answers under way may finish, losses break off. A signal's handler may call this."""
        self._winding_up = True
        self._commands.put(lambda: self._losses.fail(ENDED))

    def leave(self) -> None:
        """End all streams, and the thread, within a turn. A signal's handler may call this."""
        self._ending = True
        self._commands.put(lambda: None)

    def end(self) -> None:
        """Leave, and wait until nothing is computed any more."""
        self.leave()
        self._making.end()
        self._thread.join()

    def answer(self, stream: Stream, asks: Sequence[Ask]) -> None:
        """Answer all of `asks`, told to `stream`."""

        def open_() -> None:
            with self._counting:
                self._coming -= len(asks)
            self._answers.open(stream, asks)

        with self._counting:
            self._coming += len(asks)
        self._commands.put(open_)

    def measure(self, stream: Stream, asks: Sequence[tuple[Plan, Sequence[Row]]]) -> None:
        """Losses of each plan on its rows, told to `stream`."""
        self._commands.put(lambda: self._losses.open(stream, asks))

    def explain(self, stream: Stream, plan: Plan, spoken: Spoken) -> None:
        """What each adapter of a mix adds to one token, told to `stream`."""
        self._commands.put(lambda: self._shares.open(stream, plan, spoken))

    def hang_up(self, stream: Stream) -> None:
        """Nobody reads this stream any more."""
        self._commands.put(lambda: self._answers.drop(stream))
        self._commands.put(lambda: self._losses.drop(stream))
        self._commands.put(lambda: self._shares.drop(stream))

    def _run(self) -> None:
        while not self._ending:
            try:
                self._heed(wait=True)
                self._look()
                self._turn()
            except Exception as error:
                self._fail(error)
        self._tell_all(ENDED)

    def _heed(self, wait: bool) -> None:
        """Do what was asked meanwhile. `wait`: for a while, if there is nothing else to do."""
        idle = wait and not self._wanted
        with suppress(queue.Empty):
            self._commands.get(timeout=LOOK_SECONDS if idle else 0)()
            while True:
                self._commands.get_nowait()()

    @property
    def _wanted(self) -> bool:
        """Whether a turn would do anything."""
        return self._answers.waiting or self._losses.waiting or self._shares.waiting

    def _look(self) -> None:
        """Make room for a job on a GPU, and for anything when nobody has asked for long."""
        now = time.monotonic()
        if self._wanted:
            self._used = now
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if not self.beside_jobs and (busy := self.busy):
            self._tell_all(busy)
            self._unload()
        elif now - self._used > self.config.idle_minutes * 60:
            self._unload()

    def _turn(self) -> None:
        """Answers first; shares and losses by their part of the time, or when there are no answers."""
        began = time.monotonic()
        answering = self._answers.waiting
        if answering or (self._loaded and self._loaded.decoding.rows):
            self._answers.enter(self._load())
            self._heed(wait=False)
            self._answers.step(self._load())
        spent = time.monotonic() - began
        self._owed = self._owed + spent * LOSSES_SHARE if answering else 0.0
        if (self._losses.waiting or self._shares.waiting) and (not answering or self._owed > 0):
            (self._shares if self._shares.waiting else self._losses).turn(self._load())
            self._owed -= time.monotonic() - began - spent

    def _warm_up(self) -> None:
        if self.beside_jobs or not self.busy:
            self._load()
        self._warm = True

    def _load(self) -> Loaded:
        self._loaded = self._loaded or Loaded(self.config)
        return self._loaded

    def _unload(self) -> None:
        if self._loaded is None:
            return
        self._loaded = None
        gc.collect()
        give_back()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _tell_all(self, why: str) -> None:
        """Whoever waits for anything hears why it doesn't come."""
        for each in (self._answers, self._losses, self._shares):
            each.fail(why)

    def _fail(self, error: Exception) -> None:
        """Tell everybody what happened, and go on with what comes."""
        if isinstance(error, UserError):
            why = str(error)
        elif isinstance(error, torch.OutOfMemoryError):
            why = f"The answers don't fit into the memory of {self.device}. Ask for fewer, or start the engine with a smaller side_by_side."
        else:
            traceback.print_exception(error)
            why = f"The engine failed ({type(error).__name__}: {error}). This is a bug; its traceback is in results/.engine.log"
        self._tell_all(why)
        if self._loaded:
            self._loaded.decoding = Decoding(self._loaded.base)
