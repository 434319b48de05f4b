"""The command line: `python -m core {data,train,plan,merge,route,evaluate,judge,...} --field value ...`, made from the configs.

It submits a job, follows it (progress and messages on standard error) and prints one JSON object as the last line of standard
output: run_id, status, outputs, and error when it failed. Exit status: 0 done, 2 a user's error, 1 a bug, 130 cancelled.
Nothing is computed in this process, and Ctrl-C cancels the run that it follows; `serve` alone stays, and answers until it is ended;
`chat` talks to what `serve` keeps in memory.
Under `accelerate launch` or `torchrun` this is the first process; the others compute their share (core/jobs/launch.py).
"""

import io
import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from typing import Any

from core import runs, store
from core.config import ChatConfig, ServeConfig
from core.errors import UserError, explained
from core.jobs import launch, local
from core.jobs.arguments import config_values, parse
from core.jobs.configure import configure, fill
from core.jobs.watch import watch
from core.runs import Run
from core.serve import process, resident
from core.verbs import VERBS
from core.wording import day

Result = tuple[dict[str, Any], int]
"""What the last line says, and the exit status."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words say. Returns the exit status."""
    words = sys.argv[1:] if words is None else words
    if launch.rank():
        return _take_part(words)
    try:
        answer, status = _do(parse(words))
    except Exception as raised:
        error = explained(raised)
        if isinstance(error, UserError):
            print(error, file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        answer, status = _failure(error), 2 if isinstance(error, UserError) else 1
    print(json.dumps(answer, default=str), flush=True)
    return status


def _take_part(words: Sequence[str]) -> int:
    """Any process but the first of a run in several. What is wrong with the words is the first one's to say; --help ends them all."""
    with suppress(UserError), redirect_stdout(io.StringIO()):
        parse(words)
    from core.jobs import execute

    return execute.take_part()


def _do(values: dict[str, Any]) -> Result:
    if launch.size() > 1:
        _check_shared(values)
    if note := launch.note():
        print(note, file=sys.stderr, flush=True)
    for news in store.fetch():
        print(news, file=sys.stderr, flush=True)
    if values["verb"] == "serve":
        return _serve(values)
    if values["verb"] == "chat":
        return _chat(values)
    if values["verb"] == "jobs":
        return _jobs(values)
    run = local.submit(values["verb"], configure(values["verb"], config_values(values)), launch.size())
    print(f"{run.run_id} is queued.", file=sys.stderr, flush=True)
    return _result(run) if "detach" in values else _follow(run)


def _check_shared(values: dict[str, Any]) -> None:
    shared = values["resume"] if values["verb"] == "jobs" else VERBS[values["verb"]].shared
    if not shared or "detach" in values:
        raise UserError("Several processes train, or resume a training, and do nothing else. Say the rest without accelerate or torchrun.")


def _serve(values: dict[str, Any]) -> Result:
    living = resident.find()
    if "stop" in values:
        if living:
            print(f"The engine finishes what is under way, within {living.grace_seconds:g} s ...", file=sys.stderr, flush=True)
        return _answer({"stopped": resident.stop()}), 0
    config = fill(ServeConfig, config_values(values))
    if "detach" in values:
        if living:
            print(f"An engine runs already, as it was started: {living.address}. For other settings end it first: --stop", file=sys.stderr)
        found = asdict(resident.start(config))
        del found["token"]
        return _answer(found), 0
    return _answer({"address": process.run(config, lambda line: print(line, file=sys.stderr, flush=True))}), 0


def _chat(values: dict[str, Any]) -> Result:
    from core import talk

    config = fill(ChatConfig, config_values(values))
    if "instruction" in values and not config.instruction:
        raise UserError("The instruction is empty, so there is nothing to answer. Write one: --instruction 'What is a good life?'")
    try:
        return _answer(talk.run(config)), 0
    except KeyboardInterrupt:
        return {"run_id": None, "status": "cancelled", "outputs": {}}, 130


def _jobs(values: dict[str, Any]) -> Result:
    if values["resume"]:
        return _resume(values["resume"])
    if values["cancel"]:
        run = local.newest("queued", "running") if values["cancel"] == "last" else runs.read(values["cancel"])
        return _result(local.cancel(run.run_id))[0], 0
    if values["remove"]:
        local.remove(values["remove"])
        return {"run_id": values["remove"], "status": "removed", "outputs": {}}, 0
    local.reconcile()
    listing = runs.listing()
    for run in listing:
        stage = f"  (stage of {run.parent})" if run.parent else ""
        print(f"{run.run_id:<42} {run.status:<10} {day(run.created_at)}{stage}")
    return _answer({"runs": [{"run_id": run.run_id, "status": run.status} for run in listing]}), 0


def _resume(name: str) -> Result:
    run = local.newest("queued", "running", "failed", "cancelled") if name == "last" else runs.read(name)
    events = run.path / "events.jsonl"
    size = events.stat().st_size if events.exists() else 0
    resumed = local.resume(run.run_id, launch.size())
    if launch.size() > 1 and resumed.status in ("done", "running"):
        raise UserError(f"{run.run_id} is {resumed.status} already, so there is nothing for {launch.size()} processes to resume.")
    if resumed.status == "done":
        print(f"{run.run_id} is done already.", file=sys.stderr)
        return _result(resumed)
    if resumed.status == "running":
        print(f"{run.run_id} is running; following it.", file=sys.stderr)
        size = 0
    return _follow(resumed, size)


def _follow(run: Run, since: int = 0) -> Result:
    if run.processes > 1:
        launch.heed_launcher()
    try:
        ended = watch(run, since)
    except launch.OtherEnded:
        ended = launch.fail(run)
    except KeyboardInterrupt:
        print(f"\nCancelling {run.run_id} ...", file=sys.stderr, flush=True)
        ended = _cancelled(run)
    if ended.error:
        print(ended.error, file=sys.stderr, flush=True)
    return _result(ended)


def _cancelled(run: Run) -> Run:
    try:
        return local.cancel(run.run_id)
    except UserError:  # it ended just before
        return runs.read(run.run_id)


def _result(run: Run) -> Result:
    answer = {"run_id": run.run_id, "status": run.status, "outputs": run.outputs}
    if run.status == "failed":
        return answer | {"error": run.error}, 2 if run.fault == "user" else 1
    return answer, 130 if run.status == "cancelled" else 0


def _answer(outputs: dict[str, Any]) -> dict[str, Any]:
    """The last line of what is no run."""
    return {"run_id": None, "status": "done", "outputs": outputs}


def _failure(error: BaseException) -> dict[str, Any]:
    return {"run_id": None, "status": "failed", "outputs": {}, "error": str(error) or type(error).__name__}


if __name__ == "__main__":
    sys.exit(main())
