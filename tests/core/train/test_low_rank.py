"""The low-rank product of a cohort against plain matrix products, forward and backward."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from core.train.low_rank import add_low_rank, segment_outer, segment_product, segment_scale

IN, OUT, R, SCALE = 7, 5, 3, 1.7
SIZES = {"one": [6], "even": [3, 3], "uneven": [1, 4, 2], "even, three": [2, 2, 2]}


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed + sum(shape)))


def factors(sizes: Sequence[int], dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor]]:
    A = [random(IN, R, dtype=dtype, seed=k).requires_grad_() for k in range(len(sizes))]
    return A, [random(R, OUT, dtype=dtype, seed=9 + k).requires_grad_() for k in range(len(sizes))]


def plain(y: Tensor, x: Tensor, A: Sequence[Tensor], B: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The same sum from slices of the tokens."""
    A, B = ([*each] * (len(sizes) if len(each) == 1 else 1) for each in (A, B))
    parts = x.flatten(0, -2).split(list(sizes))
    return y + SCALE * torch.cat([part @ a @ b for part, a, b in zip(parts, A, B, strict=True)]).view(y.shape)


@pytest.mark.parametrize("case", SIZES)
@pytest.mark.parametrize("shared", ["", "A", "B"])
def test_value_and_gradients(case: str, shared: str) -> None:
    sizes = SIZES[case]
    A, B = factors(sizes)
    A, B = A[:1] if shared == "A" else A, B[:1] if shared == "B" else B
    x, y = random(1, sum(sizes), IN).requires_grad_(), random(1, sum(sizes), OUT).requires_grad_()

    def product(y: Tensor, x: Tensor, *both: Tensor) -> Tensor:
        return add_low_rank(y * 1, x, both[: len(A)], both[len(A) :], sizes, SCALE)

    assert torch.allclose(product(y, x, *A, *B), plain(y, x, A, B, sizes), atol=1e-12)
    assert gradcheck(product, (y, x, *A, *B))


@pytest.mark.parametrize("frozen", ["A", "B", "x", "A and x"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_its_own(frozen: str) -> None:
    """LoRA-FA's A, the input of the first layer."""
    sizes = SIZES["uneven"]
    A, B = factors(sizes)
    x = random(sum(sizes), IN).requires_grad_("x" not in frozen)
    for each in [*(A if "A" in frozen else []), *(B if "B" in frozen else [])]:
        each.requires_grad_(False)
    trained = [tensor for tensor in (x, *A, *B) if tensor.requires_grad]
    weights = random(sum(sizes), OUT, seed=3)
    y = torch.zeros(sum(sizes), OUT, dtype=torch.float64)
    expected = torch.autograd.grad((plain(y, x, A, B, sizes) * weights).sum(), trained)
    found = torch.autograd.grad((add_low_rank(y.clone(), x, A, B, sizes, SCALE) * weights).sum(), trained)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))


def test_x_is_dropped_when_no_a_trains() -> None:
    A, B = factors([6])
    for trained, kept in ((True, 1), (False, 0)):
        x, y = random(6, IN).requires_grad_(), random(6, OUT)
        saved = add_low_rank(y, x, [A[0].requires_grad_(trained)], B, [6], SCALE).grad_fn.saved_tensors
        assert sum(tensor is not None and tensor.shape == x.shape for tensor in saved) == kept


@pytest.mark.parametrize("case", SIZES)
def test_fp32_factors_on_a_bf16_model(case: str) -> None:
    """Computed in bf16; every gradient has the precision of its tensor."""
    sizes = SIZES[case]
    A, B = factors(sizes, torch.float32)
    x, y = random(1, sum(sizes), IN, dtype=torch.bfloat16).requires_grad_(), random(1, sum(sizes), OUT, dtype=torch.bfloat16)
    wide = [tensor.detach().double().requires_grad_() for tensor in (x, *A, *B)]
    expected = plain(y.double(), wide[0], wide[1 : len(A) + 1], wide[len(A) + 1 :], sizes)
    expected.sum().backward()
    found = add_low_rank(y.clone(), x, A, B, sizes, SCALE)
    found.sum().backward()
    assert found.dtype == x.grad.dtype == torch.bfloat16 and {each.grad.dtype for each in (*A, *B)} == {torch.float32}
    assert (found.double() - expected).norm() < 0.02 * expected.norm()
    for tensor, reference in zip((x, *A, *B), wide, strict=True):
        assert (tensor.grad.double() - reference.grad).norm() < 0.05 * reference.grad.norm()


def test_an_input_that_is_not_contiguous() -> None:
    A, B = factors([2, 4])
    x = random(IN, 6).T.unsqueeze(0).requires_grad_()
    assert not x.is_contiguous()
    y = torch.zeros(1, 6, OUT, dtype=torch.float64)
    assert gradcheck(lambda x: add_low_rank(y.clone(), x, A, B, [2, 4], SCALE), x)
    assert torch.allclose(add_low_rank(y.clone(), x, A, B, [2, 4], SCALE), plain(y, x, A, B, [2, 4]))


def test_an_output_that_can_not_be_changed_in_place_is_no_silent_loss() -> None:
    A, B = factors([6])
    y = torch.zeros(OUT, 2, 3, dtype=torch.float64).permute(2, 1, 0)
    with pytest.raises(RuntimeError, match="view"):
        add_low_rank(y, random(3, 2, IN), A, B, [6], SCALE)


@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float32, torch.bfloat16)])
def test_under_autocast(dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    """y decides the precision, as without autocast: 4-bit layers give fp32 where autocast would give bf16."""
    sizes, results = [2, 4], []
    for enabled in (False, True):
        A, B = factors(sizes, torch.float32)
        y, x = random(1, 6, OUT).to(dtypes[0]), random(1, 6, IN).to(dtypes[1]).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found = add_low_rank(y, x, A, B, sizes, SCALE)
            found.float().square().sum().backward()
        results.append([found, x.grad, *[each.grad for each in (*A, *B)]])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


@pytest.mark.parametrize("case", SIZES)
def test_segment_products_one_by_one(case: str) -> None:
    sizes = SIZES[case]
    A, _ = factors(sizes)
    x, right = random(sum(sizes), IN), random(sum(sizes), OUT)
    parts = list(zip(x.split(sizes), right.split(sizes), strict=True))
    assert torch.allclose(segment_product(x, A, sizes), torch.cat([part @ a for (part, _), a in zip(parts, A, strict=True)]))
    for found, (left, other) in zip(segment_outer(x, right, sizes, len(sizes)), parts, strict=True):
        assert torch.allclose(found, left.T @ other)
    vectors = [random(IN, seed=k).requires_grad_() for k in range(len(sizes))]
    scaled = torch.cat([part * vector for (part, _), vector in zip(parts, vectors, strict=True)])
    assert torch.equal(segment_scale(x[None], vectors, sizes)[0], scaled)
    assert gradcheck(lambda *vectors: segment_scale(x, vectors, sizes), vectors)


def test_scaling_rounds_once() -> None:
    """A vector near 1 must not be rounded to bf16 (steps of 0.8 %) before it multiplies."""
    x, vector = torch.full((4, 2), 3.0, dtype=torch.bfloat16), torch.tensor([1.003, 1.005])
    expected = (x.float() * vector).bfloat16()
    for vectors, sizes in (([vector], [4]), ([vector, vector], [2, 2]), ([vector, vector], [1, 3])):
        assert torch.equal(segment_scale(x, vectors, sizes), expected)
    assert not torch.equal(x * vector.bfloat16(), expected)
