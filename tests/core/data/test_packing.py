"""Rows laid end to end: every token in its place, and micro-batches as a greedy fill makes them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.packing import micro_batches, pack, pad
from core.data.prompt import Encoded

CPU = torch.device("cpu")
ROWS = st.builds(
    Encoded,
    st.lists(st.integers(0, 2), min_size=1, max_size=12),
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.just(False),
)
OWNED = st.lists(st.tuples(st.integers(0, 3), ROWS), min_size=1, max_size=9).map(lambda rows: sorted(rows, key=lambda row: row[0]))
"""(owner, row), owner by owner; prompts of three tokens often begin alike."""


def greedy(lengths: list[int], budget: int) -> int:
    """Batches that a greedy fill needs; no fewer hold consecutive rows."""
    batches, held = 0, budget
    for length in lengths:
        if held + length > budget:
            batches, held = batches + 1, 0
        held += length
    return batches


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 30))
def test_micro_batches_hold_each_row_once_in_order_and_are_few(lengths: list[int], budget: int) -> None:
    batches = micro_batches(lengths, budget)
    assert [row for batch in batches for row in batch] == list(range(len(lengths)))
    assert all(len(batch) == 1 or sum(lengths[row] for row in batch) <= budget for batch in batches)
    assert len(batches) == greedy(lengths, budget)


def test_micro_batches_are_of_even_size() -> None:
    """Nine rows of 10 with room for eight: 5 and 4, not 8 and 1."""
    assert micro_batches([10] * 9, 80) == [range(0, 5), range(5, 9)]


@given(OWNED, st.booleans())
def test_packed_rows_attend_to_themselves_alone(owned: list[tuple[int, Encoded]], share_prefix: bool) -> None:
    """What attention gathers for a row is that row, right-padded; what it gives back goes to where it came from."""
    owners, rows = [owner for owner, _ in owned], [row for _, row in owned]
    batch = pack(rows, owners, CPU, share_prefix)
    longest_first = sorted(rows, key=lambda row: -len(row))
    gathered = [row for places in batch.layout.buckets for row in batch.ids[0][places].tolist()]
    positions = [row for places in batch.layout.buckets for row in batch.positions[0][places].tolist()]
    assert [row[: len(own)] for row, own in zip(gathered, longest_first, strict=True)] == [row.prompt + row.answer for row in longest_first]
    assert [row[: len(own)] for row, own in zip(positions, longest_first, strict=True)] == [[*range(len(row))] for row in longest_first]
    flat = torch.cat([batch.ids[0][places].flatten() for places in batch.layout.buckets])
    assert flat[batch.layout.restore].tolist() == batch.ids[0].tolist()
    back = torch.cat([batch.positions[0][places].flatten() for places in batch.layout.buckets])
    assert back[batch.layout.restore].tolist() == batch.positions[0].tolist()


@given(OWNED, st.booleans())
def test_packed_answers_are_predicted_from_the_token_before(owned: list[tuple[int, Encoded]], share_prefix: bool) -> None:
    owners, rows = [owner for owner, _ in owned], [row for _, row in owned]
    batch = pack(rows, owners, CPU, share_prefix)
    assert batch.targets.tolist() == [token for row in rows for token in row.answer]
    assert batch.rows.tolist() == [index for index, row in enumerate(rows) for _ in row.answer]
    before = [token for row in rows for token in [row.prompt[-1], *row.answer[:-1]]]
    assert batch.ids[0][batch.answers].tolist() == before
    assert batch.positions[0][batch.answers].tolist() == [len(row.prompt) - 1 + place for row in rows for place in range(len(row.answer))]
    assert len(set(batch.answers.tolist())) == len(before), "two rows share an output"


@given(OWNED)
def test_segments_are_the_owners_tokens_in_order(owned: list[tuple[int, Encoded]]) -> None:
    owners, rows = [owner for owner, _ in owned], [row for _, row in owned]
    for batch in (pack(rows, owners, CPU), pack(rows, owners, CPU, share_prefix=False), pad(rows, owners, 0, CPU)):
        assert [owner for owner, _ in batch.segments] == sorted(set(owners))
        assert sum(tokens for _, tokens in batch.segments) == batch.ids.numel()
    apart = pack(rows, owners, CPU, share_prefix=False)
    for owner, tokens in apart.segments:
        assert tokens == sum(len(row) for k, row in owned if k == owner)
    assert apart.row_tokens == tuple(map(len, rows))
    assert apart.ids[0].tolist() == [token for row in rows for token in row.prompt + row.answer]


def test_a_prefix_is_shared_within_an_owner_only() -> None:
    rows = [Encoded([1, 2, 3, 4], [9], False), Encoded([1, 2, 3, 5], [9], False), Encoded([1, 2, 3, 6], [9], False)]
    assert pack(rows, [0, 0, 1], CPU).ids.tolist() == [[1, 2, 3, 4, 9, 5, 9, 1, 2, 3, 6, 9]]
    assert pack(rows, [0, 0, 0], CPU).ids.tolist() == [[1, 2, 3, 4, 9, 5, 9, 6, 9]]
    assert pack(rows, [0, 1, 2], CPU).ids.numel() == 15


@given(OWNED)
def test_padded_rows_hold_the_same_answers(owned: list[tuple[int, Encoded]]) -> None:
    owners, rows = [owner for owner, _ in owned], [row for _, row in owned]
    batch, packed = pad(rows, owners, 11, CPU), pack(rows, owners, CPU)
    width = max(map(len, rows))
    assert batch.ids.tolist() == [row.prompt + row.answer + [11] * (width - len(row)) for row in rows]
    assert batch.targets.tolist() == packed.targets.tolist() and batch.rows.tolist() == packed.rows.tolist()
    assert batch.ids.flatten()[batch.answers].tolist() == packed.ids.flatten()[packed.answers].tolist()
