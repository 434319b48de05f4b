"""What a run would take, on the Train page before it starts."""

import os

import pytest

from core import runs
from core.config import TrainConfig
from core.jobs import locks
from tests.pages import sample
from tests.pages.conftest import Open
from tests.pages.test_pages import words

DEFAULTS = TrainConfig().model_dump(mode="json")


def test_the_button_asks_for_an_estimate_of_what_the_form_shows(open_page: Open) -> None:
    at = open_page("train")
    assert "have not been estimated yet: press Estimate" in words(at)
    at.number_input(key="train.r").set_value(64).run()
    at.button(key="plan.submit").click().run()
    assert not at.exception
    run = runs.listing("plan")[0]
    assert run.config == TrainConfig(r=64).model_dump(mode="json") and not runs.listing("train")


def test_parameters_memory_and_time_stand_before_the_button(open_page: Open) -> None:
    sample.plan(DEFAULTS)
    at = open_page("train")
    assert [(metric.label, metric.value) for metric in at.metric] == [
        ("Trainable parameters", "460,800"),
        ("Memory at the peak", "1.76 GB"),
        ("Time", "11 min 0 s"),
    ]
    assert "0.3 % of 134,975,808. 7 adapters in 1 pass." in words(at) and "base model 513 MB, adapters 80.0 MB" in words(at)
    assert "1,232 rows, 924 steps, 132,000 tokens; 200 tokens per second, as the last run of this kind here." in words(at)
    assert "No run of train here yet" not in words(at), "the estimate says more"
    assert [box.value for box in at.success] == ["Fits: 1.76 GB of the 6.00 GB that were free."]


def test_what_does_not_fit_says_what_would(open_page: Open) -> None:
    sample.plan(DEFAULTS, fits=False)
    at = open_page("train")
    assert not at.success
    assert "Does not fit: 1.76 GB of the 900 MB that were free. It would fit with gradient_checkpointing=true: 620 MB." in words(at)


def test_an_estimate_of_other_settings_is_not_shown(open_page: Open) -> None:
    sample.plan(DEFAULTS)
    at = open_page("train")
    at.number_input(key="train.r").set_value(16).run()
    assert not at.metric and "have not been estimated yet" in words(at)
    at.number_input(key="train.r").set_value(8)
    at.text_input(key="train.name").set_value("another-name").run()
    assert len(at.metric) == 3


@pytest.mark.parametrize("status", ["running", "failed"])
def test_an_estimate_under_way_or_failed_says_so(open_page: Open, status: str) -> None:
    run = sample.plan(DEFAULTS, status=status, error="Dataset 'x' can't be read." if status == "failed" else None)
    held = locks.take(run.run_id)
    at = open_page("train")
    os.close(held)
    assert not at.exception and not at.metric
    if status == "failed":
        assert "The last plan failed: Dataset 'x' can't be read." in words(at)
    else:
        assert at.get("progress")
