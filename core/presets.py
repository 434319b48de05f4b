"""Named settings of `train`, `route`, `search` and `evaluate`: `python -m core train --preset seven_schools`. Fields override them."""

from typing import Any

VOICE = {"data": "data/seven_schools.jsonl", "system_prompt": "Answer in the voice of this school: {category}."}
_SHIPPED = {**VOICE, "learning_rate": 1e-3, "epochs": 3, "precision": "bf16", "dtype": "bf16"}

_SCHOOLS = ("buddhist", "cynic", "hacker", "kural", "lexicon", "puritan", "wisdom")

_PHILOSOPHY = {"method": "qlora", "r": 64, "lora_alpha": 128, "batch_size": 4, "gradient_accumulation": 2, "learning_rate": 5e-4}
"""Settings of a published run: 133k rows pooled, then one adapter per category."""

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "train": {
        "seven_schools": {**_SHIPPED, "categories": ["each"], "batch_size": 4},
        "seven_schools_pooled": {**_SHIPPED, "categories": ["pooled"], "batch_size": 16},
        "laptop": {"categories": ["each"], "r": 8, "learning_rate": 1e-3, "epochs": 2, "batch_size": 4, "max_seq_length": 256},
        "philosophy_full": {**_PHILOSOPHY, "categories": ["pooled"], "epochs": 3},
        "philosophy_category": {**_PHILOSOPHY, "categories": ["each"], "epochs": 24},
        "alpaca_poc": {
            **{"categories": ["pooled"], "r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "precision": "fp16"},
            **{"batch_size": 1, "gradient_accumulation": 8, "max_steps": 500, "epochs": 1000, "learning_rate": 2e-4, "warmup_steps": 50},
        },
        "production_qlora": {
            **{"method": "qlora", "categories": ["pooled"], "r": 16, "lora_alpha": 32, "max_seq_length": 512},
            **{"epochs": 3, "batch_size": 4, "learning_rate": 2e-4, "warmup_ratio": 0.03},
        },
    },
    "route": {
        "seven_schools": {"data": VOICE["data"], "adapters": [f"{school}-lora" for school in _SCHOOLS]},
    },
    "search": {
        "seven_schools": {**VOICE, "adapters": [f"{school}-lora" for school in _SCHOOLS]},
    },
    "rag": {
        "seven_schools": {
            **{"questions": "data/rag/wisdom_questions.jsonl", "system_prompt": VOICE["system_prompt"], "limit": 60},
            **{"models": ["base", "pooled-lora", "own", "linear_merged_adapter", "learned_route"]},
            **{"answer_with": ["none", "dense", "bm25", "hybrid"], "max_new_tokens": 64, "precision": "bf16"},
        },
    },
    "evaluate": {
        "seven_schools": {**VOICE, "general": "data/toy_qa.jsonl", "max_new_tokens": 128},
    },
}
"""By verb and name. `seven_schools` made what is shipped."""

STUDY: dict[str, dict[str, dict[str, Any]]] = {
    "small": {
        "train": {"learning_rate": 2e-3, "batch_size": 4, "max_steps": 12, "max_seq_length": 256},
        "evaluate": {"limit": 4, "max_new_tokens": 48, "max_seq_length": 256},
    },
    "medium": {
        "train": {"learning_rate": 1e-3, "batch_size": 4, "epochs": 2, "max_steps": 200, "max_seq_length": 512},
        "evaluate": {"limit": 8, "max_new_tokens": 96, "max_seq_length": 512},
    },
    "large": {
        "train": {"learning_rate": 1e-3, "batch_size": 4, "epochs": 3, "max_seq_length": 512},
        "evaluate": {"max_new_tokens": 128, "max_seq_length": 512},
    },
}
"""What a study's size sets, by verb. The demo, a small study of seven schools, must end within 12 minutes on two CPU cores."""

PRESETS["plan"] = PRESETS["train"]

GENERATION: dict[str, dict[str, Any]] = {
    "creative": {"temperature": 0.9, "top_p": 0.95},
    "deterministic": {"temperature": 0.3, "top_p": 0.85, "seed": 0},
    "longer": {"max_tokens": 512},
}
"""How answers are drawn, by names that mean the same for every model. With its seed, deterministic gives the same answer each time."""
