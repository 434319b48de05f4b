"""What every merge strategy must fulfil in delta space, from PEFT folders of unequal ranks, scalings and layers."""

import pytest
import torch

from core import adapter, paths
from core.adapter import Adapter, Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import STRATEGIES

RANK = 13
"""The sum of the ranks of the three adapters."""
DROPPING = [name for name, row in STRATEGIES.items() if "density" in row.fields]
RANDOM = [name for name, row in STRATEGIES.items() if "seed" in row.fields]
WEIGHTS = (0.7, -0.4, 1.5)


def settings(strategy: str, density: float = 1.0, **fields) -> dict:
    """Of one merge; the name is made of what differs, so that merges of one test can stand side by side."""
    name = "-".join(str(value).replace(" ", "") for value in (strategy, density, *fields.values())).translate(str.maketrans("(),", "---"))
    dropped = {"density": density} if strategy in DROPPING else {}
    return {"strategy": strategy, "rank": RANK, "name": name.strip("-"), **dropped, **fields}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], bar: float = 1e-6) -> None:
    """Relative to each layer's largest entry. A layer that one of them lacks must be 0 in the other."""
    for layer in found.keys() | expected.keys():
        one, other = (deltas.get(layer, torch.zeros(1, dtype=torch.float64)) for deltas in (found, expected))
        assert float((one - other).abs().max()) <= bar * float(other.abs().max()), layer


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_adapter_of_weight_one_is_itself(strategy, unequal, merge, deltas):
    for n, folder in enumerate(unequal):
        _, merged = merge([folder], weights=(1,), **settings(strategy, name=f"m{n}"))
        assert_same(deltas(merged), deltas(folder))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_weights_of_zero_leave_the_others_alone(strategy, unequal, merge, deltas):
    _, merged = merge(unequal, weights=(1, 0, 0), **settings(strategy))
    assert_same(deltas(merged), deltas(unequal[0]))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("density", [1.0, 0.4])
def test_the_order_of_the_adapters_does_not_matter(strategy, density, unequal, merge, deltas):
    _, merged = merge(unequal, weights=WEIGHTS, **settings(strategy, density, name="one"))
    order = (2, 0, 1)
    _, permuted = merge([unequal[n] for n in order], weights=tuple(WEIGHTS[n] for n in order), **settings(strategy, density, name="two"))
    assert_same(deltas(permuted), deltas(merged))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("density", [1.0, 0.4])
def test_scaled_weights_scale_the_delta(strategy, density, unequal, merge, deltas):
    _, merged = merge(unequal, weights=WEIGHTS, **settings(strategy, density, name="one"))
    _, scaled = merge(unequal, weights=tuple(2.5 * weight for weight in WEIGHTS), **settings(strategy, density, name="two"))
    assert_same(deltas(scaled), {layer: 2.5 * delta for layer, delta in deltas(merged).items()})


@pytest.mark.parametrize("strategy", DROPPING)
def test_below_density_one_weights_of_zero_are_off_too(strategy, unequal, merge, deltas):
    _, merged = merge(unequal, weights=(0.6, 0, 0), **settings(strategy, 0.5, name="three"))
    _, alone = merge(unequal[:1], weights=(0.6,), **settings(strategy, 0.5, name="alone"))
    assert_same(deltas(merged), deltas(alone))
    if strategy != "sce":  # nothing to select by: one adapter is kept whole
        layer = "model.layers.0.self_attn.q_proj"
        assert float((deltas(alone)[layer] - 0.6 * deltas(unequal[0])[layer]).norm()) > 0.01


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_bits(strategy, unequal, merge):
    _, merged = merge(unequal, weights=WEIGHTS, **settings(strategy, 0.5, seed=3, name="one"))
    _, again = merge(unequal, weights=WEIGHTS, **settings(strategy, 0.5, seed=3, name="two"))
    assert (merged / adapter.WEIGHTS).read_bytes() == (again / adapter.WEIGHTS).read_bytes()
    _, other = merge(unequal, weights=WEIGHTS, **settings(strategy, 0.5, seed=4, name="three"))
    assert ((merged / adapter.WEIGHTS).read_bytes() != (other / adapter.WEIGHTS).read_bytes()) == (strategy in RANDOM)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_how_a_delta_is_written_does_not_matter(strategy, unequal, merge, deltas):
    """rsLoRA, ranks and alpha patterns are respected: the same deltas at scale 1 give the same merge."""
    plain = []
    for folder in unequal:
        read = adapter.read(folder)
        factors = {layer: Factor(factor.A, factor.B * factor.scale, 1.0) for layer, factor in read.factors.items()}
        plain.append(adapter.write(Adapter(read.name, factors, read.base_model), paths.adapters() / read.name))
    _, merged = merge(unequal, weights=WEIGHTS, **settings(strategy, name="one"))
    _, same = merge(plain, weights=WEIGHTS, **settings(strategy, name="two"))
    assert_same(deltas(same), deltas(merged))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_adapters_at_half_weight_each_are_one(strategy, unequal, merge, deltas, tmp_path):
    """One strength in all strategies: at weights that add up to 1, agreement gives the thing itself (TSV keeps one direction of two)."""
    twin = adapter.read(unequal[0])
    adapter.write(Adapter("twin", twin.factors, twin.base_model), tmp_path / "twin")
    _, merged = merge([unequal[0], tmp_path / "twin"], weights=(0.5, 0.5), **settings(strategy))
    share = 0.5 if strategy == "tsv" else 1.0
    assert_same(deltas(merged), {layer: share * delta for layer, delta in deltas(unequal[0]).items()})


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0, 3.0, 4.0)])
def test_short_and_long_weights_are_refused(strategy, weights):
    with pytest.raises(UserError, match=f"{len(weights)} weights were given for 3 adapters. Give one weight per adapter"):
        MergeConfig(adapters=("a", "b", "c"), weights=weights, strategy=strategy)


@pytest.mark.parametrize("strategy", DROPPING)
def test_a_missing_density_is_refused(strategy):
    with pytest.raises(UserError, match=f"Strategy {strategy} keeps a share .* density was not given"):
        MergeConfig(adapters=("a", "b"), strategy=strategy)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in DROPPING])
def test_a_density_that_would_change_nothing_is_refused(strategy):
    with pytest.raises(UserError, match=f"Strategy {strategy} keeps every entry, so density=0.5 would change nothing"):
        MergeConfig(adapters=("a", "b"), strategy=strategy, density=0.5)
