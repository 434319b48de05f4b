"""The Share page: nothing there yet, a bundle to make, bundles to take away, and read-only."""

from pathlib import Path

import pytest

from core import runs
from tests.core.report import material
from tests.pages import sample
from tests.pages.conftest import Open


def test_without_an_evaluation_it_teaches_and_points(open_page: Open) -> None:
    at = open_page("share")
    assert not at.exception
    assert at.title[0].value == "Share"
    assert "opens in any browser without a server" in at.markdown[0].value
    assert not at.button


def test_a_bundle_is_made_by_a_job(open_page: Open) -> None:
    sample.evaluate()
    at = open_page("share")
    assert "One file holds the claim" in at.markdown[0].value
    assert any("Own adapters beat the base" in each.value for each in at.markdown)
    assert at.code[0].value == "python -m core report"
    at.text_input(key="report.title").set_value("For the client").run()
    assert at.code[0].value == "python -m core report --title 'For the client'"
    next(each for each in at.button if each.key == "report.submit").click().run()
    submitted = runs.listing("report")[0]
    assert (submitted.config["title"], submitted.status) == ("For the client", "queued")


def test_bundles_are_listed_with_their_sizes_and_files(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = material.evaluate(("one",), texts=("a", "b"))
    page, packed, first = material.report_of()
    second = material.report_of()[2]
    at = open_page("share", bundle=first.run_id)
    assert not at.exception
    assert at.markdown[0].value.startswith("2 bundles so far")
    labels = [each.label for each in at.get("download_button")]
    assert labels[0] == f"Page ({len(page.encode()) / 1e6:.1f} MB)" and labels[1].startswith("Zip of all tables (")
    captions = [each.value for each in at.caption if "made in" in each.value]
    assert [run.run_id[-4:] in caption for run, caption in zip((first, second), captions, strict=True)] == [True, True]
    monkeypatch.setenv("LYCEUM_READ_ONLY", "1")
    at = open_page("share")
    assert len(at.get("download_button")) == 4 and "report.submit" not in [each.key for each in at.button]
    assert packed.exists() and evaluation.status == "done"


def test_the_job_points_to_its_bundle(open_page: Open, home: Path) -> None:
    material.evaluate(("one",), texts=("a", "b"))
    run = material.report_of()[2]
    at = open_page("jobs", job=run.run_id)
    assert not at.exception
    assert any("See its results: report" in str(each.proto) for each in at.get("page_link"))
