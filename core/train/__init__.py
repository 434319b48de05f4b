"""Tuning methods: one row each. `core/train/loop.py` is the one training loop."""

from core.registry import Entry

METHODS = {
    "lora": Entry(
        "LoRA",
        "core.train.lora:Lora",
        "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685",
        "Two small matrices beside each frozen layer. The default.",
    ),
    "qlora": Entry(
        "QLoRA",
        "core.train.lora:QLora",
        "Dettmers et al. 2023, QLoRA: Efficient Finetuning of Quantized LLMs, arXiv:2305.14314",
        "LoRA on a base model held in 4 bit (NF4, double quantisation). For small GPUs.",
    ),
}
