"""Cards: what they say is what results/ hold, of the models that are on disk."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from core import adapter, paths, routing
from docs.hooks import cards

SHIPPED = [pytest.param(cards.PROJECT / each, id=Path(each).name) for each in cards.MODELS]


def test_no_card_differs_from_what_results_say() -> None:
    made = cards.cards()
    for name, text in made.items():
        assert (cards.FOLDER / name).read_text(encoding="utf-8") == text, f"{name} is not what results/ say: python -m docs.hooks.cards"
    assert {file.name for file in cards.FOLDER.glob("*.md")} == set(made)


@pytest.mark.parametrize("folder", SHIPPED)
def test_the_figures_are_of_the_model_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LYCEUM_HOME", str(paths.PROJECT))
    run, model, _ = cards.Card(folder).evaluated
    models = pd.read_csv(paths.PROJECT / "results" / run / "models.csv").set_index("model")
    content = routing.content_hash(folder) if cards.Card(folder).is_route else adapter.content_hash(folder)
    assert models.loc[model, "content_hash"] == content, "evaluated before it was made anew: name the new run in docs/hooks/cards.py"


@pytest.mark.parametrize("folder", SHIPPED)
def test_a_card_has_a_header_and_sections_and_figures_of_the_table(folder: Path) -> None:
    text = (cards.FOLDER / f"{folder.name}.md").read_text(encoding="utf-8")
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "mit" and header["base_model"].startswith("HuggingFaceTB/") and header["library_name"] == "peft"
    for section in ("Intended use", "Evaluation", "Limits and risks", "Licence"):
        assert f"\n## {section}\n" in text
    run, model, base = cards.Card(folder).evaluated
    scores = pd.read_csv(paths.PROJECT / "results" / run / "scores.csv").set_index(["model", "category", "metric"])
    theirs, ours = (scores.loc[(who, cards.Card(folder).home_category, "perplexity")] for who in (base, model))
    cells = re.search(
        r"^\| perplexity \(lower is better\) \| (\d+) \| ([\d.]+) \(.*?\) \| ([\d.]+) \(([\d.]+) to ([\d.]+)\)", text, re.MULTILINE
    ).groups()
    expected = (ours["n"], theirs["value"], ours["value"], ours["low"], ours["high"])
    assert [float(cell) for cell in cells] == pytest.approx([float(each) for each in expected], rel=5e-3)


def test_the_data_card_counts_the_file() -> None:
    text = (cards.FOLDER / "seven_schools.md").read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "other"
    assert "| all | 1210 | 159 | 171 | 1540 |" in text and text.count("BSD-2-Clause") >= 2
    for category in ("cynic", "hacker", "buddhist", "kural", "wisdom", "puritan", "lexicon"):
        assert len(re.findall(rf"^\| {category} \|", text, re.MULTILINE)) == 2
