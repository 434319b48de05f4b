"""The peers: PEFT in a plain loop, Hugging Face's Trainer with PEFT, and TRL's SFTTrainer with PEFT.

What is done in their favour: the base model is held in the compute precision; AdamW is the fused one; losses are read once a lap, not
at every step; no checkpoints, no progress bar; rows of a step are sorted by length before they are padded; no attention mask is
passed, since under causal attention what stands right of a row does not reach it; TRL runs without gradient checkpointing, which it has
on by default, and with FlashAttention where that is installed; each peer's batch settings are tried first, and the fastest is
timed. PEFT keeps adapters in fp32, so bf16 runs under autocast.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import is_flash_attn_2_available

from benchmarks.turns import Turn
from benchmarks.workload import Workload, counts
from core.bank import target_layers
from core.config import TrainConfig
from core.data.prompt import Encoded
from core.models.load import BaseModel
from core.train.cohort import Member
from core.train.lora import Lora

IGNORED = -100
"""Label of a token that is not supervised."""


@dataclass(frozen=True)
class Setting:
    """How a peer forms its batches."""

    rows: int
    """Rows, or packed sequences, of one forward pass."""
    passes: int
    """Passes whose gradients add up to a step."""
    grouped: bool = False
    """Trainer groups rows by length over the whole training: another order than the others'."""
    padding_free: bool = False
    """TRL lays the rows of a pass end to end."""
    packed: int = 0
    """TRL packs rows into sequences of this many tokens by best-fit decreasing: another order, other rows in a step."""

    @property
    def same_rows(self) -> bool:
        """Whether every step trains on the same rows as our loop's."""
        return not (self.grouped or self.packed)

    def __str__(self) -> str:
        kind = f"packed to {self.packed}" if self.packed else "padding-free" if self.padding_free else "padded"
        return f"{kind}{', group_by_length' if self.grouped else ''}, {self.rows} x {self.passes}"


def with_peft(base: BaseModel, config: TrainConfig) -> Any:
    """The base in a PeftModel that starts where our adapter does."""
    from peft import LoraConfig, get_peft_model

    method = Lora(config)
    starts = {layer: method.start(layer, module) for layer, module in target_layers(base.model, config.target_modules).items()}
    lora = LoraConfig(r=config.r, lora_alpha=config.lora_alpha, target_modules=list(starts), task_type="CAUSAL_LM")
    model = get_peft_model(base.model, lora)
    for layer, start in starts.items():
        site = model.get_submodule(f"base_model.model.{layer}")
        site.lora_A["default"].weight.data.copy_(start["A"].T)
        site.lora_B["default"].weight.data.copy_(start["B"].T)
    return model


class PlainLoop:
    """PEFT and a plain torch loop. `call` is the model, or what torch.compile made of it."""

    def __init__(self, base: BaseModel, model: Any, config: TrainConfig, call: Any = None) -> None:
        self.base, self.config, self.call = base, config, call or model
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, weight_decay=config.weight_decay, fused=True)
        self.autocast = partial(torch.autocast, base.device.type, base.dtype, enabled=base.dtype != torch.float32)

    def step(self, rows: Sequence[Encoded], learning_rate: float, rows_per_pass: int) -> Tensor:
        """One optimiser step; the mean loss of its answer tokens."""
        ordered, answers = sorted(rows, key=len), sum(len(row.answer) for row in rows)
        total, items = torch.zeros((), device=self.base.device), torch.tensor(answers, device=self.base.device)
        for start in range(0, len(ordered), rows_per_pass):
            batch = padded(ordered[start : start + rows_per_pass], self.base.tokenizer.pad_token_id)
            inputs = {key: tensor.to(self.base.device) for key, tensor in batch.items()}
            with self.autocast():
                loss = self.call(**inputs, use_cache=False, num_items_in_batch=items).loss
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.trained, self.config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total


def padded(rows: Sequence[Encoded], pad_token_id: int) -> dict[str, Tensor]:
    """Rows padded on the right, answers supervised, as the models of transformers take them."""
    width = max(len(row) for row in rows)
    ids = [row.prompt + row.answer + [pad_token_id] * (width - len(row)) for row in rows]
    labels = [[IGNORED] * len(row.prompt) + row.answer + [IGNORED] * (width - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}


def peft_loop(work: Workload, turn: Turn, setting: Setting) -> None:
    """Side: PEFT and a plain loop, one adapter."""
    import peft  # noqa: F401 - imported before memory is measured

    turn.imported()
    base = work.base()
    plain_laps(work, turn, PlainLoop(base, with_peft(base, work.config), work.config), setting)


def plain_laps(work: Workload, turn: Turn, loop: PlainLoop, setting: Setting) -> None:
    """The laps of one model's training, which goes on from lap to lap."""
    member = work.members(loop.base.tokenizer)[0]

    def train(steps: range) -> float:
        losses = [loop.step(member.batch(step), member.learning_rate(step), setting.rows) for step in steps]
        return torch.stack(losses).mean().item() if losses else 0.0

    train(range(work.warmup))
    for steps in work.laps():
        turn.wait()
        turn.start()
        loss = train(steps)
        turn.stop()
        turn.report(*counts(member, steps), (loss,))


def peft_apart(work: Workload, turn: Turn, setting: Setting, compiled: bool = False) -> None:
    """Side: PEFT and a plain loop, the adapters one after another, each lap from their start; `compiled`: the model by torch.compile."""
    import peft  # noqa: F401

    turn.imported()
    base, config = work.base(), work.config
    members, model = work.members(base.tokenizer), with_peft(base, config)
    call = torch.compile(model, dynamic=work.tokens is None) if compiled else model
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in trained]

    def lap(turn: Turn) -> None:
        losses = []
        for member in members:
            for parameter, value in zip(trained, start, strict=True):
                parameter.data.copy_(value)
            loop = PlainLoop(base, model, config, call)
            turn.start()
            for step in range(work.steps):
                loss = loop.step(member.batch(step), member.learning_rate(step), setting.rows)
            turn.stop()
            losses.append(loss.item())
        done = [counts(member, range(work.steps)) for member in members]
        turn.report(*map(sum, zip(*done, strict=True)), tuple(losses))

    lap(Turn(turn.device))  # the warm-up; torch.compile compiles in it
    for _ in range(work.repeats):
        turn.wait()
        lap(turn)


def hf_trainer(work: Workload, turn: Turn, setting: Setting) -> None:
    """Side: Hugging Face Trainer + PEFT, one adapter, padded."""
    import peft  # noqa: F401

    strategy = "group_by_length" if setting.grouped else "sequential"
    arguments = partial(TrainingArguments, train_sampling_strategy=strategy, remove_unused_columns=False)
    _train(work, turn, setting, lambda base, examples: partial(Trainer, data_collator=Padding(base), train_dataset=examples), arguments)


def trl_trainer(work: Workload, turn: Turn, setting: Setting) -> None:
    """Side: TRL's SFTTrainer + PEFT, one adapter, on tokenised rows with their labels."""
    import datasets
    import peft  # noqa: F401
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    how = {"packing": bool(setting.packed), "max_length": setting.packed or None, "padding_free": setting.padding_free}
    strategy = "random" if setting.packed else "sequential"
    arguments = partial(SFTConfig, train_sampling_strategy=strategy, gradient_checkpointing=False, **how)

    def trainer(base: BaseModel, examples: list[dict[str, list[int]]]) -> Any:
        if base.device.type == "cuda" and (setting.packed or setting.padding_free) and is_flash_attn_2_available():
            base.model.set_attn_implementation("flash_attention_2")
        return partial(SFTTrainer, processing_class=base.tokenizer, train_dataset=datasets.Dataset.from_list(examples))

    _train(work, turn, setting, trainer, arguments)


class Padding:
    """The collator of padded rows."""

    def __init__(self, base: BaseModel) -> None:
        self.pad = {"input_ids": base.tokenizer.pad_token_id, "labels": IGNORED}

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """The batch."""
        width = max(len(example["input_ids"]) for example in examples)
        columns = {key: [each[key] + [pad] * (width - len(each[key])) for each in examples] for key, pad in self.pad.items()}
        return {key: torch.tensor(rows) for key, rows in columns.items()}


class Laps(TrainerCallback):
    """Lets a Trainer wait for its turns; counts true tokens where it forms its batches, and reads its loss once a lap."""

    def __init__(self, work: Workload, turn: Turn, setting: Setting) -> None:
        self.turn, self.passes = turn, setting.passes
        self.first = {steps.start: steps for steps in work.laps()}
        self.last = {steps.stop: steps for steps in work.laps()}
        self.seen: list[tuple[int, int]] = []
        """(tokens, answer tokens) of each pass."""

    def counting(self, collate: Any) -> Any:
        """The collator, counting."""

        def counted(examples: Sequence[dict[str, Any]]) -> Any:
            answers = sum(label != IGNORED for example in examples for label in example["labels"])
            self.seen.append((sum(len(example["input_ids"]) for example in examples), answers))
            return collate(examples)

        return counted

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before the first step of a lap."""
        if state.global_step in self.first:
            self.turn.wait()
            self.turn.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After its last: the loss is asked for with the time stopped."""
        if state.global_step in self.last:
            self.turn.stop()
        control.should_log = state.global_step in self.last or state.global_step in self.first

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        """The mean loss since the last log."""
        if "loss" in logs and (steps := self.last.get(state.global_step)):
            passes = self.seen[steps.start * self.passes : steps.stop * self.passes]
            self.turn.report(*map(sum, zip(*passes, strict=True)), (logs["loss"],))


def _train(work: Workload, turn: Turn, setting: Setting, trainer: Any, arguments: Any) -> None:
    """One training by Trainer, or by what is made of it."""
    turn.imported()
    base, config = work.base(), work.config
    examples = _examples(work.members(base.tokenizer)[0], work.total_steps)
    with tempfile.TemporaryDirectory() as folder:
        given = arguments(
            output_dir=folder,
            per_device_train_batch_size=setting.rows,
            gradient_accumulation_steps=setting.passes,
            max_steps=work.total_steps,
            learning_rate=config.learning_rate,
            lr_scheduler_type=config.schedule,
            warmup_steps=config.warmup_steps,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            bf16=base.dtype == torch.bfloat16,
            fp16=base.dtype == torch.float16,
            use_cpu=base.device.type == "cpu",
            dataloader_pin_memory=base.device.type == "cuda",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        laps = Laps(work, turn, setting)
        made = trainer(base, examples)(model=with_peft(base, config), args=given, callbacks=[laps])
        made.remove_callback(PrinterCallback)
        made.data_collator = laps.counting(made.data_collator)
        made.train()


def _examples(member: Member, steps: int) -> list[dict[str, list[int]]]:
    """The rows in the order of our loop's steps; those of a step by length."""
    rows = [row for step in range(steps) for row in sorted(member.batch(step), key=len)]
    return [{"input_ids": row.prompt + row.answer, "labels": [IGNORED] * len(row.prompt) + row.answer} for row in rows]
