"""The route verb: routers against numpy, scipy and dense SVDs; what they may look at; what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.optimize import minimize, minimize_scalar

from core import adapter, paths, runs
from core.adapter import Adapter, Factor
from core.config import DataConfig, RouteConfig
from core.data.read import read
from core.errors import UserError
from core.merge import parents, recipe
from core.merge.arrow import prototype
from core.merge.route import run
from core.models.embed import Encoder
from core.workspace import Workspace

CATEGORIES = ("cynic", "lexicon", "hacker")
NAMES = tuple(f"{category}-lora" for category in CATEGORIES)


def make(name: str, seed: int, layers: tuple[str, ...] = ("q_proj", "v_proj"), rank: int = 3, **info: Any) -> Path:
    draw = torch.Generator().manual_seed(seed)
    factors = {
        f"model.layers.{block}.self_attn.{kind}": Factor(torch.randn(rank, 12, generator=draw), torch.randn(8, rank, generator=draw), 2.0)
        for block in (0, 1)
        for kind in layers
    }
    info = {"role": "own", "categories": [name.removesuffix("-lora")], "base_model": "tiny", "base_hash": "0" * 16} | info
    return adapter.write(Adapter(name, factors, "tiny", info), paths.adapters() / name)


@pytest.fixture(autouse=True)
def own(home: Path) -> None:
    for seed, name in enumerate(NAMES):
        make(name, seed, ("q_proj", "v_proj") if seed else ("q_proj",), rank=2 + seed)


def route(data: Path, **fields: Any) -> tuple[dict[str, Any], Path]:
    config = RouteConfig(**{"adapters": NAMES, "data": str(data), "router": "similarity", **fields})
    workspace = Workspace(runs.create("route", config.model_dump(mode="json")))
    outputs = run(config, workspace)
    return outputs, paths.home() / outputs["route"]


def split(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and places of the categories, float64, straight from the file."""
    rows = read(DataConfig(data=str(data))).select(name)
    places = np.array([CATEGORIES.index(row.category) for row in rows])
    return Encoder("bundled").embed([row.question for row in rows]).astype(float), places


def loss(logits: np.ndarray, owners: np.ndarray) -> float:
    """Mean cross-entropy in nats."""
    peak = logits.max(1, keepdims=True)
    return float((np.log(np.exp(logits - peak).sum(1)) + peak[:, 0] - logits[np.arange(len(owners)), owners]).mean())


def test_similarity_is_the_cosine_to_each_categorys_centroid(tiny_data: Path) -> None:
    outputs, folder = route(tiny_data)
    X, y = split(tiny_data, "train")
    centroids = np.stack([X[y == place].mean(0) for place in range(3)])
    expected = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    tensors = load_file(folder / paths.ROUTER)
    assert np.allclose(tensors["directions"], expected, atol=1e-6) and not tensors["bias"].any()
    X, y = split(tiny_data, "validation")
    logits = X @ expected.T
    best = minimize_scalar(lambda log: loss(logits / np.exp(log), y), bounds=(np.log(1e-3), np.log(10)), method="bounded")
    assert outputs["validation_loss"] == pytest.approx(best.fun, abs=1e-3) and outputs["top_k"] == 3
    assert outputs["validation_accuracy"] == pytest.approx((logits.argmax(1) == y).mean())


def test_learned_is_the_minimum_of_the_penalised_likelihood(tiny_data: Path) -> None:
    outputs, folder = route(tiny_data, router="learned", temperature=1.0)
    X, y = split(tiny_data, "train")

    def penalised(flat: np.ndarray) -> tuple[float, np.ndarray]:
        D, b = flat[:-3].reshape(3, -1), flat[-3:]
        logits = X @ D.T + b
        shares = np.exp(logits - logits.max(1, keepdims=True))
        slope = (shares / shares.sum(1, keepdims=True) - np.eye(3)[y]) / len(y)
        gradient = np.concatenate([(slope.T @ X + outputs["penalty"] * D).ravel(), slope.sum(0)])
        return loss(logits, y) + outputs["penalty"] / 2 * (D**2).sum(), gradient

    found = minimize(penalised, np.zeros(3 * X.shape[1] + 3), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "gtol": 1e-9})
    tensors = load_file(folder / paths.ROUTER)
    ours = penalised(np.concatenate([tensors["directions"].astype(float).ravel(), tensors["bias"].astype(float)]))
    assert ours[0] == pytest.approx(found.fun, abs=1e-6) and np.abs(ours[1]).max() < 1e-5
    X, y = split(tiny_data, "validation")
    logits = X @ tensors["directions"].T.astype(float) + tensors["bias"]
    assert outputs["validation_loss"] == pytest.approx(loss(logits, y), abs=1e-4)


def test_arrows_prototypes_are_the_top_right_singular_vectors() -> None:
    outputs, folder = route(Path("no data is read"), router="arrow")
    tensors = load_file(folder / paths.ROUTER)
    assert sorted(tensors) == sorted(f"model.layers.{block}.self_attn.{kind}" for block in (0, 1) for kind in ("q_proj", "v_proj"))
    for layer, found in tensors.items():
        for place, name in enumerate(NAMES):
            factor = adapter.read(paths.adapters() / name).factors.get(layer)
            if factor is None:
                assert name == "cynic-lora" and not found[place].any()
                continue
            first = np.linalg.svd(factor.B.double().numpy() @ factor.A.double().numpy())[2][0]
            assert abs(found[place] @ first) == pytest.approx(1, abs=1e-6)
    assert (outputs["temperature"], outputs["top_k"], outputs["categories"]) == (1.0, 3, [[category] for category in CATEGORIES])


def test_an_untrained_adapter_has_no_direction() -> None:
    assert not prototype(Factor(torch.randn(2, 6), torch.zeros(4, 2), 1.0)).any()


@pytest.mark.parametrize("router", ["similarity", "learned"])
def test_test_rows_play_no_part_and_the_bits_are_the_same(tiny_data: Path, tmp_path: Path, router: str) -> None:
    held = {row.question for row in read(DataConfig(data=str(tiny_data))).select("test")}
    lines = [line for line in tiny_data.read_text().splitlines() if json.loads(line)["question"] not in held]
    (tmp_path / "without.jsonl").write_text("\n".join(lines))
    assert len(lines) < 100
    first, again, without = (
        route(data, router=router, name=name)[1] for data, name in ((tiny_data, "a"), (tiny_data, "b"), (tmp_path / "without.jsonl", "c"))
    )
    bits = [(folder / paths.ROUTER).read_bytes() for folder in (first, again, without)]
    assert bits[0] == bits[1] == bits[2]
    temperatures = {json.loads((folder / "run.json").read_text())["route"]["temperature"] for folder in (first, again, without)}
    assert len(temperatures) == 1


def test_run_json_says_what_it_is_made_of(tiny_data: Path) -> None:
    outputs, folder = route(tiny_data, temperature=0.2, top_k=2, name="way")
    info = json.loads((folder / "run.json").read_text())
    assert sorted(file.name for file in folder.iterdir()) == ["router.safetensors", "run.json"]
    assert (info["role"], info["base_model"], info["base_hash"], info["categories"]) == ("route", "tiny", "0" * 16, list(CATEGORIES))
    said = info["route"]
    assert said["hashes"] == [adapter.content_hash(paths.adapters() / name) for name in NAMES]
    assert (said["adapters"], said["temperature"], said["top_k"], said["encoder"]) == (list(NAMES), 0.2, 2, "bundled")
    assert said["train_rows"] == len(read(DataConfig(data=str(tiny_data))).select("train"))
    assert outputs["route"] == "merged_adapters/way"


def test_a_merge_that_is_a_recipe_alone_can_be_chosen_too(tiny_data: Path) -> None:
    hashes = [adapter.content_hash(paths.adapters() / name) for name in NAMES[:2]]
    folder = paths.merged_adapters() / "both"
    folder.mkdir(parents=True)
    shutil.copy(paths.adapters() / NAMES[0] / "adapter_config.json", folder)
    said = {"strategy": "linear", "weights": [0.5, 0.5], "adapters": NAMES[:2], "hashes": hashes, "rank": 8}
    (folder / "run.json").write_text(json.dumps({"role": "merged", "categories": CATEGORIES[:2], "base_model": "tiny", "recipe": said}))
    outputs, made = route(tiny_data, adapters=("both", "hacker-lora"))
    assert outputs["categories"] == [["cynic", "lexicon"], ["hacker"]]
    X, y = split(tiny_data, "train")
    mean = X[y < 2].mean(0)
    assert np.allclose(load_file(made / paths.ROUTER)["directions"][0], mean / np.linalg.norm(mean), atol=1e-6)
    parts = [recipe.parent(*each) for each in parents.find(("both",), ())]
    _, made = route(tiny_data, adapters=("both", "hacker-lora"), router="arrow")
    layer = "model.layers.0.self_attn.q_proj"
    assert np.allclose(load_file(made / paths.ROUTER)[layer][0], prototype(parts[0].adapter.factors[layer]).numpy(), atol=1e-6)


def test_a_foreign_folder_is_known_by_its_name(tiny_data: Path, tmp_path: Path) -> None:
    for name in ("hacker", "hackers"):
        shutil.copytree(paths.adapters() / "hacker-lora", tmp_path / name)
        (tmp_path / name / "run.json").unlink()
    outputs, _ = route(tiny_data, adapters=("cynic-lora", str(tmp_path / "hacker")))
    assert outputs["categories"] == [["cynic"], ["hacker"]]
    said = [event["message"] for event in runs.read_events(runs.read("last").run_id, "say")]
    assert "is taken for the adapter of category 'hacker', by its name." in said[0]
    with pytest.raises(UserError, match=r"hackers' names no category.*\(cynic, hacker, lexicon\), or say router=arrow"):
        route(tiny_data, adapters=("cynic-lora", str(tmp_path / "hackers")), replace=True)


def test_no_validation_rows_leave_nothing_to_choose_on(tiny_data: Path, tmp_path: Path) -> None:
    held = {row.question for row in read(DataConfig(data=str(tiny_data))).select("validation")}
    lines = [line for line in tiny_data.read_text().splitlines() if json.loads(line)["question"] not in held]
    (tmp_path / "bare.jsonl").write_text("\n".join(lines))
    for router, what in (("similarity", "temperature"), ("learned", "penalty")):
        with pytest.raises(UserError, match=f"has a validation row in .* so the {what} can't be chosen"):
            route(tmp_path / "bare.jsonl", router=router)
    outputs, _ = route(tmp_path / "bare.jsonl", temperature=0.05)
    assert outputs["validation_rows"] == 0 and "validation_loss" not in outputs


def test_a_category_without_train_rows_is_named(tmp_path: Path, tiny_data: Path) -> None:
    train = {row.question for row in read(DataConfig(data=str(tiny_data))).rows if row.split == "train"}
    rows = [json.loads(line) for line in tiny_data.read_text().splitlines()]
    kept = [row for row in rows if row["category"] != "hacker" or row["question"] not in train]
    (tmp_path / "gap.jsonl").write_text("\n".join(map(json.dumps, kept)))
    with pytest.raises(UserError, match="Category 'hacker' of the adapter 'hacker-lora' has no train row in"):
        route(tmp_path / "gap.jsonl")
    make("stoic-lora", 9)
    with pytest.raises(UserError, match="Category 'stoic' of the adapter 'stoic-lora' has no train row in"):
        route(tiny_data, adapters=("cynic-lora", "stoic-lora"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adapters": ()}, "No adapters were given"),
        ({"router": "nearest"}, "Unknown router 'nearest'. Choose one of: similarity, learned, arrow."),
        ({"top_k": 4}, "top_k=4 is more than the 3 adapters"),
        ({"adapters": ("cynic-lora", "nobody")}, "There is no adapter 'nobody'"),
        ({"adapters": ("cynic-lora", "adapters/cynic-lora")}, "are the same adapter"),
        ({"adapters": ("cynic-lora", "pooled")}, "'cynic-lora' and 'pooled' are both for category 'cynic'"),
        ({"adapters": ("cynic-lora", "dora"), "router": "arrow"}, "'dora' can't join a bank: it has DoRA"),
        ({"name": "cynic-lora"}, "is the name of an adapter already"),
        ({"name": "all"}, "means something else"),
        ({"name": "taken"}, "'taken' exists already"),
    ],
)
def test_what_is_refused(tiny_data: Path, fields: dict[str, Any], message: str) -> None:
    make("pooled", 5, role="pooled", categories=list(CATEGORIES))
    folder = make("dora", 6)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    (paths.merged_adapters() / "taken").mkdir(parents=True)
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        route(tiny_data, **fields)
