"""Which words of a passage are those of a question: what a reader's eye looks for first. Light."""

import re

_COMMON = """
a about all also am an and any are as at be been but by can could did do does for from had has have he her him his how i
if in into is it its just may me might more most must my no nor not of on one or our say says shall she should so some
such than that the their them then there these they thing things this those to us was we were what when where which
while who whom why will with would you your
"""
COMMON = frozenset(_COMMON.split())
"""Words that say nothing about what a question is after."""
ENDINGS = ("'s", "’s", "ings", "ing", "ies", "ied", "es", "ed", "ly", "s")
SHORTEST_STEM = 3


def matches(question: str, text: str) -> list[tuple[str, str]]:
    """`text` in order as (piece, kind): kind 'same' for a word of the question, by its stem and but for the commonest words, else ''.

    The pieces together are `text` to the letter.
    """
    wanted = {stem(word) for word in re.findall(r"[\w'’]+", question.casefold()) if word not in COMMON}
    parts: list[tuple[str, str]] = []
    for piece in re.findall(r"[\w'’]+|[^\w'’]+", text):
        bare = piece.casefold()
        kind = "same" if bare not in COMMON and stem(bare) in wanted else ""
        if parts and parts[-1][1] == kind == "":
            parts[-1] = (parts[-1][0] + piece, "")
        else:
            parts.append((piece, kind))
    return parts


def stem(word: str) -> str:
    """A word in lower case without the ending of its form."""
    word = word.strip("'’")
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            word = word.removesuffix(ending)
            break
    return word.removesuffix("e") if len(word) > SHORTEST_STEM else word
