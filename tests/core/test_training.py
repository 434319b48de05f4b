import math

import pandas as pd
import pytest

from core import results, runs, training
from core.config import TrainConfig
from core.results import Step, Token
from tests.pages import sample


def _steps(adapter: str, validation: list[float | None], losses: list[float]) -> pd.DataFrame:
    places = range(1, len(losses) + 1)
    columns = {"adapter": adapter, "step": places, "epoch": [float(p) for p in places], "loss": losses, "validation_loss": validation}
    return pd.DataFrame(columns).assign(grad_norm=1.0, learning_rate=1e-3, tokens_per_second=9.0).astype({"validation_loss": float})


def test_best_steps_finds_the_lowest_validation_of_each_adapter_in_the_files_order() -> None:
    table = pd.concat([_steps("b", [4.0, 3.0, 3.5], [3.0, 2.0, 1.0]), _steps("a", [None], [5.0])])
    best = training.best_steps(table).set_index("adapter")
    assert list(best.index) == ["b", "a"]
    assert list(best.loc["b", ["first", "measured", "best", "best_step", "best_epoch", "loss", "step"]]) == [4.0, 3, 3.0, 2, 2.0, 1.0, 3]
    assert math.isnan(best.loc["a", "best"]) and best.loc["a", "measured"] == 0 and best.loc["a", "loss"] == 5.0


def test_best_steps_of_a_run_without_steps_is_empty() -> None:
    empty = training.best_steps(pd.DataFrame(columns=Step.columns()))
    assert empty.empty and {"adapter", "best", "loss"} <= set(empty.columns)
    assert training.extremes(empty) == (None, None)


def test_extremes_are_the_lowest_and_highest_best_losses() -> None:
    table = pd.concat([_steps("a", [2.0, 1.5], [1, 1]), _steps("b", [9.0, 1.2], [1, 1]), _steps("c", [1.6, 1.9], [1, 1])])
    assert training.extremes(training.best_steps(table)) == ("b", "c")


def test_thinned_keeps_few_rows_evenly_and_the_last() -> None:
    table = pd.concat([_steps("a", [None] * 101, [1.0] * 101), _steps("b", [None] * 7, [1.0] * 7)])
    kept = training.thinned(table, 10).groupby("adapter")["step"].apply(list)
    assert kept["a"] == [1, 12, 23, 34, 45, 56, 67, 78, 89, 100, 101] and kept["b"] == list(range(1, 8))


@pytest.mark.parametrize(("n", "low", "high"), [(12, 5, 5), (7, 4, 3), (1, 1, 0), (0, 0, 0)])
def test_no_validation_row_is_among_the_best_and_the_worst(n: int, low: int, high: int) -> None:
    rows = pd.DataFrame({"loss": [float(place * 7 % n) for place in range(n)]})
    best, worst = training.lowest_and_highest(rows)
    assert list(best["loss"]) == sorted(rows["loss"])[:low]
    assert list(worst["loss"]) == sorted(rows["loss"], reverse=True)[:high]


def test_rows_of_one_adapter() -> None:
    run = sample.train()
    rows = training.rows_of(run.path / "first_batch.csv", Token, "kural-lora")
    assert set(rows["adapter"]) == {"kural-lora"} and set(rows["row"]) == {0, 1}
    assert training.rows_of(run.path / "none.csv", Token, "kural-lora").columns.tolist() == Token.columns()


def test_differences_name_what_differs_and_take_defaults_for_what_an_old_run_does_not_know() -> None:
    old, new = sample.train(), runs.create("train", TrainConfig(seed=7, lora_dropout=0.1, categories=("a", "b")).model_dump(mode="json"))
    table = training.differences([old, new])
    assert list(table.index) == ["categories", "lora_dropout", "seed"]
    assert list(table[new.run_id[-4:]]) == ["a, b", "0.1", "7"] and list(table[old.run_id[-4:]]) == ["each", "0.0", "0"]


def test_results_are_compared_over_the_adapters_that_all_runs_have() -> None:
    whole, part = sample.train(), sample.train(names=("cynic", "other"))
    bests = [training.best_steps(results.read(run.path / "steps.csv", Step)) for run in (whole, part)]
    table = training.comparison([whole, part], bests)
    assert list(table.index[:2]) == ["adapters", "mean best validation loss of 1 shared adapter"]
    assert list(table.iloc[0]) == ["7", "2"] and table.iloc[1, 0] == f"{bests[0]['best'][0]:.2f}"


def test_adapters_of_one_subject_are_laid_over_each_other_whatever_they_are_called() -> None:
    tables = [pd.DataFrame({"adapter": names}) for names in (["cynic-lora", "kural-lora"], ["kural-dora"], ["try-cynic", "try-new"])]
    configs = ({"method": "lora"}, {"method": "dora"}, {"method": "lora", "name": "try"})
    chosen = [runs.create("train", config) for config in configs]
    assert [list(table["adapter"]) for table in training.aligned(chosen, tables)] == [
        ["cynic-lora", "kural-lora"],
        ["kural-lora"],
        ["cynic-lora", "try-new"],
    ]
    single = [pd.DataFrame({"adapter": [name]}) for name in ("pooled-lora", "mine", "other")]
    assert [list(table["adapter"]) for table in training.aligned(chosen, single)] == [["pooled-lora"]] * 3


def test_the_config_of_an_old_run_is_a_config_of_today() -> None:
    run = runs.create("train", {"r": 4, "seed": 3, "gone": "x"})
    assert training.config_of(run) == TrainConfig(r=4, seed=3)


def test_runs_with_steps_come_first_and_all_can_be_chosen() -> None:
    trained = sample.train()
    cancelled = runs.create("train", {})
    runs.update(cancelled.run_id, status="cancelled")
    stage = sample.train()
    runs.update(stage.run_id, parent="20260101-000000-000-demo-0000")
    assert [run.run_id for run in training.listing()] == [trained.run_id, stage.run_id, cancelled.run_id]


def test_an_estimate_belongs_to_its_settings_whatever_the_name_and_seed() -> None:
    config = TrainConfig(r=16)
    assert training.estimate(config) is None
    run = runs.create("plan", config.model_dump(mode="json"))
    assert training.estimate(config) == run and training.estimate(TrainConfig(r=16, name="x", seed=4)) == run
    assert training.estimate(TrainConfig(r=8)) is None
