"""Questions that adapters were trained on are told from those that they were not."""

import json

from core import adapter, paths
from core.answering.models import find_models
from core.config import DataConfig
from core.data.read import read
from core.models import load
from core.rag.seen import seen


def trained_on(folder, data):
    info = folder / "run.json"
    said = json.loads(info.read_text()) if info.exists() else {}
    info.write_text(json.dumps(said | {"role": "own", "config": {"data": str(data)} if data else {}}))


def models(tiny_base, peft_adapter, data, said=lambda text: None):
    folder = peft_adapter("mine", base=tiny_base)
    trained_on(folder, data)
    return find_models(["base", str(folder)], load.load(str(tiny_base), precision="fp32", device="cpu"), said)


def test_train_rows_are_seen_and_test_rows_are_not(tiny_base, peft_adapter, tiny_data):
    rows = read(DataConfig(data=str(tiny_data)))
    train, test = rows.select("train"), rows.select("test")
    asked = [f"  {train[0].question.upper()} ", train[1].question, test[0].question, "What is new?"]
    found = seen(asked, models(tiny_base, peft_adapter, tiny_data), print)
    assert found == set(asked[:2])


def test_an_adapter_that_does_not_say_its_data_is_named(tiny_base, peft_adapter):
    said = []
    assert seen(["What is it?"], models(tiny_base, peft_adapter, None), said.append) == set()
    assert said == ["Careful: it isn't known what mine was trained on, so a question may have been seen in training."]


def test_data_that_is_gone_is_named_too(tiny_base, peft_adapter, tmp_path):
    said = []
    seen(["What is it?"], models(tiny_base, peft_adapter, tmp_path / "gone.jsonl"), said.append)
    assert "mine" in said[0]


def test_the_parents_of_a_shipped_merge_are_looked_at():
    """Of the exact sum that ships: its parents were trained on the seven schools."""
    import shutil

    for folder in (*sorted((paths.PROJECT / "adapters").iterdir()), paths.PROJECT / "merged_adapters" / "svd_merged_adapter"):
        shutil.copytree(folder, paths.home() / folder.parent.name / folder.name)
    base = load.load("bundled", precision="fp32", device="cpu")
    merged = find_models(["svd_merged_adapter"], base, print)
    row = next(row for row in read(DataConfig(data="data/seven_schools.jsonl")).select("train") if row.category == "kural")
    assert adapter.read_info(paths.merged_adapters() / "svd_merged_adapter")["recipe"]["adapters"]
    assert seen([row.question, "Who asks this?"], merged, print) == {row.question}
