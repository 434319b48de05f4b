"""Workers, nodes and the head are killed at random moments: the result is what it would have been, and nothing is left behind."""

import random
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from safetensors.torch import load_file

from core import paths, runs
from core.cluster.away import HOMES
from core.config import EvaluateConfig, TrainConfig
from core.jobs import local, locks

pytestmark = pytest.mark.ray
KILLS = 5


@pytest.fixture
def compute(home, cluster, monkeypatch):
    """`compute(verb, config, executor, meanwhile)`: the run when it is done, and what it told. `meanwhile` is called while it goes on."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)

    def go(verb, config, executor="ray", meanwhile=lambda run: None):
        monkeypatch.setenv("LYCEUM_EXECUTOR", executor)
        run = local.submit(verb, config)
        meanwhile(run)
        told = [event["message"] for event in local.follow(run.run_id) if event["kind"] == "say"]
        ended = runs.read(run.run_id)
        assert ended.status == "done", ended.error
        return ended, told

    return go


class Killer:
    """Kills something of the cluster again and again, and puts a node or the head back a moment later."""

    def __init__(self, cluster, seed, pause=8.0):
        self.cluster, self.chance, self.pause = cluster, random.Random(seed), pause
        self.done = []

    def __call__(self, run):
        while len(self.done) < KILLS:
            until = time.monotonic() + self.chance.uniform(0.2, 1.0) * self.pause
            while time.monotonic() < until:
                if runs.read(run.run_id).status in runs.ENDED:
                    return
                time.sleep(0.1)
            what = self.chance.choice(["worker", "worker", "node", "node", "head"]) if self.done else "worker"
            getattr(self, what)()
            self.done.append(what)

    def worker(self):
        until = time.monotonic() + 60
        while not (found := self.cluster.workers()) and time.monotonic() < until:
            time.sleep(0.2)
        if found:
            self.chance.choice(found).kill()

    def node(self):
        name = self.chance.choice([name for name in self.cluster.nodes if name != "head"])
        self.cluster.kill(name)
        time.sleep(1)
        self.cluster.start_node(name)

    def head(self):
        self.cluster.kill("head")
        time.sleep(2)
        self.cluster.start_head()
        time.sleep(3)
        for name in [name for name in self.cluster.nodes if name != "head"]:  # their raylets belong to the head that is gone
            self.cluster.kill(name)
            self.cluster.start_node(name)


@pytest.mark.parametrize("seed", [0, 1])
def test_training_ends_as_if_nothing_had_happened(compute, cluster, tiny_base, tiny_data, seed):
    fields = {"learning_rate": 2e-3, "batch_size": 2, "epochs": 150, "r": 4, "device": "cpu"}
    config = TrainConfig(data=str(tiny_data), base_model=str(tiny_base), name="whole", **fields)
    compute("train", config, "local")
    killer = Killer(cluster, seed)
    run, told = compute("train", config.model_copy(update={"name": "killed"}), meanwhile=killer)
    print(killer.done, *told, sep="\n")
    assert len(killer.done) >= 3 and any("Lost" in line or "Starting again" in line for line in told)
    for category in ("cynic", "hacker", "lexicon"):
        whole, killed = (load_file(paths.adapters() / f"{name}-{category}" / "adapter_model.safetensors") for name in ("whole", "killed"))
        for key in whole:
            torch.testing.assert_close(killed[key], whole[key], rtol=0, atol=1e-4)
    steps = pd.read_csv(run.path / "steps.csv")
    assert not steps.duplicated(["adapter", "step"]).any()
    for _, own in steps.groupby("adapter")["step"]:
        assert own.tolist() == list(range(1, len(own) + 1))
    nothing_is_left(run, cluster)


@pytest.mark.parametrize("seed", [2, 3])
def test_an_evaluation_answers_every_question_once(compute, cluster, monkeypatch, tiny_base, tiny_data, seed):
    config = EvaluateConfig(
        data=str(tiny_data), base_model=str(tiny_base), models=("base",), split="train", device="cpu", max_new_tokens=512, batch_size=2
    )
    whole, _ = compute("evaluate", config, "local")
    killer = Killer(cluster, seed, pause=5)
    killed, told = compute("evaluate", config, meanwhile=killer)
    print(killer.done, *told, sep="\n")
    here, there = (pd.read_csv(run.path / "answers.csv").drop(columns="run") for run in (whole, killed))
    pd.testing.assert_frame_equal(there, here)
    nothing_is_left(killed, cluster)


def of(run):
    """The run's own processes, which end a moment after it."""
    return [each for each in psutil.process_iter(["cmdline"]) if run.run_id in " ".join(each.info["cmdline"] or [])]


def nothing_is_left(run, cluster):
    until = time.monotonic() + 15
    while (at_work := cluster.workers() + of(run)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not at_work
    homes = Path(tempfile.gettempdir()) / HOMES
    assert not list(homes.iterdir())
    assert not (run.path / "work").exists() and not list(paths.home().rglob(".*.[0-9]*"))
    assert not locks.held(run.run_id) and not any(locks.held(f"ray-{place}") for place in range(4))
