"""Pairs as a prompt wants them: with the question's reference, or with the passages that the candidate read in its place.

The passages come from rag_answers.csv and passages.csv beside the answers, as a comparison of RAG pipelines writes them.
"""

from dataclasses import replace
from pathlib import Path

from core import results
from core.config import JudgeConfig
from core.errors import UserError
from core.judge import answers, prompt
from core.judge.answers import Pair, Pairs
from core.results.rag import parts
from core.wording import count, listed


def pairs(file: Path, config: JudgeConfig) -> Pairs:
    """What is to be judged. Raises UserError where there are no pairs, or no passages for a prompt that shows them."""
    found = answers.pair(file, config)
    return _with_passages(found, file, config.prompt) if prompt.load(config.prompt).shows_passages else found


def _with_passages(found: Pairs, file: Path, prompt_id: str) -> Pairs:
    read = _read(file, prompt_id)
    shown = [replace(pair, reference=read.get((pair.candidate, pair.question), "")) for pair in found.pairs]
    kept = [pair for pair in shown if pair.reference]
    if not kept:
        raise UserError(_nothing_read(found.pairs, read, prompt_id))
    return Pairs(kept, " ".join(filter(None, (found.note, _left_out(len(found.pairs) - len(kept))))))


def _read(file: Path, prompt_id: str) -> dict[tuple[str, str], str]:
    """(Cell, question) -> the passages that its answer to the question as it stands has read, best first; empty: none."""
    tables = [file.with_name(name) for name in ("rag_answers.csv", "passages.csv")]
    if lacking := [table.name for table in tables if not table.is_file()]:
        raise UserError(
            f"The prompt '{prompt_id}' shows the passages that the candidate read, "
            f"and there is no {' and no '.join(lacking)} beside {file}. "
            "Give the run id of a comparison of RAG pipelines as answers, or choose another prompt."
        )
    rows = results.read(tables[0], results.RagAnswer)
    table = results.read(tables[1], results.Passage)
    texts = dict(zip(table["passage"], table["text"], strict=True))
    return {
        (row.model, row.asked): "\n\n".join(f"Passage {place}:\n{texts[name]}" for place, name in enumerate(parts(row.passages), 1))
        for row in rows[rows["variant"] == ""].itertuples()
    }


def _nothing_read(asked: list[Pair], read: dict[tuple[str, str], str], prompt_id: str) -> str:
    names = listed(list(dict.fromkeys(pair.candidate for pair in asked)))
    reading = list(dict.fromkeys(model for (model, _), text in read.items() if text))
    instead = f"Name a candidate that read some: {', '.join(reading)}." if reading else "Choose another prompt."
    return f"{names} read no passages, and the prompt '{prompt_id}' asks which answer they support better. {instead}"


def _left_out(number: int) -> str:
    return f"Left out: {count(number, 'pair')} whose candidate read no passages." if number else ""
