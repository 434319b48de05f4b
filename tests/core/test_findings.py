from dataclasses import replace

from core import findings, queries, results, training
from core.queries import OWN
from core.results import ALL
from tests.pages import sample


def test_evaluation_names_what_is_clear_what_is_not_and_how_sure() -> None:
    found = queries.evaluation(sample.evaluate())
    sentence = findings.evaluation(found, queries.gains(found, found.compared))
    assert sentence.startswith("Own adapters beat the base on 6 of 7 categories, no difference seen on 1: perplexity ")
    assert "95 % interval" in sentence and "161 questions" in sentence
    merged = findings.merged(queries.gains(found, found.compared), sample.MERGED[0])
    assert merged.startswith(f"{sample.MERGED[0]} has perplexity ") and "of the own adapters" in merged
    assert findings.evaluation(found, queries.gains(found, [])).startswith("Base alone was evaluated on 161 questions")


def test_a_model_that_harms_is_said_to() -> None:
    found = queries.evaluation(sample.evaluate())
    gains = queries.gains(found, [OWN])
    turned = gains.assign(drop=-gains["drop"], low=-gains["high"], high=-gains["low"])
    assert "beat the base on 0 of 7 categories, worse on cynic, hacker" in findings.evaluation(found, turned)


def test_a_headline_claims_no_more_than_the_questions_carry() -> None:
    found = queries.evaluation(sample.evaluate())
    gains = queries.gains(found, [OWN])
    apart = gains["category"] != ALL
    unsure = gains.assign(low=gains["low"].mask(apart), high=gains["high"].mask(apart))
    assert findings.evaluation(found, unsure).startswith("Own adapters beat the base over 7 categories together, on none by itself: ")
    few = gains.assign(low=float("nan"), high=float("nan"), n=5)
    assert findings.evaluation(found, few).startswith(
        "5 questions: too few to tell whether own adapters beat the base. On these perplexity "
    )


def test_dataset_counts_whole_figures_alone() -> None:
    report = results.read(sample.data().path / "report.csv", results.DataRow)
    assert findings.dataset(report, {}) == "1,540 rows in 7 categories; 1 leak between splits; 0.4 % cut at the longest sequence."
    assert findings.figure(report, "no such figure") is None


def test_an_interval_that_holds_zero_shows_its_signs() -> None:
    assert findings.interval(-1.5, 2) == "95 % interval −1.50 to +2.00"
    assert findings.interval(1.5, 2) == "95 % interval 1.50 to 2.00"


def test_training_says_how_far_and_when_nothing_was_measured() -> None:
    steps = results.read(sample.train().path / "steps.csv", results.Step)
    best = training.best_steps(steps)
    assert findings.training(best, "done").startswith("Validation loss fell after its first measurement for 7 of 7 adapters: mean ")
    assert "one adapter, one seed: no interval" in findings.training(best.head(1), "done")
    blind = training.best_steps(steps.assign(validation_loss=float("nan")))
    assert "no validation loss was measured" in findings.training(blind, "done")
    assert findings.training(best, "running").startswith("7 adapters in training; training loss ")


def test_a_run_that_stopped_says_where_and_one_that_never_began_says_so() -> None:
    steps = results.read(sample.train("failed").path / "steps.csv", results.Step)
    best = training.best_steps(steps)
    assert findings.training(best, "failed").startswith("This run failed after step 60. Validation loss fell")
    assert findings.training(best, "cancelled").startswith("This run was cancelled after step 60. ")
    for status in ("queued", "failed", "running"):
        said = findings.training(training.best_steps(steps.head(0)), status)
        assert said == f"This run is {status}; no step has been taken, so there is nothing to see yet."


def test_a_loss_that_was_measured_once_is_not_said_to_have_fallen_or_not() -> None:
    steps = results.read(sample.train().path / "steps.csv", results.Step)
    once = training.best_steps(steps[steps["step"] >= 120])
    assert findings.training(once, "done").endswith("It was measured once, so how far it fell is not known.")


def test_the_adapters_of_lowest_and_highest_loss_are_named() -> None:
    best = training.best_steps(results.read(sample.train().path / "steps.csv", results.Step))
    low, high = best["best"].iloc[0], best["best"].iloc[-1]
    assert findings.extremes(best) == f"Lowest validation loss: cynic-lora ({low:.2f}); highest: lexicon-lora ({high:.2f})."
    assert findings.extremes(best.head(1)) == ""


def test_a_training_run_in_a_line() -> None:
    run = sample.train()
    assert findings.training_run(run).startswith("LoRA, rank 8 on bundled; 7 adapters; took ")
    assert findings.training_run(run).endswith("; 251 tokens per second; 43 % of this machine's measured matrix-product peak.")
    whole = replace(run, config={"method": "full", "r": 8, "base_model": "models/mine"}, outputs={"models": {"a": "models/a"}})
    assert findings.training_run(whole).startswith("Full fine-tuning on mine; 1 model; took ")
    assert findings.training_run(replace(run, finished_at=None, outputs={})) == "LoRA, rank 8 on bundled."
