"""Where the rows of each category and split stand, without a list of Python integers for any of them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from core.data.split import SPLITS
from core.results import ALL

Places = npt.NDArray[np.int32]
"""Places of rows, ascending."""


class Groups(Mapping[tuple[str, str], Places]):
    """Places by category and split, in file order; category '(all)' and split '' stand for all of them."""

    def __init__(self, categories: Sequence[str], codes: npt.NDArray[np.int32], splits: npt.NDArray[np.int8]) -> None:
        """`codes`, `splits`: of each row, its place in `categories` and in SPLITS."""
        self._codes = {category: code for code, category in enumerate(categories)}
        self._splits = splits
        self._order = np.argsort(codes, kind="stable").astype(np.int32)
        self._ends = np.cumsum(np.bincount(codes, minlength=len(categories)))

    def __getitem__(self, group: tuple[str, str]) -> Places:
        category, split = group
        if split and split not in SPLITS:
            raise KeyError(group)
        if category == ALL:
            found = np.arange(len(self._splits), dtype=np.int32)
        else:
            code = self._codes[category]
            found = self._order[self._ends[code - 1] if code else 0 : self._ends[code]]
        return found[self._splits[found] == SPLITS.index(split)] if split else found

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((category, split) for category in (ALL, *self._codes) for split in ("", *SPLITS))

    def __len__(self) -> int:
        return (1 + len(self._codes)) * (1 + len(SPLITS))

    def __contains__(self, group: object) -> bool:
        """Without looking for the places."""
        return isinstance(group, tuple) and (group[0] == ALL or group[0] in self._codes) and group[1] in ("", *SPLITS)
