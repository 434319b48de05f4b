"""An answer as sentences, and texts as words, in any script."""

import re

_MARK = re.compile(r"^\s*(?:[-*+•]|#{1,6}|>|\(?\d{1,3}[.)])\s+")
"""What a line of a list, a heading or a quotation begins with."""
_END = re.compile(
    r"(?<=[.!?…])(?<!\b(?:Mr|Ms|Dr|St|vs|cf|No)\.)(?<!\b(?:Mrs|etc|Fig)\.)(?<!\b(?:e\.g|i\.e)\.)(?<!\b[A-Z]\.)[\"'”’)\]]*(\s+)(?=[^\sa-z])"
    r"|(?<=[。！？।؟])(\s*)(?=\S)"
)
_NO_BLANKS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts that are written without blanks between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese. Each sign is a word."""
_WORD = re.compile(rf"[{_NO_BLANKS}]|[^\W{_NO_BLANKS}]+")
_ARTICLES = frozenset({"a", "an", "the"})


def sentences(text: str) -> list[str]:
    """Its sentences, in order, without the marks of lists and headings. What has no letter or digit is no sentence.

    A sentence ends at a line's end, or at . ! ? before a blank and anything but a small letter; some abbreviations don't end one.
    """
    found = []
    for line in text.splitlines():
        line, start = _MARK.sub("", line), 0
        for end, following in breaks(line):
            found.append(line[start:end])
            start = following
        found.append(line[start:])
    return [sentence.strip() for sentence in found if words(sentence)]


def breaks(text: str) -> list[tuple[int, int]]:
    """Where one sentence ends and the next begins, by the marks alone; a line's end is none."""
    return [(end.start(1) if end[1] is not None else end.start(2), end.end()) for end in _END.finditer(text)]


def words(text: str) -> list[str]:
    """Its words in lower case, without punctuation and English articles, as SQuAD's own evaluation has it (arXiv:1606.05250)."""
    return [word for word in _WORD.findall(text.lower()) if word not in _ARTICLES]
