"""One frozen pydantic model per verb. It is the job file, the command line and the page's form.

The sentence under a field is its help on the page and in `--help`.
"""

from collections.abc import Mapping

from core.config.chat import ChatConfig, DrawingConfig
from core.config.demo import DemoConfig
from core.config.evaluate import EvaluateConfig
from core.config.fields import ComputeConfig, Config, DataConfig, DatasetConfig, ModelConfig
from core.config.judge import ArenaConfig, AuditConfig, ClaimsConfig, JudgeConfig, PairsConfig
from core.config.merge import ExportConfig, MergeConfig, RouteConfig, SearchConfig
from core.config.rag import IndexConfig, RagConfig
from core.config.report import ReportConfig
from core.config.serve import ServeConfig
from core.config.study import StudyConfig
from core.config.train import PlanConfig, TrainConfig
from core.judge import BACKENDS
from core.merge import ROUTERS, STRATEGIES
from core.metrics import METRICS
from core.rag import CHUNKERS, PIPELINES
from core.registry import Entry
from core.train import METHODS

__all__ = [
    "CHOICES",
    "ArenaConfig",
    "AuditConfig",
    "ChatConfig",
    "ClaimsConfig",
    "ComputeConfig",
    "Config",
    "DataConfig",
    "DatasetConfig",
    "DemoConfig",
    "DrawingConfig",
    "EvaluateConfig",
    "ExportConfig",
    "IndexConfig",
    "JudgeConfig",
    "MergeConfig",
    "ModelConfig",
    "PairsConfig",
    "PlanConfig",
    "RagConfig",
    "ReportConfig",
    "RouteConfig",
    "SearchConfig",
    "ServeConfig",
    "StudyConfig",
    "TrainConfig",
]

CHOICES: dict[str, Mapping[str, Entry]] = {
    "method": METHODS,
    "strategy": STRATEGIES,
    "router": ROUTERS,
    "backend": BACKENDS,
    "metrics": METRICS,
    "pipelines": PIPELINES,
    "chunker": CHUNKERS,
}
"""Fields whose values are the rows of a table."""
