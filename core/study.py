"""The whole road on one dataset, as one job: report on the data, train, merge, evaluate, judge, and the bundle. The demo is a small one.

Each stage is a run of its own, executed here, in the study's process; a resumed study skips the stages that are done.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from core import runs
from core.config import Config, DataConfig, DemoConfig, JudgeConfig, StudyConfig
from core.data.read import read
from core.jobs import execute
from core.presets import VOICE
from core.runs import Run
from core.study_plan import Plan, check_names, plan
from core.workspace import Workspace


def run(config: StudyConfig, workspace: Workspace) -> dict[str, Any]:
    """Run or finish all stages; returns each one's run and outputs, by title."""
    where = {name: getattr(config, name) for name in DataConfig.model_fields if name in StudyConfig.model_fields}
    planned = plan(config, read(DataConfig(**where)))
    if not runs.listing(parent=workspace.run.run_id):  # what a resumed study made itself stands there rightly
        _check(planned)
    for note in planned.notes:
        workspace.say(note)
    road = Road(workspace, planned.shares(), {})
    for stage in planned.stages:
        workspace.say(f"{stage.title}: {stage.what}")
        road.go(stage.title, stage.configure(road.done))
    return {title: {"run_id": run.run_id, **run.outputs} for title, run in road.done.items()}


def _check(planned: Plan) -> None:
    """Raises UserError for what would fail in the end: names that are taken, judges that can't be asked."""
    from core.judge.run import judges

    check_names(planned)
    judges(JudgeConfig(backend=planned.config.backend), lambda *_: None)


def demo(config: DemoConfig, workspace: Workspace) -> dict[str, Any]:
    """A small study of the seven schools. Names start with `config.name`; an earlier demo's are replaced."""
    return run(StudyConfig(**VOICE, size="small", name=config.name, replace=True, seed=config.seed), workspace)


@dataclass
class Road:
    """The stages, as far as they are done."""

    workspace: Workspace
    ends: Mapping[str, float]
    """Where each stage ends, in per cent of the whole."""
    done: dict[str, Run]
    told: float = 0.0
    """Per cent that followers were told: a stage that goes over its work twice does not take the whole back."""

    def go(self, title: str, config: Config) -> None:
        """Execute a stage unless it is done already. What is half-done is finished in its own folder."""
        run = self._begun(title.split()[0], config.model_dump(mode="json"))
        if run.status != "done":
            run = execute.execute(Workspace(execute.claim(run.run_id), partial(self._tell, title)))
        self.done[title] = run
        self.workspace.progress(self.ends[title], 100, "percent", f"{title} is done")

    def _begun(self, verb: str, values: dict[str, Any]) -> Run:
        whole = self.workspace.run.run_id
        for earlier in runs.listing(verb, parent=whole):
            if earlier.config == values:
                return earlier if earlier.status == "done" else runs.requeue(earlier.run_id)
        return runs.create(verb, values, parent=whole, executor=self.workspace.run.executor)

    def _tell(self, title: str, kind: str, values: dict[str, Any]) -> None:
        """Pass on to the followers of the whole what a stage says, and how far it is as a part of the whole."""
        if kind == "say":
            self.workspace.event("say", message=f"{title}: {values['message']}")
        elif kind == "progress" and values["total"]:
            start = max((self.ends[other] for other in self.done), default=0.0)
            done = start + (self.ends[title] - start) * values["done"] / values["total"]
            message = f"{title}: {values['done']:,.0f} of {values['total']:,.0f} {values['unit']}"
            self.told = max(self.told, round(done, 1))
            self.workspace.progress(self.told, 100, "percent", " · ".join(filter(None, (message, values["message"]))))
