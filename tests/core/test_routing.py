"""Using a route: weights for questions and tokens against formulas written out, and token routing against peft's own Arrow."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.lora import ArrowConfig, create_arrow_model
from transformers import AutoModelForCausalLM

from core import adapter, paths, routing
from core.adapter import Adapter, Factor
from core.bank import AdapterBank
from core.config import RouteConfig
from core.errors import UserError
from core.merge.arrow import arrow
from core.merge.parents import Parent
from core.models.embed import Encoder
from core.routing import Route
from core.runs import create
from core.workspace import Workspace

LAYERS = [f"model.layers.{block}.self_attn.{kind}" for block in (0, 1) for kind in ("q_proj", "v_proj")]
IDS = torch.randint(5, 400, (3, 17), generator=torch.Generator().manual_seed(1))


def leading(name: str, seed: int, base: Path) -> Adapter:
    """A rank-4 adapter each of whose deltas has one direction far ahead of the others, so that peft's power iteration finds it."""
    draw = torch.Generator().manual_seed(seed)
    shrink = torch.tensor([1.0, 0.2, 0.05, 0.01])
    factors = {}
    for layer in LAYERS:
        out = 64 if layer.endswith("q_proj") else 32
        A, B = torch.randn(4, 64, generator=draw), torch.randn(out, 4, generator=draw)
        factors[layer] = Factor(A * shrink[:, None], B * 0.3, 0.5 + seed)
    return Adapter(name, factors, str(base), {"role": "own", "categories": [name], "base_model": str(base)})


def a_route(tensors: dict[str, torch.Tensor], k: int, **fields: object) -> Route:
    given = {"temperature": 1.0, "top_k": k, "encoder": "bundled"} | fields
    return Route("a", [Path(str(n)) for n in range(k)], [[] for _ in range(k)], tensors=tensors, **given)


def published(tensors: dict[str, torch.Tensor], names: list[str], name: str = "way", **said: object) -> Path:
    """A route's folder under merged_adapters/."""
    route = {
        **{"router": "similarity", "adapters": names, "hashes": [adapter.content_hash(adapter.find(each)) for each in names]},
        **{"categories": [[each] for each in names], "temperature": 0.5, "top_k": len(names), "encoder": "bundled", **said},
    }
    return routing.write(paths.merged_adapters() / name, {"role": "route", "route": route}, tensors)


@pytest.fixture
def three(tiny_base: Path) -> list[str]:
    for seed, name in enumerate(("cynic", "lexicon", "hacker")):
        adapter.write(leading(name, seed, tiny_base), paths.adapters() / name)
    return ["cynic", "lexicon", "hacker"]


def test_only_the_largest_share_the_weight() -> None:
    logits = torch.tensor([[2.0, 1.0, 4.0], [-1.0, -1.5, -9.0]])
    weights = routing.largest(logits, 2.0, 2)
    high, low = np.exp([4 / 2, 2 / 2]) / np.exp([4 / 2, 2 / 2]).sum()
    assert weights[0].tolist() == pytest.approx([low, 0, high])
    assert weights.sum(-1).tolist() == pytest.approx([1, 1]) and weights[1, 2] == 0
    assert torch.allclose(routing.largest(logits, 0.7, 3), torch.softmax(logits / 0.7, -1))


def test_weights_of_questions_are_the_formula_on_their_embeddings() -> None:
    questions = ["What is anger?", "How do I exit vi?", "What is anger?"]
    draw = np.random.default_rng(3)
    D, b = draw.normal(size=(4, 384)), draw.normal(size=4)
    route = a_route({"directions": torch.tensor(D).float(), "bias": torch.tensor(b).float()}, 4, temperature=0.3)
    logits = (Encoder("bundled").embed(questions).astype(float) @ D.T + b) / 0.3
    expected = np.exp(logits - logits.max(1, keepdims=True))
    assert np.allclose(route.weights(questions).numpy(), expected / expected.sum(1, keepdims=True), atol=1e-5)
    assert not route.by_token


def test_an_adapter_without_a_layer_takes_no_part_there() -> None:
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    route = a_route({"here": prototypes}, 3, top_k=2)
    x = torch.tensor([[[3.0, -1.0], [0.0, 0.0]]])
    weights = route.token_weights("here", x)
    assert weights[0, 0].tolist() == pytest.approx([np.e**3 / (np.e**3 + np.e), 0, np.e / (np.e**3 + np.e)])
    assert weights[0, 1].tolist() == [0.5, 0, 0.5], "a token that no prototype reads is shared by those that are there"
    assert route.token_weights("elsewhere", x).tolist() == [[[0, 0, 0], [0, 0, 0]]] and route.by_token


@pytest.mark.parametrize(("top_k", "temperature"), [(1, 1.0), (2, 0.6), (3, 1.7)])
def test_token_routing_equals_pefts_arrow(tiny_base: Path, three: list[str], top_k: int, temperature: float) -> None:
    folders = [paths.adapters() / name for name in three]
    members = [Parent(folder.name, folder, 1.0, "", adapter.read(folder)) for folder in folders]
    fit = arrow(members, RouteConfig(adapters=tuple(three), router="arrow", temperature=temperature), Workspace(create("route", {})))
    route = a_route(fit.tensors, 3, top_k=top_k, temperature=fit.temperature)
    route = Route(**vars(route) | {"tensors": {layer: tensor.float() for layer, tensor in fit.tensors.items()}})
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        base = model(input_ids=IDS).logits
        bank = AdapterBank.load(model, [member.adapter for member in members])
        with bank.mixing(route.token_weights):
            ours = model(input_ids=IDS).logits
        bank.detach()
        config = ArrowConfig(top_k=top_k, router_temperature=temperature, rng_seed=0)
        theirs = create_arrow_model(AutoModelForCausalLM.from_pretrained(tiny_base), [str(folder) for folder in folders], config)
        expected = theirs(input_ids=IDS).logits
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (expected - base).abs().max() > 0.1


def test_a_written_route_is_read_as_it_was(three: list[str]) -> None:
    tensors = {"directions": torch.randn(3, 384), "bias": torch.randn(3)}
    folder = published(tensors, three)
    route = routing.load(folder)
    assert routing.find("way") == folder and routing.is_route(folder) and routing.find("cynic") is None
    assert [place.name for place in route.adapters] == three and route.categories == [[name] for name in three]
    assert (route.name, route.temperature, route.top_k) == ("way", 0.5, 3)
    assert torch.equal(route.tensors["directions"], tensors["directions"]) and sorted(route.tensors) == ["bias", "directions"]


def test_its_hash_is_what_decides_the_weights(three: list[str]) -> None:
    tensors = {"directions": torch.randn(3, 384), "bias": torch.zeros(3)}
    first = routing.content_hash(published(tensors, three))
    assert routing.content_hash(published(tensors, three, "twin")) == first
    assert routing.content_hash(published(tensors, three, "warm", temperature=0.6)) != first
    assert routing.content_hash(published(tensors | {"bias": torch.ones(3)}, three, "other")) != first


def test_what_no_longer_fits_is_refused(tiny_base: Path, three: list[str]) -> None:
    folder = published({"directions": torch.randn(3, 384), "bias": torch.zeros(3)}, three)
    adapter.write(leading("lexicon", 7, tiny_base), paths.adapters() / "lexicon")
    with pytest.raises(UserError, match="'lexicon' has changed since the route 'way' was made"):
        routing.load(folder)
    folder = published({"directions": torch.randn(3, 384), "bias": torch.zeros(3)}, three, "torn")
    (folder / paths.ROUTER).write_bytes((folder / paths.ROUTER).read_bytes()[:40])
    with pytest.raises(UserError, match="damaged or half-copied"):
        routing.load(folder)
    (folder / "run.json").write_text(json.dumps({"role": "merged"}))
    with pytest.raises(UserError, match="no run.json of a route"):
        routing.load(folder)
