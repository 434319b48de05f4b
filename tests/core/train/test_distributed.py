"""Training in two processes (gloo), through real launchers: the same as in one."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from core import paths, results, runs
from core.config import TrainConfig
from core.data.packing import micro_batches
from core.results import Step, ValidationRow
from core.train.distributed import Team, deal
from core.train.run import run
from core.workspace import Workspace

TORCHRUN = ("torch.distributed.run", "--nproc_per_node", "2")
SHARDED = Path(__file__).resolve().parent / "sharded_checkpoint.py"


@pytest.fixture
def fields(tiny_base: Path, tiny_data: Path) -> Callable[..., dict]:
    def make(**fields: object) -> dict:
        given = {"data": str(tiny_data), "base_model": str(tiny_base), "r": 4, "learning_rate": 5e-3, "batch_size": 3, "device": "cpu"}
        return {**given, "epochs": 3, **fields}

    return make


def in_one(given: dict) -> dict:
    config = TrainConfig(**given)
    return run(config, Workspace(runs.create("train", config.model_dump(mode="json"))))


def accelerate() -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", str(port)]


def in_two(given: dict, launcher: Sequence[str]) -> dict:
    """The same by a launcher and the command line, as a person types it."""
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", *launcher, "-m", "core", *(["--"] if launcher == TORCHRUN else []), "train", *words]
    done = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, timeout=90)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 1, done.stdout + done.stderr
    return json.loads(lines[0])["outputs"]


def distance(first: Path, second: Path) -> float:
    """Largest ||dX|| / ||X|| over the tensors of two folders."""
    one, other = (load_file(next(folder.glob("*.safetensors"))) for folder in (first, second))
    assert one.keys() == other.keys()
    return max(((one[key] - other[key]).norm() / other[key].norm()).item() for key in one)


def table(outputs: dict, kind: type, name: str) -> pd.DataFrame:
    """A table of a run, sorted, with adapters by the part of their name that both runs share."""
    found = results.read((paths.home() / outputs["steps"]).parent / name, kind)
    keys = [column for column in ("adapter", "step", "question") if column in found]
    return found.assign(adapter=found["adapter"].str.partition("-")[2]).sort_values(keys, ignore_index=True)


def same_tables(one: dict, two: dict) -> None:
    steps = [table(outputs, Step, "steps.csv") for outputs in (one, two)]
    rows = [table(outputs, ValidationRow, "validation_rows.csv") for outputs in (one, two)]
    columns = ["adapter", "step", "loss", "validation_loss", "grad_norm", "learning_rate"]
    pd.testing.assert_frame_equal(steps[0][columns], steps[1][columns], rtol=1e-3)
    pd.testing.assert_frame_equal(rows[0], rows[1], rtol=1e-3)


def test_three_adapters_are_dealt_over_two_processes(fields: Callable) -> None:
    shared = fields(early_stop=1, learning_rate=2e-2, epochs=8, batch_size=8)
    one, two = in_one({**shared, "name": "one"}), in_two({**shared, "name": "two"}, accelerate())
    assert two["adapters"] == {f"two-{name}": f"adapters/two-{name}" for name in ("cynic", "hacker", "lexicon")}
    for name in ("cynic", "hacker", "lexicon"):
        assert distance(paths.adapters() / f"two-{name}", paths.adapters() / f"one-{name}") < 1e-4
    same_tables(one, two)
    steps = table(two, Step, "steps.csv").groupby("adapter")["epoch"].max()
    assert steps.min() < 8, "nobody stopped early, so this shows less"


def test_one_adapter_is_trained_by_two_processes_together(fields: Callable, tiny_data: Path) -> None:
    shared = fields(categories="lexicon", early_stop=1, learning_rate=1e-2, epochs=6, micro_batch_tokens=100)
    one, two = in_one({**shared, "name": "one-adapter"}), in_two({**shared, "name": "two-adapter"}, TORCHRUN)
    assert distance(paths.adapters() / "two-adapter", paths.adapters() / "one-adapter") < 1e-4
    same_tables(one, two)


def test_a_whole_model_is_trained_by_two_processes_together(fields: Callable) -> None:
    shared = fields(categories="hacker", method="full", learning_rate=2e-3, gradient_checkpointing="true", epochs=4)
    one, two = in_one({**shared, "name": "one-model"}), in_two({**shared, "name": "two-model"}, accelerate())
    assert two["models"] == {"two-model": "models/two-model"}
    assert distance(paths.models() / "two-model", paths.models() / "one-model") < 1e-4
    same_tables(one, two)


def test_a_model_in_two_parts_is_resumed_from_its_checkpoint(fields: Callable, tmp_path: Path) -> None:
    given = fields(categories="hacker", method="full", learning_rate=2e-3, keep="last", max_steps=10, name="parts")
    in_one({**given, "name": "whole"})
    (tmp_path / "config.json").write_text(json.dumps(given))
    command = [sys.executable, "-m", *TORCHRUN, str(SHARDED), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(paths.PROJECT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert distance(tmp_path / "resumed in two", paths.models() / "whole") < 1e-4
    config = TrainConfig(**given)
    workspace = Workspace(runs.create("train", config.model_dump(mode="json")))
    (tmp_path / "checkpoint.safetensors").rename(workspace.scratch / "checkpoint.safetensors")
    run(config, workspace)
    assert "Resumed after step 5." in [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]
    assert distance(paths.models() / "parts", paths.models() / "whole") < 1e-4


def test_rows_are_dealt_once_and_all_processes_make_as_many_passes() -> None:
    for lengths in ([7, 3, 9, 4, 4, 12, 1], [5], [5, 6], []):
        for processes in (1, 2, 3):
            parts = [Team(rank, processes).parts(lengths, 12) for rank in range(processes)]
            counted = sorted(row for own in parts for rows, weight in own if weight for row in rows)
            assert counted == list(range(len(lengths))) and len({len(own) for own in parts}) == 1
            assert all(rows == sorted(rows) for own in parts for rows, _ in own), "rows of one adapter stay together"
    alone = Team().parts([7, 3, 9, 4, 4, 12, 1], 12)
    assert alone == [(list(part), 1.0) for part in micro_batches([7, 3, 9, 4, 4, 12, 1], 12)]


def test_hands_are_about_even() -> None:
    sizes = torch.randint(1, 1000, (50,), generator=torch.Generator().manual_seed(0)).tolist()
    hands = deal(sizes, 4)
    sums = [sum(sizes[index] for index in hand) for hand in hands]
    assert sorted(index for hand in hands for index in hand) == list(range(50)) and max(sums) / min(sums) < 1.02
