"""How numbers, times and texts are put into words: three significant digits, thousands separated, deltas with their sign."""

import math
import re
from datetime import UTC, datetime
from difflib import SequenceMatcher

MISSING = "–"


def three(value: float | None) -> str:
    """A number with three significant digits and thousands separated; a dash when it is missing."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits):,.{digits}f}" if abs(value) >= 0.001 else f"{value:.2e}"


def signed(value: float | None) -> str:
    """A difference: like `three`, with its sign."""
    text = three(value)
    return f"+{text}" if value is not None and value > 0 else text.replace("-", "−")


def percent(share: float | None) -> str:
    """A share between 0 and 1 as whole per cent, with one digit below 10 % and above 90 %."""
    if share is None or not math.isfinite(share):
        return MISSING
    digits = 0 if 0.1 <= share <= 0.9 or share in (0, 1) else 1
    return f"{100 * share:.{digits}f} %"


def count(number: int, noun: str, plural: str = "") -> str:
    """'1 adapter', '7 adapters'."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds as '45 s', '12 min 30 s' or '2 h 5 min'."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def roughly(seconds: float) -> str:
    """An expected time, no finer than it can be known: '8 s', '4 min', '2.5 h'."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h".replace(".0 ", " ")


def seconds_between(start: str | None, end: str | None = None) -> float | None:
    """Seconds from one ISO 8601 time to another, or to now."""
    if not start:
        return None
    finish = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return (finish - datetime.fromisoformat(start)).total_seconds()


def day(time: str | None) -> str:
    """An ISO 8601 time as '2026-01-31 14:05 UTC'."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if time else MISSING


def listed(names: list[str], most: int = 7) -> str:
    """'a, b and c'; beyond `most` names the rest is counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def plain(text: str) -> str:
    """Text of a person's or a model's making with every Markdown sign escaped, for a place that reads Markdown."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|$~:^])", r"\\\1", text)


def marked(reference: str, text: str) -> list[tuple[str, bool]]:
    """The words and blanks of `text`, in order, each with whether the word stands in the same order in `reference`.

    Longest matching blocks of words (difflib), case and punctuation aside.
    """
    parts = re.findall(r"\s+|\S+", text)
    words = [index for index, part in enumerate(parts) if not part.isspace()]
    theirs, ours = [_bare(word) for word in reference.split()], [_bare(parts[index]) for index in words]
    shared: set[int] = set()
    for block in SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks():
        shared.update(words[block.b : block.b + block.size])
    return [(part, index in shared) for index, part in enumerate(parts)]


def _bare(word: str) -> str:
    return re.sub(r"\W+", "", word).casefold() or word
