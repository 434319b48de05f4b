"""Which executor a job gets: what is wrong with the settings is said before there is a run."""

import pytest

from core import runs
from core.config import TrainConfig
from core.errors import UserError
from core.jobs import executor, local


@pytest.fixture
def ray(home, monkeypatch):
    """LYCEUM_EXECUTOR is ray, and it is installed as far as anybody can see before a job begins."""
    monkeypatch.setattr(executor, "find_spec", lambda name: name)
    monkeypatch.setenv("LYCEUM_EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.delenv("LYCEUM_RAY_PATIENCE", raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize("address", ["auto", "head:6379", "10.0.0.7:1", "[fd00::7]:65535"])
def test_an_address(ray, address):
    ray("RAY_ADDRESS", address)
    assert executor.chosen() == "ray"


@pytest.mark.parametrize(
    ("name", "said", "sentence"),
    [
        ("LYCEUM_EXECUTOR", "slurm", "LYCEUM_EXECUTOR is 'slurm', which is no executor. Choose one of: local, ray"),
        ("RAY_ADDRESS", "", "RAY_ADDRESS does not say where the cluster is"),
        ("RAY_ADDRESS", "ray://head:10001", "Let this machine join the cluster"),
        ("RAY_ADDRESS", "head", "'head', which is no HOST:PORT"),
        ("RAY_ADDRESS", "a b:12", "'a b:12', which is no HOST:PORT"),
        ("RAY_ADDRESS", "head:65536", "'head:65536', which is no HOST:PORT"),
        ("LYCEUM_RAY_PATIENCE", "abc", "LYCEUM_RAY_PATIENCE=abc is no number of seconds. Set it to one, such as 600, or unset it"),
        ("LYCEUM_RAY_PATIENCE", "-1", "LYCEUM_RAY_PATIENCE=-1 is no number of seconds"),
        ("LYCEUM_RAY_PATIENCE", "nan", "LYCEUM_RAY_PATIENCE=nan is no number of seconds"),
    ],
)
def test_what_is_wrong_is_said_before_there_is_a_run(ray, name, said, sentence):
    ray(name, said)
    with pytest.raises(UserError, match=sentence):
        local.submit("train", TrainConfig(name="mine"))
    assert not runs.listing()


def test_a_run_of_a_cluster_is_resumed_only_where_the_cluster_is_known(ray):
    run = runs.update(runs.create("train", {}, executor="ray").run_id, status="failed")
    ray("RAY_ADDRESS", "")
    with pytest.raises(UserError, match="RAY_ADDRESS does not say where the cluster is"):
        local.resume(run.run_id)
    assert runs.read(run.run_id).status == "failed"


def test_without_ray(home, monkeypatch):
    monkeypatch.setattr(executor, "find_spec", lambda name: None)
    monkeypatch.setenv("LYCEUM_EXECUTOR", "ray")
    with pytest.raises(UserError, match="the package ray isn't installed. Install it with: pip install"):
        local.submit("train", TrainConfig(name="mine"))
