"""The OpenAI-compatible endpoint: what eight requests at once gain, and whether its greedy answers are transformers' own.

    python benchmarks/endpoint.py [--rounds 3] [--tokens 64] [--adapters 7] [--threads 1] [--json OUT]

(a) eight questions one after another, then eight others at once, by the openai client, in turns: tokens per second, and their ratio.
(b) greedy answers of the base model, of adapters and of two mixes, all asked at once, beside transformers' generate (+ peft, mixes by
    its exact `cat`) on the same chat prompt, in fp32. They may part where the two most probable tokens are within 1e-4.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from core.serve.names import BASE, MIX, mix_name, mix_weights

AT_ONCE = 8


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--adapters", type=int, help="of (b), the first ones; empty: all")
    parser.add_argument("--threads", type=int, help="torch's threads; empty: its own choice")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with home_of_its_own() as names, live_engine() as (_, address):
        client = openai.OpenAI(base_url=f"{address.address}/v1", api_key="any", max_retries=0, timeout=3600)
        print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; {versions()}\n")
        found = {
            "speed": speed(client, given.rounds, given.tokens),
            "equality": equality(client, ["base", *names[: given.adapters], *mixes(names)], given.tokens),
        }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


def speed(client: openai.OpenAI, rounds: int, tokens: int) -> dict[str, list[float]]:
    """Tokens per second of each round. No question is asked twice, because finished answers are remembered."""
    questions = list(dict.fromkeys(row.question for row in read(DataConfig()).select("train", limit=None)))
    sides: dict[str, list[float]] = {"one after another": [], "at once": []}
    for each in range(rounds + 1):
        for side, workers in (("one after another", 1), ("at once", AT_ONCE)):
            chosen, questions = questions[:AT_ONCE], questions[AT_ONCE:]
            began = time.perf_counter()
            with ThreadPoolExecutor(workers) as pool:
                replies = list(pool.map(lambda question: ask(client, "base", question, tokens), chosen))
            if each:  # the first round warms up
                sides[side].append(sum(reply.usage.completion_tokens for reply in replies) / (time.perf_counter() - began))
    ratios = [at_once / alone for alone, at_once in zip(*sides.values(), strict=True)]
    for side, speeds in sides.items():
        print(f"(a) {AT_ONCE} requests {side}: {spread(speeds, 1, ' tokens/s')}")
    print(f"    at once is {spread(ratios, 2, 'x')} as fast")
    return {**sides, "ratio": [statistics.median(ratios)]}


def equality(client: openai.OpenAI, names: Sequence[str], tokens: int) -> dict[str, Any]:
    """All models are asked at once; then each beside transformers + peft."""
    questions = [row.question for row in read(DataConfig()).select("validation", limit=1)][:2]
    asked = [(name, question) for name in names for question in questions]
    with ThreadPoolExecutor(len(asked)) as pool:
        replies = pool.map(lambda each: ask(client, each[0], each[1], tokens).choices[0].message.content, asked)
        said = dict(zip(asked, replies, strict=True))
    gaps = [gap for name in names for gap in parting(name, {question: said[name, question] for question in questions}, tokens)]
    apart = [gap for gap in gaps if gap is not None]
    equal = f"{len(gaps) - len(apart)} of {len(gaps)} greedy answers of {len(names)} models equal"
    verdict = "right" if all(gap <= NEAR_TIE for gap in apart) else "WRONG"
    print(f"(b) {equal}, the others part at a gap of {apart}: {verdict}")
    return {"answers": len(gaps), "gaps": apart, "verdict": verdict}


def mixes(names: Sequence[str]) -> list[str]:
    """Of two adapters, and of all, one with a negative weight."""
    return [mix_name({name: 0.5 for name in names[:2]}), mix_name({name: (-0.2 if name == names[0] else 0.3) for name in names})]


def answering(name: str, folder: Path) -> Any:
    """The base model, with its adapter or its mix by peft."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if name == BASE:
        return model.eval()
    weights = mix_weights(name) if name.startswith(MIX) else {name: 1.0}
    first, *others = weights
    model = PeftModel.from_pretrained(model, paths.adapters() / first, adapter_name=first)
    for other in others:
        model.load_adapter(paths.adapters() / other, adapter_name=other)
    if name.startswith(MIX):
        model.add_weighted_adapter(list(weights), list(weights.values()), "mix", combination_type="cat")
        model.set_adapter("mix")
    return model.eval()


def parting(name: str, said: Mapping[str, str], tokens: int) -> Iterator[float | None]:
    """Per question, how far apart the two best tokens are where the answers part; None: they are equal."""
    folder = load.resolve("bundled")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = answering(name, folder)
    for question, text in said.items():
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        made = model.generate(**prompt, max_new_tokens=tokens, do_sample=False, output_logits=True, return_dict_in_generate=True)
        chosen = made.sequences[0, prompt["input_ids"].shape[1] :].tolist()
        begun = [tokenizer.decode(chosen[: n + 1], skip_special_tokens=True) for n in range(len(chosen))]
        at = next((n for n, each in enumerate(begun) if not text.startswith(each)), len(chosen) - 1)
        best = made.logits[at][0].float().topk(2).values
        yield None if begun[-1] == text else float(best[0] - best[1])


def ask(client: openai.OpenAI, model: str, question: str, tokens: int) -> Any:
    """One greedy answer."""
    messages: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=tokens)


if __name__ == "__main__":
    main()
