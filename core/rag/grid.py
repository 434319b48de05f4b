"""The grid: every generator answers every question with what every pipeline found, side by side, and goes on where it was broken off.

A unit of work is one pipeline with some questions. Its answers are written down as soon as they are there.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core import results
from core.answering.ask import Questions, Reply, ask
from core.answering.models import Model
from core.config import RagConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import QA
from core.models.choosing import GREEDY, Sampling
from core.models.load import BaseModel
from core.rag.prompts import fitting
from core.results.rag import BETWEEN, SEPARATOR
from core.runs import Workspace

UNIT = 8
"""Probes of a unit."""


@dataclass(frozen=True)
class Probe:
    """A question in one wording, answered greedily or drawn."""

    question_id: str
    variant: str
    """As in rag_answers.csv."""
    text: str
    reference: str
    category: str
    sampling: Sampling = GREEDY


@dataclass(frozen=True)
class Given:
    """An answer of a cell, and its loss on the reference: 0 of 0 tokens where there is none."""

    answer: results.RagAnswer
    reference_loss: float
    reference_tokens: int


@dataclass(frozen=True)
class Reading:
    """What a pipeline found for a question: passages, best first, and how long that took."""

    passages: list[str]
    """Ids."""
    seconds: float


Read = Callable[[str, str], Reading]
"""(pipeline, question's text) -> what was found."""


def cell(generator: str, pipeline: str) -> str:
    """The name of a cell of the grid."""
    return f"{generator}{BETWEEN}{pipeline}"


def fill(
    config: RagConfig,
    base: BaseModel,
    models: Sequence[Model],
    probes: Sequence[Probe],
    read: Read,
    texts: Mapping[str, str],
    workspace: Workspace,
) -> list[Given]:
    """All cells' answers to all probes, pipeline by pipeline. `texts`: each passage's text by its id."""
    done = _Done(workspace.scratch / "answers.jsonl")
    blocks = [(name, probes[start : start + UNIT]) for name in config.answered for start in range(0, len(probes), UNIT)]
    total, told = len(probes) * len(config.answered) * len(models), 0
    hashes = [model.row.content_hash for model in models]
    if done.units:
        workspace.say(f"{sum(map(len, done.units.values())):,} answers are kept from before.")
    prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
    for probe in probes:
        fitting(prompter, probe.text, probe.category, [], room(config, base))
    found: list[Given] = []
    for pipeline, block in blocks:
        unit = _Unit(config, base, pipeline, block, [read(pipeline, probe.text) for probe in block], texts)
        key = unit.digest(hashes)
        if key not in done.units:
            done.add(key, unit.ask(models, workspace, _progress(workspace, told, total, pipeline)))
        found += done.units[key]
        told += len(block) * len(models)
    workspace.progress(total, total, "answers")
    return found


def room(config: RagConfig, base: BaseModel) -> int:
    """Tokens that a prompt may have, beside its answer."""
    context = getattr(base.model.config.get_text_config(), "max_position_embeddings", None)
    return min(config.max_seq_length, context or config.max_seq_length) - config.max_new_tokens


def _progress(workspace: Workspace, before: int, total: int, pipeline: str) -> Callable[[int, int, str], None]:
    def tell(done: int, _: int, unit: str) -> None:
        if unit == "answers":
            workspace.progress(before + done, total, unit, pipeline)

    return tell


class _Unit:
    """One pipeline with some probes."""

    def __init__(
        self,
        config: RagConfig,
        base: BaseModel,
        pipeline: str,
        probes: Sequence[Probe],
        readings: Sequence[Reading],
        texts: Mapping[str, str],
    ) -> None:
        self._config, self._base, self._pipeline, self._probes, self._readings = config, base, pipeline, probes, readings
        prompter = Prompter(base.tokenizer, config.system_prompt, config.max_seq_length)
        fitted = [
            _fitted(prompter, probe, reading.passages[: config.top_k], texts, room(config, base))
            for probe, reading in zip(probes, readings, strict=True)
        ]
        self._asked, self._used = [text for text, _ in fitted], [passages for _, passages in fitted]

    def digest(self, hashes: Iterable[str]) -> str:
        """An id of all that decides the unit's answers."""
        settings = self._config.model_dump(mode="json", include={"system_prompt", "max_seq_length", "max_new_tokens", "quantization"})
        asked = [[asdict(probe), text] for probe, text in zip(self._probes, self._asked, strict=True)]
        said = json.dumps([self._pipeline, settings, str(self._base.dtype), asked, list(hashes)], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def ask(self, models: Sequence[Model], workspace: Workspace, progress: Callable[[int, int, str], None]) -> list[Given]:
        """The unit's answers, model by model."""
        rows = [QA(probe.text, probe.reference, probe.category, "test") for probe in self._probes]
        began = time.monotonic()
        questions = Questions(rows, self._encode, [probe.sampling for probe in self._probes])
        replies, _ = ask(self._config, self._base, models, questions, workspace, progress)
        seconds = (time.monotonic() - began) / len(replies)
        prompts = [len(each.prompt) for each in self._encode(self._base)]
        return [self._given(models[reply.model].row.model, reply, prompts[reply.question], seconds, workspace) for reply in replies]

    def _encode(self, base: BaseModel) -> list[Encoded]:
        """References are measured where the question stands as it is and has one."""
        prompter = Prompter(base.tokenizer, self._config.system_prompt, self._config.max_seq_length)
        rows = [(text, probe.reference, probe.category) for text, probe in zip(self._asked, self._probes, strict=True)]
        measured = [bool(probe.reference) and not probe.variant and "perplexity" in self._config.metrics for probe in self._probes]
        return [
            each if wanted else Encoded(each.prompt, [], cut=False)
            for each, wanted in zip(prompter.encode_all(rows), measured, strict=True)
        ]

    def _given(self, generator: str, reply: Reply, prompt_tokens: int, seconds: float, workspace: Workspace) -> Given:
        probe, reading = self._probes[reply.question], self._readings[reply.question]
        made = results.RagAnswer(
            workspace.run.run_id,
            cell(generator, self._pipeline),
            generator,
            self._pipeline,
            probe.question_id,
            probe.variant,
            probe.text,
            reply.generation.text,
            reply.generation.finish,
            prompt_tokens,
            SEPARATOR.join(self._used[reply.question]),
            reading.seconds,
            seconds,
        )
        return Given(made, reply.reference_loss, reply.reference_tokens)


def _fitted(prompter: Prompter, probe: Probe, passages: Sequence[str], texts: Mapping[str, str], room: int) -> tuple[str, list[str]]:
    """The user's message, and the passages that it has: those that fit into `room` tokens, best first."""
    text, most = fitting(prompter, probe.text, probe.category, [texts[passage] for passage in passages], room)
    return text, list(passages[:most])


class _Done:
    """Units that are answered, kept in a file that grows; a last line that a kill tore off is dropped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.units: dict[str, list[Given]] = {}
        lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
            file.write_bytes(b"".join(lines))
        for said in map(json.loads, lines):
            self.units[said["unit"]] = [Given(results.RagAnswer(**each[0]), each[1], each[2]) for each in said["answers"]]

    def add(self, key: str, answers: Sequence[Given]) -> None:
        """Write a unit down."""
        said = {"unit": key, "answers": [[asdict(each.answer), each.reference_loss, each.reference_tokens] for each in answers]}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.units[key] = list(answers)
