"""Mixes, presets and links of the live console."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest

from core import console, paths
from core.config import MergeConfig
from core.console import Play, Question, Shelf
from core.errors import UserError
from tests.pages import sample


@pytest.mark.parametrize(
    "mix",
    [
        MergeConfig(adapters=("a", "b")),
        MergeConfig(adapters=("a", "b"), weights=(0.123456789, -1.0)),
        MergeConfig(adapters=("a", "b", "c"), weights=(1, 0, 2), strategy="della", density=0.3, della_epsilon=0.2, seed=7, rank=16),
        MergeConfig(adapters=("/some, folder", "b")),
        MergeConfig(adapters=("a",), strategy="dare_ties", space="factor", density=0.25),
    ],
)
def test_a_link_holds_the_whole_state(mix: MergeConfig) -> None:
    usual = Play(data="d.jsonl", system_prompt="Speak as {category}.")
    play = Play(mix, (Question("law", "Who owns this? & how = ?"), Question("", "Why: so?")), "d.jsonl", None, 96, 3)
    link = parse_qs(urlencode(console.to_link(play, usual), doseq=True), keep_blank_values=True)
    assert console.from_link(link, usual) == play


def test_links_with_bad_values_raise_one_sentence() -> None:
    for params in ({"adapters": ["a"], "density": ["2"]}, {"adapters": ["a"], "limit": ["x"]}, {"adapters": ["a"], "strategy": ["tiez"]}):
        with pytest.raises(UserError) as caught:
            console.from_link(params, Play())
        assert "\n" not in str(caught.value)


def test_what_a_link_leaves_out_is_as_usual() -> None:
    usual = Play(data="d.jsonl", system_prompt="Speak.", questions=(Question("law", "Who?"),), max_seq_length=128)
    play = console.from_link({"adapters": ["a,b"]}, usual)
    assert play == Play(MergeConfig(adapters=("a", "b")), usual.questions, "d.jsonl", "Speak.", max_seq_length=128)
    assert set(console.to_link(play, usual)) == {"adapters", "category", "question"}


def shelf_of(**infos: dict[str, object]) -> Shelf:
    return Shelf({name.replace("_", "-"): info for name, info in infos.items()})


def test_the_shelf_knows_own_and_pooled_adapters_the_newest_last() -> None:
    law = {"role": "own", "categories": ["law"], "base_model": "b", "config": {"system_prompt": "Speak.", "max_seq_length": 64}}
    shelf = shelf_of(
        law=law, law2=law, art={**law, "categories": ["art"]}, pooled={"role": "pooled", "categories": ["law", "art"]}, foreign={}
    )
    assert shelf.own == {"law": "law2", "art": "art"} and shelf.pooled == "pooled"
    assert shelf.to_mix == ["art", "foreign", "law", "law2"]
    assert shelf.usual("system_prompt", shelf.infos, None) == "Speak." and shelf.usual("data", shelf.infos, "d") == "d"
    assert shelf.base_model(["law", "foreign"]) == "b" and shelf.base_model(["foreign"]) == "bundled"


def test_the_shelf_is_read_from_disk_oldest_run_first(home: Path) -> None:
    for name, run_id in (("new", "20260102-a"), ("old", "20260101-b")):
        sample.folder(paths.adapters() / name, {"role": "own", "categories": ["law"], "run_id": run_id})
        sample.folder(paths.merged_adapters() / name, {"run_id": run_id})
    (paths.adapters() / "foreign").mkdir()
    (paths.adapters() / "foreign" / "adapter_config.json").write_text("{}")
    shelf = console.shelf()
    assert list(shelf.infos) == ["foreign", "old", "new"] and shelf.own == {"law": "new"} and shelf.infos["foreign"] == {}
    assert console.baked() == ["new", "old"]


def test_presets_are_mixes_by_name(home: Path) -> None:
    sample.merge()
    found = console.presets(("a", "b"), {"law": "b", "art": "z"}, [Question("art", "?"), Question("law", "?")])
    assert found["Even: 1/n each"].weights == () and found["Full strength: 1 each"].weights == (1, 1)
    assert found["Own adapter of question 2: b"].weights == found["Only b"].weights == (0, 1)
    assert not [name for name in found if name.startswith("Own adapter of question 1")], "its adapter is not in the mix"
    baked = found[f"As baked: {sample.MERGED[0]}"]
    assert baked.weights == (0.3, 0.3, 0.3, 0.2, 0.3, 0.3, 0.0) and len(baked.adapters) == 7


def test_a_recipes_rank_is_what_was_asked_for(home: Path) -> None:
    recipe = {"adapters": ["a", "b"], "weights": [0.5, 0.5], "strategy": "linear", "rank": 56}
    sample.folder(paths.merged_adapters() / "old", {"recipe": recipe, "config": {"strategy": "linear", "weights": [], "rank": None}})
    assert console.of_baked("old") == MergeConfig(adapters=("a", "b"), weights=(0.5, 0.5)), "which needs no merge"


def test_a_recipe_that_todays_rules_refuse_is_no_preset(home: Path) -> None:
    folder = paths.merged_adapters() / "odd"
    sample.folder(folder, {"recipe": {"adapters": ["a"], "weights": [1, 2], "strategy": "linear"}})
    assert console.of_baked("odd") is None and "As baked: odd" not in console.presets(("a",), {}, [])


def test_the_mix_in_a_request_has_what_is_played_and_nothing_of_baking() -> None:
    mix = MergeConfig(adapters=("a",), weights=(0.5,), name="mine", replace=True, dtype="bf16")
    asked = console.request(mix)
    assert asked is not None and set(asked) == set(console.PLAYED) and json.dumps(asked)
    assert console.played(mix) == MergeConfig(adapters=("a",), weights=(0.5,)) and console.request(None) is None


@pytest.mark.parametrize(
    ("fields", "exact"),
    [({}, True), ({"strategy": "cat"}, True), ({"rank": 4}, False), ({"space": "factor"}, False), ({"strategy": "svd"}, False)],
)
def test_only_the_weighted_sum_itself_is_played_by_weights_alone(fields: dict[str, object], exact: bool) -> None:
    assert MergeConfig(adapters=("a",), **fields).is_weighted_sum is exact


def test_pinned_questions_are_kept(home: Path) -> None:
    assert console.pinned() == []
    questions = [Question("law", "Was heißt „frei“?"), Question("", "Why?")]
    console.pin(questions)
    assert console.pinned() == questions
