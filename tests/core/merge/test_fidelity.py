"""fidelity.csv and cosines.csv beside a merge, against dense float64 recomputations from the folders."""

import math

import pandas as pd
import pytest
import torch

from core import adapter, results
from core.adapter import Adapter, Factor
from core.results import ALL, Cosine, Fidelity

WEIGHTS = (0.7, -0.4, 1.5)
MERGES = {
    "linear in bf16": {"strategy": "linear", "dtype": "bf16"},
    "linear in fp32": {"strategy": "linear"},
    "svd at rank 2": {"strategy": "svd", "rank": 2},
    "ties": {"strategy": "ties", "density": 0.5},
    "ties at rank 3": {"strategy": "ties", "density": 0.5, "rank": 3},
    "tsv": {"strategy": "tsv"},
}


def recomputed(parents: list[dict[str, torch.Tensor]], merged: dict[str, torch.Tensor]) -> dict[str, dict[str, float]]:
    """All measures but energy_kept, by layer and over all."""
    sums: dict[str, torch.Tensor] = {}
    for layer, made in merged.items():
        votes = torch.stack([weight * deltas[layer] for weight, deltas in zip(WEIGHTS, parents, strict=True) if layer in deltas])
        exact = votes.sum(0)
        conflict = ((votes > 0).any(0) & (votes < 0).any(0)).sum()
        squares = [float(each.square().sum()) for each in (exact, made, made - exact)]
        sums[layer] = torch.tensor([*squares, conflict, exact.numel(), exact.abs().sum(), votes.abs().sum()], dtype=torch.float64)
    sums[ALL] = sum(sums.values(), torch.zeros(7, dtype=torch.float64))
    return {
        layer: {
            "relative_error": math.sqrt(distance / exact),
            "norm_ratio": math.sqrt(made / exact),
            "sign_conflict": conflicts / entries,
            "cancelled": 1 - total / every,
        }
        for layer, (exact, made, distance, conflicts, entries, total, every) in ((name, each.tolist()) for name, each in sums.items())
    }


def values(table: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.layer, row.measure): row.value for row in table.itertuples()}


@pytest.mark.parametrize("case", MERGES)
def test_the_table_equals_a_recomputation_from_the_folders(case, unequal, merge, deltas):
    outputs, folder = merge(unequal, weights=WEIGHTS, **MERGES[case])
    found = values(results.read(folder / "fidelity.csv", Fidelity))
    expected = recomputed([deltas(each) for each in unequal], deltas(folder))
    assert {layer for layer, _ in found} == {*expected}
    for layer, measures in expected.items():
        for measure, value in measures.items():
            assert found[layer, measure] == pytest.approx(value, rel=1e-6, abs=1e-12), (layer, measure)
            if layer == ALL:
                assert outputs[measure] == found[layer, measure]


def test_energy_kept_is_what_the_rank_leaves(unequal, merge, deltas):
    _, folder = merge(unequal, weights=WEIGHTS, strategy="svd", rank=2)
    found, lost, energy = values(results.read(folder / "fidelity.csv", Fidelity)), 0.0, 0.0
    parents = [deltas(each) for each in unequal]
    for layer in deltas(folder):
        exact = sum(weight * each[layer] for weight, each in zip(WEIGHTS, parents, strict=True) if layer in each)
        squares = torch.linalg.svdvals(exact).square()
        assert found[layer, "energy_kept"] == pytest.approx(float(squares[:2].sum() / squares.sum()), rel=1e-6)
        lost, energy = lost + float(squares[2:].sum()), energy + float(squares.sum())
    assert found[ALL, "energy_kept"] == pytest.approx(1 - lost / energy, rel=1e-6)
    assert found[ALL, "relative_error"] == pytest.approx(math.sqrt(lost / energy), rel=1e-6)


def test_a_dense_merge_says_what_its_rank_left(unequal, merge):
    """The whole of a TIES merge needs more than the sum of the ranks."""
    kept = [merge(unequal, strategy="ties", density=0.5, rank=rank, name=f"at-{rank}")[0]["energy_kept"] for rank in (1, 4, 13, 64)]
    assert kept == sorted(kept) and kept[0] < 0.5 and 0.8 < kept[2] < 0.999 and kept[3] == pytest.approx(1)


def test_cosines_equal_a_recomputation(unequal, merge, deltas):
    _, folder = merge(unequal, weights=WEIGHTS)
    table = results.read(folder / "cosines.csv", Cosine)
    read = [deltas(each) for each in unequal]
    expected = {}
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = read[one].keys() & read[other].keys()
        inner = sum(float((read[one][layer] * read[other][layer]).sum()) for layer in shared)
        norms = [math.sqrt(sum(float(delta.square().sum()) for delta in read[n].values())) for n in (one, other)]
        expected[str(unequal[one]), str(unequal[other])] = inner / math.prod(norms)
    assert {(row.one, row.other): row.cosine for row in table.itertuples()} == pytest.approx(expected, rel=1e-6)


def test_twins_have_cosine_one_and_an_empty_delta_has_none(unequal, merge, tmp_path):
    first = adapter.read(unequal[0])
    adapter.write(
        Adapter("twin", {k: Factor(f.A, f.B, -2 * f.scale) for k, f in first.factors.items()}, first.base_model), tmp_path / "twin"
    )
    nothing = {k: Factor(f.A, torch.zeros_like(f.B), f.scale) for k, f in first.factors.items()}
    adapter.write(Adapter("nothing", nothing, first.base_model), tmp_path / "nothing")
    _, folder = merge([unequal[0], tmp_path / "twin", tmp_path / "nothing"])
    table = results.read(folder / "cosines.csv", Cosine)
    assert len(table) == 1 and table.cosine[0] == pytest.approx(-1)


def test_what_cancels_has_no_relative_error(unequal, merge, tmp_path):
    twin = adapter.read(unequal[0])
    adapter.write(Adapter("twin", twin.factors, twin.base_model), tmp_path / "twin")
    _, folder = merge([unequal[0], tmp_path / "twin"], weights=(1, -1))
    found = values(results.read(folder / "fidelity.csv", Fidelity))
    assert all(math.isnan(found[ALL, measure]) for measure in ("relative_error", "norm_ratio", "energy_kept"))
    assert (found[ALL, "sign_conflict"], found[ALL, "cancelled"]) == (1, 1)
