"""Batches by length, and what is supervised in them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.batches import IGNORED, by_length, collate, row_order
from core.data.prompt import Encoded


@given(st.lists(st.integers(1, 300)), st.integers(1, 1000))
def test_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = by_length(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


def test_targets_are_the_answer_shifted_by_one() -> None:
    batch = collate([Encoded([1, 2, 3], [4, 5], False), Encoded([6], [7], False)], pad_token_id=0, device=torch.device("cpu"))
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]]
    no = IGNORED
    assert batch.targets.tolist() == [[no, no, 4, 5, no], [7, no, no, no, no]]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    assert row_order(50, epoch=1, seed=2) == row_order(50, epoch=1, seed=2)
    assert sorted(row_order(50, 0, 0)) == list(range(50))
    assert len({tuple(row_order(50, epoch, seed)) for epoch in range(3) for seed in range(3)}) == 9
