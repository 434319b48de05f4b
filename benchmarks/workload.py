"""What the training benchmarks train: a base model, rows of real text in a fixed order, and one config for all sides."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from core import paths
from core.config import TrainConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import Dataset, read
from core.errors import UserError
from core.models.load import BaseModel, choose_device, choose_dtype, load
from core.train.cohort import Member

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 2048, "rms_norm_eps": 1e-5}
SHAPES: dict[str, dict[str, Any]] = {
    "tinyllama-shape": {
        **{"vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22},
        **{"num_attention_heads": 32, "num_key_value_heads": 4, "tie_word_embeddings": False},
    },
    "smollm2-shape": {
        **{"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30},
        **{"num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True},
    },
}
"""Base models with random weights, made on the spot without a network: the same work as the real ones."""


@dataclass(frozen=True)
class Workload:
    """One benchmark's training, the same for all sides. Every process makes it anew from this."""

    config: TrainConfig
    adapters: int = 1
    steps: int = 2
    """Optimiser steps of an adapter in one lap."""
    warmup: int = 0
    """Steps before the first lap, not counted, where the training goes on from lap to lap."""
    repeats: int = 5
    """Laps that are timed."""
    tokens: int | None = None
    """Tokens of every row, cut from real text; None: real rows as they are."""

    @property
    def total_steps(self) -> int:
        """Steps of a training that goes on from lap to lap."""
        return self.warmup + self.repeats * self.steps

    def laps(self) -> list[range]:
        """The steps of each lap, where the training goes on from lap to lap."""
        return [range(begin, begin + self.steps) for begin in range(self.warmup, self.total_steps, self.steps)]

    def base(self) -> BaseModel:
        """The base model, freshly loaded."""
        config = self.config
        return load(config.base_model, quantization=config.quantization, precision=config.precision, device=config.device)

    def members(self, tokenizer: Any) -> list[Member]:
        """The adapters to train, each with whole steps of rows in a fixed order."""
        dataset = read(self.config)
        prompter = Prompter(tokenizer, self.config.system_prompt, self.config.max_seq_length)
        members = []
        for number, rows in enumerate(_groups(dataset, self.config, self.adapters)):
            encoded = prompter.encode_all([(row.question, row.answer, row.category) for row in rows])
            if self.tokens:
                encoded = [_cut(encoded, row, self.tokens) for row in range(len(encoded))]
            whole = len(encoded) - len(encoded) % self.config.batch_size
            if not whole:
                raise UserError(f"{len(encoded)} rows of an adapter make no step of {self.config.batch_size} rows. Ask for fewer rows.")
            members.append(Member(f"adapter-{number}", "own", (), encoded[:whole], [], [], self.config))
        return members


def counts(member: Member, steps: range) -> tuple[int, int]:
    """Tokens of the rows in a member's steps, and answer tokens among them."""
    rows = [row for step in steps for row in member.batch(step)]
    return sum(map(len, rows)), sum(len(row.answer) for row in rows)


def add_arguments(parser: ArgumentParser, **defaults: Any) -> None:
    """The arguments that all training benchmarks share, with other `defaults`."""
    parser.add_argument("--base-model", default="bundled", help=f"bundled, a folder, or without weights: {', '.join(SHAPES)}")
    parser.add_argument("--data", default="data/seven_schools.jsonl", help="a file of questions and answers")
    parser.add_argument("--system-prompt", help="system message of every prompt; {category} is the row's category")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--quantization", default="none", choices=["none", "nf4"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", default="q_proj,k_proj,v_proj,o_proj", help="layer names, or all-linear")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--max-seq-length", type=int, default=512)
    parser.add_argument("--steps", type=int, help="optimiser steps of an adapter in a lap. Default: 2, on CUDA 10")
    parser.add_argument("--repeats", type=int, default=5, help="laps of each side, in turns")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.set_defaults(**defaults)


def steps_of(given: Namespace) -> int:
    """Steps of a lap: long enough to be timed."""
    return given.steps or (10 if choose_device(given.device).type == "cuda" else 2)


def config_of(given: Namespace, **fields: Any) -> TrainConfig:
    """The config that all sides train by."""
    fields = {
        "base_model": shape_folder(given.base_model) if given.base_model in SHAPES else given.base_model,
        "method": "qlora" if given.quantization == "nf4" else "lora",
        "data": given.data,
        "system_prompt": given.system_prompt,
        "precision": given.precision,
        "quantization": given.quantization,
        "device": given.device,
        "r": given.rank,
        "lora_alpha": 2 * given.rank,
        "target_modules": given.targets,
        "learning_rate": given.learning_rate,
        "max_seq_length": given.max_seq_length,
        "warmup_steps": 0,
        "epochs": 1000,
        "keep": "last",
        **fields,
    }
    return TrainConfig(**fields)


def place(config: TrainConfig) -> tuple[torch.device, torch.dtype]:
    """Device and precision of a config."""
    device = choose_device(config.device)
    return device, choose_dtype(config.precision, device)


def shape_folder(name: str) -> str:
    """A folder with a Llama of that shape, random weights in bf16, and a tokenizer made from the shipped text."""
    folder = paths.cache() / "shapes" / name
    if not (folder / "model.safetensors").exists():
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = _tokenizer(SHAPES[name]["vocab_size"])
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**LLAMA, **SHAPES[name], bos_token_id=1, eos_token_id=2, pad_token_id=3))
        tokenizer.save_pretrained(folder)
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="100GB")
    return str(folder)


def _groups(dataset: Dataset, config: TrainConfig, adapters: int) -> list[list[Any]]:
    """Training rows of each adapter: a category's, or where there are more adapters than categories, equal parts of them."""
    if config.categories == ("pooled",):
        return [dataset.select("train")]
    chosen = dataset.categories if config.categories == ("each",) else list(config.categories)
    if adapters <= len(chosen):
        return [dataset.select("train", [category]) for category in chosen[:adapters]]
    rows = list(chain.from_iterable(dataset.select("train", [category]) for category in chosen))
    size = len(rows) // adapters
    return [rows[part * size : (part + 1) * size] for part in range(adapters)]


def _cut(encoded: list[Encoded], row: int, tokens: int) -> Encoded:
    """A row of exactly that many tokens: its prompt (at most half), then its answer and those of the rows after it."""
    prompt = encoded[row].prompt[-(tokens // 2) :]
    following = chain.from_iterable(example.answer for example in (encoded[row:] + encoded[:row]) * tokens)
    return Encoded(prompt, [next(following) for _ in range(tokens - len(prompt))], cut=True)


def _tokenizer(vocabulary: int) -> Any:
    """A byte-level BPE of the shipped questions and answers, with the ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rows = [json.loads(line) for line in paths.data_file("data/seven_schools.jsonl").read_text(encoding="utf-8").splitlines()]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    bpe.train_from_iterator((f"{row['question']} {row['answer']}" for row in rows), trainer)
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    names = dict(bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|pad|>")
    return PreTrainedTokenizerFast(tokenizer_object=bpe, chat_template=template, **names)
