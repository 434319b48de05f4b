"""The cluster: reaching it, and the slots that it has for hands."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from core.errors import UserError
from core.jobs.executor import RAY_PATIENCE
from core.patience import patience
from core.wording import duration

ASK_AGAIN_SECONDS = 2.0
KNOCK_SECONDS = 5.0
HEAD_GONE_SECONDS = 15
"""After so long without the head, a driver ends; its run's worker then starts another, which waits for the head's return."""


@dataclass(frozen=True)
class Slots:
    """What one hand gets, and how many can be at work at once."""

    cpus: float
    gpus: float
    count: int


def connect(say: Callable[[str], Any]) -> None:
    """Join the cluster that RAY_ADDRESS names as a driver; wait for one that is away. Raises UserError when it stays away."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(HEAD_GONE_SECONDS))
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one try at a time, of which Ray would make 20 without a word
    began, wait, told = time.monotonic(), patience(*RAY_PATIENCE), False
    say(f"Joining the Ray cluster at {os.environ['RAY_ADDRESS']}.")
    while True:
        try:
            _knock(os.environ["RAY_ADDRESS"])
            ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
            return
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            ray.shutdown()
            reason = " ".join(str(error).split()) or type(error).__name__
        if (waited := time.monotonic() - began) > wait:
            raise UserError(
                f"The Ray cluster at {os.environ['RAY_ADDRESS']} has not answered for {duration(waited)} ({reason[:200]}). Start its "
                "head again (ray start --head), let this machine join it (ray start --address HOST:PORT --num-cpus 0), or set RAY_ADDRESS "
                "to another. Where a cluster asks for a token, RAY_AUTH_MODE=token and RAY_AUTH_TOKEN have to be set here too."
            )
        if not told:
            say(f"The Ray cluster at {os.environ['RAY_ADDRESS']} does not answer; waiting for it.")
            told = True
        time.sleep(ASK_AGAIN_SECONDS)


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray would try for most of a minute before it says so."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def end_if_gone() -> None:
    """End this process at once where the cluster that it joined is gone: its node is not among the living ones of the head that answers.

    Nothing is lost by it: what has arrived stands in the run's folder, and the run's worker starts another process.
    """
    mine = ray.get_runtime_context().get_node_id()
    if not any(node["Alive"] and node["NodeID"] == mine for node in ray.nodes()):
        print("This process's node of the Ray cluster is gone.", flush=True)
        os._exit(1)


def slots(say: Callable[[str], Any]) -> Slots:
    """A GPU each where the cluster has some, else all CPUs of its smallest worker. Waits for a first worker."""
    until, told = time.monotonic() + patience(*RAY_PATIENCE), False
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(int(node.get("GPU", 0)) for node in nodes)
        if gpus:
            return Slots(1, 1, gpus)
        cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
        if cpus:
            return Slots(min(cpus), 0, sum(each // min(cpus) for each in cpus))
        if time.monotonic() > until:
            raise UserError(
                f"The Ray cluster at {os.environ['RAY_ADDRESS']} has no worker. Let one join "
                "(ray start --address HOST:PORT), then resume the run."
            )
        if not told:
            say("The Ray cluster has no worker yet; waiting for one to join.")
            told = True
        time.sleep(ASK_AGAIN_SECONDS)
