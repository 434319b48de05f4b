"""What can be run: each verb's config, the function that does it, and whether it needs the device."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core import config
from core.workspace import Workspace


@dataclass(frozen=True)
class Verb:
    """A verb of the command line, and a kind of job."""

    config: type[config.Config]
    target: str
    """`module:function` taking (config, workspace) and returning the run's outputs."""
    lane: str
    """Jobs of one lane run one at a time: 'device' for what computes on models, 'desk' for the rest."""
    shared: bool = False
    """Whether the processes of `accelerate launch` or `torchrun` share its work."""
    dealt: bool = False
    """Whether the workers of a Ray cluster share its work."""

    def load(self) -> Callable[[Any, Workspace], dict[str, Any]]:
        """Import and return the function."""
        function: Callable[[Any, Workspace], dict[str, Any]] = pkgutil.resolve_name(self.target)
        return function


VERBS = {
    "data": Verb(config.DataConfig, "core.data.report:run", "desk"),
    "train": Verb(config.TrainConfig, "core.train.run:run", "device", shared=True, dealt=True),
    "plan": Verb(config.PlanConfig, "core.train.plan:run", "desk"),
    "merge": Verb(config.MergeConfig, "core.merge.run:run", "desk", dealt=True),
    "search": Verb(config.SearchConfig, "core.merge.search:run", "device"),
    "export": Verb(config.ExportConfig, "core.merge.export:run", "device"),
    "route": Verb(config.RouteConfig, "core.merge.route:run", "desk"),
    "evaluate": Verb(config.EvaluateConfig, "core.evaluate.run:run", "device", dealt=True),
    "judge": Verb(config.JudgeConfig, "core.judge.run:run", "desk", dealt=True),
    "audit": Verb(config.AuditConfig, "core.judge.import_verdicts:run", "desk"),
    "arena": Verb(config.ArenaConfig, "core.judge.arena:run", "desk"),
    "rag": Verb(config.RagConfig, "core.rag.run:run", "device", dealt=True),
    "claims": Verb(config.ClaimsConfig, "core.claims.run:run", "desk"),
    "report": Verb(config.ReportConfig, "core.report.run:run", "desk"),
    "study": Verb(config.StudyConfig, "core.study:run", "device", dealt=True),
    "demo": Verb(config.DemoConfig, "core.study:demo", "device", dealt=True),
}
