"""The right answers for a load: what a quiet engine says, and which of them may come while an adapter is replaced.

An answer of n tokens is the beginning of the longest one, so a request for any number of tokens has one right text, and no two requests
need be the same. Greedy answers may part where the two most probable tokens are within 1e-4.
"""

import itertools
import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from core import paths, peft_config
from core.config import DataConfig
from core.data.read import read
from core.serve import client, resident
from core.serve.names import mix_name

NEAR_TIE = 1e-4
GUEST = "guest"
"""The adapter that comes and goes."""
SEEDS = (None, 7)
"""None: greedy."""
SPECIAL = re.compile(rb"<\|\w+\|>")
"""Tokens that a text leaves out."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    model: str
    question: str
    seed: int | None
    tokens: int
    stream: bool = False

    @property
    def body(self) -> dict[str, Any]:
        """As it is sent."""
        drawn = {"temperature": 0} if self.seed is None else {"temperature": 1, "seed": self.seed}
        messages = [{"role": "user", "content": self.question}]
        return {"model": self.model, "messages": messages, "max_tokens": self.tokens, "stream": self.stream, **drawn}


@dataclass(frozen=True)
class Answer:
    """The longest right answer to a question."""

    pieces: tuple[bytes, ...]
    """What each token adds."""
    gaps: tuple[float, ...]
    """Nats between the two most probable tokens at each place."""

    def text(self, tokens: int) -> str:
        """Its first tokens."""
        return b"".join(self.pieces[:tokens]).decode("utf-8", "replace")

    def near_tie(self, said: str, tokens: int) -> bool:
        """Whether `said` parts from it where two tokens were almost equally probable."""
        begun = [self.text(n).rstrip("\ufffd") for n in range(min(tokens, len(self.pieces)))]  # without halves of characters
        same = max((each for each in begun if said.startswith(each)), key=len)
        return any(gap <= NEAR_TIE for each, gap in zip(begun, self.gaps, strict=False) if each == same)


@dataclass
class Shelf:
    """The guest's folder, with the time of each change: which of its variants a request may have met."""

    variants: list[Path] = field(default_factory=list)
    _states: list[tuple[float, int | None]] = field(default_factory=lambda: [(0.0, None)])
    """From when on (before the change began), and the variant; None: absent."""
    _ends: list[float] = field(default_factory=list)
    """When the change after each state was done."""

    def put(self, variant: int | None) -> None:
        """Replace the guest by this variant, or take it away; a folder comes and goes whole."""
        home = paths.adapters() / GUEST
        if home.exists():
            self._change(None, lambda: home.rename(home.parent.parent / f"gone-{time.monotonic_ns()}"))
        if variant is not None:
            fresh = home.parent.parent / f"fresh-{time.monotonic_ns()}"
            shutil.copytree(self.variants[variant], fresh)
            self._change(variant, lambda: fresh.rename(home))
        for old in home.parent.parent.glob("gone-*"):
            shutil.rmtree(old)

    def _change(self, variant: int | None, do: Any) -> None:
        self._states.append((time.monotonic(), variant))
        do()
        self._ends.append(time.monotonic())

    def met(self, began: float, ended: float) -> set[int | None]:
        """The variants that stood there at some moment in between."""
        ends = itertools.chain(self._ends, itertools.repeat(float("inf")))
        return {variant for (start, variant), end in zip(self._states, ends, strict=False) if start <= ended and end >= began}


@dataclass
class Referee:
    """Tells right answers from wrong ones."""

    models: Sequence[str]
    questions: Sequence[str]
    tokens: int
    shelf: Shelf
    known: dict[tuple[str, str, int | None, int | None], Answer] = field(default_factory=dict)
    """By model, question, seed, and variant of the guest (None: it takes no part)."""

    def right(self, asked: Asked, began: float, ended: float) -> list[Answer]:
        """The answers that may come to a request of this time; empty: the guest was away all the time."""
        variants = self.shelf.met(began, ended) - {None} if GUEST in asked.model else {None}
        return [self.known[asked.model, asked.question, asked.seed, variant] for variant in variants]

    def away(self, asked: Asked, began: float, ended: float) -> bool:
        """Whether the guest may have been absent, or just replaced."""
        met = self.shelf.met(began, ended)
        return GUEST in asked.model and (None in met or len(met) > 1)

    def verdict(self, asked: Asked, text: str, tokens: int, began: float, ended: float) -> str:
        """right, near tie or wrong."""
        candidates = self.right(asked, began, ended)
        if any(text == each.text(asked.tokens) and tokens == min(asked.tokens, len(each.pieces)) for each in candidates):
            return "right"
        near = asked.seed is None and any(each.near_tie(text, asked.tokens) for each in candidates)
        return "near tie" if near else "wrong"


async def referee(engine: resident.Engine, shelf: Shelf, questions: int, tokens: int) -> Referee:
    """Ask everything once, one after another."""
    names = [name for name in client.models(engine) if name != "base"]
    shelf.variants = [weakened(paths.adapters() / name) for name in names]
    mixes = [mix_name({names[0]: 0.7, names[1]: -0.4}), mix_name(dict.fromkeys(names[:3], 1 / 4))]
    guests = [GUEST, mix_name({names[0]: 0.5, GUEST: 0.5})]
    asked = [row.question for row in read(DataConfig()).select("validation", limit=1)][:questions]
    rules = Referee(["base", *names, *mixes, *guests], asked, tokens, shelf)
    async with httpx.AsyncClient(base_url=engine.address, timeout=600, **client.plainly(engine)) as asking:
        for model, question, seed in itertools.product(["base", *names, *mixes], asked, SEEDS):
            rules.known[model, question, seed, None] = await longest(asking, Asked(model, question, seed, tokens))
        for variant in range(len(names)):
            shelf.put(variant)
            for model, question, seed in itertools.product(guests, asked, SEEDS):
                rules.known[model, question, seed, variant] = await longest(asking, Asked(model, question, seed, tokens))
    return rules


def weakened(folder: Path) -> Path:
    """A copy of an adapter at half its strength, beside the shelf."""
    made = shutil.copytree(folder, folder.parent.parent / f"variant-{folder.name}")
    config = made / peft_config.CONFIG
    fields = json.loads(config.read_text())
    config.write_text(json.dumps({**fields, "lora_alpha": fields["lora_alpha"] / 2}))
    return made


async def longest(asking: httpx.AsyncClient, asked: Asked) -> Answer:
    """The answer with its tokens, one by one."""
    reply = await asking.post("/v1/chat/completions", json={**asked.body, "logprobs": True, "top_logprobs": 2})
    choice = reply.raise_for_status().json()["choices"][0]
    content = choice["logprobs"]["content"]
    pieces = tuple(b"" if SPECIAL.fullmatch(bytes(each["bytes"])) else bytes(each["bytes"]) for each in content)
    gaps = tuple(each["top_logprobs"][0]["logprob"] - each["top_logprobs"][1]["logprob"] for each in content)
    found = Answer(pieces, gaps)
    assert found.text(asked.tokens) == choice["message"]["content"], "the tokens are not the text"
    return found
