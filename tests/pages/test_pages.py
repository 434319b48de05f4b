"""Every page with no results, with finished ones, while a job runs and after one failed."""

import os

import pytest
from streamlit.testing.v1 import AppTest

from core import runs
from core.jobs import locks
from tests.pages import sample
from tests.pages.conftest import FAULT, PAGES, TITLES, Open


def words(at: AppTest) -> str:
    """All that a page says in places that read Markdown, without the escapes."""
    said = [*at.markdown, *at.caption, *at.warning, *at.info, *at.error, *at.success]
    return "\n".join(element.value for element in said).replace("\\", "")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_in_every_state(open_page: Open, state: str, page: str) -> None:
    at = open_page(page)
    assert not at.exception and not at.error, [element.value for element in (*at.exception, *at.error)]
    assert [title.value for title in at.title] == [TITLES.get(page, page.capitalize())]
    assert len(at.markdown[0].value) > 40 or page == "jobs", "the finding stands first"
    if state == "full":
        assert at.get("plotly_chart") or page in ("start", "jobs", "arena", "claims", "playground", "serve", "guide"), "one main picture"
    if state == "failed" and page in ("train", "jobs", "overview"):
        assert FAULT in words(at)
    if state == "running" and page in ("train", "jobs"):
        assert "60 of 120 steps" in " ".join(bar.proto.text.replace("\\", "") for bar in at.get("progress"))


def test_the_ledger_shows_theirs_and_ours_and_never_reads_texts_as_markup(open_page: Open) -> None:
    sample.claims()
    at = open_page("claims")
    assert "Of 3 published claims, 1 hold on these runs, 1 do not hold, 1 cannot be said." in words(at)
    texts = [text.value for text in at.text]
    assert ".72 to .85" in texts and "0.100 F1" in texts and sample.HOSTILE in texts and "–" in texts
    assert "95 % interval 0.0500 to 0.150, n 171" in words(at)
    assert not [element for element in at.markdown if element.allow_html]


def test_the_overview_shows_finding_figures_and_three_examples_by_rule(open_page: Open) -> None:
    sample.everything()
    at = open_page("overview")
    assert "Own adapters beat the base on 6 of 7 categories" in words(at)
    assert [metric.label.replace("\\", "") for metric in at.metric][0] == "Perplexity: Own adapters"
    for label in ("Best", "Median", "Worst"):
        assert f"**{label}** (" in words(at)
    assert "not a language model" in words(at)


def test_the_overview_tells_no_verdicts_on_another_evaluations_answers(open_page: Open) -> None:
    sample.everything()
    assert "not a language model" in words(open_page("overview"))
    sample.evaluate()
    at = open_page("overview")
    assert "Own adapters beat the base" in words(at) and "not a language model" not in words(at)


def test_texts_of_models_are_plain_text(open_page: Open) -> None:
    sample.everything()
    at = open_page("evaluate")
    assert sample.HOSTILE in [text.value for text in at.text]
    assert not [element for element in at.markdown if "<script>" in element.value or element.allow_html]


def test_filters_are_read_from_the_url(open_page: Open) -> None:
    sample.everything()
    at = open_page("judge", category="kural", verdict="win")
    table = at.dataframe[0].value
    assert set(table["category"]) == {"kural"} and set(table["verdict"]) == {"win"}
    at.selectbox(key="verdict").set_value("failed").run()
    at.selectbox(key="category").set_value("all").run()
    assert list(at.dataframe[0].value["verdict"]) == ["failed"]
    assert "Why there is no verdict: timed out after 60 s, 5 retries" in words(at)


def test_answers_can_be_searched_and_ordered(open_page: Open) -> None:
    sample.everything()
    at = open_page("evaluate", order="smallest gain")
    gains = next(table.value for table in at.dataframe if "gain" in table.value)["gain"]
    assert gains.is_monotonic_increasing
    at.text_input(key="contains").set_value("railroad").run()
    found = next(table.value for table in at.dataframe if "gain" in table.value)
    assert 0 < len(found) < 161 and found.astype(str).apply(lambda row: row.str.contains("railroad", case=False).any(), axis=1).all()


def test_runs_are_overlaid_with_the_settings_that_differ(open_page: Open) -> None:
    sample.train(seed=0)
    sample.train(seed=1)
    at = open_page("train")
    at.multiselect(key="overlay").set_value([at.multiselect(key="overlay").options[0]]).run()
    assert not at.exception
    assert "Settings that differ" in words(at)
    assert any("seed" in table.value.index for table in at.dataframe)


@pytest.mark.parametrize("name", ["../x", "../../etc", "no-such-run"])
def test_a_bad_run_id_in_the_url_gets_a_sentence(open_page: Open, name: str) -> None:
    sample.data()
    at = open_page("jobs", job=name)
    assert not at.exception
    assert name in words(at) and len(at.error) == 1


def test_a_form_submits_what_it_shows_and_shows_the_same_command(open_page: Open) -> None:
    at = open_page("train")
    at.number_input(key="train.r").set_value(4)
    at.text_input(key="train.name").set_value("trial").run()
    command = next(code.value for code in at.code if "core train" in code.value)
    assert command == "python -m core train --r 4 --name trial"
    at.button(key="train.submit").click().run()
    assert not at.exception
    run = runs.listing("train")[0]
    assert (run.status, run.config["r"], run.config["name"], run.config["categories"]) == ("queued", 4, "trial", ["each"])


def test_every_field_of_a_form_has_its_sentence(open_page: Open) -> None:
    at = open_page("judge")
    from core.config import JudgeConfig

    widgets = {
        widget.key: widget for kind in ("selectbox", "text_input", "number_input", "toggle", "multiselect") for widget in at.get(kind)
    }
    for name, field in JudgeConfig.model_fields.items():
        assert widgets[f"judge.{name}"].help == field.description


def test_what_the_config_refuses_is_said_beside_the_form(open_page: Open) -> None:
    at = open_page("train")
    at.multiselect(key="train.target_modules").set_value([]) if "train.target_modules" in [w.key for w in at.multiselect] else None
    at.number_input(key="train.learning_rate").set_value(0.0).run()
    assert not at.exception
    assert "Learning rate: Input should be greater than 0" in words(at)
    assert "train.submit" not in [button.key for button in at.button]


def test_sliders_make_the_weights_of_a_merge(open_page: Open) -> None:
    sample.train()
    at = open_page("merge")
    at.multiselect(key="merge.adapters").set_value(["cynic-lora", "kural-lora"]).run()
    at.slider(key="weight.cynic-lora").set_value(0.0).run()
    at.button(key="merge.submit").click().run()
    config = runs.listing("merge")[0].config
    assert config["adapters"] == ["cynic-lora", "kural-lora"] and config["weights"][0] == 0.0


def test_the_empty_overview_starts_the_demo_with_one_button(open_page: Open) -> None:
    at = open_page("overview")
    next(button for button in at.button if button.label == "Run the demo").click().run()
    assert [run.verb for run in runs.listing()] == ["demo"]


def test_a_job_that_ends_is_told_once_and_a_run_is_removed_after_a_question(open_page: Open) -> None:
    run = sample.train("running")
    held = locks.take(run.run_id)
    at = open_page("jobs")
    assert not at.toast
    runs.update(run.run_id, status="failed", error="no room [left]")
    os.close(held)
    assert [each.value.replace("\\", "").partition(" after")[0] for each in at.run().toast] == ["train failed"]
    assert "no room [left]" in at.toast[0].value.replace("\\", "") and not at.run().toast
    at.button(key="remove").click().run()
    assert not at.exception and not run.path.exists()


def test_a_waiting_job_is_cancelled_and_resumed_from_the_page(open_page: Open) -> None:
    run = sample.train("failed", error=FAULT)
    at = open_page("jobs", job=run.run_id)
    at.button(key="resume").click().run()
    assert runs.read(run.run_id).status == "queued" and runs.read(run.run_id).error is None
    descriptor = locks.take(run.run_id)
    at.run()
    at.button(key="cancel").click().run()
    os.close(descriptor)
    assert runs.read(run.run_id).status == "cancelled"


def test_downloads_have_the_second_sources_names(open_page: Open) -> None:
    sample.everything()
    at = open_page("evaluate")
    files = at.selectbox(key="export").options
    assert {"base_cynic_results.csv", "fine_tuned_cynic_results.csv", "base_merged_results.csv", "fine_tuned_merged_results.csv"} <= set(
        files
    )
    labels = [button.proto.label for button in open_page("judge").get("download_button")]
    assert "llm_semantic_merged_judgments.csv" in labels
