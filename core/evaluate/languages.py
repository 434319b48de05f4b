"""Whether a text leaves the language that was spoken: by its script, and for scripts that many languages share by their commonest words.

Rough on purpose, and offline: it tells German from English, not Danish from Norwegian.
"""

import re
import unicodedata
from collections import Counter

_SHARE = 0.2
"""Of the letters in a script that was not spoken."""
_LEAST = 4
"""Different common words of another language, and `_TIMES` as many as of those that were spoken."""
_TIMES = 2
_COMMON = {
    "English": "the of and to in is that it was for with as his on be at by this had not are but from or have an they which you were",
    "German": "der die und das den von zu ist mit sich des auf für nicht ein eine als auch es an werden aus er hat dass sie nach wird bei",
    "French": "le la les des et est une du dans qui que pour pas sur au plus par avec ce il sont mais nous vous être cette ont aux elle",
    "Spanish": "el la los las de y que en un una es por con para del se no su al lo como más pero sus le ya este sí porque esta son",
    "Italian": "il di che la e un una per non è sono del della con le si da come gli al dei nel alla anche più ma lo questo delle ha",
    "Portuguese": "o de que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua ou quando muito nos",
    "Dutch": "de het een van en in is dat op te zijn voor met die niet aan er om ook als maar dan door hij wordt bij nog naar heeft ze uit",
    "Polish": "i w nie na się z że do jest to o jak ale co po tak za od jego tylko przez było są dla ich już czy być może który",
}
_SETS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def switched(text: str, spoken: str) -> str:
    """What language the text goes over to, as a whole or in its second half; nothing where it keeps to that of `spoken`."""
    return _script(text, spoken) or next((found for part in (text, _second_half(text)) if (found := _language(part, spoken))), "")


def _script(text: str, spoken: str) -> str:
    theirs, ours = scripts(spoken), scripts(text)
    foreign = Counter({script: n for script, n in ours.items() if not theirs[script]})
    if not theirs or foreign.total() < _LEAST or foreign.total() < _SHARE * ours.total():
        return ""
    return f"{foreign.total() / ours.total():.0%} of its letters are {foreign.most_common(1)[0][0].title()}"


def scripts(text: str) -> Counter[str]:
    """Letters by script: the first word of a letter's Unicode name; Chinese characters and both kana are of one script."""
    names = (unicodedata.name(letter, "").split(" ")[0] for letter in text if letter.isalpha())
    return Counter("CJK" if name in ("HIRAGANA", "KATAKANA") else name for name in names if name)


def _language(text: str, spoken: str) -> str:
    theirs, ours = (common(part) for part in (spoken, text))
    if not theirs or not ours:
        return ""
    known = [language for language, n in theirs.items() if n == max(theirs.values())]
    language, n = ours.most_common(1)[0]
    if language in known or n < _LEAST or n < _TIMES * max(ours[each] for each in known):
        return ""
    return f"{n} common words are {language}"


def common(text: str) -> Counter[str]:
    """How many different words of a text are among the commonest of each language; languages without any are left out."""
    words = set(re.findall(r"[^\W\d_]+", text.casefold()))
    return +Counter({language: len(words & known) for language, known in _SETS.items()})


def _second_half(text: str) -> str:
    words = text.split()
    return " ".join(words[len(words) // 2 :])
