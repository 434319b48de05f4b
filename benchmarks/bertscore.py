"""BERTScore of several models' answers to the same questions, against the bert-score package called model by model.

    python benchmarks/bertscore.py [--models 7] [--references 200] [--repeats 3] [--changed 0.05] [--threads N] [--out FILE.json]

Peers: `bert_score.score` per model, as its README shows, and `BERTScorer` made once and called per model, which loads the encoder once.
Ours runs with an empty cache, then again after some answers changed. Sides take turns, A B C, B C A, ..., in one process;
every pair's precision, recall and F1 are compared. Ratios are of wall time and, for a machine with other work, of CPU time.
References are answers of the seven schools; predictions are made of their words.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from bert_score import BERTScorer, score  # noqa: E402
from transformers.utils.logging import disable_progress_bar  # noqa: E402

from core.metrics.batch import Batch  # noqa: E402
from core.metrics.bertscore import bertscore  # noqa: E402
from core.models.embed import encoder_folder  # noqa: E402

EQUAL = 1e-6
LAYER = 6
FIRST, AGAIN, PER_CALL, ONE_SCORER = "ours, first run", "ours, some answers changed", "bert_score.score per model", "one BERTScorer"
Answers = list[list[str]]
"""Per model, per reference."""
Lap = tuple[float, float]
"""Wall and CPU seconds."""


def main() -> None:
    """Measure, print a table, and write all figures as JSON."""
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    disable_progress_bar()
    references = _references(options.references)
    seconds: dict[str, list[Lap]] = {name: [] for name in (FIRST, AGAIN, PER_CALL, ONE_SCORER)}
    difference = 0.0
    _ours([["a warm-up"]], ["a first call"])
    for repeat in range(options.repeats):
        answers = [_answers(references, f"{repeat}-{model}") for model in range(options.models)]
        found = _round(answers, references, options.changed, repeat, seconds)
        difference = max(difference, *(float(np.abs(each - found[PER_CALL]).max()) for each in (found[FIRST], found[ONE_SCORER])))
        difference = max(difference, float(np.abs(found[AGAIN] - found["changed, by bert_score"]).max()))
    report = _report(options, seconds, difference)
    print(
        "\n".join(f"{name}: {value}" for name, value in report["ratios"].items()),
        f"largest difference of a pair: {difference:.1e}",
        sep="\n",
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")


def _round(answers: Answers, references: list[str], changed: float, repeat: int, seconds: dict[str, list[Lap]]) -> dict[str, np.ndarray]:
    """Every side once, in an order that turns; the changed answers come right after the run that fills the cache."""
    found: dict[str, np.ndarray] = {}

    def timed(name: str, side: Callable[[Answers, list[str]], np.ndarray], texts: Answers) -> None:
        begin, cpu = time.perf_counter(), time.process_time()
        found[name] = side(texts, references)
        if name in seconds:
            seconds[name].append((time.perf_counter() - begin, time.process_time() - cpu))

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LYCEUM_CACHE"] = folder
            timed(FIRST, _ours, answers)
            edited = _edited(answers, changed, repeat)
            timed(AGAIN, _ours, edited)
            timed("changed, by bert_score", _one_scorer, edited)

    sides = [ours, lambda: timed(PER_CALL, _per_call, answers), lambda: timed(ONE_SCORER, _one_scorer, answers)]
    for side in sides[repeat % 3 :] + sides[: repeat % 3]:
        side()
    return found


def _ours(answers: Answers, references: list[str]) -> np.ndarray:
    """[models x references, 3] precision, recall and F1."""
    predictions = [text for each in answers for text in each]
    nothing = np.ones(len(predictions))
    measures = bertscore(Batch(predictions, references * len(answers), nothing, nothing, "", "bundled", "cpu"))
    return np.stack([measure.statistics[:, 0] for measure in measures[:3]], axis=1)


def _per_call(answers: Answers, references: list[str]) -> np.ndarray:
    encoder = str(encoder_folder("bundled"))
    return _rows(score(each, references, model_type=encoder, num_layers=LAYER, device="cpu") for each in answers)


def _one_scorer(answers: Answers, references: list[str]) -> np.ndarray:
    scorer = BERTScorer(model_type=str(encoder_folder("bundled")), num_layers=LAYER, device="cpu")
    return _rows(scorer.score(each, references) for each in answers)


def _rows(scores: Sequence[tuple[torch.Tensor, ...]]) -> np.ndarray:
    return np.concatenate([torch.stack(each, dim=1).double().numpy() for each in scores])


def _references(n: int) -> list[str]:
    rows = [json.loads(line) for line in (PROJECT / "data" / "seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]
    return random.Random(0).sample(list(dict.fromkeys(row["answer"] for row in rows)), n)


def _answers(references: Sequence[str], seed: str) -> list[str]:
    """Answers as long as the references on average, with some of their words."""
    chance, words = random.Random(seed), " ".join(references).split()
    return [_answer(reference.split(), words, chance) for reference in references]


def _answer(reference: list[str], words: list[str], chance: random.Random) -> str:
    length = max(3, round(len(reference) * chance.uniform(0.5, 1.5)))
    return " ".join(
        reference[place] if place < len(reference) and chance.random() < 0.6 else chance.choice(words) for place in range(length)
    )


def _edited(answers: Answers, share: float, seed: int) -> Answers:
    """The same answers, some of them with other words."""
    chance = random.Random(seed)
    flat = [(model, place) for model, each in enumerate(answers) for place in range(len(each))]
    chosen = set(chance.sample(flat, round(share * len(flat))))
    return [
        [f"{text} Changed in round {seed}." if (model, place) in chosen else text for place, text in enumerate(each)]
        for model, each in enumerate(answers)
    ]


def _report(options: argparse.Namespace, seconds: dict[str, list[Lap]], difference: float) -> dict:
    clocks = ("wall", "cpu")
    return {
        "models": options.models,
        "references": options.references,
        "changed": options.changed,
        "seconds": {name: {clock: [round(lap[i], 3) for lap in laps] for i, clock in enumerate(clocks)} for name, laps in seconds.items()},
        "ratios": {
            f"{ours}, against {peer}, {clock}": _ratio([theirs[i] / mine[i] for theirs, mine in zip(seconds[peer], own, strict=True)])
            for ours, own in ((FIRST, seconds[FIRST]), (AGAIN, seconds[AGAIN]))
            for peer in (PER_CALL, ONE_SCORER)
            for i, clock in enumerate(clocks)
        },
        "largest_difference": difference,
        "equal": difference <= EQUAL,
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("bert_score", "torch", "transformers")},
    }


def _ratio(each: Sequence[float]) -> str:
    """Median, with smallest and largest."""
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=7)
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--changed", type=float, default=0.05)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=PROJECT / "benchmarks" / "measured" / "bertscore.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
