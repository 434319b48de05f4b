"""A run in several processes: what their launcher says in the environment, and how all meet.

    accelerate launch --multi_gpu --num_processes 2 -m core train ...
    torchrun --nproc_per_node 2 -m core -- train ...

The first process is the ordinary command line: it queues the run, and the run's worker starts its child, as always. The others wait
for that child, hear from it which run it is, and compute their share. So there is one run.json, one log and one place in the lane.

- *The run ends, or is cancelled*: the first process says how, and the launcher ends whoever is left.
- *Another process fails*: it leaves its error in the run's folder and ends. The run's child finds it when their connection breaks;
  or the launcher asks the first process to end (SIGTERM), which then fails the run with that error.
"""

import json
import os
import signal
import time
from datetime import timedelta
from typing import Any, NoReturn

from core import runs
from core.errors import UserError
from core.jobs import local
from core.runs import ENDED, Run
from core.workspace import Workspace

PATIENCE_SECONDS = 2.0
"""How long a run may take to notice that another process has ended."""


class OtherEnded(BaseException):
    """The launcher asks this process to end, since another one has."""


def size() -> int:
    """How many processes the launcher has started; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= set(os.environ) else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def note() -> str | None:
    """What a person should know who meant several processes and got one."""
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true" or "MASTER_ADDR" not in os.environ or size() > 1:
        return None
    return (
        "accelerate launch --cpu starts one process, whatever --num_processes says. For several on the CPU: accelerate launch --multi_gpu "
        "--num_processes 2 -m core train --device cpu ..., or torchrun --nproc_per_node 2 -m core -- train --device cpu ..."
    )


def heed_launcher() -> None:
    """From now on, raise OtherEnded when the launcher asks this process to end."""
    signal.signal(signal.SIGTERM, _other_ended)


def fail(run: Run) -> Run:
    """End a run one of whose processes has ended: by itself if it notices in time, else with what that process has said."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (now := runs.read(run.run_id)).status not in ENDED and time.monotonic() < until:
        time.sleep(0.05)
    if now.status == "queued":
        return local.cancel(run.run_id)
    said = word_of_another(now) or {"fault": "bug", "error": _killed(now)}
    failed = runs.update(run.run_id, only_if="running", status="failed", finished_at=runs.now(), **said)
    if now.status == "running":
        local.end_process(now)
    return failed


def meet(run: Run | None) -> Run:
    """Join the other processes. The first one brings the run, which the others get to know."""
    import torch
    from torch import distributed

    if run:
        for file in Workspace(run).scratch.glob("error-*.json"):
            file.unlink()
    gpus = torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % gpus)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=timedelta(days=7))
    said = [run.run_id if run else None]
    distributed.broadcast_object_list(said, device=torch.device("cpu"))
    met = run or runs.read(str(said[0]))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if gpus and here > gpus and met.config["device"] != "cpu":
        raise UserError(f"{here} processes were started here, and there are {gpus} GPUs. Start one process per GPU, or say device=cpu.")
    return met


def part() -> None:
    """Leave the other processes, when all is done."""
    from torch import distributed

    distributed.destroy_process_group()


def leave_word(run: Run, **said: Any) -> None:
    """Leave this process's fault and error for the first one. Of a cancelled run nothing is left."""
    if (run.path / "work").exists():
        (run.path / "work" / f"error-{rank()}.json").write_text(json.dumps(said), encoding="utf-8")


def word_of_another(run: Run) -> dict[str, Any] | None:
    """The fault and error of the first of the other processes that has left word."""
    for file in sorted(run.path.glob("work/error-*.json")):
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found
    return None


def resume_hint(run: Run) -> str:
    """How a run of several processes is started again."""
    return f"accelerate launch --num_processes {run.processes} -m core jobs --resume {run.run_id}"


def _killed(run: Run) -> str:
    return f"One of the run's {run.processes} processes ended without a word: killed, or its launcher was. Resume: {resume_hint(run)}"


def _other_ended(signum: int, frame: object) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)
    raise OtherEnded
