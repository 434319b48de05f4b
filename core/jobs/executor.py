"""Who computes a job: this machine, or the workers of a Ray cluster. Chosen by LYCEUM_EXECUTOR when the job is submitted."""

import os
import re
from importlib.util import find_spec
from typing import Literal, cast, get_args

from core.errors import UserError, shown
from core.patience import patience

Executor = Literal["local", "ray"]

RAY_PATIENCE = "LYCEUM_RAY_PATIENCE", 600.0
"""Seconds that a job waits for a cluster that does not answer, or has no worker, before it fails: where they are said, and otherwise."""
_HOST_PORT = re.compile(r"(?:\[[\da-fA-F:.]+\]|[^\s:]+):(\d{1,5})")
"""The host is a name or an address; of IPv6 in brackets."""
RAY_LANES = 4
"""Jobs that may be on a cluster at once; Ray deals its workers among them. Each has a process on this machine that follows it."""


def chosen() -> Executor:
    """What LYCEUM_EXECUTOR says; local without it. Raises UserError for another word, and where ray can't be used."""
    name = os.environ.get("LYCEUM_EXECUTOR") or "local"
    if name not in get_args(Executor):
        raise UserError(f"LYCEUM_EXECUTOR is '{name}', which is no executor. Choose one of: {', '.join(get_args(Executor))}.")
    executor = cast(Executor, name)
    check(executor)
    return executor


def lanes(lane: str) -> list[str]:
    """The locks that stand for places in a lane: a job needs one of them."""
    return [f"ray-{place}" for place in range(RAY_LANES)] if lane == "ray" else [lane]


def check(executor: Executor) -> None:
    """Raises UserError where Ray is to compute, and this process can't use it."""
    if executor != "ray":
        return
    if find_spec("ray") is None:
        raise UserError("The executor is ray, and the package ray isn't installed. Install it with: pip install -r requirements-ray.txt")
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        raise UserError(
            "The executor is ray, and RAY_ADDRESS does not say where the cluster is. Set it to the head's HOST:PORT, "
            "or to auto on a machine that has joined one (ray start --address HOST:PORT --num-cpus 0)."
        )
    patience(*RAY_PATIENCE)
    if "://" in address:
        raise UserError(
            f"RAY_ADDRESS is '{address}', through which workers can't send their results bit by bit. "
            "Let this machine join the cluster (ray start --address HOST:6379 --num-cpus 0) and set RAY_ADDRESS=auto."
        )
    if address != "auto" and not ((port := _HOST_PORT.fullmatch(address)) and int(port[1]) < 2**16):
        raise UserError(
            f"RAY_ADDRESS is '{shown(address)}', which is no HOST:PORT. Set it to the head's, such as head.example.org:6379, or to auto."
        )
