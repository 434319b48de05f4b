"""Places by category and split, held against lists made one row at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.data.groups import Groups
from core.data.split import SPLITS
from core.results import ALL


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=60))
def test_groups_are_the_rows_of_each_category_and_split_in_file_order(rows: list[tuple[int, int]]) -> None:
    names = [f"c{number}" for number in range(5)]
    groups = Groups(names, np.array([code for code, _ in rows], np.int32), np.array([split for _, split in rows], np.int8))
    assert len(list(groups)) == len(groups) == 24
    for category, split in groups:
        expected = [
            place
            for place, (code, own) in enumerate(rows)
            if category in (ALL, names[code]) and split in ("", SPLITS[own])
        ]
        assert groups[category, split].tolist() == expected
    assert ("c9", "train") not in groups and ("c1", "dev") not in groups and (ALL, "") in groups
