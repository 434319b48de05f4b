"""Strategies on full deltas, against dense float64 readings of their papers in numpy, entry by entry."""

import numpy as np
import pytest
import torch

from core import adapter
from core.adapter import Factor
from core.config import MergeConfig
from core.merge import sparse
from core.merge.layer import Layer
from core.merge.recipe import parent

DRAW = torch.Generator().manual_seed(5)
RANKS = (3, 7, 5)
FACTORS = [
    Factor(torch.randn(r, 24, generator=DRAW), torch.randn(18, r, generator=DRAW), s) for r, s in zip(RANKS, (2.0, 0.5, 1.1), strict=True)
]
WEIGHTS = [0.7, -1.3, 0.4]


def layer(factors=FACTORS, weights=WEIGHTS, name="model.layers.0.self_attn.q_proj") -> Layer:
    return Layer(name, factors, weights, [f"hash-{n}" for n in range(len(factors))])


def config(strategy: str, density: float, **fields) -> MergeConfig:
    return MergeConfig(adapters=("a",), strategy=strategy, density=density, **fields)


def dense(factors=FACTORS) -> list[np.ndarray]:
    return [factor.scale * factor.B.double().numpy() @ factor.A.double().numpy() for factor in factors]


def top(values: np.ndarray, count: int) -> np.ndarray:
    """True at the `count` largest magnitudes."""
    mask = np.zeros(values.size, bool)
    mask[np.argsort(-np.abs(values).ravel(), kind="stable")[:count]] = True
    return mask.reshape(values.shape)


def ties_paper(deltas, weights, strength) -> np.ndarray:
    """Algorithm 1 after trimming, entry by entry: gamma = sgn(sum), the mean over those of that sign, times lambda."""
    merged = np.zeros_like(deltas[0])
    for place in np.ndindex(merged.shape):
        votes = [weight * delta[place] for weight, delta in zip(weights, deltas, strict=True)]
        agreeing = [n for n, vote in enumerate(votes) if np.sign(vote) == np.sign(sum(votes)) != 0]
        if agreeing:
            merged[place] = strength * sum(votes[n] for n in agreeing) / sum(abs(weights[n]) for n in agreeing)
    return merged


def masks(layer: Layer, seed: int, density: float) -> list[np.ndarray]:
    """The random numbers of the strategies, drawn here again."""
    return [torch.rand(layer.shape, generator=generator).numpy() < density for generator in layer.generators(seed)]


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("density", [0.03, 0.3, 0.77, 1.0])
def test_ties(density):
    trimmed = [delta * top(delta, int(density * delta.size)) for delta in dense()]
    close(sparse.ties(layer(), config("ties", density)), ties_paper(trimmed, WEIGHTS, 2.4))
    with_lambda = sparse.ties(layer(), config("ties", density, ties_lambda=0.9))
    close(with_lambda, ties_paper(trimmed, WEIGHTS, 0.9))


@pytest.mark.parametrize("density", [0.001, 0.5, 1.0])
def test_magnitude_prune(density):
    trimmed = [delta * top(delta, int(density * delta.size)) for delta in dense()]
    close(sparse.magnitude_prune(layer(), config("magnitude_prune", density)), sum(w * d for w, d in zip(WEIGHTS, trimmed, strict=True)))


@pytest.mark.parametrize("density", [0.2, 0.9])
def test_dare(density):
    dropped = [delta * mask / density for delta, mask in zip(dense(), masks(layer(), 6, density), strict=True)]
    close(sparse.dare_linear(layer(), config("dare_linear", density, seed=6)), sum(w * d for w, d in zip(WEIGHTS, dropped, strict=True)))
    close(sparse.dare_ties(layer(), config("dare_ties", density, seed=6)), ties_paper(dropped, WEIGHTS, 2.4))
    close(sparse.dare_ties(layer(), config("dare_ties", density, seed=6, ties_lambda=0.5)), ties_paper(dropped, WEIGHTS, 0.5))


@pytest.mark.parametrize("strategy", ["dare_linear", "dare_ties", "della"])
def test_random_entries_are_kept_as_often_as_density_says_and_right_on_average(strategy):
    one = layer(FACTORS[:1], [1.0])
    drawn = [getattr(sparse, strategy)(one, config(strategy, 0.3, seed=seed)) for seed in range(200)]
    kept = torch.stack([(each != 0).double() for each in drawn])
    assert float(kept.mean()) == pytest.approx(0.3, abs=0.01)
    exact = torch.from_numpy(dense()[0])
    assert float((torch.stack(drawn).mean(0) - exact).norm() / exact.norm()) < 4 * (0.7 / 0.3 / 200) ** 0.5


def test_random_entries_depend_on_seed_adapter_and_layer_alone():
    def kept(layer: Layer, seed: int = 0) -> torch.Tensor:
        return sparse.dare_linear(layer, config("dare_linear", 0.5, seed=seed)) != 0

    one = Layer("a", FACTORS[:1], [1.0], ["hash-0"])
    assert torch.equal(kept(one), kept(Layer("a", FACTORS[:1], [-2.0], ["hash-0"])))
    for other in (Layer("b", FACTORS[:1], [1.0], ["hash-0"]), Layer("a", FACTORS[:1], [1.0], ["hash-1"])):
        assert 0.3 < float((kept(one) != kept(other)).double().mean()) < 0.7
    assert not torch.equal(kept(one), kept(one, seed=1))


def test_della_keeps_by_rank_in_the_row():
    delta = torch.tensor([[0.1, -4.0, 2.0, 0.0, 3.0], [5.0, 4.0, -3.0, 2.0, 1.0]])
    chances = sparse.keep_chances(delta.double(), 0.6, 0.4)
    expected = [[0.52, 0.76, 0.6, 0.44, 0.68], [0.76, 0.68, 0.6, 0.52, 0.44]]  # 0.4 + 0.4 / 5 (rank - 1/2), rank from 1
    np.testing.assert_allclose(chances.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("density", "epsilon"), [(0.05, 0.9), (0.97, 0.5), (1.0, 0.1), (0.5, 0.0)])
def test_della_chances_stay_chances(density, epsilon):
    chances = sparse.keep_chances(torch.randn(7, 11, dtype=torch.float64), density, epsilon)
    assert float(chances.min()) > 0 and float(chances.max()) <= 1
    np.testing.assert_allclose(chances.mean(1).numpy(), density, rtol=1e-12)
    assert density < 1 or bool((chances == 1).all())


def test_della():
    kept = []
    for delta, generator in zip(dense(), layer().generators(2), strict=True):
        ranks = np.abs(delta).argsort(1).argsort(1) + 1
        chances = 0.4 - 0.3 / 2 + 0.3 / delta.shape[1] * (ranks - 0.5)
        kept.append(delta * (torch.rand(delta.shape, generator=generator).numpy() < chances) / chances)
    close(sparse.della(layer(), config("della", 0.4, della_epsilon=0.3, seed=2)), ties_paper(kept, WEIGHTS, 2.4))


@pytest.mark.parametrize(("density", "gamma"), [(0.5, 0.1), (0.95, 0.2), (1.0, 0.3), (0.4, 0.0)])
def test_breadcrumbs(density, gamma):
    expected = np.zeros(layer().shape)
    for delta, weight in zip(dense(), WEIGHTS, strict=True):
        order, count = np.argsort(-np.abs(delta).ravel()), int(density * delta.size)
        first = min(int(gamma * delta.size), delta.size - count)
        kept = np.zeros(delta.size)
        kept[order[first : first + count]] = delta.ravel()[order[first : first + count]]
        expected += weight * kept.reshape(delta.shape)
    close(sparse.breadcrumbs(layer(), config("breadcrumbs", density, breadcrumbs_gamma=gamma)), expected)


@pytest.mark.parametrize("density", [0.2, 1.0])
def test_sce(density):
    votes = np.stack([weight * delta for weight, delta in zip(WEIGHTS, dense(), strict=True)])
    selected = votes * top(votes.var(0), int(density * votes[0].size))
    energies = (selected**2).sum((1, 2))
    elected = np.sign(selected.sum(0))
    agree = (np.sign(selected) == elected) & (elected != 0)
    unweighted = selected / np.abs(WEIGHTS)[:, None, None]
    shares = (energies[:, None, None] * agree).sum(0)
    expected = 2.4 * (energies[:, None, None] * agree * unweighted).sum(0) / np.where(shares > 0, shares, 1)
    close(sparse.sce(layer(), config("sce", density)), expected)


def test_sce_selects_nothing_where_adapters_do_not_differ():
    twins = layer([FACTORS[0], FACTORS[0], FACTORS[0]], [0.2, 0.2, 0.2])
    assert float(sparse._variance(twins).max()) == 0


def test_where_votes_cancel_there_is_no_sign_in_any_order():
    """0.1 + 0.2 - 0.3 is not 0 in floating point, and has another sign in another order."""
    same = [FACTORS[0]] * 3
    for weights in ([0.1, 0.2, -0.3], [-0.3, 0.2, 0.1], [1.0, -0.5, -0.5]):
        assert float(sparse.ties(layer(same, weights), config("ties", 1.0)).abs().max()) == 0


def test_an_outvoted_adapter_does_not_count():
    plus, minus = Factor(torch.ones(1, 2), torch.ones(3, 1), 1.0), Factor(torch.ones(1, 2), torch.ones(3, 1), -4.0)
    merged = sparse.ties(layer([plus, plus, minus], [1.0, 3.0, 0.5]), config("ties", 1.0))
    assert torch.equal(merged, torch.full((3, 2), 4.5, dtype=torch.float64))  # (1 + 3) / (1 + 3) x 4.5


def test_largest_keeps_exactly_so_many_among_equals():
    values = torch.tensor([[1.0, 3.0, 1.0], [1.0, 0.0, 1.0]])
    assert sparse.largest(values, 3).tolist() == [[True, True, True], [False, False, False]]
    assert [int(sparse.largest(values, count).sum()) for count in range(7)] == list(range(7))


@pytest.mark.parametrize("strategy", ["ties", "dare_linear", "dare_ties", "magnitude_prune"])
@pytest.mark.parametrize("rank", [2, 9])
def test_the_folder_is_the_best_approximation_at_its_rank(strategy, rank, unequal, merge, deltas):
    """The strategy's whole result is made again in numpy from the files, layer by layer, and cut by a dense SVD."""
    parents = [parent(folder.name, folder, weight) for folder, weight in zip(unequal, WEIGHTS, strict=True)]
    outputs, folder = merge(unequal, weights=tuple(WEIGHTS), strategy=strategy, density=0.6, rank=rank, seed=8)
    found, lost, energy = deltas(folder), 0.0, 0.0
    for name in found:
        having = [each for each in parents if name in each.adapter.factors]
        weights = [each.weight for each in having]
        made = dense([each.adapter.factors[name] for each in having])
        if strategy.startswith("dare"):
            hashes = [adapter.content_hash(each.folder) for each in having]
            one = Layer(name, [each.adapter.factors[name] for each in having], weights, hashes)
            made = [delta * mask / 0.6 for delta, mask in zip(made, masks(one, 8, 0.6), strict=True)]
        else:
            made = [delta * top(delta, int(0.6 * delta.size)) for delta in made]
        whole = (
            ties_paper(made, weights, sum(map(abs, weights)))
            if strategy.endswith("ties")
            else sum(w * d for w, d in zip(weights, made, strict=True))
        )
        U, S, Vh = np.linalg.svd(whole, full_matrices=False)
        best = (U[:, :rank] * S[:rank]) @ Vh[:rank]
        assert np.linalg.norm(found[name].numpy() - best) <= 1e-5 * np.linalg.norm(best)
        lost, energy = lost + (S[rank:] ** 2).sum(), energy + (S**2).sum()
    assert outputs["energy_kept"] == pytest.approx(1 - lost / energy, abs=1e-6) and lost > 0
