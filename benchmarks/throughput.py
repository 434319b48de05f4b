"""Many adapters at once: the engine beside peft, which answers one adapter after another, or all in one batch by `adapter_names`.

    python benchmarks/throughput.py [--adapters 8] [--prompts 8] [--tokens 64] [--repeats 5] [--threads 2] [--device auto] [--json OUT]

(a) every prompt to every adapter: the engine is asked all of them at once over HTTP by the openai client; peft generates a padded batch
    of all prompts for one adapter after another, with its LoRA beside the weights or merged into them, and one batch for all adapters.
    Greedy, in turns, fp32 on a CPU and bf16 on a GPU. Bar on a CPU: 2.5 times the faster way of one adapter after another.
(b) all answers against peft's; on a CPU they may part where the two most probable tokens are within 1e-4.
(c) latency of a whole answer by a mix of all adapters beside the base model's, one request at a time. Bar: 1.2 times.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import openai
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.console import NEAR_TIE, home_of_its_own, live_engine
from benchmarks.report import spread, versions
from core import paths
from core.config import DataConfig
from core.data.read import read
from core.models import load
from core.serve.engine import Engine

BAR, LATENCY_BAR = 2.5, 1.2
LATENCY_TOKENS = 24
Answers = dict[tuple[str, str], str]
"""By adapter and question."""


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("adapters", 8), ("prompts", 8), ("tokens", 64), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--threads", type=int, help="torch's threads; empty: its own choice")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = load.choose_device(given.device)
    precision = "bf16" if device.type == "cuda" else "fp32"
    with home_of_its_own() as names, live_engine(precision, device.type) as (engine, address):
        client = openai.OpenAI(base_url=f"{address.address}/v1", api_key="any", max_retries=0, timeout=3600)
        print(f"{device}, {precision}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; {versions()}\n")
        race = Race(engine, client, Peers(names[: given.adapters], given.tokens, device, precision), given.prompts, given.tokens)
        found = {"seconds": race.run(given.repeats), "equality": race.equality(), "latency": race.latency(given.repeats)}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


class Peers:
    """transformers and peft: one model that holds all adapters."""

    def __init__(self, names: Sequence[str], tokens: int, device: torch.device, precision: str) -> None:
        self.names, self._tokens = list(names), tokens
        folder = load.resolve("bundled")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)
        self.model: Any = PeftModel.from_pretrained(base, paths.adapters() / names[0], adapter_name=names[0]).eval()
        for name in names[1:]:
            self.model.load_adapter(paths.adapters() / name, adapter_name=name)

    def one_by_one(self, questions: Sequence[str]) -> Answers:
        """LoRA beside the weights."""
        found: Answers = {}
        for name in self.names:
            self.model.set_adapter(name)
            found |= self._answers([(name, question) for question in questions])
        return found

    def merged(self, questions: Sequence[str]) -> Answers:
        """LoRA merged into the weights before each adapter's batch, and taken out again."""
        found: Answers = {}
        for name in self.names:
            self.model.base_model.merge_adapter([name])
            found |= self._answers([(name, question) for question in questions])
            self.model.base_model.unmerge_adapter()
        return found

    def mixed(self, questions: Sequence[str]) -> Answers:
        """One batch whose rows name their adapters."""
        asked = [(name, question) for name in self.names for question in questions]
        return self._answers(asked, adapter_names=[name for name, _ in asked])

    def gap(self, name: str, question: str, said: str) -> float:
        """How far apart the two best tokens are where peft's answer, alone, parts from `said`."""
        self.model.set_adapter(name)
        made = self._generated([question], output_logits=True, return_dict_in_generate=True)
        chosen = made.sequences[0, -len(made.logits) :].tolist()
        begun = [self._tokenizer.decode(chosen[: n + 1], skip_special_tokens=True) for n in range(len(chosen))]
        at = next((n for n, each in enumerate(begun) if not said.startswith(each)), len(chosen) - 1)
        best = made.logits[at][0].float().topk(2).values
        return 0.0 if begun[-1] == said else float(best[0] - best[1])

    def _answers(self, asked: Sequence[tuple[str, str]], **fields: Any) -> Answers:
        made = self._generated([question for _, question in asked], **fields)
        return dict(zip(asked, self._tokenizer.batch_decode(made, skip_special_tokens=True), strict=True))

    @torch.no_grad()
    def _generated(self, questions: Sequence[str], **fields: Any) -> Any:
        turns = [[{"role": "user", "content": question}] for question in questions]
        prompt = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True)
        made = self.model.generate(**prompt.to(self.model.device), max_new_tokens=self._tokens, do_sample=False, **fields)
        return made if fields.get("return_dict_in_generate") else made[:, prompt["input_ids"].shape[1] :]


@dataclass
class Race:
    """The engine and its peers on the same prompts."""

    engine: Engine
    client: openai.OpenAI
    peers: Peers
    prompts: int
    tokens: int
    said: dict[str, Answers] = field(default_factory=dict)
    """By side, of the last round."""

    def run(self, repeats: int) -> dict[str, list[float]]:
        """Seconds of each round, side by side in turns; no question is asked twice."""
        sides: dict[str, Callable[[Sequence[str]], Answers]] = {
            "engine": self._at_once,
            "peft, one adapter after another": self.peers.one_by_one,
            "peft, each merged before": self.peers.merged,
            "peft, adapter_names": self.peers.mixed,
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        rounds = _rounds(self.prompts, repeats + 1)
        for nth, questions in enumerate(rounds):
            for side, answers in sides.items():
                began = time.perf_counter()
                self.said[side] = answers(questions)
                if nth:  # the first round warms up
                    seconds[side].append(time.perf_counter() - began)
        for side, own in seconds.items():
            against = "" if side == "engine" else f"; the engine is {spread(_ratios(own, seconds['engine']), 2, 'x')} as fast"
            print(f"(a) {side}: {spread(own, 1, ' s')}{against}")
        best = min(statistics.median(_ratios(seconds[side], seconds["engine"])) for side in list(sides)[1:3])
        print(
            f"    {len(self.peers.names)} adapters x {self.prompts} prompts x {self.tokens} tokens; bar on a CPU {BAR}x, seen {best:.2f}x"
        )
        return seconds

    def equality(self) -> dict[str, Any]:
        """The engine's answers of the last round against peft's."""
        ours, theirs = self.said["engine"], self.said["peft, one adapter after another"]
        parted = [key for key in ours if ours[key] != theirs[key]]
        gaps = [self.peers.gap(*key, ours[key]) for key in parted]
        verdict = "right" if all(gap <= NEAR_TIE for gap in gaps) else "apart"
        print(f"(b) {len(ours) - len(parted)} of {len(ours)} answers equal; alone, peft parts from the others at gaps of {gaps}: {verdict}")
        return {"answers": len(ours), "gaps": gaps, "verdict": verdict}

    def latency(self, repeats: int) -> dict[str, list[float]]:
        """Seconds of a whole answer of LATENCY_TOKENS, one request at a time, no question twice; shorter answers don't count."""
        mix = "mix:" + ",".join(f"{name}={1 / len(self.peers.names):.4f}" for name in self.peers.names)
        seconds: dict[str, list[float]] = {"base": [], mix: []}
        for questions in _rounds(1, 20 * repeats, skip=600):
            if len(seconds[mix]) == 3 * repeats:
                break
            laps = []
            for model in seconds:
                began = time.perf_counter()
                reply = self._ask(model, questions[0], LATENCY_TOKENS)
                laps.append((time.perf_counter() - began, reply.usage.completion_tokens))
            if all(tokens == LATENCY_TOKENS for _, tokens in laps):
                for own, (lap, _) in zip(seconds.values(), laps, strict=True):
                    own.append(lap)
        ratios = _ratios(seconds[mix], seconds["base"])
        print(f"(c) {LATENCY_TOKENS} tokens of a mix of {len(self.peers.names)}: {spread(seconds[mix], 2, ' s')}, ", end="")
        print(f"{spread(ratios, 2, 'x')} of the base model's over {len(ratios)} questions; bar {LATENCY_BAR}x")
        return {"base": seconds["base"], "mix": seconds[mix]}

    def _at_once(self, questions: Sequence[str]) -> Answers:
        asked = [(name, question) for name in self.peers.names for question in questions]
        with ThreadPoolExecutor(len(asked)) as pool:
            replies = pool.map(lambda each: self._ask(*each).choices[0].message.content, asked)
            return dict(zip(asked, replies, strict=True))

    def _ask(self, model: str, question: str, tokens: int | None = None) -> Any:
        messages: Any = [{"role": "user", "content": question}]
        return self.client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=tokens or self.tokens)


def _rounds(prompts: int, rounds: int, skip: int = 0) -> Iterator[list[str]]:
    """Different questions of the training rows for each round."""
    questions = list(dict.fromkeys(row.question for row in read(DataConfig()).select("train", limit=None)))[skip:]
    for nth in range(rounds):
        yield questions[nth * prompts : (nth + 1) * prompts]


def _ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]


if __name__ == "__main__":
    main()
