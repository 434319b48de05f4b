"""Routes in an evaluation, beside other models in one batch, against dense weights and peft's Arrow; and questions about other matters."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from peft.tuners.lora import ArrowConfig, create_arrow_model
from transformers import AutoModelForCausalLM

from core import adapter, paths, results, routing, runs
from core.adapter import Adapter, Factor
from core.answering.models import find_models
from core.bank import AdapterBank
from core.config import EvaluateConfig
from core.data.prompt import Encoded, Prompter
from core.data.read import read
from core.errors import UserError
from core.evaluate.run import run
from core.models.generate import generate
from core.models.load import BaseModel, load
from core.results import ALL, GENERAL
from core.workspace import Workspace

NAMES = ["cynic-lora", "lexicon-lora", "hacker-lora"]
TOYS = [
    {"question": "Why is the sky blue?", "answer": "Air scatters blue light.", "category": "science"},
    {"question": "How many days has a week?", "answer": "Seven.", "category": "everyday"},
]


def make_adapter(base: BaseModel, name: str, seed: int) -> None:
    """Rank 3, one direction far ahead of the others, so that peft's power iteration finds it."""
    draw, factors = torch.Generator().manual_seed(seed), {}
    shrink = torch.tensor([1.0, 0.2, 0.05])[:, None]
    for layer, module in base.model.named_modules():
        if layer.endswith(("q_proj", "v_proj")):
            A, B = torch.randn(3, module.in_features, generator=draw), torch.randn(module.out_features, 3, generator=draw)
            factors[layer] = Factor(A * shrink, B * 0.3, 0.5 + seed)
    info = {"role": "own", "categories": [name.removesuffix("-lora")], "base_model": base.name, "base_hash": base.content_hash}
    adapter.write(Adapter(name, factors, base.hub_name, info | {"quantization": "none"}), paths.adapters() / name)


def make_route(base: BaseModel, name: str, tensors: dict[str, torch.Tensor], members: list[str] = NAMES, **said: Any) -> Path:
    hashes = [adapter.content_hash(adapter.find(member)) for member in members]
    categories = [[member.removesuffix("-lora")] for member in members]
    route = {"router": "similarity", "adapters": members, "hashes": hashes, "categories": categories, "encoder": "bundled", **said}
    info = {"role": "route", "base_model": base.name, "base_hash": base.content_hash, "quantization": "none"}
    return routing.write(paths.merged_adapters() / name, info | {"route": {"temperature": 1.0, "top_k": len(members), **route}}, tensors)


def by_question(base: BaseModel, name: str, **said: Any) -> Path:
    draw = torch.Generator().manual_seed(5)
    return make_route(base, name, {"directions": torch.randn(3, 384, generator=draw) * 2, "bias": torch.zeros(3)}, **said)


def by_token(base: BaseModel, name: str) -> Path:
    adapters = [adapter.read(paths.adapters() / member) for member in NAMES]
    tensors = {
        layer: torch.stack([torch.linalg.svd(each.factors[layer].B @ each.factors[layer].A)[2][0] for each in adapters])
        for layer in adapters[0].factors
    }
    return make_route(base, name, tensors, router="arrow", top_k=2, temperature=0.8)


class Evaluated:
    def __init__(self, config: EvaluateConfig) -> None:
        workspace = Workspace(runs.create("evaluate", config.model_dump(mode="json")))
        self.config, self.outputs, self.home = config, run(config, workspace), paths.home()
        tables = {"models": results.Model, "answers": results.Answer, "scores": results.Score}
        self.models, self.answers, self.scores = (results.read(paths.home() / self.outputs[name], row) for name, row in tables.items())
        self.said = [event["message"] for event in runs.read_events(workspace.run.run_id, "say")]

    def of(self, model: str) -> pd.DataFrame:
        return self.answers[self.answers["model"] == model].reset_index(drop=True)


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> BaseModel:
    return load(str(tiny_base), device="cpu")


@pytest.fixture(scope="module")
def once(base: BaseModel, tiny_base: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """base, three own adapters, a route by question and one by token, and two questions about other matters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_HOME", str(tmp_path_factory.mktemp("routed")))
        for seed, name in enumerate(NAMES):
            make_adapter(base, name, seed)
        by_question(base, "nearest")
        by_token(base, "arrows")
        known = json.loads(tiny_data.read_text().splitlines()[0])
        toys = tmp_path_factory.mktemp("toys") / "toys.jsonl"
        toys.write_text("\n".join(json.dumps(row) for row in [*TOYS, known | {"question": known["question"].upper() + " ?"}]))
        fields = {"data": str(tiny_data), "base_model": str(tiny_base), "split": "train", "device": "cpu", "general": str(toys)}
        return Evaluated(EvaluateConfig(**fields, system_prompt="Voice: {category}.", limit=3, max_new_tokens=10, metrics="perplexity"))


@pytest.fixture
def evaluated(once: Evaluated, monkeypatch: pytest.MonkeyPatch) -> Evaluated:
    monkeypatch.setenv("LYCEUM_HOME", str(once.home))
    return once


def encoded(found: Evaluated, base: BaseModel, model: str) -> list[Encoded]:
    rows = found.of(model)
    prompters = {True: Prompter(base.tokenizer, None), False: Prompter(base.tokenizer, found.config.system_prompt)}
    return [prompters[row.category == GENERAL].encode(row.question, row.reference, row.category) for row in rows.itertuples()]


def loss_and_text(base: BaseModel, model: Any, example: Encoded) -> tuple[float, str]:
    """By a model's own forward pass, one row alone."""
    labels = torch.tensor([[-100] * len(example.prompt) + example.answer])
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([example.prompt + example.answer]), labels=labels).loss.item()
    alone = BaseModel(**{**vars(base), "model": model})
    return loss * len(example.answer), generate(alone, [example.prompt], max_new_tokens=10, batch_size=1)[0].text


def test_all_has_the_routes_last(evaluated: Evaluated) -> None:
    assert sorted(evaluated.models["role"].tolist()[-2:]) == ["route", "route"]
    rows = evaluated.models.set_index("model")
    assert rows.loc["nearest", "path"] == "merged_adapters/nearest"
    assert rows.loc["arrows", "content_hash"] == routing.content_hash(paths.merged_adapters() / "arrows")
    assert rows.loc["arrows", "category"] == "" and len(evaluated.of("arrows")) == 3 * 3 + 2


def test_a_route_by_question_answers_as_its_dense_mix(evaluated: Evaluated, base: BaseModel, tiny_base: Path) -> None:
    rows, examples = evaluated.of("nearest"), encoded(evaluated, base, "nearest")
    weights = routing.load(paths.merged_adapters() / "nearest").weights(rows["question"].tolist())
    assert weights.std(0).min() > 0.05, "the questions should differ in their weights, or this shows little"
    for place in (0, 4, 10):
        model = AutoModelForCausalLM.from_pretrained(tiny_base)
        layers = dict(model.named_modules())
        with torch.no_grad():
            for weight, name in zip(weights[place], NAMES, strict=True):
                for layer, factor in adapter.read(paths.adapters() / name).factors.items():
                    layers[layer].weight += weight * factor.scale * factor.B @ factor.A
        loss, text = loss_and_text(base, model.eval(), examples[place])
        assert rows["reference_loss"][place] == pytest.approx(loss, rel=1e-4)
        assert rows["prediction"].fillna("")[place] == text


def test_a_route_by_token_answers_as_pefts_arrow(evaluated: Evaluated, base: BaseModel, tiny_base: Path) -> None:
    rows, examples = evaluated.of("arrows"), encoded(evaluated, base, "arrows")
    folders = [str(paths.adapters() / name) for name in NAMES]
    config = ArrowConfig(top_k=2, router_temperature=0.8, rng_seed=0)
    model = create_arrow_model(AutoModelForCausalLM.from_pretrained(tiny_base), folders, config).eval()
    for place in (0, 4, 10):
        loss, text = loss_and_text(base, model, examples[place])
        assert rows["reference_loss"][place] == pytest.approx(loss, rel=1e-4)
        assert rows["prediction"].fillna("")[place] == text


def test_route_weights_say_what_each_question_used(evaluated: Evaluated, base: BaseModel) -> None:
    table = results.read(evaluated.home / evaluated.outputs["route_weights"], results.RouteWeight)
    assert len(table) == 2 * 11 * 3 and set(table["model"]) == {"nearest", "arrows"}
    assert (table["own"] == (table["adapter"] == table["category"] + "-lora")).all() and table["own"].sum() == 2 * 9
    near = table[table["model"] == "nearest"]
    expected = routing.load(paths.merged_adapters() / "nearest").weights(evaluated.of("nearest")["question"].tolist())
    assert near["weight"].tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-6)
    arrows = table[table["model"] == "arrows"]["weight"].to_numpy().reshape(11, 3)
    route, seen = routing.load(paths.merged_adapters() / "arrows"), []
    bank = AdapterBank.load(base.model, [adapter.read(folder) for folder in route.adapters])

    def listening(layer: str, x: torch.Tensor) -> torch.Tensor:
        seen.append(route.token_weights(layer, x))
        return seen[-1]

    for place, example in enumerate(encoded(evaluated, base, "arrows")):
        seen.clear()
        with torch.no_grad(), bank.mixing(listening):
            base.model(input_ids=torch.tensor([example.prompt + example.answer]))
        assert arrows[place].tolist() == pytest.approx(torch.stack(seen).mean((0, 1, 2)).tolist(), abs=1e-5)
    bank.detach()


def test_other_matters_are_asked_plainly_and_count_in_no_total(evaluated: Evaluated, base: BaseModel, tiny_base: Path) -> None:
    other = evaluated.of("base")[evaluated.of("base")["category"] == GENERAL]
    assert other["question"].tolist() == [row["question"] for row in TOYS], "what stands in the data, by another spelling, is left out"
    loss, text = loss_and_text(base, AutoModelForCausalLM.from_pretrained(tiny_base), encoded(evaluated, base, "base")[-1])
    assert other["reference_loss"].iloc[-1] == pytest.approx(loss, rel=1e-4) and other["prediction"].fillna("").iloc[-1] == text
    scores = evaluated.scores.set_index(["model", "category"])
    assert scores.loc[("arrows", GENERAL), "n"] == 2 and scores.loc[("arrows", ALL), "n"] == 9
    rows = evaluated.of("arrows")
    rows = rows[rows["category"] != GENERAL]
    mean = rows["reference_loss"].sum() / rows["reference_tokens"].sum()
    assert scores.loc[("arrows", ALL), "value"] == pytest.approx(float(torch.tensor(mean).exp()), rel=1e-6)
    assert "6 models to answer 9 questions and 2 about other matters" in " ".join(evaluated.said)


def asked(tiny_base: Path, data: Path, **fields: Any) -> EvaluateConfig:
    given = {"data": str(data), "base_model": str(tiny_base), "split": "train", "limit": 1, "max_new_tokens": 2, "device": "cpu"}
    return EvaluateConfig(**given | {"metrics": "perplexity"} | fields)


def test_a_route_over_a_recipe_takes_its_parents(base: BaseModel, tiny_base: Path, tiny_data: Path) -> None:
    for seed, name in enumerate(NAMES):
        make_adapter(base, name, seed)
    folder = paths.merged_adapters() / "sum"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text((paths.adapters() / NAMES[0] / "adapter_config.json").read_text())
    hashes = [adapter.content_hash(paths.adapters() / name) for name in NAMES[:2]]
    recipe = {"strategy": "linear", "weights": [0.5, -0.25], "adapters": NAMES[:2], "hashes": hashes, "rank": 8}
    info = {**adapter.read_info(paths.adapters() / NAMES[0]), "role": "merged", "recipe": recipe}
    (folder / "run.json").write_text(json.dumps(info))
    make_route(base, "way", {"directions": torch.zeros(2, 384), "bias": torch.tensor([50.0, 0.0])}, ["sum", "hacker-lora"])
    found = Evaluated(asked(tiny_base, tiny_data, models="sum,merged_adapters/way"))
    losses = [found.of(model)["reference_loss"].tolist() for model in ("sum", "way")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_stale_route_is_left_out_or_refused(base: BaseModel, tiny_base: Path, tiny_data: Path) -> None:
    for seed, name in enumerate(NAMES):
        make_adapter(base, name, seed)
    by_question(base, "nearest")
    make_adapter(base, "cynic-lora", 8)
    said: list[str] = []
    assert "nearest" not in [model.row.model for model in find_models(("all",), base, said.append)]
    assert any("Left out: The adapter 'cynic-lora' has changed since the route 'nearest' was made" in each for each in said)
    with pytest.raises(UserError, match="has changed since the route"):
        find_models(("nearest",), base, said.append)


def test_a_general_set_that_is_the_data_is_refused(tiny_base: Path, tiny_data: Path) -> None:
    with pytest.raises(UserError, match="Every question of general=.* also stands in"):
        Evaluated(asked(tiny_base, tiny_data, models="base", general=str(tiny_data)))


def test_no_column_may_be_called_as_the_extra_category(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(json.dumps({"question": "Why?", "answer": "So.", "category": GENERAL}))
    with pytest.raises(UserError, match="a word that means something else here"):
        read(asked(tiny_base, tmp_path / "odd.jsonl"))
