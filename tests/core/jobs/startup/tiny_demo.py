"""The demo with another preset (from the environment), so that a test can run it on a tiny base model."""

import json
import os
from typing import Any

from core import demo
from core.config import DemoConfig
from core.presets import PRESETS
from core.runs import Workspace


def run(config: DemoConfig, workspace: Workspace) -> dict[str, Any]:
    """core.demo.run with the preset in TINY_PRESET."""
    for stage, fields in json.loads(os.environ["TINY_PRESET"]).items():
        PRESETS[stage]["demo"].update(fields)
    return demo.run(config, workspace)
