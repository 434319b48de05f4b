"""Write report.html and report.zip."""

from typing import Any

from core.config import ReportConfig
from core.runs import Workspace


def run(config: ReportConfig, workspace: Workspace) -> dict[str, Any]:
    """Write the bundle; returns the places of its files."""
    raise NotImplementedError
