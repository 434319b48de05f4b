"""Model cards of what ships, written from run.json files and results/: `python -m docs.hooks.cards` writes docs/cards/, --check compares.

Sections follow the model card of the Hugging Face hub and Mitchell et al. 2019, Model Cards for Model Reporting, arXiv:1810.03993.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from core import results
from core.results import ALL
from core.stats import wilson
from core.wording import count, duration, listed, percent, seconds_between, signed, three
from docs.hooks import datasheet
from docs.hooks.tables import table

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "docs" / "cards"
EVALUATION = "20261122-165909-651-evaluate-40d8"
"""The shipped evaluation. After `make shipped` name the new ones here; a test holds them against what is on disk."""
COMPARISON = "20261123-055141-542-rag-c526"
"""The shipped RAG comparison: what answered there without retrieval was evaluated on its 60 questions."""
MODELS = (
    *(f"adapters/{school}-lora" for school in ("cynic", "hacker", "buddhist", "kural", "wisdom", "puritan", "lexicon")),
    *(
        "adapters/pooled-lora",
        "merged_adapters/linear_merged_adapter",
        "merged_adapters/svd_merged_adapter",
        "merged_adapters/learned_route",
    ),
)
METRICS = {"perplexity": "lower", "bertscore_f1": "higher", "bleu": "higher", "rouge1": "higher", "rougeL": "higher"}
"""Figures of a card, and which is better."""
OTHERS = "(others)"
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Card:
    """One model that ships."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    @cached_property
    def info(self) -> dict[str, Any]:
        """run.json."""
        content: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        return content

    @property
    def is_route(self) -> bool:
        """Whether it is no adapter but a way to choose among them."""
        return bool(self.info["role"] == "route")

    @property
    def evaluated(self) -> tuple[str, str, str]:
        """The run that evaluated it, its name there, and the base's."""
        return (COMPARISON, f"{self.name} + none", "base + none") if self.is_route else (EVALUATION, self.name, "base")

    @property
    def home_category(self) -> str:
        """The category that it was made for, or all."""
        return self.info["categories"][0] if self.info["role"] == "own" else ALL

    def text(self) -> str:
        """The whole card."""
        parts = [self._header(), f"# {self.name}", self._about(), *self._uses(), *self._training(), *self._evaluation(), *self._limits()]
        return "\n\n".join(parts) + "\n"

    # --- sections ---------------------------------------------------------------------------------------------------------

    def _header(self) -> str:
        tags = {"own": ["lora"], "pooled": ["lora"], "merged": ["lora", "merge"], "route": ["router"]}[self.info["role"]]
        lines = ["language: en", "license: mit", f"base_model: {BASE}", "library_name: peft", "pipeline_tag: text-generation"]
        return "\n".join(
            ["---", *lines, f"tags: [{', '.join([*tags, 'question-answering', 'style'])}]", "datasets: [seven_schools]", "---"]
        )

    def _about(self) -> str:
        role, schools = self.info["role"], listed(self.info["categories"])
        if role == "own":
            return f"A LoRA adapter that lets {BASE} answer in the voice of one school: **{schools}** ({datasheet.source(schools)})."
        if role == "pooled":
            return f"One LoRA adapter on {BASE}, trained on all seven schools together: {schools}. The prompt names the school."
        if self.is_route:
            return f"A router, not an adapter: for each question a mix of {count(len(self._parents), 'adapter')}: {listed(self._parents)}."
        return f"{_merged(self.info)} The adapters: {listed(self._parents)}."

    def _uses(self) -> list[str]:
        where = self.folder.relative_to(PROJECT)
        kind = "an ordinary PEFT folder" if self._weights else "a recipe: Lyceum makes its weights when it is asked"
        if not self._weights and not self.is_route:
            kind += f" (for plain PEFT write them: `python -m core merge --recipe {self.name} --name {self.name}_written`)"
        return [
            "## Intended use",
            "To show what tuning, merging and routing do to a small model's voice, and to try Lyceum's tools on. "
            f"Try it: `python -m core chat --model {self.name}`. `{where}` is {'a router' if self.is_route else kind}.",
            "Not for advice, facts, or anything that people rely on: answers are invented, in the manner of old books and dictionaries.",
        ]

    def _training(self) -> list[str]:
        config = self.info["config"]
        if self.info["role"] == "merged":
            recipe = self.info["recipe"]
            weights = ", ".join(f"{weight:.4g}" for weight in recipe["weights"])
            rows = [["strategy", recipe["strategy"]], ["weights", weights], ["rank", str(recipe["rank"])], ["precision", config["dtype"]]]
            return ["## How it was made", self._settings(rows)]
        if self.is_route:
            said = self.info["route"]
            rows = [
                ["router", said["router"]],
                ["trained on", f"{said['train_rows']:,} train questions of {said['data']}"],
                ["temperature, penalty (chosen on validation)", f"{three(said['temperature'])}, {three(said['penalty'])}"],
                [
                    "validation questions that lead to their own school",
                    f"{percent(said['validation_accuracy'])} of {said['validation_rows']}",
                ],
            ]
            return ["## How it was made", self._settings(rows)]
        names = ("method", "r", "lora_alpha", "target_modules", "learning_rate", "schedule", "epochs", "batch_size", "precision", "seed")
        shown = [[name, ", ".join(config[name]) if isinstance(config[name], list) else str(config[name])] for name in names]
        loss = f"lowest validation loss, {three(self.info['validation_loss'])} nats per token"
        kept = f"{self.info['kept_step']} of {self.info['steps']} ({loss})"
        rows = [["train rows", f"{self.info['train_rows']:,}"], ["system prompt", config["system_prompt"]], *shown, ["step kept", kept]]
        return ["## Training", self._settings([*rows, ["numbers that trained", f"{self._weights:,}"], ["time", self._time()]])]

    def _settings(self, rows: Iterable[list[str]]) -> str:
        run = self.info["run_id"]
        return f"Data: [the seven schools](seven_schools.md). Run: {run}.\n\n" + table(["what", "value"], rows)

    def _evaluation(self) -> list[str]:
        run, model, base = self.evaluated
        asked = "60 questions that no adapter saw, without retrieval" if self.is_route else "held-out test questions"
        lead = (
            f"Run {run}: {asked}; the same prompts for every model. Intervals are 95 %: bootstrap over questions; of differences, paired."
        )
        parts = ["## Evaluation", lead, f"**{'All questions' if self.home_category == ALL else f'Questions of {self.home_category}'}**"]
        parts.append(_figures(run, model, base, self.home_category))
        parts += ["**Perplexity, school by school**", _by_category(run, model, base)]
        if verdicts := _verdicts(self.name):
            parts += ["**Judged by likeness to the reference** (an embedding, not a language model)", verdicts]
        return parts

    def _limits(self) -> list[str]:
        own = self.info["role"] == "own"
        points = [
            "One training seed, one evaluation, a model of 135 million parameters from 4-bit weights. It learns a voice, not facts.",
            "It speaks as its sources do: views on women, faith, work and nations are of their time. Offensive entries were left out when "
            "the sample was drawn; what the model makes of the rest was not screened.",
            "English alone. Made to be asked under a system prompt that names the school: `Answer in the voice of this school: cynic.`",
            "Perplexity says how likely the reference becomes, not whether an answer is good. See the other figures above.",
            *(["On the other schools it is no specialist: the second table says what that costs."] if own else []),
            *(
                ["A sum of adapters is no adapter for a sum of tasks: it lies behind each school's own."]
                if self.info["role"] == "merged"
                else []
            ),
            *(["The school is guessed from the question; how often rightly stands above."] if self.is_route else []),
        ]
        licence = (
            "MIT, as the project. The base model is Apache-2.0; the texts that it was trained on are named in "
            "[the data card](seven_schools.md) with their licences, and in NOTICE."
        )
        return ["## Limits and risks", "\n".join(f"- {point}" for point in points), "## Licence", licence]

    # --- what they are made of --------------------------------------------------------------------------------------------

    @property
    def _parents(self) -> list[str]:
        found: list[str] = self.info.get("recipe", self.info.get("route", {})).get("adapters", [])
        return found

    @property
    def _weights(self) -> int:
        """Numbers in its weights file; 0 without one."""
        file = self.folder / "adapter_model.safetensors"
        if not file.exists():
            return 0
        with safe_open(file, "np") as tensors:
            shapes = [tensors.get_slice(key).get_shape() for key in tensors.keys()]  # noqa: SIM118 - no mapping
        return sum(rows * columns for rows, columns in shapes)

    def _time(self) -> str:
        run = json.loads((PROJECT / "results" / self.info["run_id"] / "run.json").read_text(encoding="utf-8"))
        spent = duration(seconds_between(run["started_at"], run["finished_at"]))
        return spent + (" for all seven schools in one pass, on a CPU" if self.info["role"] == "own" else ", on a CPU")


def _merged(info: dict[str, Any]) -> str:
    """What the merge is."""
    kind = {"linear": "The exact weighted sum", "svd": "The best approximation, at rank {rank}, of the weighted sum"}[
        info["recipe"]["strategy"]
    ]
    return f"{kind.format(**info['recipe'])} of {count(len(info['recipe']['adapters']), 'LoRA adapter')} on {BASE}, at equal weights."


@cache
def _table(run: str, name: str) -> pd.DataFrame:
    kinds = {"scores": results.Score, "comparisons": results.Comparison, "verdicts": results.Verdict, "models": results.Model}
    return results.read(PROJECT / "results" / run / f"{name}.csv", kinds[name])


def _cell(frame: pd.DataFrame, **where: str) -> pd.Series | None:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return None if frame.empty or frame.iloc[0].isna()[frame.columns.intersection(["value", "difference"])].any() else frame.iloc[0]


def _figures(run: str, model: str, base: str, category: str) -> str:
    """The metrics on one category: base, this model, the paired difference."""
    rows = []
    for metric, better in METRICS.items():
        scores, where = _table(run, "scores"), {"metric": metric, "category": category}
        ours, theirs = _cell(scores, model=model, **where), _cell(scores, model=base, **where)
        if ours is not None and theirs is not None:
            tested = _cell(_table(run, "comparisons"), model=model, baseline=base, **where)
            rows.append([f"{metric} ({better} is better)", str(int(ours["n"])), _said(theirs), _said(ours), _difference(tested)])
    return table(["figure", "n", "base", "this model", "difference"], rows)


def _by_category(run: str, model: str, base: str) -> str:
    """Perplexity on each category."""
    scores, rows = _table(run, "scores"), []
    for category in dict.fromkeys(scores["category"]):
        where = {"metric": "perplexity", "category": category}
        ours, theirs = _cell(scores, model=model, **where), _cell(scores, model=base, **where)
        if ours is not None and theirs is not None:
            tested = _cell(_table(run, "comparisons"), model=model, baseline=base, **where)
            rows.append([category, str(int(ours["n"])), three(theirs["value"]), _said(ours), _difference(tested)])
    return table(["school", "n", "base", "this model", "difference"], rows)


def _verdicts(name: str) -> str:
    """Wins, ties and losses against the base, by the judge that reads nothing."""
    for folder in sorted((PROJECT / "results").glob("*-judge-*")):
        found = _table(folder.name, "verdicts")
        mine = found[(found["candidate"] == name) & (found["base"] == "base") & found["judge"].str.startswith("similarity")]
        if len(mine):
            wins, losses, n = (mine["verdict"] == "fine-tuned").sum(), (mine["verdict"] == "base").sum(), len(mine)
            share = wilson(int(wins), n)
            rate = f"{percent(share.value)} ({percent(share.low)} to {percent(share.high)})"
            return table(
                ["wins", "ties", "losses", "win rate", "run"], [[str(wins), str(n - wins - losses), str(losses), rate, folder.name]]
            )
    return ""


def _said(row: pd.Series) -> str:
    return f"{three(row['value'])} ({three(row['low'])} to {three(row['high'])})"


def _difference(row: pd.Series | None) -> str:
    return "–" if row is None else f"{signed(row['difference'])} ({signed(row['low'])} to {signed(row['high'])})"


def index() -> str:
    """The list of the cards."""
    rows = [
        [f"[{Path(each).name}]({Path(each).name}.md)", json.loads((PROJECT / each / "run.json").read_text())["role"]] for each in MODELS
    ]
    lead = "What ships in `adapters/` and `merged_adapters/`, and its data. `python -m docs.hooks.cards` reads the figures from `results/`."
    return f"# Cards\n\n{lead}\n\n{table(['model', 'role'], rows)}\n\nData: [the seven schools](seven_schools.md).\n"


def cards() -> dict[str, str]:
    """Every card, by its file's name."""
    models = {f"{Path(each).name}.md": Card(PROJECT / each).text() for each in MODELS}
    return {"index.md": index(), **models, "seven_schools.md": datasheet.text()}


def main() -> None:
    """Write the cards, or with --check say which differ from what they would be."""
    made = cards()
    differ = [name for name, text in made.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        sys.exit(f"Cards that differ from results/: {', '.join(differ)}. Write them: python -m docs.hooks.cards" if differ else 0)
    for name in differ:
        (FOLDER / name).write_text(made[name], encoding="utf-8")
    print(f"{len(differ)} of {count(len(made), 'card')} written.")


if __name__ == "__main__":
    main()
