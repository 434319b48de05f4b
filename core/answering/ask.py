"""Every model's answer to every question, and its loss on the reference: in units that are kept, so that nothing is answered twice.

A unit is some questions before some models, side by side in the same batches wherever it is computed: in this process, after a resume, or
by a worker of a cluster. So all of them give the same answers.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from core.answering import alone
from core.answering.kept import Kept
from core.answering.models import Model
from core.answering.side_by_side import RouteShare, SideBySide
from core.config import EvaluateConfig, RagConfig
from core.data.prompt import Encoded
from core.data.read import QA
from core.models.choosing import Sampling
from core.models.generate import Generation, generate
from core.models.load import BaseModel
from core.models.loss import row_losses
from core.workspace import Workspace

UNIT_BATCHES = 4
"""Batches of a unit, about."""
Progress = Callable[[int], None]
"""Hears how many answers are done."""
Write = Callable[[Sequence[tuple[Model, int, list[int]]], Progress], list[Generation]]
"""Answers of models to questions, by their places, with the prompts' tokens."""


@dataclass(frozen=True)
class Questions:
    """What is asked."""

    rows: Sequence[QA]
    encode: Callable[[BaseModel], list[Encoded]]
    """The rows' tokens, by a model's tokenizer. A row without answer tokens has no loss."""
    samplings: Sequence[Sampling] | None = None
    """How each row's answer is drawn; None: greedy."""
    kinds: Sequence[str] | None = None
    """Questions of different kinds stand in different units, so that their times can be told apart. None: all are of one."""


@dataclass(frozen=True)
class Unit:
    """Some questions before some models, each by their places."""

    key: str
    """Of all that decides the answers."""
    models: list[int]
    questions: list[int]

    @property
    def answers(self) -> int:
        """How many it has."""
        return len(self.models) * len(self.questions)


@dataclass(frozen=True)
class Reply:
    """One model's answer to one question."""

    model: int
    """Place among the models."""
    question: int
    """Place among the questions."""
    text: str
    finish: str
    """stop, or length when it was cut."""
    reference_loss: float
    """Total loss of the reference answer, end token included, in nats; 0 where it has no tokens."""
    reference_tokens: int
    seconds: float
    """Of its unit, divided by the unit's answers."""


@dataclass(frozen=True)
class Asking:
    """All that answering needs beside the base model. It can be sent to a worker."""

    config: EvaluateConfig | RagConfig
    models: Sequence[Model]
    questions: Questions


def ask(asking: Asking, base: BaseModel, workspace: Workspace, write: Write | None = None) -> tuple[list[Reply], list[RouteShare]]:
    """All replies, kind by kind and in these model by model, and what routes gave to their adapters.

    `write`: who writes the answers in place of `base`.
    """
    kept = Kept(workspace.scratch / "answers")
    units = list(_units(asking, base))
    missing = [unit for unit in units if unit.key not in kept]
    if len(missing) < len(units):
        workspace.say(f"{sum(unit.answers for unit in units if unit.key in kept):,} answers are kept from before.")
    if missing and workspace.run.executor == "ray" and not write:
        from core.answering import away

        away.answer(asking, missing, kept, workspace)
    else:
        answer(asking, missing, base, kept, workspace, write)
    replies, routed = [], []
    for unit in units:
        found = kept.read(unit.key)
        replies += [Reply(**each) for each in found["replies"]]
        routed += [RouteShare(**each) for each in found["routed"]]
    kinds = _kinds(asking.questions)
    order = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    replies.sort(key=lambda reply: (order[kinds[reply.question]], reply.model, reply.question))
    return replies, sorted(routed, key=lambda share: (share.model, share.question))


def answer(asking: Asking, units: Sequence[Unit], base: BaseModel, kept: Kept, workspace: Workspace, write: Write | None = None) -> None:
    """Answer units in this process, and keep each as soon as it is there."""
    total, done = sum(unit.answers for unit in units), 0
    groups: dict[tuple[int, ...], list[Unit]] = {}
    for unit in units:
        groups.setdefault(tuple(unit.models), []).append(unit)
    for places, own in groups.items():
        with _reader(asking, places, base, workspace, write) as reader:
            for unit in own:
                said = reader.answer(unit, partial(_tell, workspace, done, total))
                kept.add(unit.key, said)
                workspace.kept()
                done += unit.answers


def _tell(workspace: Workspace, before: int, total: int, now: int) -> None:
    workspace.progress(before + now, total, "answers")


class Reader:
    """Models of one group with all questions before them: mixes of adapters on one base, or one model that stands alone."""

    def __init__(self, asking: Asking, places: Sequence[int], base: BaseModel, write: Write | None) -> None:
        self._asking, self._places, self._base, self._write = asking, list(places), base, write
        self._encoded = asking.questions.encode(base)
        self._side = SideBySide(base, [asking.models[place] for place in places], asking.questions.rows, self._encoded)

    def answer(self, unit: Unit, progress: Progress) -> dict[str, list[dict[str, Any]]]:
        """The unit's replies, and what its routes gave."""
        begun = time.monotonic()
        pairs = [(place, question) for place in unit.models for question in unit.questions]
        losses = self._losses(pairs)
        made = self._generations(pairs, progress)
        seconds = (time.monotonic() - begun) / len(pairs)
        replies = [
            Reply(place, question, each.text, each.finish, loss, len(self._encoded[question].answer), seconds)
            for (place, question), loss, each in zip(pairs, losses, made, strict=True)
        ]
        shares = [asdict(share) | {"model": self._places[share.model]} for share in self._side.shares(unit.questions)]
        return {"replies": [asdict(reply) for reply in replies], "routed": shares}

    def close(self) -> None:
        """Leave the base as it was found."""
        self._side.detach()

    def _rows(self, pairs: Sequence[tuple[int, int]]) -> list[int]:
        """The rows of SideBySide that stand for these pairs."""
        return [self._places.index(place) * len(self._encoded) + question for place, question in pairs]

    def _losses(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        """The loss of each reference; 0 without tokens."""
        with_tokens = [pair for pair in pairs if self._encoded[pair[1]].answer]
        rows = self._rows(with_tokens)
        found = row_losses(
            self._base,
            [self._encoded[question] for _, question in with_tokens],
            lambda places: self._side.mixing_of_references([rows[place] for place in places]),
        )
        losses = dict(zip(with_tokens, found, strict=True))
        return [losses.get(pair, 0.0) for pair in pairs]

    def _generations(self, pairs: Sequence[tuple[int, int]], progress: Progress) -> list[Generation]:
        prompts = [self._encoded[question].prompt for _, question in pairs]
        if self._write:
            wanted = [(self._asking.models[place], question, prompt) for (place, question), prompt in zip(pairs, prompts, strict=True)]
            return self._write(wanted, progress)
        samplings, rows = self._asking.questions.samplings, self._rows(pairs)
        return generate(
            self._base,
            prompts,
            max_new_tokens=self._asking.config.max_new_tokens,
            batch_size=self._asking.config.batch_size,
            mixing=lambda places: self._side.mixing([rows[place] for place in places]),
            samplings=[samplings[question] for _, question in pairs] if samplings else None,
            progress=progress,
        )


@contextmanager
def _reader(asking: Asking, places: Sequence[int], base: BaseModel, workspace: Workspace, write: Write | None) -> Iterator[Reader]:
    model = asking.models[places[0]]
    if not model.alone:
        reader = Reader(asking, places, base, write)
        yield reader
        reader.close()
        return
    workspace.say(f"{model.row.model} answers by itself: it can't stand beside others in one batch.")
    with alone.loaded(model.alone, base, asking.config) as own:
        if own.tokenizer.get_vocab() != base.tokenizer.get_vocab():
            workspace.say(f"Careful: {model.row.model} has another tokenizer than {base.name}, so its perplexity counts other tokens.")
        yield Reader(asking, places, own, None)


def _units(asking: Asking, base: BaseModel) -> Iterator[Unit]:
    """Questions of a kind and of like length stand together, so that little is padded."""
    encoded, kinds = asking.questions.encode(base), _kinds(asking.questions)
    together = [place for place, model in enumerate(asking.models) if not model.alone]
    groups = [together] if together else []
    for models in [*groups, *([place] for place, model in enumerate(asking.models) if model.alone)]:
        each = max(1, UNIT_BATCHES * asking.config.batch_size // len(models))
        for kind in dict.fromkeys(kinds):
            order = sorted((place for place, own in enumerate(kinds) if own == kind), key=lambda place: -len(encoded[place].prompt))
            for start in range(0, len(order), each):
                questions = order[start : start + each]
                yield Unit(_key(asking, base, models, questions, encoded), models, questions)


def _kinds(questions: Questions) -> Sequence[str]:
    return questions.kinds or [""] * len(questions.rows)


def _key(asking: Asking, base: BaseModel, models: Sequence[int], questions: Sequence[int], encoded: Sequence[Encoded]) -> str:
    settings = asking.config.model_dump(mode="json", include={"system_prompt", "max_seq_length", "max_new_tokens", "quantization"})
    samplings = asking.questions.samplings
    asked = [[place, encoded[place].prompt, encoded[place].answer, asdict(samplings[place]) if samplings else None] for place in questions]
    readers = [[place, asking.models[place].row.content_hash] for place in models]
    said = json.dumps([base.content_hash, str(base.dtype), settings, readers, asked])
    return hashlib.sha256(said.encode()).hexdigest()[:16]
