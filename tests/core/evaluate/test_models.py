"""Which models are evaluated on which questions, and what is said before anything is answered."""

import json
import math
import os

import pytest

from core import paths, runs
from core.answering.models import find_models
from core.data.read import read
from core.errors import UserError
from tests.core.evaluate.evaluated import evaluate, make_adapter, make_recipe, quick, value


@pytest.mark.parametrize("changes", [{"rank": 3}, {"space": "factor"}, {"strategy": "ties"}])
def test_a_recipe_that_is_no_exact_sum_needs_its_weights(base, changes):
    make_adapter(base, "one", 1)
    make_adapter(base, "two", 2)
    folder = make_recipe("merge", ["one", "two"], [0.5, 0.5])
    info = json.loads((folder / "run.json").read_text())
    for exact in ({"rank": 5}, {"rank": None, "space": "delta"}, {"strategy": "cat", "rank": None}):
        (folder / "run.json").write_text(json.dumps(info | {"recipe": info["recipe"] | exact}))
        assert list(find_models(("merge",), base, print)[0].mix.values()) == [0.5, 0.5]
    (folder / "run.json").write_text(json.dumps(info | {"recipe": info["recipe"] | changes}))
    with pytest.raises(UserError, match="nor the recipe of an exact weighted sum"):
        find_models(("merge",), base, print)


def test_a_category_without_questions_is_empty_with_its_reason(tiny_base, tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [{"question": f"What is {i}?", "answer": "A number.", "category": "many"} for i in range(60)]
    data.write_text("\n".join(json.dumps(row) for row in [*rows, {"question": "Why?", "answer": "So.", "category": "one"}]))
    config = quick(tiny_base, data, models="base", limit=2)
    split = next(row.split for row in read(config).rows if row.category == "one")
    config = config.model_copy(update={"split": "test" if split != "test" else "validation"})
    scores = evaluate(config).scores
    row = value(scores, "base", "one", "perplexity")
    assert math.isnan(row["value"]) and row["n"] == 0 and "its 1 row falls elsewhere" in row["reason"]
    assert value(scores, "base", "many", "perplexity")["value"] > 1


def test_foreign_folder_by_path(base, tiny_base, tiny_data, tmp_path):
    folder = make_adapter(base, "foreign", 5, tmp_path / "foreign")
    (folder / "run.json").unlink()
    found = evaluate(quick(tiny_base, tiny_data, models=("base", str(folder))))
    assert found.models["model"].tolist() == ["base", "foreign"] and found.models["path"].tolist()[1] == str(folder)
    losses = found.answers.groupby("model")["reference_loss"].sum()
    assert abs(losses["base"] - losses["foreign"]) > 1e-3


def test_another_base_or_quantisation_warns(base, tiny_base, tiny_data):
    make_adapter(base, "other", 1, base_model="elsewhere", base_hash="1" * 16)
    make_adapter(base, "packed", 2, quantization="nf4")
    said = evaluate(quick(tiny_base, tiny_data, models=("other", "packed"))).said
    assert any("other was made on elsewhere" in message for message in said)
    assert any("packed was made with quantization=nf4" in message for message in said)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("base", "nobody"), "There is no adapter 'nobody'"),
        (("twin", "{tmp}/twin"), "2 models are called 'twin'"),
        (("stale",), "has changed since"),
    ],
)
def test_models_that_cannot_be_compared(base, tiny_base, tiny_data, tmp_path, models, message):
    make_adapter(base, "twin", 1)
    make_adapter(base, "twin", 2, tmp_path / "twin")
    make_recipe("stale", ["twin", "twin"], [0.5, 0.5])
    make_adapter(base, "twin", 3)
    with pytest.raises(UserError, match=message):
        evaluate(quick(tiny_base, tiny_data, models=tuple(name.format(tmp=tmp_path) for name in models)))


def test_no_rows_to_ask(tiny_base, tmp_path):
    data = tmp_path / "one.jsonl"
    data.write_text(json.dumps({"question": "Why?", "answer": "So."}))
    held = read(quick(tiny_base, data)).rows[0].split
    with pytest.raises(UserError, match="has no row, so there is nothing to ask"):
        evaluate(quick(tiny_base, data, models="base", split="test" if held != "test" else "validation"))


def test_a_wrong_encoder_is_said_before_anything_is_answered(tiny_base, tiny_data):
    with pytest.raises(UserError, match="encoder=nobody/nothing can't be loaded"):
        evaluate(quick(tiny_base, tiny_data, models="base", metrics=("bertscore",), encoder="nobody/nothing"))
    assert runs.read_events(runs.read("last").run_id, "progress") == []


def test_another_system_prompt_than_in_training_is_said(base, tiny_base, tiny_data):
    make_adapter(base, "told", 5, config={"system_prompt": "Voice: {category}."})
    make_adapter(base, "plain", 6, config={"system_prompt": None})
    make_adapter(base, "both", 7, paths.merged_adapters() / "both", role="merged", config={"strategy": "svd"})
    said = evaluate(quick(tiny_base, tiny_data, models=("told", "plain", "both"))).said
    said = [line for line in said if "system_prompt" in line]
    assert said == ["Careful: told trained with system_prompt='Voice: {category}.', but answers here with None."]


def test_all_names_the_newest_adapter_last(base):
    make_adapter(base, "a-new", 1)
    make_adapter(base, "b-old", 2)
    os.utime(paths.adapters() / "b-old" / "adapter_config.json", (1, 1))
    assert [model.row.model for model in find_models(("all",), base, print)] == ["base", "b-old", "a-new"]
