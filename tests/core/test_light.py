"""The light half never imports what is heavy, and is quick."""

import os
import subprocess
import sys

from core import paths

LIGHT = [
    *("__main__", "config", "errors", "exports", "findings", "paths", "progress", "queries", "registry", "results", "store"),
    *("runs", "workspace"),
    *("stats", "study", "study_plan", "training", "verbs", "wording", "train", "merge", "evaluate", "judge", "data", "models"),
    *("judge.arena", "judge.people", "judge.audit", "judge.themes", "judge.formats.llm_comparator", "judge.import_verdicts"),
    *(
        "judging",
        "judge.expected",
        "pair_metrics",
        "verdict_findings",
        "verdict_index",
        "verdict_table",
        "text_search",
        "word_diff",
        "word_overlap",
    ),
    *("guide", "lora_size", "model_shapes", "peft_config"),
    *("answer_pairs", "evaluated", "judged_runs", "model_findings", "win_matrix", "rag_tables", "rag_findings", "rag_matches"),
    *("serve", "serve.resident", "serve.client", "serve.process", "serve.names"),
    *("playground", "answer_tokens", "demo_prompts", "saved_questions", "talk"),
    *(f"jobs.{path.stem}" for path in (paths.PROJECT / "core" / "jobs").glob("*.py")),
]
CHARTS = [
    "report.run",
    "charts",
    "loss_curves",
    "verdict_charts",
    "rag_charts",
    "playground_charts",
    "who_answers",
    "guide_charts",
    "guide_findings",
]
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "datasets",
    "bitsandbytes",
    "bert_score",
    "accelerate",
    "streamlit",
    "ray",
    "duckdb",
    "fsspec",
    "s3fs",
)


def loaded(modules):
    """Import these modules of core in a fresh process; the heavy packages that came along."""
    code = f"import sys; {importing(modules)}; print(*[name for name in {HEAVY + ('pandas', 'plotly')} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def importing(modules):
    """Code that imports these modules of core."""
    return f"[__import__('core.' + name) for name in {modules}]"


def seconds(code):
    """CPU seconds of a fresh process that runs this code."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_the_light_half_imports_nothing_heavy():
    found = loaded(LIGHT)
    assert not set(found) & set(HEAVY)


def test_the_light_half_takes_little_more_than_the_libraries_it_stands_on():
    """Held against them turn by turn, until a turn that no other process disturbed."""
    turns = (seconds(importing(LIGHT)) / seconds("import pandas, pydantic, httpx") for _ in range(9))
    assert any(turn < 1.8 for turn in turns)


def test_a_store_loads_its_libraries_when_it_is_asked():
    found = loaded(["store.incoming", "store.publish", "store.running", "store.data"])
    assert found == []


def test_charts_draw_without_torch():
    found = loaded(CHARTS)
    assert not set(found) & set(HEAVY)


def test_the_command_line_and_the_waiting_worker_load_no_tables_library():
    found = loaded(["__main__", "jobs.local", "jobs.worker", "jobs.execute"])
    assert found == []


def test_a_waiting_worker_does_not_even_load_pydantic():
    code = "import sys, core.jobs.worker; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
