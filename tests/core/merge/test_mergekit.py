"""mergekit's files, read: our strategies with these fields against mergekit's own formulas, written out here in float64."""

from pathlib import Path

import pytest
import torch

from core.adapter import Factor
from core.config import MergeConfig
from core.errors import UserError
from core.merge import STRATEGIES, mergekit
from core.merge.layer import Layer

DRAW = torch.Generator().manual_seed(1)
FACTORS = [Factor(torch.randn(4, 20, generator=DRAW), torch.randn(15, 4, generator=DRAW), 1.0) for _ in range(3)]
DELTAS = torch.stack([factor.B.double() @ factor.A.double() for factor in FACTORS])
FILE = Path("mix.yaml")


def said(method: str, weights=(0.5, 2.0, 1.0), shared=None, own=None, **top) -> dict:
    models = [
        {"model": f"org/base+a{n}", "parameters": {**({} if method == "sce" else {"weight": weight}), **(own or {})}}
        for n, weight in enumerate(weights)
    ]
    return {"merge_method": method, "models": models, **({"parameters": shared} if shared else {}), **top}


def ours(content: dict, said_to: list[str] | None = None) -> torch.Tensor:
    """The delta of the strategy with the fields that the file stands for."""
    config = MergeConfig(**mergekit.read(FILE, content, (said_to if said_to is not None else []).append))
    factors = [FACTORS[int(name[1:])] for name in config.adapters]
    made = STRATEGIES[config.strategy].load()(Layer("layer", factors, config.weights, [""] * len(factors)), config)
    return made if isinstance(made, torch.Tensor) else made.B @ made.A


def trimmed(density: float) -> torch.Tensor:
    """mergekit.sparsify.magnitude."""
    kept = torch.zeros_like(DELTAS).flatten(1)
    for each, delta in zip(kept, DELTAS.flatten(1), strict=True):
        top = delta.abs().topk(int(density * delta.numel())).indices
        each[top] = delta[top]
    return kept.view_as(DELTAS)


def consensus(deltas: torch.Tensor, weights: tuple[float, ...], normalize: bool) -> torch.Tensor:
    """mergekit's GeneralizedTaskArithmeticMerge with consensus_method sum."""
    scale = torch.tensor(weights, dtype=torch.float64)[:, None, None]
    votes = scale * deltas
    mask = votes.sign() == torch.where(votes.sum(0) >= 0, 1.0, -1.0)
    divisor = (scale * mask).sum(0)
    mixed = (votes * mask).sum(0)
    return mixed / torch.where(divisor == 0, 1.0, divisor) if normalize else mixed


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def weighted(weights: tuple[float, ...]) -> torch.Tensor:
    return torch.einsum("k,kij->ij", torch.tensor(weights, dtype=torch.float64), DELTAS)


def test_linear_divides_by_the_sum():
    close(ours(said("linear")), weighted((0.5, 2.0, 1.0)) / 3.5)
    close(ours(said("linear", (0.2, 0.3, 0.5), {"normalize": False})), weighted((0.2, 0.3, 0.5)))


def test_the_base_model_among_linear_models_weakens_the_sum():
    content = said("linear")
    content["models"].append({"model": "org/base", "parameters": {"weight": 3.5}})
    close(ours(content), weighted((0.5, 2.0, 1.0)) / 7)


def test_task_arithmetic_is_the_sum_times_lambda():
    close(ours(said("task_arithmetic", (0.5, -2.0, 1.0))), weighted((0.5, -2.0, 1.0)))
    close(ours(said("task_arithmetic", shared={"lambda": 0.7, "normalize": True})), 0.7 * weighted((0.5, 2.0, 1.0)) / 3.5)


@pytest.mark.parametrize("density", [0.3, 1.0])
def test_ties_is_the_agreeing_mean_times_lambda(density):
    expected = consensus(trimmed(density), (0.5, 2.0, 1.0), normalize=True)
    close(ours(said("ties", shared={"density": density, "lambda": 0.7}, base_model="org/base")), 0.7 * expected)
    close(ours(said("ties", own={"density": density})), expected)


def test_breadcrumbs_and_sce():
    close(ours(said("breadcrumbs")), weighted((0.5, 2.0, 1.0)))
    energies = DELTAS.square().sum((1, 2))
    mask = DELTAS.sign() == torch.where(DELTAS.sum(0) >= 0, 1.0, -1.0)
    shares = energies[:, None, None] * mask
    close(ours(said("sce")), (DELTAS * shares).sum(0) / shares.sum(0))


def test_dare_and_della_have_the_fields_of_the_file():
    fields = mergekit.read(FILE, said("dare_linear", own={"density": 0.6}, dtype="float32"))
    assert fields == {
        "strategy": "dare_linear",
        "adapters": ["a0", "a1", "a2"],
        "weights": [0.5, 2.0, 1.0],
        "density": 0.6,
        "dtype": "fp32",
    }
    fields = mergekit.read(FILE, said("della", shared={"density": 0.6, "lambda": 2, "int8_mask": True}))
    assert fields["della_epsilon"] == 0.3 and fields["weights"] == [1 / 3.5, 4 / 3.5, 2 / 3.5]  # 0.15 each way, as in mergekit
    assert mergekit.read(FILE, said("della", own={"epsilon": 0.05}))["della_epsilon"] == 0.1
    assert mergekit.read(FILE, said("breadcrumbs", own={"gamma": 0.2, "density": 0.5}))["breadcrumbs_gamma"] == 0.2
    assert mergekit.read(FILE, said("sce", shared={"select_topk": 0.2}))["density"] == 0.2


def test_dare_ties_is_the_sum_where_none_is_outvoted_and_says_so():
    notes: list[str] = []
    found = ours(said("dare_ties"), notes)
    expected = consensus(DELTAS, (0.5, 2.0, 1.0), normalize=False)
    agreed = (DELTAS.sign() == DELTAS[0].sign()).all(0)
    close(found[agreed], expected[agreed])
    assert bool((found.abs() >= expected.abs() - 1e-12).all())
    assert len(notes) == 1 and "mergekit's dare_ties adds up the adapters that agree" in notes[0]
    close(ours(said("dare_ties", shared={"normalize": True}), notes), consensus(DELTAS, (0.5, 2.0, 1.0), normalize=True))
    assert len(notes) == 1


def test_entries_without_an_adapter():
    content = said("ties", base_model="org/base")
    content["models"].insert(0, {"model": "org/base"})
    content["models"][1] = {"model": "adapters/a0", "parameters": {"weight": 1}}
    assert mergekit.read(FILE, content)["adapters"] == ["adapters/a0", "a1", "a2"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (said("slerp"), "merge_method 'slerp' has no counterpart here. Use one of: linear, task_arithmetic, ties"),
        ({"models": []}, "merge_method 'None'"),
        (said("linear", slices=[]), "puts models together from slices"),
        ({"merge_method": "ties"}, "lists no models"),
        ({"merge_method": "ties", "models": "a"}, "lists no models"),
        ({"merge_method": "ties", "models": [{"weight": 1}]}, "lists no models"),
        ({"merge_method": "ties", "models": [{"model": "org/base"}], "base_model": "org/base"}, "lists no adapter under 'models'"),
        ({"merge_method": "linear", "models": [{"model": "x+a"}, {"model": "y+b"}]}, r"several base models \(x, y\)"),
        (said("ties", own={"t": 0.5}), "t has no counterpart in ties"),
        (said("linear", shared={"density": 0.5}), "density has no counterpart in linear"),
        (said("ties", shared={"rescale": True}), "ties with rescale: true has no counterpart"),
        (said("dare_linear", shared={"rescale": False}), "dare_linear with rescale: false has no counterpart"),
        (said("ties", own={"density": [0.1, 0.5]}), r"density=\[0.1, 0.5\] is no single number"),
        (said("linear", weights=([1, 2], 1, 1)), r"weight=\[1, 2\] is no single number"),
        (said("linear", weights=(True, 1, 1)), "weight=True is no single number"),
        (said("linear", (1, -1, 0)), "the weights add up to 0"),
        (said("linear", shared={"normalize": False}), "the weights add up to 3.5, so without normalize the base model itself"),
        (said("ties", (1, -0.5, 1)), "divides by the weights, which turns negative ones around"),
        (said("ties", shared={"lambda": "much"}), "lambda='much' is no single number"),
        ({**said("ties"), "parameters": [1]}, r"parameters should be names with values, not \[1\]"),
        ({"merge_method": "sce", "models": [{"model": "x+a", "parameters": {"weight": 2}}]}, "weight has no counterpart in sce"),
        (said("linear", dtype="float16"), "dtype: float16 has no counterpart here. Use one of: float32, bfloat16"),
        (said("linear", dtype=[1]), r"dtype: \[1\] has no counterpart"),
        (said("linear", dtype="bfloat16", out_dtype={"a": 1}), "out_dtype: {'a': 1} has no counterpart"),
        (said("linear", chat_template="auto", normalize=True), "chat_template, normalize has no counterpart here"),
        (said("linear", **{"x" * 500: 1}), "x{77}... has no counterpart here"),
        ({**said("linear"), 5: 1}, "5 has no counterpart here"),
        (said("linear", shared={5: 1, None: 2}), "5, None has no counterpart in linear"),
        (said("linear", shared={"normalize": "x"}), "normalize: x is neither true nor false"),
        (said("dare_linear", shared={"rescale": "x"}), "rescale: x is neither true nor false"),
        (said("linear", weights=(10**400, 1, 1)), r"weight=1000*\.\.\.0*0 is no single number"),
        (said("linear", weights=(float("inf"), 1, 1)), "weight=inf is no single number"),
        (said("linear", base_model=[1]), r"base_model should be a name, not \[1\]"),
        ({**said("linear"), "merge_method": ["ties"]}, r"merge_method '\['ties'\]'"),
    ],
)
def test_what_has_no_counterpart_gets_a_sentence(content, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        mergekit.read(FILE, content)
    assert str(error.value).startswith("mix.yaml") and "\n" not in str(error.value)


def test_a_parameter_that_differs_between_models_is_refused():
    content = said("ties", own={"density": 0.5})
    content["models"][1]["parameters"]["density"] = 0.7
    with pytest.raises(UserError, match="gives density as 0.5, 0.7 for different models"):
        mergekit.read(FILE, content)


def test_what_changes_nothing_is_passed_over_and_text_may_be_a_number():
    content = said("task_arithmetic", ("1e3", 1, 1), {"int8_mask": True}, tokenizer_source="base", tokenizer={"source": "base"}, name="mix")
    assert mergekit.read(FILE, content)["weights"] == [1000, 1, 1]
    assert mergekit.read(FILE, said("linear", dtype="float32", out_dtype="bfloat16"))["dtype"] == "bf16"


def test_a_file_that_repeats_itself_is_not_printed_whole():
    bomb: list = ["x"]
    for _ in range(40):
        bomb = [bomb] * 10
    for content in (said("linear", weights=(bomb, 1, 1)), said("linear", dtype=bomb), {**said("linear"), "parameters": bomb}):
        with pytest.raises(UserError) as error:
            mergekit.read(FILE, content)
        assert len(str(error.value)) < 300
