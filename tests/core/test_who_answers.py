"""Models by their names: role, colour, and the adapters that take part."""

import json

from core import charts, paths, who_answers
from tests.pages.sample import folder


def home(tmp_path):
    folder(paths.adapters() / "cynic-lora", {"role": "own", "categories": ["cynic"], "run_id": "1"})
    folder(paths.adapters() / "hacker-lora", {"role": "own", "categories": ["hacker"], "run_id": "2"})
    folder(paths.adapters() / "pooled-lora", {"role": "pooled", "categories": ["cynic", "hacker"], "run_id": "3"})
    recipe = {"strategy": "ties", "adapters": ["cynic-lora", "hacker-lora"], "weights": [0.25, -0.5]}
    folder(paths.merged_adapters() / "both", {"role": "merged", "run_id": "4", "recipe": recipe})
    route = paths.merged_adapters() / "router"
    route.mkdir()
    (route / paths.ROUTER).touch()
    (route / "run.json").write_text(json.dumps({"route": {"router": "learned", "adapters": ["cynic-lora", "hacker-lora"]}}))
    return who_answers.cast(["hacker", "cynic"])


def test_everyone_has_a_role_a_colour_and_the_adapters_that_take_part(tmp_path):
    cast = home(tmp_path)
    assert cast.names == ["base", "cynic-lora", "hacker-lora", "pooled-lora", "both", "router"]
    assert cast.first == ("base", "hacker-lora", "pooled-lora", "both"), "the own adapter of the data's first category"
    found = {name: cast.who(name) for name in (*cast.names, "mix:cynic-lora=0.5,hacker-lora=1", "route", "nobody", "mix:a=x")}
    assert {name: who.role for name, who in found.items()} == {
        **{"base": "base", "cynic-lora": "own", "hacker-lora": "own", "pooled-lora": "pooled", "both": "merged", "router": "route"},
        **{"mix:cynic-lora=0.5,hacker-lora=1": "mix", "route": "route", "nobody": "unknown", "mix:a=x": "unknown"},
    }
    assert found["hacker-lora"].colour == charts.HUES[0] and found["cynic-lora"].colour == charts.HUES[1] == cast.hue("cynic-lora")
    assert found["pooled-lora"].colour == cast.hue("pooled-lora") == charts.ROLE["pooled"] and cast.hue("nobody") == charts.ACCENT
    assert found["both"].weights == {"cynic-lora": 0.25, "hacker-lora": -0.5} and found["both"].said == "merged by ties"
    mix = found["mix:cynic-lora=0.5,hacker-lora=1"]
    assert mix.weights == {"cynic-lora": 0.5, "hacker-lora": 1.0} and mix.label == "Mix of cynic-lora and hacker-lora"
    assert found["router"].said == found["route"].said == "route: the question chooses among 2 adapters"
    assert "The weight 'x'" in found["mix:a=x"].said and found["nobody"].said == "not on disk here"


def test_a_base_model_is_that_of_the_adapters_behind_a_name(tmp_path):
    for name, base in (("a", "one"), ("b", "two"), ("c", "two")):
        folder(paths.adapters() / name, {"role": "own", "categories": [name], "base_model": base})
    cast = who_answers.cast([])
    assert [cast.base_model([name]) for name in ("a", "mix:a=1", "mix:b=0.5,c=0.5", "base")] == ["one", "one", "two", "two"]
    assert cast.base_model(["nobody", "mix:a=x"]) == "two" and cast.base_model([]) == "two"


def test_without_adapters_base_stands_alone():
    cast = who_answers.cast([])
    assert cast.names == ["base"] and cast.first == ("base",) and cast.own == {}
