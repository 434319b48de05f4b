"""The text of an answer as it grows: told as soon as it is certain, and never taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HALF = "\N{REPLACEMENT CHARACTER}"


@dataclass
class Saying:
    """The text after the tokens that stood already."""

    said: tuple[int, ...] = ()
    """Tokens that stood already."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; it doesn't contain them."""
    verbatim: bool = False
    """Keep blanks at both ends, as the model chose them."""
    text: str = ""
    """Told so far."""

    def grow(self, tokenizer: Any, tokens: Sequence[int], final: bool) -> tuple[str, bool]:
        """What is new, and whether a text of `stop` has ended the answer. `tokens`: all after `said`; `final`: no more will come.

        Half a character, blanks that may be the last, and what may begin a text of `stop` wait for what follows.
        """
        text = self._text(tokenizer, tokens)
        ends = [place for each in self.stop if (place := text.find(each)) >= 0]
        if ends:
            text = text[: min(ends)]
        elif not final:
            text = self._certain(text)
        new = text[len(self.text) :]
        self.text += new
        return new, bool(ends)

    def _text(self, tokenizer: Any, tokens: Sequence[int]) -> str:
        text = str(tokenizer.decode([*self.said, *tokens], skip_special_tokens=True))
        if self.said:
            text = text[len(tokenizer.decode(self.said, skip_special_tokens=True)) :]
        if self.verbatim:
            return text
        return text.rstrip() if self.said else text.strip()

    def _certain(self, text: str) -> str:
        text = text.rstrip(_HALF)
        text = text if self.verbatim else text.rstrip()
        return text[: len(text) - max((_begun(text, each) for each in self.stop), default=0)]


def _begun(text: str, stop: str) -> int:
    """How many of the last characters of `text` may be the first ones of `stop`."""
    return next((length for length in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:length])), 0)
