"""How the models were made and asked: data and its splits, base model, training, merges, evaluation; what it took; versions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from core import findings, results, serving, training
from core.merge import STRATEGIES
from core.registry import Entry
from core.report import data_hash
from core.report.markup import Markup, element, facts, joined, paragraph, table
from core.report.sources import JudgedRun, Sources
from core.runs import Run
from core.train import METHODS
from core.wording import MISSING, count, day, duration, listed, percent, seconds_between, three

SETTINGS = ("learning_rate", "epochs", "max_steps", "batch_size", "gradient_accumulation", "quantization", "precision", "seed")
"""What is told of a training run beside method, rank and adapters."""


def chapter(sources: Sources) -> Markup:
    """Data, base model and questions; then training runs and merges as tables."""
    return joined([facts(_given(sources)), _trained(sources), _merged(sources), _unknown(sources)])


def _given(sources: Sources) -> dict[str, str]:
    found, config = sources.evaluation, sources.config
    base = found.models[found.models["role"] == "base"]
    hashed = data_hash.of(sources)
    report = findings.dataset(_report(sources.data), sources.data.outputs) if sources.data else ""
    asked = f"{count(len(found.answers_of(found.baseline)), 'question')} of the {config.get('split', 'test')} split"
    name = serving.base_name(str(config.get("base_model", "bundled")))
    digest = f", weights {base['content_hash'].iloc[0][:16]}" if len(base) and base["content_hash"].iloc[0] else ""
    return {
        "Data": f"{sources.dataset}: {report}" if report else sources.dataset,
        "Data hash": f"sha256 {hashed.sha256}. {hashed.note}" if hashed.file else hashed.note,
        "Splits": "80 % training, 10 % validation, 10 % test, by a hash of the question, so that the same question never stands in two.",
        "Base model": f"{name}{digest}",
        "System prompt": str(config.get("system_prompt") or ""),
        "Asked": f"{asked}; the same prompts for every model; answers of at most {config.get('max_new_tokens', MISSING)} tokens.",
        "Models": "; ".join(f"{role}: {listed(found.of_role(role))}" for role in dict.fromkeys(found.models["role"])),
        "Metrics": ", ".join(dict.fromkeys(found.scores["metric"])),
    }


def _report(run: Run) -> pd.DataFrame:
    return results.read(run.path / "report.csv", results.DataRow)


def _trained(sources: Sources) -> Markup:
    rows = [_training_row(run) for run in sources.trainings]
    columns = ("training run", "method", "adapters", "rank, alpha", "target modules", "settings", "mean best validation loss")
    return joined([element("h3", "Training"), table(rows, columns, "Training runs")]) if rows else Markup()


def _training_row(run: Run) -> Sequence[str]:
    config, made = run.config, run.outputs.get("models", run.outputs.get("adapters", {}))
    method = str(config.get("method", "lora"))
    low_rank = method in METHODS and "r" in METHODS[method].fields
    losses = [loss for loss in run.outputs.get("validation_loss", {}).values() if loss is not None]
    return (
        run.run_id[-4:],
        _label(METHODS, method),
        listed(list(made), 4),
        f"{config.get('r', MISSING)}, {three(config.get('lora_alpha'))}" if low_rank else MISSING,
        listed(list(config.get("target_modules") or [])),
        ", ".join(f"{name} {config[name]}" for name in SETTINGS if config.get(name) not in (None, "none")),
        three(sum(losses) / len(losses)) if losses else MISSING,
    )


def _merged(sources: Sources) -> Markup:
    infos = {
        model: sources.made[model] for role in ("merged", "route") for model in sources.evaluation.of_role(role) if model in sources.made
    }
    rows = [_merge_row(model, info) for model, info in infos.items()]
    columns = ("model", "how", "of", "weights", "rank")
    return joined([element("h3", "Merges and routes"), table(rows, columns, "Merges and routes")]) if rows else Markup()


def _merge_row(model: str, info: Mapping[str, Any]) -> Sequence[str]:
    recipe: Mapping[str, Any] = info.get("recipe") or info.get("route") or {}
    how = str(recipe.get("strategy") or recipe.get("router") or info.get("method", MISSING))
    weights = [three(weight) for weight in recipe.get("weights", [])]
    said = f"{weights[0]} each" if len(set(weights)) == 1 else listed(weights)
    parts = [str(name) for name in recipe.get("adapters", info.get("categories", []))]
    return model, _label(STRATEGIES, how), listed(parts), said or "per question", str(recipe.get("rank") or MISSING)


def _unknown(sources: Sources) -> Markup:
    """Models whose making is not on record, or was done again since they were evaluated."""
    models = sources.evaluation.models
    lost = [name for name in models.loc[models["role"] != "base", "model"] if name not in sources.made]
    text = f"How these were made is not on record, or they were made again since: {listed(lost)}." if lost else ""
    return paragraph(text, "quiet")


def costs(sources: Sources) -> Markup:
    """What each run took: time, speed, memory, tokens and money where they were recorded."""
    calls = {each.run.run_id: each for each in sources.judged}
    rows = [_cost_row(run, _of_what(run, sources, calls), _calls(calls.get(run.run_id))) for run in sources.runs]
    whole = sum(seconds_between(run.started_at, run.finished_at) or 0 for run in sources.runs)
    known = "Calls whose replies were known already count with the time that they took then."
    note = f"All these runs together took {duration(whole)}. {known if sources.judged else ''} A dash: not recorded."
    columns = ("run", "what", "took", "tokens per second", "peak memory", "tokens, money and time of calls")
    return joined([table(rows, columns, "Costs"), paragraph(note, "quiet")])


def _cost_row(run: Run, what: str, calls: str) -> Sequence[str]:
    memory = run.outputs.get("peak_memory_mb")
    return (
        run.run_id[-4:],
        f"{run.verb}: {what}" if what else run.verb,
        duration(seconds_between(run.started_at, run.finished_at)),
        three(run.outputs.get("tokens_per_second")),
        f"{three(memory)} MB" if memory else MISSING,
        calls or MISSING,
    )


def _of_what(run: Run, sources: Sources, calls: Mapping[str, JudgedRun]) -> str:
    """What a run was about."""
    if run.run_id in calls:
        return count(len(calls[run.run_id].rows), "verdict")
    if run == sources.evaluation.run:
        return f"{count(len(sources.evaluation.models), 'model')}, {count(len(sources.evaluation.answers), 'answer')}"
    made = run.outputs.get("models", run.outputs.get("adapters", ())) if run.verb == "train" else ()
    return count(len(made), "adapter") if made else ""


def _calls(each: JudgedRun | None) -> str:
    """Tokens, money and time of calls of each judge of a run; of earlier calls, too, where replies were known already."""
    return "; ".join(f"{name}: {judged.cost}" for name, judged in each.judges.items()) if each else ""


def versions(sources: Sources) -> Markup:
    """Which run used which version of what, so that it can be done again."""
    rows = [
        (run.run_id, run.verb, day(run.created_at), ", ".join(f"{name} {version}" for name, version in run.versions.items()) or MISSING)
        for run in sources.runs
    ]
    return table(rows, ("run", "what", "when", "versions"), "Versions")


def leaks(sources: Sources) -> int:
    """Held-out rows that nearly repeat a training row, as the data report counted them."""
    return int(findings.figure(_report(sources.data), "leaks") or 0) if sources.data else 0


def seeds(sources: Sources) -> Iterable[int]:
    """Seeds that the evaluated models were trained with."""
    return sorted({int(training.config_of(run).seed) for run in sources.trainings})


def _label(entries: Mapping[str, Entry], name: str) -> str:
    return entries[name].label if name in entries else name


def share_cut(sources: Sources, model: str) -> tuple[float, str]:
    """The share of a model's answers that were cut at max_new_tokens, and the same in words."""
    answers = sources.evaluation.answers_of(model)
    share = float((answers["finish"] == "length").mean()) if len(answers) else 0.0
    return share, percent(share)
