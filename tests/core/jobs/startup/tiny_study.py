"""The demo on other data and another base model (from the environment), so that a test can run it in seconds."""

import json
import os
from typing import Any

from core import study
from core.config import DemoConfig
from core.presets import STUDY, VOICE
from core.workspace import Workspace


def demo(config: DemoConfig, workspace: Workspace) -> dict[str, Any]:
    """core.study.demo with what stands in TINY_STUDY."""
    tiny = json.loads(os.environ["TINY_STUDY"])
    VOICE.update(tiny["where"])
    for verb in ("train", "evaluate"):
        STUDY["small"][verb].update(tiny[verb])
    return study.demo(config, workspace)
