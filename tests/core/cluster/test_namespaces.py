"""A cluster of four machines with addresses of their own: the same results as on one, and a node that is cut off comes back too late."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from core import paths, runs
from core.config import EvaluateConfig, TrainConfig
from core.jobs import local
from tests.core.cluster.machines import machines, possible

pytestmark = [pytest.mark.ray, pytest.mark.skipif(not possible(), reason="needs root, and network namespaces")]
CUT_SECONDS = 60
QUICK = {"RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "4"}
"""For the head: a node is dead after 20 s, in place of a minute."""
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-of-the-tests-alone-of-enough-letters"}
NODES = ("node-1", "node-2", "node-3")
RAY = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", "--object-store-memory=100000000"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, tiny_base):
    """A head, which sees the tests' folders and so is where jobs are submitted, and three nodes, which see the base model alone."""
    everything = tmp_path_factory.getbasetemp()
    with machines({"head": [everything], **dict.fromkeys(NODES, [tiny_base])}) as (head, *nodes):
        folder = tmp_path_factory.mktemp("logs")
        options = ["--head", f"--node-ip-address={head.address}", "--port=6379", "--num-cpus=0", "--include-dashboard=false"]
        head.start(folder / "head.log", *RAY, *options, **QUICK, **TOKEN)
        time.sleep(5)
        for node in nodes:
            node.start(folder / f"{node.name}.log", *RAY, f"--address={head.address}:6379", "--num-cpus=1", **TOKEN)
        until = time.monotonic() + 120
        count = "import ray; ray.init('auto', log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"
        while b"4" not in subprocess.run(head.words(sys.executable, "-c", count, **TOKEN), capture_output=True).stdout.split():
            assert time.monotonic() < until, "the nodes did not join"
        yield head, *nodes


@pytest.fixture
def fields(tiny_base, tiny_data):
    """What all jobs are given."""
    return {"data": str(tiny_data), "base_model": str(tiny_base), "device": "cpu"}


@pytest.fixture
def on_one(home, monkeypatch):
    """`on_one(verb, config)`: the job on this machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def go(verb, config):
        run = local.submit(verb, config)
        list(local.follow(run.run_id))
        assert runs.read(run.run_id).status == "done"
        return run

    return go


@pytest.fixture
def on_head(home, cluster):
    """`on_head(verb, fields)`: the command line at work on the head."""

    def start(verb, fields):
        words = [word for name, value in fields.items() for word in (f"--{name}", str(value))]
        given = {"LYCEUM_HOME": str(home), "LYCEUM_EXECUTOR": "ray", "RAY_ADDRESS": "auto", "OMP_NUM_THREADS": "1"} | TOKEN
        return subprocess.Popen(cluster[0].words(sys.executable, "-m", "core", verb, *words, **given), stdout=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def by_cluster(on_head):
    """`by_cluster(verb, fields, meanwhile)`: the run when it is done. `meanwhile` is called with it once it makes progress."""

    def go(verb, fields, meanwhile=lambda run: None):
        process = on_head(verb, fields)
        while not (found := [run for run in runs.listing(status="running") if runs.read_events(run.run_id, "progress")]):
            assert process.poll() is None
            time.sleep(0.2)
        meanwhile(found[0])
        said, _ = process.communicate()
        assert process.returncode == 0
        return runs.read(json.loads(said.splitlines()[-1])["run_id"])

    return go


def same_adapters(one, other):
    for category in ("cynic", "hacker", "lexicon"):
        here, there = (load_file(paths.adapters() / f"{name}-{category}" / "adapter_model.safetensors") for name in (one, other))
        assert here.keys() == there.keys()
        for key in here:
            torch.testing.assert_close(there[key], here[key], rtol=0, atol=1e-4)


def table(run, name):
    clocks = {"run", "seconds", "tokens_per_second", "answer_seconds"}
    whole = pd.read_csv(run.path / name)
    return whole.drop(columns=[column for column in whole if column in clocks])


def told(run):
    return [event["message"] for event in runs.read_events(run.run_id, "say")]


def test_three_machines_train_and_evaluate_as_one(on_one, by_cluster, fields):
    tuning = {"learning_rate": 2e-3, "batch_size": 2, "epochs": 10, "r": 4}
    here = on_one("train", TrainConfig(**fields, **tuning, name="here"))
    there = by_cluster("train", fields | tuning | {"name": "there"})
    same_adapters("here", "there")
    assert {event["host"] for event in runs.read_events(there.run_id, "hand")} == set(NODES)
    for name in ("steps.csv", "validation_rows.csv"):
        own, other = (table(run, name).replace(f"{prefix}-", "", regex=True) for run, prefix in ((here, "here"), (there, "there")))
        pd.testing.assert_frame_equal(other, own, rtol=1e-4, atol=1e-5)
    asked = {"split": "train", "limit": 10, "max_new_tokens": 16, "batch_size": 4}
    models = ("base", "here-cynic", "here-lexicon")
    own = on_one("evaluate", EvaluateConfig(**fields, **asked, models=models))
    other = by_cluster("evaluate", fields | asked | {"models": ",".join(models)})
    for name in ("answers.csv", "scores.csv", "answer_scores.csv", "comparisons.csv", "flags.csv"):
        pd.testing.assert_frame_equal(table(other, name), table(own, name), rtol=1e-4, atol=1e-5, obj=name)


def test_what_a_cut_off_node_had_goes_on_elsewhere_and_it_writes_nothing_when_it_is_back(on_one, by_cluster, cluster, fields):
    tuning = {"learning_rate": 2e-3, "batch_size": 2, "epochs": 100, "r": 4}
    here = on_one("train", TrainConfig(**fields, **tuning, name="here"))
    node = cluster[1]

    def cut(run):
        time.sleep(12)  # longer than a hand keeps to itself what it has made
        node.connect(False)
        begun = time.monotonic()
        while not any(line.startswith(f"Lost: {node.name}") for line in told(run)):
            assert time.monotonic() < begun + CUT_SECONDS, "it is lost while it is away"
            time.sleep(0.5)
        time.sleep(max(0.0, begun + CUT_SECONDS - time.monotonic()))
        node.connect(True)

    there = by_cluster("train", fields | tuning | {"name": "there"}, cut)
    assert [line for line in told(there) if "Lost" in line and "from what it had sent" in line]
    same_adapters("here", "there")
    steps, whole = table(there, "steps.csv"), table(here, "steps.csv")
    assert len(steps) == len(whole) and not steps.duplicated(["adapter", "step"]).any()
    until = time.monotonic() + 30
    while any("ray::" in " ".join(line) for line in node.processes()):
        assert time.monotonic() < until, "a node that was declared dead ends by itself"
        time.sleep(0.5)


def test_a_base_model_that_a_worker_lacks_is_missed_by_name(on_head, home, tiny_base, tiny_data):
    own = shutil.copytree(tiny_base, home / "own-base")
    process = on_head("train", {"data": str(tiny_data), "base_model": str(own), "device": "cpu"})
    said, _ = process.communicate()
    error = json.loads(said.splitlines()[-1])["error"]
    assert process.returncode == 2 and str(own) in error and "Said by a worker (node-" in error
