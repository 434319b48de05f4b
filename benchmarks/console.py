"""The live console's engine: what a weight change costs, how soon a mix says its first token, and whether it says the right ones.

    python benchmarks/console.py [--repeats 9] [--tokens 48] [--threads 1] [--json OUT]

(a) a weight change: from new weights to weights that the bank answers by; and with the request around it (names, hashes).
(b) the first token of a mix of all adapters over HTTP, from a live engine, beside the plain base model in transformers' generate, in
    turns. Both read the same prompt (template, tokens, text included), in fp32. Bar: 1.2 times the base's.
(c) greedy answers of a mix beside those of its `cat` merge in plain transformers + peft. They may part where the two most probable
    tokens are within 1e-4.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from benchmarks.report import spread, versions
from core import paths, runs
from core.config import DataConfig, MergeConfig, ServeConfig
from core.data.prompt import Prompter
from core.data.read import QA, read
from core.merge import run as merging
from core.models import load
from core.models.generate import end_tokens
from core.serve import app, client, resident
from core.serve.engine import Engine
from core.serve.guard import guarded
from core.serve.server import Server
from core.workspace import Workspace

NEAR_TIE = 1e-4
SYSTEM = "You answer in the voice of the {category} school: short, in its own words."
BAR = 1.2


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="rounds of (b), at least 5")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of each answer of (c)")
    parser.add_argument("--threads", type=int, help="torch's threads; empty: its own choice")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    questions = one_question_each()
    with home_of_its_own() as names, live_engine() as (engine, address):
        print(
            f"{len(names)} adapters: {', '.join(names)}\n{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; {versions()}\n"
        )
        found = {
            "adapters": names,
            "threads": torch.get_num_threads(),
            "weight_change_ms": weight_change(engine, names),
            "first_token": first_token(engine, address, names, questions, given.repeats),
            "equality": equality(engine, address, names, questions, given.tokens),
        }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


def weight_change(engine: Engine, names: list[str]) -> dict[str, float]:
    """Medians over 500 changes, in milliseconds."""
    loaded = engine._loaded
    assert loaded
    bank, planned = [], []
    for step in range(500):
        began = time.perf_counter()
        plan = engine.mixes.plan(MergeConfig(adapters=tuple(names), weights=moved(len(names), step)))
        mix = engine.mixes.make(plan)
        middle = time.perf_counter()
        with loaded.mixing([mix]):
            planned.append((time.perf_counter() - began) * 1000)
            bank.append((time.perf_counter() - middle) * 1000)
    print(f"(a) a weight change: {spread(bank[1:], 3, ' ms')}; with the request's names and hashes: {spread(planned[1:], 3, ' ms')}")
    return {"bank": statistics.median(bank[1:]), "request": statistics.median(planned[1:])}


def first_token(engine: Engine, address: resident.Engine, names: list[str], questions: list[QA], repeats: int) -> dict[str, Any]:
    """Seconds to the first token, in turns; each turn moves a weight, so nothing is known before."""
    base = load.load("bundled", precision="fp32", device="cpu")
    prompter = Prompter(base.tokenizer, SYSTEM)
    question = min(questions, key=lambda row: abs(len(prompter.prompt(row.question, row.category)) - 60))
    sides: dict[str, list[float]] = {"plain base": [], "mix": []}
    for step in range(-2, repeats):
        began = time.perf_counter()
        said = plain(base, prompter, question)
        middle = time.perf_counter()
        next(answers(address, question, names, moved(len(names), step), 1))
        if step >= 0:  # the first rounds warm up
            sides["plain base"].append(middle - began)
            sides["mix"].append(time.perf_counter() - middle)
    ratios = [mix / plain for mix, plain in zip(sides["mix"], sides["plain base"], strict=True)]
    tokens = len(prompter.prompt(question.question, question.category))
    for name, seconds in sides.items():
        print(f"(b) first token of {name} ({tokens} tokens of prompt): {spread([1000 * each for each in seconds], 0, ' ms')}")
    print(f"    the mix takes {spread(ratios, 2, 'x')} of the base's time; bar {BAR}x; the base said {said!r}")
    return {"prompt_tokens": tokens, "seconds": sides, "ratio": statistics.median(ratios), "bar": BAR}


def plain(base: load.BaseModel, prompter: Prompter, question: QA) -> str:
    """The first token of the base model in transformers' generate."""
    prompt = torch.tensor([prompter.prompt(question.question, question.category)])
    made = base.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=1, do_sample=False)
    return str(base.tokenizer.decode(made[0, prompt.shape[1] :]))


def equality(engine: Engine, address: resident.Engine, names: list[str], questions: list[QA], tokens: int) -> dict[str, Any]:
    """Where the engine's answers and peft's part, and how far apart the two best tokens are there."""
    weights = tuple(round(random.Random(n).uniform(-0.2, 0.6), 2) for n in range(len(names)))
    config = MergeConfig(adapters=tuple(names), weights=weights, strategy="cat", name="cat")
    merging.run(config, Workspace(runs.create("merge", config.model_dump(mode="json"))))
    base = load.load("bundled", precision="fp32", device="cpu")
    folder = paths.merged_adapters() / "cat"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(load.resolve("bundled"), dtype=torch.float32), folder).eval()
    rows = [compare(base, model, question, together(answers(address, question, names, weights, tokens)), tokens) for question in questions]
    equal, ties = sum(row["parts_at"] is None for row in rows), [row["gap"] for row in rows if row["parts_at"] is not None]
    verdict = "right" if all(gap <= NEAR_TIE for gap in ties) else "WRONG"
    print(f"(c) weights {weights}: {equal} of {len(rows)} answers equal, {len(ties)} part at a gap of {ties}: {verdict}")
    print(f"    {sum(row['tokens'] for row in rows)} tokens in all; for example: {rows[0]['text']!r}")
    return {"weights": weights, "rows": rows, "verdict": verdict}


def compare(base: load.BaseModel, model: Any, question: QA, ours: str, tokens: int) -> dict[str, Any]:
    """peft's greedy answer beside ours: the first token at which the texts part, and the gap of the two best logits there."""
    prompt = torch.tensor([Prompter(base.tokenizer, SYSTEM).prompt(question.question, question.category)])
    made = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=sorted(end_tokens(base)),
        output_logits=True,
        return_dict_in_generate=True,
    )
    chosen = made.sequences[0, prompt.shape[1] :].tolist()
    texts = [base.tokenizer.decode(chosen[:n], skip_special_tokens=True).strip() for n in range(len(chosen) + 1)]
    found = {"category": question.category, "text": ours, "tokens": len(chosen), "parts_at": None, "gap": None}
    if texts[-1] != ours:
        at = next(n for n, text in enumerate(texts) if not ours.startswith(text)) - 1 if not ours.startswith(texts[-1]) else len(chosen) - 1
        best = made.logits[at][0].float().topk(2).values
        found |= {"parts_at": at, "gap": float(best[0] - best[1])}
    return found


def answers(address: resident.Engine, question: QA, names: list[str], weights: tuple[float, ...], tokens: int) -> Iterator[dict[str, Any]]:
    """One answer of a mix."""
    mix = {"adapters": names, "weights": weights}
    row = {"key": "mix", "question": question.question, "category": question.category, "mix": mix}
    return client.answers(address, "benchmark", [row], system_prompt=SYSTEM, max_new_tokens=tokens)


def together(events: Iterator[dict[str, Any]]) -> str:
    """The whole answer."""
    return "".join(event.get("text", "") for event in events)


def moved(adapters: int, step: int) -> tuple[float, ...]:
    """Weights that differ from step to step."""
    return tuple(round(0.1 + 0.001 * step + 0.01 * place, 4) for place in range(adapters))


def one_question_each() -> list[QA]:
    """The first validation question of each school."""
    return read(DataConfig()).select("validation", limit=1)


@contextmanager
def home_of_its_own() -> Iterator[list[str]]:
    """A LYCEUM_HOME with the adapters of this one; yields their names."""
    shelf = paths.adapters()
    names = sorted(file.parent.name for file in shelf.glob("*/adapter_config.json"))
    folder = Path(tempfile.mkdtemp(prefix="lyceum-console-"))
    (folder / "adapters").symlink_to(shelf)
    before = os.environ.get("LYCEUM_HOME")
    os.environ["LYCEUM_HOME"] = str(folder)
    try:
        yield names
    finally:
        os.environ.pop("LYCEUM_HOME") if before is None else os.environ.update(LYCEUM_HOME=before)
        shutil.rmtree(folder)


@contextmanager
def live_engine(precision: str = "fp32", device: str = "cpu") -> Iterator[tuple[Engine, resident.Engine]]:
    """An engine behind HTTP, in this process, with its model in memory."""
    config = ServeConfig(precision=precision, device=device)
    engine = Engine(config)
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(guarded(app.make(engine), config, ""), config, engine)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    engine.begin()
    thread.start()
    while not (server.started and engine.loaded):
        time.sleep(0.05)
    try:
        yield engine, resident.Engine(f"http://127.0.0.1:{listening.getsockname()[1]}", 0, "bundled", "")
    finally:
        engine.leave()
        server.should_exit = True
        thread.join()
        engine.end()


if __name__ == "__main__":
    main()
