"""An interval of a share that holds at every look at once, so that asking may stop when it clears 50 %.

An interval made for one look, looked at after each verdict, would exclude the truth far more often than it says. This one is the set of
shares p that a mixture of Bernoulli likelihoods, Beta(1/2, 1/2), has not yet beaten 1 / alpha times:
B(s + 1/2, n - s + 1/2) / B(1/2, 1/2) < p^s (1 - p)^(n - s) / alpha. By Ville's inequality it misses the true share at any n
with probability at most alpha. Ville 1939; Robbins 1970, Ann. Math. Stat. 41; Howard, Ramdas, McAuliffe and Sekhon 2021, arXiv:1810.08240
"""

from math import lgamma, log

ALPHA = 0.05
_PRIOR = 0.5


class Looks:
    """Looks at the verdicts in the order in which they were to be asked, whatever the order in which they came."""

    def __init__(self) -> None:
        self._came: dict[int, str] = {}
        self._next = self.wins = self.judged = 0

    def add(self, place: int, verdict: str) -> bool:
        """Take in the verdict at a place of that order. True: the win rate's interval clears 50 %."""
        self._came[place] = verdict
        while self._next in self._came:
            word = self._came.pop(self._next)
            self._next += 1
            self.wins += word == "fine-tuned"
            self.judged += word in ("fine-tuned", "base", "tie")
            if clears_half(self.wins, self.judged):
                return True
        return False


def clears_half(successes: int, n: int) -> bool:
    """Whether the interval leaves out 1/2."""
    return n > 0 and _stake(successes, n) - n * log(0.5) >= -log(ALPHA)


def interval(successes: int, n: int) -> tuple[float, float]:
    """The interval of the share: low and high."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    return _edge(successes, n, 0.0, share), _edge(successes, n, 1.0, share)


def _edge(successes: int, n: int, outside: float, inside: float) -> float:
    """Where the set begins, between a share that is out and the observed one, which is in. Halved until no float lies between."""
    if not _excludes(successes, n, outside):
        return outside
    while (middle := (outside + inside) / 2) not in (outside, inside):
        outside, inside = (middle, inside) if _excludes(successes, n, middle) else (outside, middle)
    return inside


def _excludes(successes: int, n: int, share: float) -> bool:
    won, lost = successes, n - successes
    if (share == 0 and won) or (share == 1 and lost):
        return True
    likelihood = (won * log(share) if won else 0.0) + (lost * log(1 - share) if lost else 0.0)
    return _stake(successes, n) - likelihood >= -log(ALPHA)


def _stake(successes: int, n: int) -> float:
    """The logarithm of the mixture's likelihood."""
    return _log_beta(successes + _PRIOR, n - successes + _PRIOR) - _log_beta(_PRIOR, _PRIOR)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
