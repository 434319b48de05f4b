"""Prompts that were read lately, kept as keys and values, so that what begins like one of them is not read again.

As in Zheng et al. 2023, SGLang, arXiv:2312.07104 (RadixAttention), row by row. Keys and values depend on the adapters that read them,
so every kind of reader has prefixes of its own.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

LEAST = 8
"""Tokens that are worth sharing."""
MOST_BYTES = 256_000_000
"""Of all that is kept; the least recently used leave."""


@dataclass(frozen=True)
class Prefix:
    """The first tokens of a prompt, read."""

    tokens: int
    layers: Sequence[tuple[Tensor, Tensor]]
    """Keys and values, [heads, tokens or more, dim] each."""


class Prefixes:
    """What was read, by reader and tokens."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Hashable, tuple[int, ...]], list[tuple[Tensor, Tensor]]] = OrderedDict()
        self._bytes = 0

    def longest(self, kind: Hashable, prompt: Sequence[int]) -> Prefix | None:
        """What is known of a prompt's beginning; its last token is always left to be read."""
        shared = {key: common(key[1], prompt[:-1]) for key in self._kept if key[0] == kind}
        best = max(shared, key=lambda key: shared[key], default=None)
        if best is None or shared[best] < LEAST:
            return None
        self._kept.move_to_end(best)
        return Prefix(shared[best], self._kept[best])

    def keep(self, kind: Hashable, prompt: Sequence[int], layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Remember a prompt. `layers`: keys and values, [heads, tokens, dim] each."""
        key = (kind, tuple(prompt))
        if key in self._kept or len(prompt) < LEAST:
            return
        self._kept[key] = [(keys.clone(), values.clone()) for keys, values in layers]
        self._bytes += _bytes(self._kept[key])
        while self._bytes > MOST_BYTES:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two prompts share."""
    return next((place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs), min(len(one), len(other)))


def _bytes(layers: Sequence[tuple[Tensor, Tensor]]) -> int:
    return sum(keys.nbytes + values.nbytes for keys, values in layers)
