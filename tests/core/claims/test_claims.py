"""Claims held against runs whose figures are made up here, recomputed by scipy; and what is said where a run is missing."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from core import paths, results, runs
from core.claims import CLAIMS
from core.claims.run import run as check
from core.config import ClaimsConfig
from core.errors import UserError
from core.results import ALL, Answer, AnswerScore, AuditFigure, Claim, Fidelity, Model, Verdict
from core.workspace import Workspace

SCHOOLS = ("cynic", "kural")
QUESTIONS = 40
MEANS = {"base": 0.50, "pooled-lora": 0.60, "cynic-lora": 0.62, "kural-lora": 0.62, "linear": 0.62, "ties": 0.60}
LOSSES = {"base": 4.0, "pooled-lora": 3.3, "cynic-lora": 3.3, "kural-lora": 3.3, "linear": 3.6, "ties": 3.4}
ROLES = {"base": "base", "pooled-lora": "pooled", "cynic-lora": "own", "kural-lora": "own", "linear": "merged", "ties": "merged"}


def finished(verb: str, config: dict[str, Any], fill: Callable[[Path, str], dict[str, Any]], **ended: Any) -> str:
    run = runs.create(verb, config)
    outputs = fill(run.path, run.run_id)
    runs.update(run.run_id, status="done", outputs=outputs, **{"started_at": runs.now(), "finished_at": runs.now(), **ended})
    return run.run_id


def noise(model: str, school: str, place: int) -> float:
    return float(np.random.default_rng(sum(map(ord, f"{model}{school}")) * 1000 + place).normal(0, 0.05))


def evaluated(means: dict[str, float] = MEANS, single: bool = True, conflict: float = 0.4) -> str:
    """An evaluation of six models on two categories, and the merges' folders."""

    def fill(folder: Path, run: str) -> dict[str, Any]:
        rows = [Model(name, ROLES[name], name[:5] if ROLES[name] == "own" else "", f"merged_adapters/{name}", "0" * 16) for name in means]
        cells = list(product(means, SCHOOLS, range(QUESTIONS)))
        answers = [
            Answer(run, model, school, f"Q{n}?", f"R{n}", "P", 10 * (LOSSES[model] + noise(model, school, n)), 10, "stop")
            for model, school, n in cells
        ]
        scored = [
            AnswerScore(run, model, school, f"Q{n}?", f"R{n}", "bertscore_f1", means[model] + noise(model, school, n))
            for model, school, n in cells
        ]
        results.write(folder / "models.csv", rows, Model)
        results.write(folder / "answers.csv", answers, Answer)
        if single:
            results.write(folder / "answer_scores.csv", scored, AnswerScore)
        return {}

    for name in ("linear", "ties"):
        folder = paths.merged_adapters() / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"recipe": {"strategy": name}}))
        results.write(folder / "fidelity.csv", [Fidelity(ALL, "sign_conflict", conflict)], Fidelity)
    return finished("evaluate", {}, fill)


def judged(evaluation: str, wins: int, n: int, light: str = "green", prompt: str = "meaning", candidate: str = "linear") -> str:
    def fill(folder: Path, run: str) -> dict[str, Any]:
        words = ["fine-tuned"] * wins + ["tie"] * (n - wins)
        rows = [
            Verdict(run, "Judge", prompt, "base", candidate, "cynic", f"Q{i}?", "R", "b", "c", word, word, word, "A", "B", 10, 0.1)
            for i, word in enumerate(words)
        ]
        results.write(folder / "verdicts.csv", rows, Verdict)
        results.write(folder / "audit.csv", [AuditFigure(run, "Judge", "flip_rate", 0.1, 0.0, 0.2, n, light)], AuditFigure)
        return {"answers": f"results/{evaluation}/answers.csv"}

    return finished("judge", {"base": "base", "candidate": candidate}, fill)


def trained(method: str, memory: float, **ended: Any) -> str:
    config = {"method": method, "data": "d", "categories": ["pooled"], "batch_size": 4}
    return finished("train", config, lambda folder, run: {"peak_memory_mb": memory}, **ended)


def ledger(**fields: Any) -> dict[str, Any]:
    workspace = Workspace(runs.create("claims", {}))
    check(ClaimsConfig(**fields), workspace)
    table = results.read(workspace.path / "claims.csv", Claim)
    assert list(table["claim"]) == list(CLAIMS)
    return {row["claim"]: row for row in table.to_dict("records")}


def test_scores_are_paired_differences_with_bootstrap_intervals():
    evaluated()
    found = ledger()
    cells = list(product(SCHOOLS, range(QUESTIONS)))
    gains = np.array([0.10 + noise("pooled-lora", *cell) - noise("base", *cell) for cell in cells])
    claim = found["tuning_raises_bertscore"]
    expected = reference.bootstrap((gains,), np.mean, method="percentile", rng=1).confidence_interval
    assert claim["value"] == pytest.approx(gains.mean(), rel=1e-9) and claim["n"] == 80 and claim["holds"] == "holds"
    assert (claim["low"], claim["high"]) == pytest.approx((expected.low, expected.high), abs=2e-3)
    merged = found["merged_beats_pooled"]
    assert merged["value"] == pytest.approx(0.02 + np.mean([noise("linear", *cell) - noise("pooled-lora", *cell) for cell in cells]))
    assert merged["holds"] == "cannot be said" and merged["low"] < 0 < merged["high"]
    own = np.array([0.12 + noise(f"{school}-lora", school, n) - noise("base", school, n) for school, n in cells])
    base = 0.5 + np.mean([noise("base", *cell) for cell in cells])
    assert found["own_15_percent"]["value"] == pytest.approx(100 * own.mean() / base, rel=1e-9)
    assert found["own_15_percent"]["holds"] == "holds"


def test_a_clear_difference_the_other_way_does_not_hold():
    evaluated({**MEANS, "linear": 0.5, "cynic-lora": 0.51, "kural-lora": 0.51})
    found = ledger()
    assert found["merged_beats_pooled"]["holds"] == "does not hold" and found["merged_beats_pooled"]["high"] < 0
    assert found["own_15_percent"]["holds"] == "does not hold"


@pytest.mark.parametrize(
    ("wins", "light", "prompt", "holds", "said"),
    [
        (193, "green", "meaning", "holds", "Held against 97.1 %"),
        (120, "amber", "meaning", "does not hold", "judge: Judge"),
        (193, "red", "meaning", "cannot be said", "audit of this judge is red"),
        (193, "green", "", "cannot be said", "No language model has judged"),
    ],
)
def test_the_judged_share_needs_a_language_model_that_passes_its_audit(wins, light, prompt, holds, said):
    judged(evaluated(), wins, 194, light, prompt)
    claim = ledger()["preferred_193_of_194"]
    low, high = reference.binomtest(wins, 194).proportion_ci(method="wilson")
    assert claim["holds"] == holds and said in claim["how"]
    if light == "red":
        assert np.isnan(claim["value"])
    else:
        assert (claim["value"], claim["low"], claim["high"]) == pytest.approx((100 * wins / 194, 100 * low, 100 * high), abs=1e-7)


def test_each_judge_of_a_run_stands_for_itself():
    evaluation = evaluated()
    judged(evaluation, 30, 100, prompt="")
    found = judged(evaluation, 193, 194)
    file = paths.results() / found / "verdicts.csv"
    rows = results.read(file, Verdict).assign(repeat=0)
    mixed = [Verdict(**row) for row in rows.to_dict("records")]
    mixed += [Verdict(**{**row, "judge": "similarity", "prompt": "", "verdict": "base"}) for row in rows.to_dict("records")]
    results.write(file, mixed, Verdict)
    claim = ledger()["preferred_193_of_194"]
    assert claim["value"] == pytest.approx(100 * 193 / 194) and "judge: Judge." in claim["how"]


def test_verdicts_on_another_evaluation_play_no_part():
    judged("20260101-000000-000-evaluate-0000", 193, 194)
    evaluation = evaluated()
    assert "No judge has compared" in ledger()["preferred_193_of_194"]["how"]
    one, other = judged(evaluation, 50, 100, candidate="own"), judged(evaluation, 20, 100)
    assert ledger()["preferred_193_of_194"]["runs"] == other, "a merge, as in the claim"
    assert ledger(judges=[one])["preferred_193_of_194"]["runs"] == one
    with pytest.raises(UserError, match="no finished judge run called nosuch"):
        ledger(judges=["nosuch"])


@pytest.mark.parametrize(("conflict", "holds"), [(0.4, "holds"), (0.1, "does not hold")])
def test_ties_is_said_to_be_better_for_conflicts_alone(conflict, holds):
    evaluated(conflict=conflict)
    claim = ledger()["ties_for_conflicts"]
    gain = np.mean([0.2 + noise("linear", *cell) - noise("ties", *cell) for cell in product(SCHOOLS, range(QUESTIONS))])
    assert claim["holds"] == holds and claim["value"] == pytest.approx(gain, rel=1e-9)


def test_memory_compares_runs_that_differ_in_the_method_alone():
    evaluated()
    full, qlora = trained("full", 2400.0), trained("qlora", 500.0)
    finished("train", {"method": "qlora", "data": "other"}, lambda folder, run: {"peak_memory_mb": 1.0})
    claim = ledger()["memory_4x"]
    assert claim["value"] == pytest.approx(4.8) and claim["holds"] == "holds" and claim["runs"] == f"{full},{qlora}"
    assert np.isnan(claim["low"])


def test_minutes_are_those_of_the_newest_run_per_adapter():
    evaluated()
    times = {"started_at": "2026-01-01T00:00:00+00:00", "finished_at": "2026-01-01T01:10:00+00:00"}
    finished("train", {"categories": ["each"], "epochs": 12}, lambda folder, run: {"adapters": dict.fromkeys("abcdefg", "")}, **times)
    claim = ledger()["ten_minutes_a_category"]
    assert claim["value"] == pytest.approx(20.0) and claim["holds"] == "does not hold"


def test_what_is_missing_is_said_and_never_a_figure():
    evaluated({"base": 0.5}, single=False)
    found = ledger()
    for name, said in (
        ("tuning_raises_bertscore", "no pooled adapter"),
        ("own_15_percent", "Not every category has an own adapter"),
        ("ties_for_conflicts", "needs a merge by ties and one by linear"),
        ("memory_4x", "two training runs"),
        ("ten_minutes_a_category", "No run has trained"),
    ):
        assert found[name]["holds"] == "cannot be said" and said in found[name]["how"] and np.isnan(found[name]["value"])


def test_without_an_evaluation_there_is_nothing_to_say():
    with pytest.raises(UserError, match="no finished evaluation 'last' to hold claims against"):
        ledger()
