"""A merge made again from its recipe, or from a mergekit YAML file."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from core import adapter, paths, runs
from core.config import MergeConfig
from core.errors import UserError
from core.jobs.configure import configure
from core.merge import STRATEGIES, recipe
from core.merge import run as merge_run
from core.workspace import Workspace

WEIGHTS = (0.7, -0.4, 1.5)


def again(said: str, **fields) -> Path:
    """Through the job file, as the command line does."""
    config = configure("merge", MergeConfig(recipe=said, **fields).model_dump(mode="json"))
    return paths.home() / merge_run.run(config, Workspace(runs.create("merge", config.model_dump(mode="json"))))["adapter"]


def bits(folder: Path) -> bytes:
    return (folder / adapter.WEIGHTS).read_bytes()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_recipe_gives_the_same_bits(strategy, unequal, merge):
    density = {"density": 0.4} if "density" in STRATEGIES[strategy].fields else {}
    _, folder = merge(unequal, weights=WEIGHTS, strategy=strategy, rank=5, seed=11, name="first", dtype="bf16", **density)
    assert bits(again("first", name="second")) == bits(folder)


def test_every_setting_is_in_the_recipe(unequal, merge):
    fields = {"density": 0.4, "ties_lambda": 0.8, "della_epsilon": 0.3, "seed": 5}
    _, folder = merge(unequal[:2], strategy="della", name="first", **fields)
    said = recipe.read(MergeConfig(recipe="first"))
    assert {name: getattr(said, name) for name in fields} == fields and said.weights == (0.5, 0.5)
    _, folder = merge(unequal[:1], strategy="breadcrumbs", density=0.4, breadcrumbs_gamma=0.2, name="second")
    assert recipe.read(MergeConfig(recipe="second")).breadcrumbs_gamma == 0.2
    assert bits(again("second", name="third")) == bits(folder)


def test_factor_space_is_made_again(peft_adapter, merge):
    folders = [peft_adapter(f"f{n}", seed=n) for n in range(2)]
    _, folder = merge(folders, space="factor", strategy="dare_linear", density=0.5, weights=(1, 0), seed=2, name="first")
    assert bits(again("first", name="second")) == bits(folder)


@pytest.mark.parametrize("place", ["first", "merged_adapters/first/run.json", "copy.json"])
def test_a_recipe_is_found_by_name_or_file(place, unequal, merge):
    _, folder = merge(unequal, weights=WEIGHTS, name="first")
    shutil.copy(folder / "run.json", paths.home() / "copy.json")
    assert bits(again(place, name="second")) == bits(folder)


def test_dtype_and_name_may_differ(unequal, merge):
    _, folder = merge(unequal, weights=WEIGHTS, name="first")
    half = again("first", name="half", dtype="bf16")
    for one, other in zip(adapter.read(folder).factors.values(), adapter.read(half).factors.values(), strict=True):
        assert torch.equal(one.A.bfloat16().float(), other.A)
    assert again("first").name == "linear_merged_adapter"


def test_an_adapter_that_was_renamed_is_found_by_its_hash(unequal, merge):
    for n, folder in enumerate(unequal[:2]):
        shutil.copytree(folder, paths.adapters() / f"a{n}")
    _, folder = merge(["a0", "a1"], name="first")
    (paths.adapters() / "a0").rename(paths.adapters() / "renamed")
    assert recipe.read(MergeConfig(recipe="first")).adapters == ("renamed", "a1")
    assert bits(again("first", name="second")) == bits(folder)
    shutil.rmtree(paths.adapters() / "renamed")
    with pytest.raises(UserError, match="was merged from 'a0', which has changed or is gone since"):
        again("first", name="third")


def test_a_recipe_without_weights_is_rounded_as_its_files_were(unequal, merge):
    _, folder = merge(unequal, strategy="ties", density=0.5, name="first", dtype="bf16")
    whole = adapter.read(folder)
    (folder / adapter.WEIGHTS).unlink()
    made = recipe.make(folder)
    for layer, factor in whole.factors.items():
        assert torch.equal(made.factors[layer].A, factor.A) and torch.equal(made.factors[layer].B, factor.B)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("nothing", r"no recipe 'nothing': it is neither a merged adapter \(first\) nor a file"),
        ("adapters/a0", "holds no recipe of a merge"),
        ("broken.json", "is no JSON"),
        ("list.json", "holds no recipe of a merge"),
        ("wrong.json", "density=1.5 can't be used"),
        ("list.yaml", "holds no mergekit configuration"),
        ("broken.yml", "is no YAML"),
    ],
)
def test_what_is_no_recipe_gets_a_sentence(said, sentence, unequal, merge):
    shutil.copytree(unequal[0], paths.adapters() / "a0")
    _, folder = merge(["a0"], name="first", strategy="ties", density=0.5)
    info = json.loads((folder / "run.json").read_text())
    files = {
        "adapters/a0/run.json": json.dumps({"role": "own"}),
        "broken.json": "{",
        "list.json": "[1]",
        "wrong.json": json.dumps({**info, "recipe": {**info["recipe"], "density": 1.5}}),
        "list.yaml": "- 1\n- 2\n",
        "broken.yml": "a: [1\n",
    }
    for name, text in files.items():
        (paths.home() / name).write_text(text)
    with pytest.raises(UserError, match=sentence) as error:
        again(said, name="second")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fields", [{"weights": (1.0,)}, {"strategy": "svd"}, {"adapters": ("a",), "density": 0.5}, {"seed": 3}])
def test_nothing_that_the_recipe_says_may_stand_beside_it(fields):
    with pytest.raises(UserError, match=f"recipe=first says how to merge, and {', '.join(sorted(fields))} was given beside it"):
        MergeConfig(recipe="first", **fields)


def test_a_mergekit_file_is_merged(unequal, merge, deltas):
    content = {
        "merge_method": "ties",
        "base_model": "org/base",
        "models": [
            {"model": f"org/base+{unequal[0]}", "parameters": {"weight": 2}},
            {"model": f"org/base+{unequal[2]}", "parameters": {"weight": 1}},
        ],
        "parameters": {"density": 0.5, "lambda": 0.8},
        "dtype": "bfloat16",
    }
    (paths.home() / "mix.yaml").write_text(yaml.safe_dump(content))
    folder = again("mix.yaml", name="by-file")
    _, same = merge([unequal[0], unequal[2]], weights=(1.6 / 3, 0.8 / 3), strategy="ties", density=0.5, dtype="bf16", name="by-fields")
    assert bits(folder) == bits(same)
    info = json.loads((folder / "run.json").read_text())
    assert info["recipe"]["strategy"] == "ties" and info["recipe"]["adapters"] == [str(unequal[0]), str(unequal[2])]
    assert bits(again("by-file", name="once-more")) == bits(folder)


CHANGES = [
    *[{"adapters": value} for value in (5, None, [], [1], [["first"]], ["a0", "a1"])],
    *[{"hashes": value} for value in (None, 5, [], [1])],
    *[{"weights": value} for value in (["x"], None, [1e400], [1, 2])],
    *[{"strategy": None}, {"strategy": 5}],
]


@pytest.mark.parametrize("change", [*CHANGES, "adapters", ["adapters", "hashes"], "no strategy", "no rank"], ids=str)
def test_a_recipe_that_was_edited_badly_gets_a_sentence(change, unequal, merge):
    _, folder = merge(unequal[:1], name="first")
    info = json.loads((folder / "run.json").read_text())
    if isinstance(change, dict):
        info["recipe"].update(change)
    elif "no " in change:
        del info["recipe"][change.removeprefix("no ")]
    else:
        info["recipe"] = change
    (folder / "run.json").write_text(json.dumps(info))
    (folder / adapter.WEIGHTS).unlink()
    for use in (lambda: again("first", name="second"), lambda: adapter.content_hash(folder), lambda: recipe.make(folder)):
        with pytest.raises(UserError, match="first.* holds no recipe of a merge"):
            use()


@pytest.mark.parametrize(("file", "text"), [("deep.json", "[" * 100_000), ("deep.yaml", "[" * 20_000), ("digits.yaml", "a: " + "9" * 5000)])
def test_files_that_no_parser_takes_get_a_sentence(file, text, home):
    (home / file).write_text(text)
    with pytest.raises(UserError, match="is no (JSON|YAML)"):
        again(file, name="second")


def test_large_files_and_impossible_names_are_refused(home):
    (home / "large.yaml").write_text("#" * (recipe.LARGEST + 1))
    with pytest.raises(UserError, match="large.yaml has 1,048,577 bytes, and a recipe has at most 1,048,576"):
        recipe.read(MergeConfig(recipe="large.yaml"))
    for name in ("x" * 300, "~nobody-here/x", "a/" * 3000, "a\0b"):
        with pytest.raises(UserError, match="There is no recipe '.{1,80}'"):
            recipe.read(MergeConfig(recipe=name))


def test_a_bad_folder_does_not_hide_other_adapters(unequal, merge):
    shutil.copytree(unequal[0], paths.adapters() / "z0")
    merge(["z0"], name="first")
    (paths.adapters() / "z0").rename(paths.adapters() / "z1")
    for name in ("deep", "link"):
        (paths.adapters() / name).mkdir()
    (paths.adapters() / "deep" / "adapter_config.json").write_text("[" * 100_000)
    (paths.adapters() / "link" / "adapter_config.json").symlink_to(".")
    assert recipe.read(MergeConfig(recipe="first")).adapters == ("z1",)
