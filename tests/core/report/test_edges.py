"""Evaluations without this or that, and those that are too large."""

import json
import math
import re
import zipfile
from pathlib import Path

import pytest

from core import paths, queries, results, runs
from core.config import DataConfig, ReportConfig
from core.data.read import read
from core.errors import UserError
from core.judge import arena
from core.report import sources, verdict_data
from core.results import Verdict
from tests.core.report import material
from tests.core.report.material import BASE, evaluate, judge, report_of
from tests.pages import sample

PLAIN = {
    "categories": ("one", "two"),
    "models": ((BASE, "base"), ("pooled-lora", "pooled")),
    "texts": tuple(f"Text {n}." for n in range(8)),
}


def text_of(page: str) -> str:
    """What a page says, without scripts, styles and tags."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def test_without_an_evaluation_it_says_what_to_do() -> None:
    with pytest.raises(UserError, match="no finished evaluation in .* python -m core evaluate"):
        report_of()
    evaluate(**PLAIN)
    with pytest.raises(UserError, match="no finished evaluation 'nope'. Finished ones: "):
        report_of(ReportConfig(evaluation="nope"))


def test_a_judge_run_of_other_answers_is_refused() -> None:
    first, second = evaluate(**PLAIN), evaluate(**PLAIN)
    other, mine = judge(first), judge(second)
    with pytest.raises(UserError, match=f"No finished judge run '{other.run_id}' judged the answers of evaluation {second.run_id}"):
        report_of(ReportConfig(judged=(other.run_id,)))
    assert report_of(ReportConfig(judged=(mine.run_id,)))[2].outputs["judged"] == [mine.run_id]
    assert report_of(ReportConfig(evaluation=first.run_id))[2].outputs["judged"] == [other.run_id]


def test_without_judges_merges_and_training_runs() -> None:
    page, packed, _ = report_of(ReportConfig(title="<b>Mine</b>")) if evaluate(**PLAIN) else ("", Path(), None)
    said = text_of(page)
    assert "&lt;b&gt;Mine&lt;/b&gt;" in said and "pooled-lora beats the base on 2 of 2 categories" in said
    assert "Nobody has judged these answers yet" in said and 'id="verdict-browser"' not in page
    assert "How these were made is not on record, or they were made again since: pooled-lora." in said
    assert set(zipfile.ZipFile(packed).namelist()) >= {"report.html", "README.txt", "bundle.json", "evaluation/answers.csv"}


@pytest.mark.parametrize("content", ["{bad", "[1]", '"x"'])
def test_a_damaged_file_in_a_models_folder_is_no_one_s_fault(content: str, home: Path) -> None:
    run = evaluate(**PLAIN)
    found = queries.evaluation(run)
    folder = home / str(found.models["path"].iloc[-1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(content)
    assert str(found.models["model"].iloc[-1]) not in sources.gather(ReportConfig()).made


def test_the_base_alone() -> None:
    evaluate(**PLAIN | {"models": ((BASE, "base"),)})
    said = text_of(report_of()[0])
    assert "Base alone was evaluated on 8 questions" in said and "There is nothing to compare" in said
    assert "Train an adapter, and evaluate it beside the base" in said


def test_one_category_and_a_stage_of_a_study() -> None:
    evaluation = evaluate(**PLAIN | {"categories": ("only",)})
    runs.update(evaluation.run_id, parent="20200101-000000-000-study-0000")
    judge(evaluation)
    assert "beats the base on 1 of 1 category" in text_of(report_of()[0])


def test_losses_that_were_not_measured_are_not_told_as_figures() -> None:
    evaluate(**PLAIN, loss=lambda role, place: math.nan if role == "pooled" and place == 3 else 3.0)
    said = text_of(report_of()[0])
    assert "Whether pooled-lora beat the base can&#x27;t be told: perplexity was not measured on all of 32 answers." in said
    assert "nan" not in said.lower()


def test_a_red_judge_is_never_told() -> None:
    evaluation = evaluate(**PLAIN)
    judge(evaluation, "flips", lambda place: ("fine-tuned", "base") if place % 5 else ("fine-tuned",) * 2, times=4)
    page = report_of()[0]
    said = text_of(page)
    assert "The headline of flips is withheld, since its audit card is red" in said
    assert "win rate" not in said.replace("win rate, 95 % interval", "").lower()
    assert 'data-figure="outcomes' not in page and 'data-figure="wins' not in page


def test_fifty_categories_stay_small_and_whole(home: Path) -> None:
    names = tuple(f"category {n}" for n in range(50))
    models = ((BASE, "base"), *((f"{name}-lora".replace(" ", "-"), "own") for name in names), ("pooled-lora", "pooled"))
    evaluate(names, models, PLAIN["texts"][:2], compared=True)
    page = report_of()[0]
    assert len(page.encode()) < 8_000_000
    assert all(f">{name}</th>" in page for name in names)
    assert "Left out here for room, and in scores.csv: 50 own adapters." in text_of(page)


def test_2000_verdicts_with_long_texts_fit_and_what_is_cut_is_said() -> None:
    evaluation = evaluate(**PLAIN)
    run = judge(evaluation, times=1)
    rows = results.read(run.path / "verdicts.csv", Verdict).drop(columns="cost").to_dict("records")
    many = [
        {**rows[n % 16], "question": f"{n}?", "base_prediction": f"{n} base " * 600, "candidate_prediction": f"{n} mine " * 600}
        for n in range(2000)
    ]
    results.write(run.path / "verdicts.csv", [Verdict(**row) for row in many], Verdict)
    page, packed, done = report_of()
    assert len(page.encode()) == done.outputs["html_bytes"] <= 15_000_000
    found = verdicts_of(page)
    assert len(found["rows"]) == 2000 and len(found["cut"]) > 1000
    assert re.fullmatch(r"[\d,]+ texts are cut at [\d,]+ characters. The zip has all.", found["said"])
    with zipfile.ZipFile(packed) as zipped:
        assert zipped.read(f"judges/{run.run_id}/verdicts.csv") == (run.path / "verdicts.csv").read_bytes()


def test_more_verdicts_than_fit_are_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_data, "MOST_VERDICTS", 20)
    judge(evaluate(**PLAIN), times=4)
    found = verdict_data.browser(sources.gather(ReportConfig()))
    assert 10 <= len(found["rows"]) <= 30
    assert found["said"] == f"Here are {len(found['rows'])} of 64 verdicts, those on questions drawn by chance. The zip has all."


def test_the_zip_tells_no_secret_no_folder_and_no_name(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "sk-verysecret")
    evaluation = evaluate(**PLAIN, data=str(home / "private" / "my.csv"), system_prompt="Use sk-verysecret.", base_model="~/models/mine")
    judge(evaluation)
    sample.arena()
    page, packed, _ = report_of()
    with zipfile.ZipFile(packed) as zipped:
        texts = {name: zipped.read(name).decode() for name in zipped.namelist()}
    settings = json.loads(texts[f"settings/{evaluation.run_id}.json"])["config"]
    assert (settings["data"], settings["base_model"], settings["system_prompt"]) == ("my.csv", "mine", "Use (removed).")
    for name, text in (*texts.items(), ("page", page)):
        assert str(paths.home()) not in text and "secret99" not in text and "key=1" not in text, name
        assert "sk-verysecret" not in text or name in ("report.html", "page"), name
    readme = texts["README.txt"]
    assert all(name.split("/")[0] in readme for name in texts)
    comparator = next(json.loads(text) for name, text in texts.items() if name.startswith("llm_comparator/"))
    assert len(comparator["examples"]) == 16 and comparator["models"] == [{"name": "pooled-lora"}, {"name": "base"}]


def test_the_zip_has_neither_names_beside_verdicts_nor_folders_in_signatures() -> None:
    evaluation = evaluate(**PLAIN, base_model="/srv/ada l/models/mine")
    judged = judge(evaluation)
    arena.vote_openly(dict(results.read(judged.path / "verdicts.csv", Verdict).iloc[0]), "Ada Lovelace", "tie", "Her own words")
    table = results.read(evaluation.path / "scores.csv", results.Score)
    table.assign(signature="of:answer|base:/srv/ada l/models/mine@7ef9|torch:2").to_csv(evaluation.path / "scores.csv", index=False)
    with zipfile.ZipFile(report_of()[1]) as zipped:
        texts = {name: zipped.read(name).decode() for name in zipped.namelist() if name.endswith((".csv", ".json", ".txt"))}
    assert "of:answer|base:mine@7ef9|torch:2" in texts["evaluation/scores.csv"]
    assert "Her own words" in texts["people/votes.csv"] and f"judges/{judged.run_id}/verdicts.csv" in texts
    assert f"judges/{judged.run_id}/votes.csv" not in texts and not [
        name for name, text in texts.items() if "Ada" in text or "/srv" in text
    ]
    assert "begins with =" in texts["README.txt"]


def test_the_bundle_says_whether_the_data_is_still_the_same(home: Path) -> None:
    file = home / "my.csv"
    file.write_text("question,answer\nWhy?,Because.\n")
    evaluate(**PLAIN, data=str(file))
    page, packed, _ = report_of()
    assert "no hash was recorded when the models were evaluated" in text_of(page) and data_of(packed)["changed"] is None

    data = runs.create("data", {"data": str(file)})
    runs.update(data.run_id, status="done", outputs={"source_hash": read(DataConfig(data=str(file))).source_hash})
    evaluate(**PLAIN, data=str(file))
    page, packed, _ = report_of()
    was = data_of(packed)
    assert "Its rows are those on record" in text_of(page)
    assert was["changed"] is False and was["rows_hash"] == was["rows_hash_recorded"]

    file.write_text("question,answer\nWhy?,Because of another thing.\n")
    runs.update(runs.create("data", {"data": str(file)}).run_id, status="done", outputs={"source_hash": "of the new file"})
    page, packed, _ = report_of()
    now = data_of(packed)
    assert "The file has changed since the evaluation" in text_of(page) and now["changed"] is True
    assert now["rows_hash_recorded"] == was["rows_hash"] != now["rows_hash"] and now["sha256"] != was["sha256"]


def data_of(packed: Path) -> dict[str, object]:
    """What bundle.json tells of the data."""
    with zipfile.ZipFile(packed) as zipped:
        told: dict[str, object] = json.loads(zipped.read("bundle.json"))["data"]
    return told


def test_people_are_told_and_not_named() -> None:
    evaluation = sample.everything()["evaluate"]
    held = runs.listing("arena")[0]
    runs.update(held.run_id, outputs={**held.outputs, "answers": evaluation.outputs["answers"]})
    page, packed, _ = report_of()
    assert "1 person gave 2 votes on 2 pairs" in text_of(page)
    votes = zipfile.ZipFile(packed).read("people/votes.csv").decode()
    assert "reviewer 1" in votes and "Ada" not in votes and "Ada" not in text_of(page)


def verdicts_of(page: str) -> dict[str, list[object]]:
    """What the verdict browser reads."""
    found = re.search(r'<script type="application/json" id="verdict-data">(.*?)</script>', page, flags=re.DOTALL)
    assert found
    made: dict[str, list[object]] = json.loads(found[1])
    return made


def test_hostile_texts_come_whole() -> None:
    judge(evaluate())
    texts = verdicts_of(report_of()[0])["texts"]
    assert set(material.HOSTILE) <= set(texts)
