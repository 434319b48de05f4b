"""What a study will do with a dataset, before anything starts: its stages, what each takes, and what is left out. Light."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from core import evaluated, paths, runs
from core.config import Config, DataConfig, EvaluateConfig, JudgeConfig, MergeConfig, ReportConfig, StudyConfig, TrainConfig
from core.data.read import Dataset
from core.errors import UserError
from core.presets import STUDY
from core.runs import Run
from core.wording import count, listed, seconds_between

Done = Mapping[str, Run]
"""The finished stages by title."""

PACE = {"train": 150.0, "evaluate": 100.0}
"""Tokens a second of the bundled model on two CPU cores, where no run here tells. Of `evaluate`: answers x max_new_tokens."""
START_SECONDS = {"data": 8.0, "train": 20.0, "merge": 3.0, "evaluate": 30.0, "judge": 10.0, "report": 5.0}
"""What a stage takes beside its tokens: loading the model, writing tables."""
PROMPT_TOKENS, BYTES_PER_TOKEN = 30, 4
"""The chat template of a row, and UTF-8 bytes of English in a token."""


@dataclass(frozen=True)
class Stage:
    """One run of the study."""

    title: str
    """Its verb, and what tells it from others of that verb."""
    what: str
    """What it makes, in a sentence's part."""
    seconds: float
    """Expected."""
    configure: Callable[[Done], Config]

    @property
    def verb(self) -> str:
        """A row of core/verbs.py."""
        return self.title.split()[0]


@dataclass(frozen=True)
class Plan:
    """The stages of a study, in order."""

    config: StudyConfig
    dataset: Dataset
    paces: Mapping[str, float | None]
    """Tokens a second of earlier runs on this base model; None where there is none."""

    @cached_property
    def trained(self) -> list[str]:
        """Categories that get an adapter of their own, in file order: the largest with a training row, those first that can be examined."""
        groups = self.dataset.groups
        known = [name for name in self.dataset.categories if len(groups[name, "train"])]
        ranked = sorted(known, key=lambda name: (not len(groups[name, "test"]), -len(groups[name, ""])))[: self.config.most_categories]
        chosen = set(ranked)
        return [name for name in known if name in chosen]

    @cached_property
    def asked(self) -> int:
        """Held-out questions."""
        return len(self.dataset.places("test", self.trained, STUDY[self.config.size]["evaluate"].get("limit")))

    @property
    def models(self) -> int:
        """Base, own adapters, and where there are several the pooled one and the merge."""
        return 1 + len(self.trained) + (2 if self.several else 0)

    @property
    def several(self) -> bool:
        """Whether there is anything to pool and merge."""
        return len(self.trained) > 1

    @property
    def name(self) -> str:
        """What adapters and merges start with."""
        return self.config.name or paths.slug(Path(self.config.data).stem)

    @property
    def pooled(self) -> str:
        """The pooled adapter's name."""
        return f"{self.name}-pooled"

    @property
    def merged(self) -> str:
        """The merge's name, which no category's adapter has."""
        return f"{self.name}-{'merged' if 'merged' not in map(paths.slug, self.trained) else 'linear_merge'}"

    @property
    def adapters(self) -> list[str]:
        """Names of all adapters that will be trained."""
        if not self.several:
            return [self._only]
        return [*(f"{self.name}-{paths.slug(category)}" for category in self.trained), self.pooled]

    @property
    def _only(self) -> str:
        """The adapter's name where one category is trained."""
        every = len(self.dataset.categories) == 1
        return f"{self.name}-{paths.slug(self.trained[0])}" if every else f"{self.name}-own"

    @property
    def seconds(self) -> float:
        """Of the whole."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def pace_from(self) -> str:
        """Where the expected time comes from, in words."""
        if all(self.paces.values()):
            return "at the pace of earlier runs here"
        if any(self.paces.values()):
            return "as far as earlier runs here tell"
        known = "at the bundled model's pace on two CPU cores"
        return known if self.config.base_model == "bundled" else f"{known}; a larger model takes longer in proportion"

    @cached_property
    def notes(self) -> list[str]:
        """What a person should know before it starts."""
        rest = [name for name in self.dataset.categories if name not in self.trained]
        said = [f"{listed(rest)} get no adapter: the {len(self.trained)} categories with the most rows do."] if rest else []
        unasked = [name for name in self.trained if not len(self.dataset.groups[name, "test"])]
        if unasked:
            said.append(f"{listed(unasked)} can't be examined: one row in ten is held out, and none of theirs is. Add rows.")
        if not self.several:
            said.append("With one category there is nothing to pool or merge: its adapter is compared with the base.")
        if self.dataset.dropped:
            said.append(f"{count(sum(drop.count for drop in self.dataset.dropped.values()), 'row')} can't be used and are left out.")
        return said

    @cached_property
    def stages(self) -> list[Stage]:
        """In order. What a stage takes from those before it is asked of their runs."""
        return [*self._learning(), *self._proving()]

    def shares(self) -> dict[str, float]:
        """Where each stage ends, in per cent of the expected time."""
        ends = accumulate(stage.seconds for stage in self.stages)
        return {stage.title: round(100 * end / self.seconds, 1) for stage, end in zip(self.stages, ends, strict=True)}

    def _learning(self) -> list[Stage]:
        config, size = self.config, STUDY[self.config.size]
        where = {name: getattr(config, name) for name in _WHERE}
        own = {**where, **size["train"], "seed": config.seed, "replace": config.replace}
        every = len(self.trained) == len(self.dataset.categories)
        chosen = ("each",) if every else tuple(self.trained)
        stages = [
            Stage("data", "rows, splits, duplicates and leaks, reported", START_SECONDS["data"], lambda _: DataConfig(**where)),
            Stage(
                "train own",
                f"{count(len(self.trained), 'adapter')}, one per category",
                sum(self._training(len(self.dataset.groups[name, "train"]), own["batch_size"]) for name in self.trained),
                lambda _: TrainConfig(**own, categories=chosen, name=self.name if every or self.several else self._only),
            ),
        ]
        if self.several:
            pooled = own | {"batch_size": 2 * own["batch_size"], "categories": ("pooled",), "name": self.pooled}
            merge = {"name": self.merged, "seed": config.seed, "replace": config.replace}
            stages += [
                Stage(
                    "train pooled",
                    "one adapter on all rows together, the rival of the others",
                    self._training(len(self.dataset.places("train")), pooled["batch_size"]),
                    lambda _: TrainConfig(**pooled),
                ),
                Stage(
                    "merge linear",
                    f"the exact average of the {len(self.trained)} adapters",
                    START_SECONDS["merge"],
                    lambda done: MergeConfig(**merge, adapters=tuple(done["train own"].outputs["adapters"])),
                ),
            ]
        return stages

    def _proving(self) -> list[Stage]:
        config, size = self.config, STUDY[self.config.size]
        fields = {name: getattr(config, name) for name in _WHERE} | size["evaluate"]
        tokens = self.asked * self.models * fields["max_new_tokens"]

        def evaluate(done: Done) -> EvaluateConfig:
            own = done["train own"].outputs["adapters"]
            others = (self.pooled, self.merged) if self.several else ()
            return EvaluateConfig(**fields, models=("base", *own, *others), categories=tuple(self.trained), seed=config.seed)

        def judge(candidate: str) -> Callable[[Done], JudgeConfig]:
            return lambda done: JudgeConfig(answers=done["evaluate"].run_id, candidate=candidate, backend=config.backend, seed=config.seed)

        rivals = {"merged": self.merged, "pooled": self.pooled} if self.several else {}
        rivals |= {"own": "own"}  # the last, so that pages which show the newest verdicts show these
        asked = (
            f"{count(self.asked, 'held-out question')} to {count(self.models, 'model')}, {count(self.asked * self.models, 'answer')} scored"
        )
        return [
            Stage("evaluate", asked, START_SECONDS["evaluate"] + tokens / self._pace("evaluate"), evaluate),
            *(
                Stage(f"judge {title}", f"{title} against base, in both orders", START_SECONDS["judge"], judge(name))
                for title, name in rivals.items()
            ),
            Stage(
                "report",
                "all of it in one file that can be mailed",
                START_SECONDS["report"],
                lambda done: ReportConfig(evaluation=done["evaluate"].run_id),
            ),
        ]

    def _training(self, rows: int, batch: int) -> float:
        """Seconds to train one adapter on so many rows."""
        size = STUDY[self.config.size]["train"]
        epochs = size.get("epochs", TrainConfig.model_fields["epochs"].default)
        steps = min(-(-rows // batch) * epochs, size.get("max_steps", math.inf))
        tokens = steps * min(batch, rows) * min(self._row_tokens, size["max_seq_length"])
        return float(START_SECONDS["train"] / len(self.trained) + tokens / self._pace("train"))

    def _pace(self, verb: str) -> float:
        return self.paces[verb] or PACE[verb]

    @cached_property
    def _row_tokens(self) -> float:
        """Of a row, in the mean."""
        return PROMPT_TOKENS + self.dataset.text_bytes / BYTES_PER_TOKEN / len(self.dataset.rows)


_WHERE = ("data", "question_column", "answer_column", "category_column", "base_model", "system_prompt")


def plan(config: StudyConfig, dataset: Dataset) -> Plan:
    """The plan of a study. Raises UserError where it could prove nothing, before hours are spent."""
    made = Plan(config, dataset, {verb: _seen(verb, config.base_model) for verb in PACE})
    if not made.trained:
        raise UserError(
            f"None of the {count(len(dataset.rows), 'row')} of '{config.data}' is for training, so nothing can be learned. Add rows."
        )
    if not made.asked:
        raise UserError(
            f"No row of {listed(made.trained)} in '{config.data}' is held out for the examination (one in ten is, by chance), "
            "so nothing could be proved. Add rows, 30 a category are a start, or choose another category column."
        )
    return made


def check_names(planned: Plan) -> None:
    """Raises UserError where a name can't be used, or is taken: before the first hour, not after the last."""
    for shelf, names in ((paths.adapters(), planned.adapters), (paths.merged_adapters(), [planned.merged] if planned.several else [])):
        for name in names:
            paths.check_model_name(name, "adapter")
            taken = [place for place in (paths.adapters(), paths.merged_adapters(), paths.models()) if (place / name).exists()]
            if taken and not (planned.config.replace and taken == [shelf]):
                raise UserError(
                    f"{taken[0].name}/ has '{name}' already, which this study would make. Choose another name, or say replace=true."
                )


def _seen(verb: str, base_model: str) -> float | None:
    """Tokens a second of the newest finished run of a verb on this base model."""
    for run in runs.listing(verb, "done"):
        if run.config.get("base_model") != base_model:
            continue
        if verb == "train" and run.outputs.get("tokens_per_second"):
            return float(run.outputs["tokens_per_second"])
        if verb == "evaluate" and (run.path / "answers.csv").exists():
            answers = int(evaluated.answered(run).ask("SELECT count(*) AS number FROM rows")["number"].iloc[0])
            seconds = seconds_between(run.started_at, run.finished_at) or 1.0
            return float(answers * run.config["max_new_tokens"] / seconds)
    return None
