"""deploy/lyceum.sbatch with stand-ins for Slurm's commands, which start things in the networks of machines made here."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

from core import paths, runs
from core.config import TrainConfig
from core.jobs import local
from tests.core.cluster.machines import SUBNET, machines, possible

pytestmark = [pytest.mark.ray, pytest.mark.skipif(not possible(), reason="needs root, and network namespaces")]
SRUN = """\
#!/bin/bash
# srun --nodelist=A or --exclude=A, then other options, then a command for each node
trap 'kill -KILL $(jobs -p); exit 143' TERM  # with SIGTERM, unshare would wait
for word; do
    case $word in
        --nodelist=*) nodes=${word#*=} ;;
        --exclude=*) nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | grep --invert-match --line-regexp "${word#*=}") ;;
        --*) ;;
        *) break ;;
    esac
    shift
done
for node in $nodes; do
    ip netns exec "$SPACES-$node" unshare --pid --fork --kill-child "$@" &
done
wait
"""
SCONTROL = """\
#!/bin/bash
case $1 in
    show) tr , '\\n' <<< "$3" ;;
    requeue) echo "$2" >> "$REQUEUED" ;;
esac
"""
NODES = [f"{SUBNET}.{number}" for number in (1, 2, 3)]
"""Names that are addresses, which need nobody to look them up."""


@pytest.fixture
def sbatch(home, tmp_path, monkeypatch):
    """`sbatch(words...)`: the script, started as Slurm does for job 7 on three nodes."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    with (
        machines(dict.fromkeys(NODES, ())) as made,
        tempfile.TemporaryDirectory(prefix="ray-") as short,
    ):
        given = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": ",".join(NODES), "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "1"}
        given |= {"SPACES": made[0].space.removesuffix(f"-{NODES[0]}"), "REQUEUED": str(tmp_path / "requeued")}
        given |= {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHON": sys.executable, "PYTHONPATH": str(paths.PROJECT)}
        for name, value in (given | {"RAY_TMPDIR": short, "OMP_NUM_THREADS": "1"}).items():
            monkeypatch.setenv(name, value)
        script = ["ip", "netns", "exec", made[0].space, "bash", str(paths.PROJECT / "deploy" / "lyceum.sbatch")]
        yield lambda *words: subprocess.Popen([*script, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
        left = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
        assert not [line for line in left if "ray start" in line and NODES[0] in line]


def test_a_job_is_queued_again_at_the_time_limit_and_goes_on(sbatch, home, tmp_path, tiny_base, tiny_data):
    fields = {
        "data": str(tiny_data),
        "base_model": str(tiny_base),
        "device": "cpu",
        "learning_rate": 2e-3,
        "batch_size": 2,
        "epochs": 100,
        "r": 4,
    }
    here = local.submit("train", TrainConfig(name="here", **fields))
    list(local.follow(here.run_id))
    words = ["train", "--name", "there", *(word for name, value in fields.items() for word in (f"--{name}", str(value)))]
    job = sbatch(*words)
    while not (begun := [run for run in runs.listing(status="running") if runs.read_events(run.run_id, "progress")]):
        assert job.poll() is None
        time.sleep(0.5)
    time.sleep(15)  # longer than hands keep to themselves what they have made
    job.send_signal(signal.SIGUSR1)
    job.communicate()
    assert (tmp_path / "requeued").read_text() == "7\n" and (tmp_path / "lyceum-7.run").exists()
    job = sbatch(*words)
    said, _ = job.communicate()
    assert job.returncode == 0 and json.loads(said.splitlines()[-1])["run_id"] == begun[0].run_id
    assert any(event["message"].startswith("Resumed after step") for event in runs.read_events(begun[0].run_id, "say"))
    assert not (tmp_path / "lyceum-7.run").exists()
    for category in ("cynic", "hacker", "lexicon"):
        own, other = (load_file(paths.adapters() / f"{name}-{category}" / "adapter_model.safetensors") for name in ("here", "there"))
        for key in own:
            torch.testing.assert_close(other[key], own[key], rtol=0, atol=1e-4)
    steps = pd.read_csv(runs.folder(begun[0].run_id) / "steps.csv")
    assert not steps.duplicated(["adapter", "step"]).any() and len(steps) == len(pd.read_csv(here.path / "steps.csv"))


def test_the_exit_status_is_the_jobs(sbatch):
    job = sbatch("train", "--data", "no-such-file.jsonl")
    said, _ = job.communicate()
    assert job.returncode == 2 and json.loads(said.splitlines()[-1])["status"] == "failed"
