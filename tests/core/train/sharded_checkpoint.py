"""Two processes train a whole model for 5 steps, save a checkpoint, and go on from it in a new cohort; run by test_distributed.py."""

import json
import sys
from pathlib import Path

import torch
from torch import distributed

from core.adapter import Adapter
from core.config import TrainConfig
from core.data.prompt import Prompter
from core.data.read import read
from core.train import checkpoint
from core.train.cohort import gather
from core.train.distributed import everyone
from core.train.full import Full, WholeModel
from core.train.loop import Cohort

folder = Path(sys.argv[1])
distributed.init_process_group("gloo")
config, team = TrainConfig(**json.loads((folder / "config.json").read_text())), everyone()


def begin() -> Cohort:
    base = Full(config).load(team)
    members, _ = gather(config, read(config), Prompter(base.tokenizer))
    return Cohort(base, WholeModel(base, members[0].name, folder, team), members, lambda _: None, team)


first = begin()
for _ in range(5):
    first.step()
first.bank.keep(0)
kept = [parameter.full_tensor() for parameter in first.bank.parameters.values()]
checkpoint.save(first, folder)
team.wait()
second = begin()
assert checkpoint.load(second, folder) and second.progress[0].step == 5
with torch.no_grad():
    second.bank.parameters["lm_head.weight"].zero_()
second.bank.restore(0)
assert all(torch.equal(parameter.full_tensor(), tensor) for parameter, tensor in zip(second.bank.parameters.values(), kept, strict=True))
while second.live:
    second.step()
second.bank.write(0, Adapter("parts", {}, "", {}), folder / "resumed in two", torch.float32)
distributed.destroy_process_group()
