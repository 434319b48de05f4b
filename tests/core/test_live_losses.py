"""Streamed losses as a table: values, paired intervals, and when nothing can be said."""

import numpy as np
import pandas as pd
import pytest

from core.live_losses import Tally, sentence
from core.results import ALL

MODELS = [("base", "base"), ("mix", "merged")]


def events(mix: int, category: str, rows: dict[str, tuple[float, int]], of: int, pieces: int = 1) -> list[dict[str, object]]:
    """What the engine tells of a mix and category, in pieces."""
    names = list(rows)
    return [
        {"mix": mix, "category": category, "loss": 0.0, "rows": of, "done_rows": 0, "each": {name: list(rows[name]) for name in part}}
        for part in np.array_split(names, pieces)
    ]


def rows(n: int, per_token: float, spread: float = 0.0) -> dict[str, tuple[float, int]]:
    return {f"r{row}": ((per_token + spread * (-1) ** row) * (5 + row), 5 + row) for row in range(n)}


def test_losses_are_nats_per_token_over_all_rows_so_far() -> None:
    tally = Tally()
    tally.add(events(0, "law", {"a": (6.0, 2), "b": (1.0, 5)}, 4, pieces=2), MODELS)
    row = tally.table(["law", "art"]).iloc[0]
    assert (row["value"], row["n"], row["of"]) == (1.0, 2, 4) and pd.isna(row["drop"])


def test_the_drop_is_paired_by_row_whatever_the_order() -> None:
    tally, base = Tally(), rows(20, 3.0, 1.0)
    better = {name: (nats - 0.5 * tokens, tokens) for name, (nats, tokens) in reversed(base.items())}
    tally.add(events(0, "law", base, 20), MODELS)
    tally.add(events(1, "law", better, 20, pieces=3), MODELS)
    row = tally.table(["law"]).set_index(["model", "category"]).loc[("mix", "law")]
    assert row["drop"] == pytest.approx(0.5) and row["low"] == pytest.approx(0.5) and row["high"] == pytest.approx(0.5)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random, hits = np.random.default_rng(1), 0
    for _ in range(200):
        base = {f"r{row}": (float(tokens * 3), int(tokens)) for row, tokens in enumerate(random.integers(5, 40, 30))}
        mix = {name: (nats - tokens * random.normal(0.2, 0.6), tokens) for name, (nats, tokens) in base.items()}
        tally = Tally()
        tally.add([*events(0, "law", base, 30), *events(1, "law", mix, 30)], MODELS)
        row = tally.table(["law"]).set_index(["model", "category"]).loc[("mix", "law")]
        hits += row["low"] <= 0.2 <= row["high"]
    assert 0.88 <= hits / 200 <= 0.99


def test_the_mean_waits_until_every_category_is_whole() -> None:
    tally = Tally()
    tally.add([*events(0, "law", rows(3, 2.0), 3), *events(0, "art", rows(2, 4.0), 3)], MODELS)
    assert ALL not in set(tally.table(["law", "art"])["category"])
    assert "category by category" in sentence(tally.table(["law", "art"]))
    tally.add(events(0, "art", rows(3, 4.0), 3), MODELS)
    mean = tally.table(["law", "art"]).set_index("category").loc[ALL]
    assert mean["value"] == pytest.approx(3.0) and mean["n"] == 6


def test_own_adapters_are_one_model_over_their_categories() -> None:
    tally, models = Tally(), [("base", "base"), ("own adapters", "own"), ("own adapters", "own")]
    for category, own in (("law", 1), ("art", 2)):
        tally.add([*events(0, category, rows(4, 3.0), 4), *events(own, category, rows(4, 2.0), 4)], models)
    table = tally.table(["law", "art"]).set_index(["model", "category"])
    assert table.loc[("own adapters", ALL), "drop"] == pytest.approx(1.0)


def test_the_sentence_says_what_cannot_be_told_from_base() -> None:
    tally = Tally()
    base, noisy = rows(6, 3.0), rows(6, 3.0, 0.5)
    tally.add([*events(0, "law", base, 6), *events(1, "law", noisy, 6)], MODELS)
    assert "mix 2.97 (no difference from base seen: −" in sentence(tally.table(["law"]))
    assert sentence(tally.table(["law"])).startswith("Mean validation loss, nats per answer token: base 3.00 (6 rows); ")


def test_one_row_has_no_interval() -> None:
    tally = Tally()
    tally.add([*events(0, "law", rows(1, 3.0), 1), *events(1, "law", rows(1, 2.0), 1)], MODELS)
    row = tally.table(["law"]).set_index(["model", "category"]).loc[("mix", "law")]
    assert row["value"] == 2.0 and pd.isna(row["low"])


def test_no_events_make_an_empty_table() -> None:
    assert Tally().table(["law"]).empty
