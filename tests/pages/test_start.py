"""The wizard: an unknown file with column names of its own becomes a study, told before it begins."""

from pathlib import Path

import pytest

from core import paths, runs, uploads
from core.config import DataConfig
from core.data import formats, source
from core.data.read import read
from tests.pages.conftest import Open

ROWS = [(n, f"Wie lautet Regel {n}?", f"Regel {n} lautet, dass alle {n} Gäste zahlen.", "Hotel" if n % 2 else "Küche") for n in range(120)]


def keep(name: str, text: str) -> str:
    return str(uploads.keep(name, text.encode()))


def test_a_file_with_unknown_columns_becomes_a_study(open_page: Open) -> None:
    lines = ["nr;Frage;Antwort;Bereich", *(";".join(map(str, row)) for row in ROWS)]
    name = keep("Mein Haus.csv", "\n".join(lines))
    at = open_page("start", data=name, size="medium")
    assert not at.exception and not at.error
    assert [at.selectbox(key=f"start.{part}_column.{['nr', 'Frage', 'Antwort', 'Bereich']}").value for part in ("question", "answer")] == [
        "Frage",
        "Antwort",
    ]
    stages = at.dataframe[1].value
    assert list(stages["stage"]) == [
        "data",
        "train own",
        "train pooled",
        "merge linear",
        "evaluate",
        "judge merged",
        "judge pooled",
        "judge own",
        "report",
    ]
    assert all(stages["about"]) and any(
        "120 rows in 2 categories (Küche and Hotel)" in said.value.replace("\\", "") for said in at.markdown
    )
    assert f"--data {paths.home()}" in next(code.value for code in at.code if "core study" in code.value)
    at.button(key="study.submit").click().run()
    (run,) = runs.listing("study")
    assert run.status == "queued" and run.config["data"] == name and run.config["size"] == "medium"
    assert [run.config[f"{part}_column"] for part in ("question", "answer", "category")] == ["Frage", "Antwort", "Bereich"]
    assert any("under way" in said.value for said in at.info) and not [each for each in at.button if each.key == "study.submit"]


def test_what_is_wrong_with_a_file_is_one_sentence(open_page: Open) -> None:
    few = keep("few.csv", "q,a\nwhy,because\n")
    for name, said in ((keep("empty.csv", ""), "empty"), (few, "Add rows"), (str(paths.home() / "none.csv"), "none.csv")):
        at = open_page("start", data=name)
        assert not at.exception and len(at.error) == 1 and said in at.error[0].value.replace("\\", "")
        assert not at.button and not runs.listing("study")


def test_one_category_is_compared_with_the_base_alone(open_page: Open) -> None:
    name = keep("one.jsonl", "\n".join(f'{{"question": "Which is number {n}?", "answer": "Number {n}."}}' for n in range(80)))
    at = open_page("start", data=name)
    assert list(at.dataframe[1].value["stage"]) == ["data", "train own", "evaluate", "judge own", "report"]
    assert any("nothing to pool or merge" in said.value for said in at.info)


def test_a_finished_study_links_to_what_it_found(open_page: Open) -> None:
    run = runs.create("study", {"data": "mine.csv"})
    runs.update(
        run.run_id, status="done", outputs={title: {"run_id": f"{title.split()[0]}-1"} for title in ("evaluate", "judge own", "report")}
    )
    at = open_page("start")
    assert "mine\\.csv" in at.success[0].value and not at.exception


def test_a_name_that_is_taken_is_said_beside_the_form_and_another_one_can_be_typed(open_page: Open) -> None:
    (paths.adapters() / "toy_qa-pooled").mkdir(parents=True)
    at = open_page("start", data="data/toy_qa.jsonl")
    assert "toy_qa-pooled" in at.error[0].value.replace("\\", "") and not [each for each in at.button if each.key == "study.submit"]
    at.text_input(key="study.name").set_value("another").run()
    assert not at.error and at.button(key="study.submit")


def test_half_a_character_in_a_text_does_not_break_the_preview(open_page: Open) -> None:
    at = open_page("start", data=keep("half.json", '[{"question": "What is \\ud800?", "answer": "\\udfff", "category": "a"}]'))
    assert not at.exception and at.dataframe[0].value["question"].tolist() == ["What is ??"]


def test_a_large_file_is_read_by_a_job_before_it_is_planned(open_page: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LYCEUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(source, "LARGE_BYTES", 1000)
    monkeypatch.setattr(formats, "SAMPLE", 50)
    lines = ["nr;Frage;Antwort;Bereich", *(";".join(map(str, row)) for row in ROWS)]
    name = keep("Viel.csv", "\n".join(lines))
    at = open_page("start", data=name)
    assert not at.exception and not at.error and len(at.dataframe) == 1, "no plan yet"
    at.button(key="start.read").click().run()
    (run,) = runs.listing("data")
    assert run.config["data"] == name and run.config["category_column"] == "Bereich"
    assert not [each for each in at.button if each.key == "start.read"]
    read(DataConfig(**run.config))
    runs.update(run.run_id, status="done")
    at = open_page("start", data=name)
    assert not at.exception and any("120 rows in 2 categories" in said.value.replace("\\", "") for said in at.markdown)
