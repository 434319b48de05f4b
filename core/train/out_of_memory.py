"""Out of memory in the middle of a run: the same step again, in smaller pieces, which add up to the same gradients."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch

from core.errors import UserError

Result = TypeVar("Result")

_MESSAGES = ("can't allocate memory", "out of memory", "std::bad_alloc", "could not create a memory object", "unable to allocate")


class Shrinks(Protocol):
    """Work that can be done in smaller pieces."""

    def shrink(self) -> str | None:
        """Make the pieces smaller; says how, or None when they can't be smaller."""


def within_memory(work: Shrinks, attempt: Callable[[], Result], say: Callable[[str], Any]) -> Result:
    """The result of `attempt`, which is made again with smaller pieces as long as memory runs out."""
    while True:
        try:
            return attempt()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        how = work.shrink()
        if how is None:
            raise UserError(
                "Memory ran out, even with one row at a time and gradient checkpointing. Use a smaller max_seq_length or r, fewer "
                "adapters at once (categories), method=qlora, or a smaller base_model."
            )
        say(f"Memory ran out. {how} The result stays the same; it takes longer.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the GPU or the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(message in text for message in _MESSAGES)
