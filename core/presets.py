"""Named settings of `train` and `evaluate`: `python -m core train --preset seven_schools`. Fields beside a preset override it."""

from typing import Any

_VOICE = {"data": "data/seven_schools.jsonl", "system_prompt": "Answer in the voice of this school: {category}."}
_SHIPPED = {**_VOICE, "learning_rate": 1e-3, "epochs": 3, "precision": "bf16", "dtype": "bf16"}
_DEMO = {**_VOICE, "max_seq_length": 256}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "train": {
        "seven_schools": {**_SHIPPED, "categories": ["each"], "batch_size": 4},
        "seven_schools_pooled": {**_SHIPPED, "categories": ["pooled"], "batch_size": 16},
        "demo": {**_DEMO, "categories": ["each"], "learning_rate": 2e-3, "batch_size": 4, "max_steps": 12},
    },
    "evaluate": {
        "seven_schools": {**_VOICE, "max_new_tokens": 128},
        "demo": {**_DEMO, "limit": 2, "max_new_tokens": 48},
    },
}
"""By verb and name. `seven_schools` made what is shipped; `demo` must end within 12 minutes on two CPU cores, SmolLM2-135M in fp32."""
