"""Batches by length, and what is supervised in them."""

from hypothesis import given
from hypothesis import strategies as st

from core.data.batches import by_length, row_order


@given(st.lists(st.integers(1, 300)), st.integers(1, 1000))
def test_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = by_length(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert row_order(50, epoch=1, seed=2) == row_order(50, epoch=1, seed=2)
    assert sorted(row_order(50, 0, 0)) == list(range(50))
    assert len({tuple(row_order(50, epoch, seed)) for epoch in range(3) for seed in range(3)}) == 9
