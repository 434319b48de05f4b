"""Memory that runs out in the middle of a step, for real: a limit on the process' address space."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.errors import UserError
from core.train.out_of_memory import is_out_of_memory, within_memory

SCRIPT = """
import json, resource, sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from core.config import TrainConfig
from core.data.prompt import Encoded
from core.models.load import BaseModel
from core.train.cohort import Member
from core.train.loop import Cohort
from core.train.lora import Lora
from core.train.training_bank import TrainingBank

torch.set_num_threads(1)
said = []

def train(headroom_mb, micro_batch_tokens):
    torch.manual_seed(0)
    shape = dict(vocab_size=2000, hidden_size=256, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=4)
    model = LlamaForCausalLM(LlamaConfig(**shape)).eval().requires_grad_(False)
    base = BaseModel(model, None, torch.device("cpu"), torch.float32, "tiny", "tiny", "", "none")
    tokens = torch.randint(5, 2000, (16, 300), generator=torch.Generator().manual_seed(1)).tolist()
    rows = [Encoded(row[:100], row[100:], False) for row in tokens]
    config = TrainConfig(batch_size=16, micro_batch_tokens=micro_batch_tokens, max_steps=3, learning_rate=1e-2)
    member = Member("one", "own", ("c",), rows, [], [], config)
    bank = TrainingBank(model, Lora(config), ["one"], config)
    cohort = Cohort(base, bank, [member], said.append)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = resource.RLIM_INFINITY if headroom_mb is None else used + headroom_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    losses = [cohort.step()[0].loss for _ in range(3)]
    return cohort.passes.micro_batch_tokens, losses, bank.values.flatten()

tight, tight_losses, tight_values = train(HEADROOM, 100_000)
free, free_losses, free_values = train(None, 100_000)
print(json.dumps({
    "said": said, "tight": tight, "free": free, "losses": [tight_losses, free_losses],
    "distance": ((tight_values - free_values).norm() / free_values.norm()).item(),
}))
"""


def run(headroom_mb: int) -> subprocess.CompletedProcess[str]:
    """Three steps under a limit, then without one."""
    project = Path(__file__).resolve().parents[3]
    script = SCRIPT.replace("HEADROOM", str(headroom_mb))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=project, timeout=120)


def test_a_step_that_does_not_fit_is_made_in_smaller_pieces_with_the_same_result() -> None:
    found = json.loads(run(headroom_mb=260).stdout.splitlines()[-1])
    assert found["free"] == 100_000 > found["tight"]
    assert found["said"][0].startswith("Memory ran out. Going on with micro-batches of")
    assert found["losses"][0] == pytest.approx(found["losses"][1], rel=1e-5)
    assert found["distance"] < 1e-5


def test_what_never_fits_ends_with_advice() -> None:
    error = run(headroom_mb=20).stderr
    assert "UserError: Memory ran out, even with one row at a time and gradient checkpointing. Use a smaller max_seq_length" in error


class Piece:
    """Work that shrinks twice."""

    size = 4

    def shrink(self) -> str | None:
        """Half of it."""
        self.size //= 2
        return f"Now {self.size}." if self.size else None


def test_other_errors_are_not_taken_for_it() -> None:
    def broken() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        within_memory(Piece(), broken, print)


def test_it_gives_up_with_a_sentence() -> None:
    def hopeless() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 EiB")

    with pytest.raises(UserError, match="Memory ran out, even"):
        within_memory(Piece(), hopeless, print)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
)
def test_how_devices_say_it(error: BaseException) -> None:
    assert is_out_of_memory(error)
