"""The whole road on the seven schools, small enough for two CPU cores: train, merge twice, evaluate, judge.

Each stage is a run of its own, executed here, in the demo's process; a resumed demo skips the stages that are done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core import runs
from core.config import Config, DemoConfig, EvaluateConfig, JudgeConfig, MergeConfig, TrainConfig
from core.jobs import execute
from core.presets import PRESETS
from core.runs import Run, Workspace

ENDS = {"train": 60, "merge linear": 61, "merge svd": 62, "evaluate": 96, "judge own": 98, "judge linear": 100}
"""Where each stage ends, in per cent of the demo's time."""


def run(config: DemoConfig, workspace: Workspace) -> dict[str, Any]:
    """Run or finish all stages; returns each one's run and outputs. Names start with `config.name`; an earlier demo's are replaced."""
    road = Road(workspace, {})
    trained = road.stage("train", TrainConfig(**PRESETS["train"]["demo"], seed=config.seed, name=config.name, replace=True))
    adapters = list(trained["adapters"])
    for strategy in ("linear", "svd"):
        road.stage(
            f"merge {strategy}", MergeConfig(adapters=tuple(adapters), strategy=strategy, name=f"{config.name}-{strategy}", replace=True)
        )
    models = ("base", *adapters, f"{config.name}-linear", f"{config.name}-svd")
    road.stage("evaluate", EvaluateConfig(**PRESETS["evaluate"]["demo"], models=models, seed=config.seed))
    for title, candidate in (("own", "own"), ("linear", f"{config.name}-linear")):
        answers = road.stages["evaluate"].run_id
        road.stage(f"judge {title}", JudgeConfig(answers=answers, candidate=candidate, seed=config.seed))
    return {title: {"run_id": run.run_id, **run.outputs} for title, run in road.stages.items()}


@dataclass(frozen=True)
class Road:
    """The demo's stages, as far as they are done."""

    workspace: Workspace
    stages: dict[str, Run]

    def stage(self, title: str, config: Config) -> Mapping[str, Any]:
        """The outputs of a stage, which is executed unless it is done already. What is half-done is finished in its own folder."""
        run = self._begun(title.split()[0], config.model_dump(mode="json"))
        if run.status != "done":
            start = ENDS[list(ENDS)[len(self.stages) - 1]] if self.stages else 0
            run = execute.execute(Stage(execute.claim(run.run_id), self.workspace, title, start, ENDS[title]))
        self.stages[title] = run
        self.workspace.progress(ENDS[title], 100, "percent", f"{title} is done")
        return run.outputs

    def _begun(self, verb: str, values: dict[str, Any]) -> Run:
        demo = self.workspace.run.run_id
        for earlier in runs.listing(verb, parent=demo):
            if earlier.config == values:
                return earlier if earlier.status == "done" else runs.requeue(earlier.run_id)
        return runs.create(verb, values, parent=demo)


@dataclass(frozen=True)
class Stage(Workspace):
    """A stage's workspace: what it reports is told to the demo's followers too, as a part of the whole."""

    whole: Workspace
    title: str
    start: float
    end: float

    def event(self, kind: str, **values: Any) -> None:
        """Append to the stage's events, and pass on what people watch."""
        super().event(kind, **values)
        if kind == "say":
            self.whole.event("say", message=f"{self.title}: {values['message']}")
        elif kind == "progress" and values["total"]:
            done = self.start + (self.end - self.start) * values["done"] / values["total"]
            message = f"{self.title}: {values['done']:,.0f} of {values['total']:,.0f} {values['unit']}"
            self.whole.progress(round(done, 1), 100, "percent", " · ".join(filter(None, (message, values["message"]))))
