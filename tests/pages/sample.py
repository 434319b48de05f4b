"""TEST MATERIAL: made-up runs in the formats of the real ones, so that pages can be looked at and tested without training.

No figure in here was measured. `python tests/pages/sample.py` fills LYCEUM_HOME with it; it refuses the project's own folder.
"""

import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core import paths, results, runs  # noqa: E402
from core.results import ALL, Answer, ArenaPair, Claim, DataRow, Leak, Model, Score, Step, Token, ValidationRow, Verdict, Vote  # noqa: E402
from core.runs import Run  # noqa: E402
from core.workspace import Workspace  # noqa: E402

SCHOOLS = ("cynic", "hacker", "buddhist", "kural", "wisdom", "puritan", "lexicon")
MERGED = ("linear_merged_adapter", "svd_merged_adapter")
HOSTILE = "<script>document.title='hacked'</script><b>bold</b> **stars** $x$ :red[colour]\nsecond line"
"""The base's first answer: shown as it stands or the page is wrong."""


def everything() -> dict[str, Run]:
    """A finished run of every verb."""
    first = {"data": data(), "train": train(), "merge": merge(), "evaluate": evaluate(), "judge": judge(), "arena": arena()}
    return first | {"claims": claims()}


def data() -> Run:
    """A data report: rows per split and category, tokens, one leak."""

    def fill(workspace: Workspace) -> dict[str, Any]:
        splits, tokens = {"train": 176, "validation": 21, "test": 23}, {"tokens_mean": 78.25, "tokens_p95": 143.0, "tokens_max": 210.0}
        rows = [DataRow(ALL, "", "dropped", 2, "no answer (line 7, line 9)")]
        for category, times in ((ALL, 7), *((school, 1) for school in SCHOOLS)):
            doubtful = {"duplicates": 3.0, "leaks": 1.0, "share_cut": 0.004, "unsupervised": 0.0}
            whole = {"rows": 220.0 * times, **tokens, **(doubtful if category == ALL else dict.fromkeys(doubtful, 0.0))}
            rows += [DataRow(category, "", figure, value) for figure, value in whole.items()]
            rows += [DataRow(category, split, "rows", n * times) for split, n in splits.items()]
        leak = Leak("cynic", "test", "What is wealth?", 0.92, "cynic", "train", "What is wealth really?")
        results.write(workspace.path / "leaks.csv", [leak], Leak)
        results.write(workspace.path / "report.csv", rows, DataRow)
        return {"report": f"results/{workspace.run.run_id}/report.csv", "rows": 1540, "categories": 7}

    return _run("data", {"data": "data/seven_schools.jsonl"}, fill)


def train(status: str = "done", steps: int = 120, error: str | None = None, seed: int = 0, names: Sequence[str] = SCHOOLS) -> Run:
    """A cohort of adapters; `status` running stops half-way, failed has an error and a log."""

    def fill(workspace: Workspace) -> dict[str, Any]:
        upto, done = steps if status == "done" else steps // 2, status == "done"
        for step in range(1, upto + 1):
            results.append(workspace.path / "steps.csv", _steps(step, steps, seed, names), Step)
        workspace.event("progress", done=1, total=steps, unit="steps", message="")
        workspace.event("progress", done=upto, total=steps, unit="steps", message="epoch 2 of 3")
        workspace.say("Trainable: 460,800 of 134,975,808 parameters (0.34 %), seven times.")
        results.write(workspace.path / "first_batch.csv", _tokens(names), Token)
        if done:
            results.write(workspace.path / "validation_rows.csv", _validation_rows(names), ValidationRow)
            (workspace.path / "loss_curve.png").write_bytes(b"\x89PNG test material")
        for name in names if done else ():
            folder(paths.adapters() / f"{name}-lora", {"role": "own", "categories": [name], "run_id": workspace.run.run_id})
        made = {f"{name}-lora": f"adapters/{name}-lora" for name in names}
        return {"adapters": made, "tokens_per_second": 251.3, "matrix_peak_share": 0.43}

    return _run("train", {"method": "lora", "r": 8, "categories": ["each"], "epochs": 3, "seed": seed}, fill, status, error)


def plan(config: dict[str, Any], fits: bool = True, status: str = "done", error: str | None = None) -> Run:
    """An estimate of what training seven adapters takes."""
    parts = {"weights": 513.1, "adapters": 80.0, "optimiser": 49.0, "activations": 665.6, "workspace": 492.3}

    def fill(workspace: Workspace) -> dict[str, Any]:
        return {
            **{
                "trainable_parameters": 460_800,
                "all_parameters": 134_975_808,
                "rows": 1232,
                "steps": 924,
                "tokens": 132_000,
                "adapters": 7,
                "passes": 1,
            },
            **{"memory_mb": 1800.0, "memory_parts_mb": parts, "available_mb": 6144.0 if fits else 900.0, "fits": fits},
            "advice": "" if fits else "It would fit with gradient_checkpointing=true: 620 MB.",
            **{"seconds": 660.0, "tokens_per_second": 200.0, "speed_from": "as the last run of this kind here"},
        }

    return _run("plan", config, fill, status, error)


def merge() -> Run:
    """Two merged adapters; the run is the first one's."""
    parents = [f"{school}-lora" for school in SCHOOLS]
    weights = [0.3, 0.3, 0.3, 0.2, 0.3, 0.3, 0.0]
    recipe = {"strategy": "linear", "weights": weights, "adapters": parents, "hashes": ["0" * 16] * 7, "rank": 56}

    def fill(workspace: Workspace) -> dict[str, Any]:
        for name in MERGED:
            folder(
                paths.merged_adapters() / name, {"role": "merged", "categories": [], "recipe": {**recipe, "strategy": name.split("_")[0]}}
            )
        return {"adapter": f"merged_adapters/{MERGED[0]}", "layers": 120, **recipe, "energy_kept": 1.0, "relative_error": 2.1e-8}

    return _run("merge", {"adapters": parents, "weights": weights}, fill)


def evaluate() -> Run:
    """Base, pooled, seven own adapters and two merges on 23 questions a school; own adapters help, but not the lexicon's."""

    def fill(workspace: Workspace) -> dict[str, Any]:
        answers = list(_answers(workspace.run.run_id))
        results.write(workspace.path / "models.csv", _models(), Model)
        results.write(workspace.path / "answers.csv", answers, Answer)
        results.write(workspace.path / "scores.csv", _scores(answers), Score)
        return {"answers": f"results/{workspace.run.run_id}/answers.csv"}

    return _run("evaluate", {"models": ["all"]}, fill)


def judge() -> Run:
    """Verdicts on own against base by the embedding similarity, with ties, flips, one failed and one unparsed; on the newest answers."""

    def fill(workspace: Workspace) -> dict[str, Any]:
        results.write(workspace.path / "verdicts.csv", _verdicts(workspace.run.run_id), Verdict)
        written = {"verdicts": f"results/{workspace.run.run_id}/verdicts.csv"}
        asked = runs.listing("evaluate", "done")[:1]
        return written | ({"answers": f"results/{asked[0].run_id}/answers.csv"} if asked else {})

    return _run("judge", {"answers": "last", "backend": "similarity"}, fill)


def arena() -> Run:
    """A round on ten questions of the first school; one person has voted on two. The names are those of the evaluation."""

    def fill(workspace: Workspace) -> dict[str, Any]:
        answers = list(_answers(workspace.run.run_id))[:10]
        asked = [
            ArenaPair(f"pair{place}", "base", "cynic-lora", row.category, row.question, row.reference, row.prediction, f"Answer {place}.")
            for place, row in enumerate(answers)
        ]
        results.write(workspace.path / "pairs.csv", asked, ArenaPair)
        votes = [
            Vote(runs.now(), workspace.run.run_id, "Ada", *_about(pair), "base", choice, verdict, 4.2)
            for pair, choice, verdict in zip(asked, ("right", "tie"), ("fine-tuned", "tie"), strict=False)
        ]
        results.write(workspace.path / "votes.csv", votes, Vote)
        return {"questions": len(asked), "names": ["cynic-lora"], "pairs": f"results/{workspace.run.run_id}/pairs.csv"}

    return _run("arena", {"answers": "last"}, fill)


def claims() -> Run:
    """A claim that holds, one that does not, and one that cannot be said; the last one's texts are hostile."""

    def fill(workspace: Workspace) -> dict[str, Any]:
        rows = [
            Claim("up", "a project", "Tuning helps.", ".72 to .85", 0.1, 0.05, 0.15, 171, "F1", "holds", "Measured so.", "run-1"),
            Claim("down", "a project", "Merged beats pooled.", ".88", -0.02, -0.04, -0.01, 171, "F1", "does not hold", "Measured so.", ""),
            Claim("open", "a project", HOSTILE, HOSTILE, None, None, None, None, "", "cannot be said", HOSTILE, ""),
        ]
        results.write(workspace.path / "claims.csv", rows, Claim)
        return {"claims": f"results/{workspace.run.run_id}/claims.csv", "evaluation": "run-1"}

    return _run("claims", {"evaluation": "last"}, fill)


def _about(pair: ArenaPair) -> tuple[str, str, str, str, str]:
    return pair.pair, pair.base, pair.candidate, pair.category, pair.question


def _run(
    verb: str, config: dict[str, Any], fill: Callable[[Workspace], dict[str, Any]], status: str = "done", error: str | None = None
) -> Run:
    run = runs.create(verb, config)
    runs.update(run.run_id, status="running", started_at=runs.now())
    outputs = fill(Workspace(run))
    log = "".join(f"line {number} of the log\n" for number in range(1, 30))
    with (run.path / "log.txt").open("a") as file:
        file.write(log + (f"Traceback: {error}\n" if error else ""))
    ended: dict[str, Any] = {} if status == "running" else {"finished_at": runs.now()}
    return runs.update(run.run_id, status=status, outputs=outputs if status == "done" else {}, error=error, **ended)


def folder(path: Path, info: dict[str, Any]) -> None:
    """An adapter's folder, without weights."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16}))
    (path / "run.json").write_text(json.dumps({"base_model": "bundled", "method": "lora", "seed": 0, **info}))


def _steps(step: int, steps: int, seed: int, names: Sequence[str]) -> Iterator[Step]:
    for place, name in enumerate(names):
        noise = random.Random(f"{seed}-{step}-{name}").gauss(0, 0.12)
        falling = 2.9 + 0.7 * place / len(names) + 1.6 * math.exp(-step / 25)
        validation = falling + 0.1 + 0.003 * max(0, step - 80) if step % max(1, steps // 6) == 0 else None
        yield Step(
            f"{name}-lora", step, 3 * step / steps, falling + noise, validation, 0.8 + abs(noise), 5e-4 * (1 - step / (steps + 1)), 240.0
        )


def _tokens(names: Sequence[str]) -> Iterator[Token]:
    """Two rows of the first eight adapters: question read, answer counted; the first token of the second row is hostile."""
    for name, number in product(names[:8], range(2)):
        row = _questions()[number]
        asked = ["<|im_start|>", "user", "\n", *row["question"].split(), "<|im_end|>", "\n", "<|im_start|>", "assistant", "\n"]
        asked = [HOSTILE, *asked] if number else asked
        texts = [(text, 0) for text in asked] + [(f" {word}", 1) for word in row["answer"].split()] + [("<|im_end|>", 1)]
        for position, (text, supervised) in enumerate(texts):
            yield Token(f"{name}-lora", number, position, text, supervised)


def _validation_rows(names: Sequence[str]) -> Iterator[ValidationRow]:
    """Twelve rows of every adapter, losses 1.0, 1.2, ... in mixed order; the reference of the best one is hostile."""
    for name, place in product(names, range(12)):
        row, loss = _questions()[place], 1.0 + 0.2 * (place * 5 % 12)
        yield ValidationRow(f"{name}-lora", name, row["question"], HOSTILE if place == 0 else row["answer"], loss, 20 + place)


def _models() -> list[Model]:
    own = [Model(f"{school}-lora", "own", school, f"adapters/{school}-lora", "0" * 16) for school in SCHOOLS]
    merged = [Model(name, "merged", "", f"merged_adapters/{name}", "0" * 16) for name in MERGED]
    pooled = Model("pooled-lora", "pooled", "", "adapters/pooled-lora", "0" * 16)
    return [Model("base", "base", "", "bundled", "0" * 16), pooled, *own, *merged]


@cache
def _questions() -> list[dict[str, str]]:
    rows = [json.loads(line) for line in (paths.PROJECT / "data" / "seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for school in SCHOOLS for row in [row for row in rows if row["category"] == school][:23]]


def _answers(run: str) -> Iterator[Answer]:
    for model, row in product(_models(), _questions()):
        chance = random.Random(f"{model.model}-{row['question']}")
        words = row["answer"].split()
        shift = {"base": 4.2, "own": 3.9, "pooled": 3.4, "merged": 3.7}[model.role]
        if model.category == row["category"]:
            shift = 4.2 if row["category"] == "lexicon" else 3.2
        kept = [word for word in words if chance.random() < 1.1 - shift / 5] or words[:3]
        prediction = " ".join(kept) if model.role != "base" else f"As an assistant I would say: {' '.join(words[: len(words) // 3])}."
        first = model.role == "base" and row["question"] == _questions()[0]["question"]
        tokens = len(words) + 3
        loss = tokens * max(0.5, random.Random(row["question"]).gauss(shift, 0.4) + chance.gauss(0, 0.1))
        yield Answer(
            run, model.model, row["category"], row["question"], row["answer"], HOSTILE if first else prediction, loss, tokens, "stop"
        )


def _scores(answers: list[Answer]) -> Iterator[Score]:
    for model, category in product(_models(), (*SCHOOLS, ALL)):
        part = [row for row in answers if row.model == model.model and category in (row.category, ALL)]
        value = math.exp(sum(row.reference_loss for row in part) / sum(row.reference_tokens for row in part))
        yield Score(part[0].run, model.model, category, "perplexity", value, len(part), value * 0.9, value * 1.1, "test material")
        for metric, scale in (("bleu", 60.0), ("bertscore_f1", 2.0), ("rougeL", 5.0)):
            score = scale / value
            yield Score(part[0].run, model.model, category, metric, score, len(part), score * 0.8, score * 1.2, "test material")


def _verdicts(run: str) -> Iterator[Verdict]:
    answers = list(_answers(run))
    base = {row.question + row.category: row for row in answers if row.model == "base"}
    own = [row for row in answers if row.model == f"{row.category}-lora"]
    for place, row in enumerate(own):
        first, second = random.Random(place).choices(
            [("fine-tuned",) * 2, ("base",) * 2, ("fine-tuned", "base"), ("tie",) * 2], [7, 2, 1, 1]
        )[0]
        verdict, reason = (first if first == second else "tie"), ""
        if place in (3, 60):
            verdict, reason = ("failed", "timed out after 60 s, 5 retries") if place == 3 else ("unparsed", "the reply names no answer")
            first = second = verdict
        theirs = base[row.question + row.category]
        shared = ("similarity (all-MiniLM-L6-v2)", "meaning", "base", row.model, row.category, row.question, row.reference)
        yield Verdict(run, *shared, theirs.prediction, row.prediction, verdict, first, second, first, second, None, 0.01, reason)


if __name__ == "__main__":
    if paths.home() == paths.PROJECT:
        sys.exit("Set LYCEUM_HOME to a scratch folder: test material does not belong into the project.")
    everything()
