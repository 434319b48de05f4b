import math

import numpy as np
import pandas as pd
import pytest

from core import queries, results, runs
from core.errors import UserError
from core.queries import OWN
from core.results import ALL
from tests.pages import sample


@pytest.fixture
def found() -> queries.Evaluation:
    return queries.evaluation(sample.evaluate())


def test_perplexity_is_exp_of_total_loss_over_total_tokens() -> None:
    table = pd.DataFrame({"reference_loss": [1.0, 9.0], "reference_tokens": [1, 3]})
    assert queries.perplexity(table) == pytest.approx(math.exp(10 / 4))


def _answers(losses: np.ndarray) -> pd.DataFrame:
    questions = [f"q{place}" for place in range(len(losses))]
    return pd.DataFrame({"category": "c", "question": questions, "reference": "r", "reference_loss": losses, "reference_tokens": 10})


def test_paired_interval_is_far_narrower_than_an_unpaired_one_when_questions_differ() -> None:
    hard = np.random.default_rng(1).normal(40, 8, 60)
    drop = queries.perplexity_drop(_answers(hard), _answers(hard - 3))
    assert drop.value == pytest.approx(math.exp(hard.mean() / 10) - math.exp((hard.mean() - 3) / 10))
    assert drop.low < drop.value < drop.high and drop.n == 60 and drop.clear
    alone = [np.random.default_rng(seed).choice(hard, 60).mean() for seed in range(300)]
    unpaired = np.ptp(np.percentile(np.exp(np.array(alone) / 10), [2.5, 97.5]))
    assert drop.high - drop.low < 0.6 * unpaired


def test_no_difference_is_not_clear_and_rows_are_paired_by_question() -> None:
    base = _answers(np.random.default_rng(2).normal(40, 8, 50))
    noise = base.assign(reference_loss=base["reference_loss"] + np.random.default_rng(3).normal(0, 1, 50))
    assert not queries.perplexity_drop(base, noise).clear
    assert queries.perplexity_drop(base, noise.iloc[::-1]) == queries.perplexity_drop(base, noise)
    assert queries.perplexity_drop(base, noise.iloc[:20]).n == 20


def test_own_stands_for_each_categorys_adapter(found: queries.Evaluation) -> None:
    own = found.answers_of(OWN)
    assert set(zip(own["category"], own["model"], strict=True)) == {(school, f"{school}-lora") for school in sample.SCHOOLS}
    assert found.compared == [OWN, "pooled-lora", *sample.MERGED]
    assert found.baseline == "base"


def test_gains_agree_with_scores(found: queries.Evaluation) -> None:
    gains = queries.gains(found, ["pooled-lora"]).set_index("category")
    scores = found.scores[(found.scores["model"] == "pooled-lora") & (found.scores["metric"] == "perplexity")].set_index("category")
    for category in (*sample.SCHOOLS, ALL):
        assert gains.loc[category, "value"] == pytest.approx(scores.loc[category, "value"])
    assert gains.loc[ALL, "n"] == 161


def test_matrix_marks_what_is_clear(found: queries.Evaluation) -> None:
    table = queries.matrix(found, "perplexity").set_index(["model", "category"])
    assert table.loc[("cynic-lora", "cynic"), "clear"] and table.loc[("cynic-lora", "cynic"), "gain"] > 0
    assert not table.loc[("lexicon-lora", "lexicon"), "clear"]
    assert not table.loc[("base", "cynic"), "clear"] and table.loc[("base", "cynic"), "gain"] == 0
    bleu = queries.matrix(found, "bleu").set_index(["model", "category"])
    assert bleu.loc[("cynic-lora", "cynic"), "gain"] > 0, "higher BLEU is better"


def test_an_evaluation_without_base_compares_with_its_first_model(found: queries.Evaluation) -> None:
    kept = found.models[found.models["model"] != "base"]
    alone = queries.Evaluation(found.run, kept, found.answers[found.answers["model"] != "base"], found.scores)
    assert alone.baseline == "pooled-lora"
    assert "pooled-lora" not in alone.compared


def test_examples_are_chosen_by_rule(found: queries.Evaluation) -> None:
    pairs = queries.told(found, queries.paired(found, OWN))
    chosen = dict(queries.best_median_worst(pairs))
    assert chosen["Best"]["gain"] == pairs["gain"].max() and chosen["Worst"]["gain"] == pairs["gain"].min()
    assert (pairs["gain"] > chosen["Median"]["gain"]).sum() == len(pairs) // 2
    assert len(pairs) == 161 and queries.best_median_worst(pairs.iloc[:0]) == []


@pytest.mark.parametrize("damage", ["", "model,ro", 'model,role\n"cut', "\x00\udcff", None])
def test_a_damaged_table_is_told_with_what_to_do(damage: str | None) -> None:
    run = sample.evaluate()
    file = run.path / "models.csv"
    file.unlink() if damage is None else file.write_bytes(damage.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=rf"models.csv can't be read: .*Remove that run: python -m core jobs --remove {run.run_id}"):
        queries.evaluation(run)


def test_a_table_that_was_cut_anywhere_is_told_or_whole() -> None:
    file = sample.judge().path / "verdicts.csv"
    whole, told = file.read_bytes(), 0
    for size in range(0, 3000, 61):
        file.write_bytes(whole[:size])
        try:
            table = results.read(file, results.Verdict)
        except UserError:
            told += 1
        else:
            assert not table[["pair", "judge", "verdict", "category"]].isna().any(axis=None)
    assert told > 10


def test_stages_of_a_demo_come_after_the_persons_own_runs() -> None:
    own = sample.evaluate()
    stage = sample.evaluate()
    runs.update(stage.run_id, parent="20260101-000000-000-demo-0000")
    assert [run.run_id for run in queries.runs_with("evaluate", "answers.csv")] == [own.run_id, stage.run_id]
    runs.update(stage.run_id, parent="20260101-000000-000-study-0000")
    assert [run.run_id for run in queries.runs_with("evaluate", "answers.csv")] == [stage.run_id, own.run_id], "a study is the person's own"
