"""What the Serve page says of the resident engine: its state in words, its limits, its log, the models that it offers."""

import time
from pathlib import Path
from typing import Any

from core.config.serve import HOME_HOSTS
from core.jobs import locks
from core.serve import resident
from core.wording import count, three

KINDS = {"lyceum": "Lyceum's engine", "vllm": "vLLM"}
STATES = {
    "starting": "blue",
    "ready": "green",
    "asleep": "gray",
    "making_room": "orange",
    "restarting": "orange",
    "ending": "gray",
}
"""What an engine's /health calls its state, with the colour of its badge."""
KEPT_SECONDS = 600
"""How much of the past a drawing of the speed keeps."""
ANY = "no limit"

Health = dict[str, Any]


def starting() -> bool:
    """Whether a process has the engine's lock and does not answer yet."""
    return resident.find() is None and locks.held(resident.LOCK)


def log_lines(most: int = 12) -> list[str]:
    """The last lines of what a detached engine said; none where none ever ran."""
    try:
        text = resident.log().read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line for line in text.splitlines() if line.strip()][-most:]


def base_name(base_model: str) -> str:
    """A base model as people call it."""
    return "SmolLM2-135M-Instruct" if base_model == "bundled" else Path(base_model).name


def finding(health: Health, offers: int) -> str:
    """Which engine answers on which model, how fast at the moment, and what it offers."""
    who = f"{KINDS[health['engine']]} answers on {base_name(health['base_model'])}"
    now = f"{count(health['answers'], 'answer')} under way" if health["answers"] else "nothing under way"
    speed = f" at {three(health['tokens_per_second'])} tokens per second" if health["answers"] else ""
    return f"{who}: {now}{speed}; {count(offers, 'model')} offered, the base included."


def queue(health: Health) -> str:
    """Answers under way, waiting, and the places there are."""
    waiting = f"{health['waiting']:,} waiting" if health["waiting"] else "none waiting"
    return f"{waiting}, {count(health['places'], 'place')}"


def limits(health: Health) -> list[tuple[str, str, str]]:
    """Limit, value, and what happens beyond it."""
    found = health["limits"]
    rate = found["requests_per_minute"]
    context = f"{found['context']:,} tokens" if found["context"] else "not known"
    rows = [
        ("Answers at once", f"{health['places']:,}", "the next ones wait for a place"),
        ("Answers waiting", f"{found['most_waiting']:,}", "refused, status 429"),
        (
            "Requests a minute",
            f"{rate:,} per {'key' if found['key'] else 'address'}" if rate else ANY,
            "refused, status 429 with Retry-After",
        ),
        ("Size of a request", f"{three(found['max_body_mb'])} MB", "refused, status 413"),
        ("Context", context, "refused, status 400: prompt and answer must fit"),
    ]
    if health["engine"] == "vllm":
        rows.append(("Rank of an adapter", f"{health['max_lora_rank']:,}", "not offered; the engine starts anew for a larger one"))
        rows.append(("Adapters in one batch", f"{health['max_loras']:,}", "the next ones wait for a place"))
    return rows


def kept(past: list[tuple[float, float]], health: Health, now: float | None = None) -> list[tuple[float, float]]:
    """The speeds of the last minutes with this one: (Unix time, tokens per second)."""
    now = time.time() if now is None else now
    return [each for each in past if now - each[0] <= KEPT_SECONDS] + [(now, float(health["tokens_per_second"]))]


def open_to_others(health: Health) -> bool:
    """Whether other machines reach the engine."""
    return health["limits"]["host"] not in HOME_HOSTS
