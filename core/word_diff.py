"""What an answer has in common with its reference, word by word, what it adds and what it lacks."""

import re
from difflib import SequenceMatcher

MOST = 2000
"""Words of a text that are compared; the rest stands as it is."""


def differences(reference: str, text: str) -> list[tuple[str, str]]:
    """`text` in order as (piece, kind), pieces of the reference that it lacks in between; kind: same, added or missing.

    Longest matching blocks of words (difflib), case and punctuation aside. Without the missing pieces it is `text` to the letter.
    """
    theirs, ours = _pieces(reference), _pieces(text)
    before, after = ([_bare(piece) for piece in pieces[:MOST]] for pieces in (theirs, ours))
    found: list[tuple[str, str]] = []
    for kind, begin, end, start, stop in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind in ("replace", "delete"):
            blank = " " if found and not found[-1][0][-1:].isspace() else ""
            found.append((blank + _spaced("".join(theirs[begin:end])), "missing"))
        if stop > start:
            found.append(("".join(ours[start:stop]), "same" if kind == "equal" else "added"))
    rest = "".join(ours[MOST:])
    return [*found, (rest, "added")] if rest else found


def _pieces(text: str) -> list[str]:
    """Words, each with the blanks after it; blanks at the start stand with the first."""
    return re.findall(r"\s*\S+\s*|^\s+$", text)


def _spaced(text: str) -> str:
    return text if text[-1:].isspace() else f"{text} "


def _bare(word: str) -> str:
    return re.sub(r"\W+", "", word).casefold() or word.strip()
