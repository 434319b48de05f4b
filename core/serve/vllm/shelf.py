"""Adapters and merges on disk that vLLM can answer as: those that stand on its base model, alone and whole."""

from pathlib import Path
from typing import Any

from core import adapter, peft_config
from core.config import MergeConfig
from core.errors import UserError
from core.serve.mixes import Mixes, Plan
from core.serve.offered import adapter_names

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank may be. https://docs.vllm.ai/en/latest/api/vllm/config/lora.html"""
_ROOM_FOR_FIRST = 16
"""Largest rank where there is no adapter yet."""
_REFUSED = {"use_dora": "DoRA", "modules_to_save": "modules_to_save"}
_OTHER_ENGINE = "start Lyceum's engine: python -m core serve --stop, then python -m core serve"


class Shelf(Mixes):
    """Plans of one adapter, or of none. vLLM can't mix within a request."""

    no_routes = f"vLLM answers as one whole adapter at a time, so it can't follow a route. Name an adapter, or {_OTHER_ENGINE}"
    limit: int | None = None
    """Largest rank that the living process takes."""

    def plan(self, config: MergeConfig | None) -> Plan:
        """Raises UserError for a mix, and for an adapter that vLLM can't take."""
        if config is None:
            return super().plan(None)
        named = [name for name, weight in zip(config.adapters, config.weights or [1.0] * len(config.adapters), strict=True) if weight]
        if len(named) > 1 or config.recipe or not config.is_weighted_sum or set(config.weights or [1.0]) - {0.0, 1.0}:
            raise UserError(
                f"vLLM answers as one whole adapter at a time, and this is a mix of {', '.join(named) or config.recipe}. Bake it: "
                f"python -m core merge --adapters {','.join(named)} --name NAME; or {_OTHER_ENGINE}"
            )
        for name in named:
            check(name, adapter.find(name), self.limit)
        return super().plan(config)


def check(name: str, folder: Path, limit: int | None) -> None:
    """Raises UserError where vLLM, started for ranks up to `limit`, can't take an adapter."""
    config, largest = peft_config.read_config(folder), rank(folder)
    if why := why_not(config):
        raise UserError(
            f"vLLM can't take '{name}': it has {why}. Make a whole model of it (PEFT's merge_and_unload), save it under models/, and serve "
            "that: python -m core serve --engine vllm --base_model models/NAME"
        )
    if largest > RANKS[-1]:
        raise UserError(
            f"'{name}' has rank {largest}, and vLLM takes {RANKS[-1]} at most. Make a whole model of it, and serve that: "
            f"python -m core export --model {name}, then python -m core serve --engine vllm --base_model models/{name}-whole"
        )
    if limit is not None and largest > limit:
        raise UserError(
            f"'{name}' has rank {largest}, and this vLLM was started for ranks up to {limit}. Started again, it takes what is there now: "
            "python -m core serve --stop, then python -m core serve --engine vllm"
        )


def standing_on(base_hash: str) -> dict[str, Path]:
    """Name and folder of what vLLM can answer as. What says nothing of its base is foreign, and is tried."""
    return {name: folder for name in adapter_names() if _fits(folder := adapter.find(name), base_hash)}


def rank(folder: Path) -> int:
    """The largest rank over an adapter's layers."""
    config = peft_config.read_config(folder)
    return max(int(each) for each in (config.get("r", 8), *(config.get("rank_pattern") or {}).values()))


def rank_limit(ranks: list[int]) -> int:
    """The smallest --max-lora-rank that takes all of these; what is beyond vLLM's largest is refused when it is asked for."""
    largest = max([each for each in ranks if each <= RANKS[-1]], default=_ROOM_FOR_FIRST)
    return next(allowed for allowed in RANKS if allowed >= largest)


def why_not(config: dict[str, Any]) -> str:
    """What keeps vLLM from taking an adapter, by its adapter_config.json; empty: nothing."""
    return next((label for field, label in _REFUSED.items() if config.get(field)), "")


def _fits(folder: Path, base_hash: str) -> bool:
    try:
        return not why_not(peft_config.read_config(folder)) and adapter.read_info(folder).get("base_hash") in (None, base_hash)
    except UserError:
        return False
