"""The Train page on runs: resume, the tables of a run, comparison, and a thousand adapters."""

import json
import os
import time

import pytest
from streamlit.testing.v1 import AppTest

from core import paths, runs
from core.jobs import locks
from tests.pages import sample
from tests.pages.conftest import FAULT, Open
from tests.pages.test_pages import words

SOON = 2.0
"""CPU seconds that the page's script may take with 1,000 adapters."""


def tokens(at: AppTest) -> list[list[object]]:
    """What the token view was given: position, text, supervised."""
    sent = [json.loads(element.proto.json) for element in at.get("bidi_component") if element.proto.component_name.endswith("tokens")]
    return list(sent[0]["tokens"])


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_run_that_did_not_end_well_is_resumed_from_the_page(open_page: Open, status: str) -> None:
    run = sample.train(status, error=FAULT if status == "failed" else None)
    at = open_page("train")
    assert (FAULT in words(at)) == (status == "failed")
    at.button(key="train_resume").click().run()
    assert runs.read(run.run_id).status == "queued"
    assert "train_resume" not in [button.key for button in at.button]


def test_a_run_without_steps_can_be_chosen_and_resumed(open_page: Open) -> None:
    sample.train()
    run = runs.update(runs.create("train", {}).run_id, status="cancelled")
    at = open_page("train", train_run=run.run_id)
    assert "This run is cancelled; no step has been taken" in words(at)
    assert "train_resume" in [button.key for button in at.button]


def test_a_finished_run_has_its_speed_and_downloads(open_page: Open) -> None:
    sample.train()
    at = open_page("train")
    assert "251 tokens per second; 43 % of this machine's measured matrix-product peak" in words(at)
    assert {"Training table (CSV)", "Loss curve (PNG)"} <= {button.proto.label for button in at.get("download_button")}
    assert "train_resume" not in [button.key for button in at.button]


def test_the_link_of_a_job_leads_to_its_run(open_page: Open) -> None:
    older = sample.train()
    sample.train()
    at = open_page("train", train_run=older.run_id)
    assert at.selectbox(key="train_run").value == older.run_id


def test_the_best_and_worst_validation_rows_of_the_chosen_adapter(open_page: Open) -> None:
    sample.train()
    at = open_page("train", closer="kural-lora")
    mean = sum((1.0 + 0.2 * (place * 5 % 12)) * (20 + place) for place in range(12)) / sum(range(20, 32))
    assert f"12 validation rows of kural-lora: {mean:.2f} nats per token over all their tokens." in words(at)
    losses = [line.split()[0].strip("*") for line in words(at).splitlines() if "answer token" in line]
    assert losses == ["1.00", "1.20", "1.40", "1.60", "1.80", "3.20", "3.00", "2.80", "2.60", "2.40"]
    texts = [text.value for text in at.text]
    assert len(texts) == 10 and sample.HOSTILE in texts[0], "plain text, never read as HTML or Markdown"


def test_the_first_batch_as_the_model_sees_it(open_page: Open) -> None:
    sample.train()
    at = open_page("train", closer="kural-lora")
    first = tokens(at)
    assert [place for place, _, _ in first] == list(range(len(first)))
    assert [text for _, text, _ in first][:3] == ["<|im_start|>", "user", "\n"]
    counted = [text for _, text, supervised in first if supervised]
    assert counted[-1] == "<|im_end|>" and "assistant" not in counted
    assert f"{len(first)} tokens, of which the loss counts {len(counted)}: the answer and its end token." in words(at)
    at.get("button_group")[-1].set_value(1).run()
    assert tokens(at)[0] == [0, sample.HOSTILE, 0]


def test_runs_are_compared_by_settings_and_results(open_page: Open) -> None:
    sample.train(seed=0)
    sample.train(seed=1)
    at = open_page("train")
    at.multiselect(key="overlay").set_value([at.multiselect(key="overlay").options[0]]).run()
    tables = [table.value for table in at.dataframe]
    assert any(list(table.index) == ["seed"] for table in tables)
    assert any("took" in table.index and "adapters" in table.index for table in tables)


def test_a_thousand_adapters_are_quick_and_readable(open_page: Open) -> None:
    run = sample.train(steps=15, names=[f"category-{place:04d}" for place in range(1000)])
    at = open_page("jobs")
    for _ in range(2):
        start = time.process_time()
        at.switch_page("pages/train.py").run()
        assert time.process_time() - start < SOON
    assert not at.exception and not at.error
    assert "Lowest validation loss: category-0000-lora" in words(at) and "highest: category-0999-lora" in words(at)
    assert len(at.dataframe[0].value) == 1000 and len(at.multiselect(key="train_adapter").options) == 1000
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert len(figure["data"]) < 20, "a trace per adapter would take the browser seconds"
    at.multiselect(key="train_adapter").set_value(["category-0500-lora"]).run()
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert "category-0500-lora" in {trace.get("name") for trace in figure["data"]}
    assert runs.read(run.run_id).status == "done"


def test_with_a_thousand_adapters_the_merge_form_begins_empty(open_page: Open) -> None:
    for place in range(1000):
        sample.folder(paths.adapters() / f"category-{place:04d}-lora", {"role": "own", "categories": []})
    at = open_page("merge")
    assert not at.slider and len(at.multiselect(key="merge.adapters").options) == 1000


def test_an_adapter_whose_first_batch_was_not_kept_says_so(open_page: Open) -> None:
    sample.train(steps=4, names=[f"category-{place}" for place in range(13)])
    at = open_page("train", closer="category-9-lora")
    assert "It was kept for the first adapters of the run alone" in words(at) and not at.get("bidi_component")


def test_the_curves_of_a_running_cohort_are_drawn_live(open_page: Open) -> None:
    run = sample.train("running")
    held = locks.take(run.run_id)
    at = open_page("train")
    os.close(held)
    assert at.get("plotly_chart") and "7 adapters in training" in words(at)
