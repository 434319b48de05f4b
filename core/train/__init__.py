"""Tuning methods: one row each. `core/train/loop.py` is the one training loop."""

from core.registry import Entry

_LOW_RANK = ("r", "lora_alpha", "lora_dropout", "target_modules")

METHODS = {
    "lora": Entry(
        "LoRA",
        "core.train.lora:Lora",
        "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685",
        "Two small matrices A and B beside each frozen layer.",
        "The default; the others are measured against it.",
        fields=(*_LOW_RANK, "quantization"),
    ),
    "qlora": Entry(
        "QLoRA",
        "core.train.lora:QLora",
        "Dettmers et al. 2023, QLoRA: Efficient Finetuning of Quantized LLMs, arXiv:2305.14314",
        "LoRA on a base model held in 4 bit (NF4, double quantisation).",
        "The base model does not fit the GPU's memory otherwise. It saves memory, not time.",
        fields=_LOW_RANK,
    ),
    "lora_plus": Entry(
        "LoRA+",
        "core.train.lora:LoraPlus",
        "Hayou et al. 2024, LoRA+: Efficient Low Rank Adaptation of Large Models, arXiv:2402.12354",
        "LoRA whose B learns loraplus_lr_ratio times faster than A.",
        "LoRA learns too slowly. Lower learning_rate first: B's is many times higher.",
        fields=(*_LOW_RANK, "loraplus_lr_ratio", "quantization"),
    ),
    "lora_fa": Entry(
        "LoRA-FA",
        "core.train.lora:LoraFA",
        "Zhang et al. 2023, LoRA-FA: Memory-efficient Low-rank Adaptation for LLMs Fine-tuning, arXiv:2308.03303",
        "LoRA with a frozen A; all adapters of one seed share it. Trained with AdamW.",
        "You plan to merge: with a common A, weighted sums are exact at the same rank. It also keeps fewer activations.",
        fields=(*_LOW_RANK, "quantization"),
    ),
    "vera": Entry(
        "VeRA",
        "core.train.vera:Vera",
        "Kopiczko et al. 2023, VeRA: Vector-based Random Matrix Adaptation, arXiv:2310.11454",
        "One pair of frozen random matrices for all layers; two vectors of each layer's own train.",
        "Few numbers may train. The folder still holds the matrices. It wants a high rank (256) and ten times LoRA's learning rate.",
        fields=("r", "lora_dropout", "target_modules", "vera_d_initial", "quantization"),
    ),
    "delta_lora": Entry(
        "Delta-LoRA",
        "core.train.delta_lora:DeltaLora",
        "Zi et al. 2023, Delta-LoRA: Fine-Tuning High-Rank Parameters with the Delta of Low-Rank Matrices, arXiv:2309.02411",
        "LoRA that also adds delta_lambda times each change of B A to W, after delta_start steps.",
        "Long runs where LoRA levels off. It needs the memory of LoRA plus a copy of the factors, and saves none.",
        fields=("r", "lora_alpha", "target_modules", "delta_lambda", "delta_start", "quantization"),
    ),
    "dora": Entry(
        "DoRA",
        "core.train.dora:Dora",
        "Liu et al. 2024, DoRA: Weight-Decomposed Low-Rank Adaptation, arXiv:2402.09353",
        "LoRA for the direction of each row of W, and a trained vector for its length.",
        "Low ranks (4 to 8) fall short. Slower than LoRA, and it can't be mixed or merged with other adapters.",
        fields=(*_LOW_RANK, "quantization"),
    ),
    "full": Entry(
        "Full fine-tuning",
        "core.train.full:Full",
        "Rumelhart et al. 1986, Learning representations by back-propagating errors, Nature 323; AdamW: arXiv:1711.05101",
        "Every weight of the model trains; the result is a whole model under models/.",
        "You have the memory (16 bytes per weight) and much data. Use a learning rate of 1e-5 to 5e-5.",
    ),
}
