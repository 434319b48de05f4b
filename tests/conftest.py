"""What every test shares: a home of its own, no keys, no hub, and a tiny base model made on the spot."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("lyceum", deadline=None)  # a busy machine is no fault
settings.load_profile("lyceum")
os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so it can't wait for a fixture
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PROJECT = Path(__file__).resolve().parent.parent
SCHOOLS = PROJECT / "data" / "seven_schools.jsonl"

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FOREIGN = ("GROQ_API_KEY", "GROQ_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_TOKEN", "LYCEUM_API_KEY")
SETTINGS = ("LYCEUM_READ_ONLY", "LYCEUM_PASSWORD", "LYCEUM_USERS", "LYCEUM_ENGINE_URL")
"""Environment variables of the person who runs the tests that must not leak into them."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LYCEUM_HOME of this test alone. Adapters, merges and results land here; the person's own stay untouched."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("LYCEUM_HOME", str(folder))
    for name in (*FOREIGN, *SETTINGS):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama (2 layers, hidden 64, 4 heads, 2 KV heads) and its tokenizer. Pad is not eos."""
    return write_tiny_base(tmp_path_factory.mktemp("tiny") / "tiny-base")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL with question, answer and category: cynic 48 rows, lexicon 32, hacker 20, in the order of the shipped file."""
    left = Counter(cynic=48, lexicon=32, hacker=20)
    path = tmp_path_factory.mktemp("data") / "tiny.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in _schools():
            if left[row["category"]] > 0 and len(row["answer"]) < 240:
                left[row["category"]] -= 1
                file.write(json.dumps({key: row[key] for key in ("question", "answer", "category")}, ensure_ascii=False) + "\n")
    return path


@pytest.fixture
def peft_adapter(tiny_base: Path, tmp_path: Path) -> Callable[..., Path]:
    """`peft_adapter(name, seed, **LoraConfig fields)`: a folder that peft itself wrote, A and B random, no run.json."""

    def make(name: str, seed: int = 0, base: Path = tiny_base, **fields: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        fields = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **fields}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**fields))
            for key, tensor in model.named_parameters():
                if ".lora_" in key:
                    torch.nn.init.normal_(tensor, std=0.1)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


def write_tiny_base(folder: Path) -> Path:
    """What the fixture tiny_base is."""
    vocab_size = _write_tokenizer(folder)
    _write_llama(folder, vocab_size)
    return folder


def _schools() -> list[dict[str, str]]:
    return [json.loads(line) for line in SCHOOLS.read_text(encoding="utf-8").splitlines()]


def _write_tokenizer(folder: Path) -> int:
    """A byte-level BPE trained on the shipped questions and answers; returns its vocabulary size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((f"{row['question']} {row['answer']}" for row in _schools()), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|pad|>", chat_template=CHATML
    )
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


def _write_llama(folder: Path, vocab_size: int) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
