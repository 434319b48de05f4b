"""What judges' reasons speak of: rationales clustered by embedding, each theme named by its most typical words.

Embeddings of the bundled sentence encoder, k-means on the sphere; words by the log-odds of Monroe, Colaresi and Quinn 2008
(Fightin' Words, Political Analysis 16), so that words of every reason, such as 'answer', name none.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core import results
from core.errors import UserError
from core.results import Theme
from core.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FEWEST = 20
"""Rationales below which there are no themes."""
MOST = 5000
"""Rationales beyond which a random sample of this size is taken."""
WORDS = 5
"""Words that name a theme."""
_WORD = re.compile(r"[^\W\d_]{3,}")


def write(verdicts: "pd.DataFrame", workspace: Workspace, seed: int) -> str | None:
    """Write themes.csv into the run and return its name; None where there are too few rationales, or no encoder (then that is said)."""
    try:
        rows = find(verdicts, seed)
    except UserError as error:
        workspace.say(f"No themes of the rationales: {error}")
        return None
    if not rows:
        return None
    results.write(workspace.path / "themes.csv", rows, Theme)
    sizes = Counter(row.words for row in rows)
    workspace.say(f"{len(sizes)} themes in {len(rows)} rationales: {'; '.join(f'{words} ({n})' for words, n in sizes.most_common())}.")
    return "themes.csv"


def find(verdicts: "pd.DataFrame", seed: int) -> list[Theme]:
    """One row per rationale; the largest theme is 0. `verdicts`: columns of results.Verdict."""
    spoken = verdicts[verdicts["rationale"].str.strip() != ""]
    if len(spoken) < FEWEST:
        return []
    if len(spoken) > MOST:
        spoken = spoken.sample(MOST, random_state=seed).sort_index()
    texts = list(spoken["rationale"])
    from core.models.embed import Encoder

    themes = cluster(Encoder("bundled").embed(texts), seed)
    names = typical(texts, themes)
    rows = zip(spoken["run"], spoken["judge"], spoken["pair"], themes, strict=True)
    return [Theme(run, judge, pair, theme, names[theme]) for run, judge, pair, theme in rows]


def cluster(vectors: "np.ndarray", seed: int) -> list[int]:
    """The theme of each vector [n, width] of length 1: as many themes as are best apart (silhouette, Rousseeuw 1987), 4 to 8.

    Fewer where there are fewer than 40.
    """
    import numpy as np
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    best, apart = [0] * len(vectors), -math.inf
    most = min(8, len(vectors) // 5, len(np.unique(vectors.round(6), axis=0)))
    for count in range(max(2, min(4, len(vectors) // 10, most)), most + 1):
        found = KMeans(count, n_init=4, random_state=seed).fit_predict(vectors)
        score = float(silhouette_score(vectors, found, sample_size=min(len(vectors), 1000), random_state=seed))
        if score > apart:
            best, apart = found.tolist(), score
    order = {theme: place for place, (theme, _) in enumerate(Counter(best).most_common())}
    return [order[theme] for theme in best]


def typical(texts: Sequence[str], themes: Sequence[int]) -> dict[int, str]:
    """Theme -> its most typical words, by the z-score of their log-odds against the other themes, all texts being the prior."""
    counts: dict[int, Counter[str]] = {theme: Counter() for theme in sorted(set(themes))}
    for text, theme in zip(texts, themes, strict=True):
        counts[theme].update(set(_WORD.findall(text.lower())))
    total = sum(counts.values(), Counter[str]())
    return {theme: ", ".join(_names(count, total)) for theme, count in counts.items()}


def _names(count: Counter[str], total: Counter[str]) -> list[str]:
    size, whole = count.total(), total.total()

    def score(word: str) -> float:
        here, there = count[word] + total[word], 2 * total[word] - count[word]
        odds = math.log(here / (size + whole - here)) - math.log(there / (2 * whole - size - there))
        return odds / math.sqrt(1 / here + 1 / there)

    return sorted(count, key=lambda word: (-score(word), word))[:WORDS]
