"""Health, memory and the device: the engine unloads when idle, makes room for jobs on a GPU, and outlives a bug."""

import os

import pytest
import torch

from core import paths
from core.errors import UserError
from core.jobs import locks
from core.models.decoding import Decoding
from tests.core.serve.conftest import together, until

ROW = {"key": "a", "question": "Why?"}


def test_health_tells_what_there_is(serve, adapters, tiny_base):
    adapters("x", 1)
    served = serve(side_by_side=3, requests_per_minute=600)
    health = served.health()
    fixed = {"engine": "lyceum", "base_model": str(tiny_base), "device": "cpu", "adapters": ["x"], "loaded": True, "busy": ""}
    assert {name: health[name] for name in fixed} == fixed and (health["state"], health["said"]) == ("ready", "")
    assert (health["answers"], health["waiting"], health["places"], health["tokens"], health["in_bank"]) == (0, 0, 3, 0, [])
    limits = {"host": "127.0.0.1", "requests_per_minute": 600, "max_body_mb": 8, "most_waiting": 1024, "key": False, "context": 1024}
    assert {name: health["limits"][name] for name in limits} == limits and 50 < health["memory_mb"] < 50_000
    rows = [{**ROW, "key": f"{nth}", "question": f"{nth}?", "mix": {"adapters": ["x"]}} for nth in range(5)]
    asked = served.answers(*rows, max_new_tokens=200)
    next(asked)
    until(lambda: served.health()["answers"] == 5 and served.health()["waiting"] == 2)
    together(asked)
    health = served.health()
    assert health["answers"] == health["waiting"] == 0 and health["in_bank"] == [{"name": "x", "rank": 4}]
    assert health["tokens"] == 1000 and health["tokens_per_second"] > 0
    assert (health["requests"], health["refused"]) == (1, 0), "looking at it is no request"
    served.engine.wind_up()
    assert served.health()["state"] == "ending"


def test_an_idle_engine_lets_go_of_the_model_and_loads_it_again(serve, adapters):
    adapters("x", 1)
    served = serve()
    first = served.texts(ROW, {**ROW, "key": "b", "mix": {"adapters": ["x"]}}, max_new_tokens=5)
    long = served.engine.config
    served.engine.config = long.model_copy(update={"idle_minutes": 0.001})
    until(lambda: not served.health()["loaded"])
    served.engine.config = long
    assert served.texts({**ROW, "mix": {"adapters": ["x"]}}, max_new_tokens=5)["a"] == first["b"], "known answers need no model"
    assert not served.health()["loaded"]
    assert served.texts({**ROW, "mix": {"adapters": ["x"]}}, max_new_tokens=6)["a"].startswith(first["b"])
    assert served.health()["loaded"]


def test_beside_a_job_it_goes_on_on_a_cpu_and_says_so(serve):
    served = serve()
    lane = locks.take("device")
    assert served.health()["busy"] == "A job computes on this machine too, so answers come slower."
    assert served.texts(ROW, max_new_tokens=3)
    os.close(lane)
    assert served.health()["busy"] == ""


def test_on_a_gpu_it_makes_room_for_a_job(serve):
    served = serve()
    served.engine.device = torch.device("cuda")  # the rules of a GPU; the model stays where it is
    events = served.answers(ROW, max_new_tokens=900)
    next(events)
    lane = locks.take("device")
    with pytest.raises(UserError, match="A job has the GPU. The engine has made room for it"):
        list(events)
    until(lambda: not served.health()["loaded"])
    with pytest.raises(UserError, match="answers again when the job is done"):
        list(served.answers(ROW, max_new_tokens=3))
    os.close(lane)
    assert served.texts(ROW, max_new_tokens=3)


def test_it_outlives_a_bug_and_says_so(serve, monkeypatch, capfd):
    served = serve()
    step = Decoding.step

    def broken(*_):
        raise ZeroDivisionError("no")

    monkeypatch.setattr(Decoding, "step", broken)
    with pytest.raises(UserError, match=r"The engine failed \(ZeroDivisionError: no\). This is a bug"):
        list(served.answers(ROW, max_new_tokens=5))
    monkeypatch.setattr(Decoding, "step", step)
    assert served.texts(ROW, max_new_tokens=5)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_memory_that_is_too_small_is_a_sentence(serve, monkeypatch):
    served = serve()

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Decoding, "enter", too_large)
    with pytest.raises(UserError, match="don't fit into the memory of cpu. Ask for fewer"):
        list(served.answers(ROW, max_new_tokens=5))


def test_a_route_is_no_adapter_that_can_be_mixed(serve, adapters):
    adapters("x", 1)
    (adapters("route", 2) / paths.ROUTER).write_bytes(b"")
    assert serve().health()["adapters"] == ["x"]
