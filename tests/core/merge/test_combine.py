"""What leaves `combine` has numbers that its files hold, at least one rank, and something in it."""

from pathlib import Path

import pytest
import torch

from core import adapter, paths
from core.adapter import Adapter, Factor
from core.errors import UserError
from core.merge import STRATEGIES


@pytest.fixture
def two(peft_adapter) -> list[Path]:
    return [peft_adapter(f"f{n}", seed=n) for n in range(2)]


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": (1e39, 1)},
        {"weights": (1e300, 1)},
        {"weights": (1e300, 1e300), "strategy": "svd"},
        {"weights": (3.4e38, 1), "dtype": "bf16"},
        {"strategy": "ties", "density": 0.5, "ties_lambda": 1e300},
        {"strategy": "sce", "density": 0.5, "weights": (1e200, 1e200)},
        {"strategy": "linear", "space": "factor", "weights": (1e300, 1)},
    ],
)
def test_numbers_beyond_the_files_precision_are_refused_before_anything_is_replaced(fields, two, merge):
    _, folder = merge(two, name="good")
    before = (folder / adapter.WEIGHTS).read_bytes()
    sentence = r"delta of layer model\.layers\.\d\S+ would hold numbers beyond what (fp32|bf16) holds .* smaller weights"
    with pytest.raises(UserError, match=sentence):
        merge(two, name="good", replace=True, **fields)
    assert (folder / adapter.WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("strategy", ["linear", "svd", "tsv", "knots"])
def test_adapters_with_huge_entries_are_refused_by_layer(strategy, home, merge):
    for n in range(2):
        huge = {"model.layers.0.self_attn.q_proj": Factor(torch.full((2, 16), (n + 1) * 1e25), torch.full((16, 2), 1e25), 1.0)}
        adapter.write(Adapter(f"h{n}", huge, "base"), paths.adapters() / f"h{n}")
    density = {"density": 0.5} if strategy == "knots" else {}
    with pytest.raises(UserError, match=r"delta of layer model\.layers\.0\.self_attn\.q_proj would hold numbers beyond what fp32"):
        merge(["h0", "h1"], strategy=strategy, **density)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_delta_of_zeros_is_merged_by_every_strategy(strategy, home, merge):
    zeros = {layer: Factor(torch.zeros(2, 16), torch.zeros(16, 2), 1.0) for layer in ("model.layers.0.a", "model.layers.1.a")}
    adapter.write(Adapter("zero", zeros, "base"), paths.adapters() / "zero")
    density = {"density": 0.5} if "density" in STRATEGIES[strategy].fields else {}
    _, folder = merge(["zero"], strategy=strategy, weights=(1e300,), **density)
    made = adapter.read(folder).factors
    assert set(made) == set(zeros)
    assert all(factor.rank >= 1 and not (factor.B @ factor.A).any() for factor in made.values())


@pytest.mark.parametrize("strategy", ["ties", "magnitude_prune", "breadcrumbs", "sce", "knots", "dare_linear"])
def test_a_density_that_keeps_nothing_is_refused(strategy, two, merge):
    with pytest.raises(UserError, match="density=1e-12 keeps no entry of any delta, so the merge would be the base model"):
        merge(two, strategy=strategy, density=1e-12)
    assert not list(paths.merged_adapters().glob("*"))


def test_deltas_that_cancel_are_no_fault_of_density(home, merge):
    B = torch.ones(16, 2)
    for n, sign in enumerate((1.0, -1.0)):
        factors = {"model.layers.0.a": Factor(torch.arange(32.0).view(2, 16), sign * B, 1.0)}
        adapter.write(Adapter(f"c{n}", factors, "base"), paths.adapters() / f"c{n}")
    _, folder = merge(["c0", "c1"], strategy="ties", density=0.5)
    assert not adapter.read(folder).factors["model.layers.0.a"].B.any()
